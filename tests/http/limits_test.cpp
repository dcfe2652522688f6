#include "tests/http/recorder.h"

#include <string>
#include <vector>

using namespace ringlet::http;
using namespace ringlet::http::test;

namespace {

// The outcome, the same for every way to cut the bytes.
parse_error request_error(const std::string& bytes, const limits& sizes) {
    return run_every_way(bytes,
                         [&](const std::vector<std::size_t>& cuts, bool pausing) {
                             return run_request(bytes, cuts, sizes, pausing);
                         })
        .error_at_end;
}

parse_error response_error(const std::string& bytes, const limits& sizes) {
    return run_every_way(bytes,
                         [&](const std::vector<std::size_t>& cuts, bool pausing) {
                             return run_response(bytes, cuts, method::get, sizes, pausing);
                         })
        .error_at_end;
}

std::string chunked_request(const std::string& body) {
    return "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body;
}

}  // namespace

TEST_CASE("the defaults are those of the documentation") {
    const limits sizes;
    CHECK(sizes.request_line_bytes_max == 8192);
    CHECK(sizes.header_bytes_max == 32768);
    CHECK(sizes.header_count_max == 100);
    CHECK(sizes.body_bytes_max == 1048576);
    CHECK(sizes.header_timeout == std::chrono::seconds(10));
    CHECK(sizes.requests_per_connection_max == 1000);
}

TEST_CASE("a request line at the limit passes, and one byte more is refused") {
    limits sizes;
    sizes.request_line_bytes_max = 40;
    const auto line = [](std::size_t bytes) {
        const std::size_t other = std::string("GET / HTTP/1.1").size();
        return "GET /" + std::string(bytes - other, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n";
    };
    CHECK(request_error(line(40), sizes) == parse_error::none);
    CHECK(request_error(line(41), sizes) == parse_error::request_line_too_long);
    CHECK(request_error("GET " + std::string(100, ' ') + "/ HTTP/1.1\r\n", sizes) ==
          parse_error::request_line_too_long);
    CHECK(request_error("GET /" + std::string(100, 'a'), sizes) ==
          parse_error::request_line_too_long);
}

TEST_CASE("headers at the limit of bytes pass, and one byte more is refused") {
    limits sizes;
    sizes.header_bytes_max = 60;
    const auto head = [](std::size_t bytes) {
        const std::size_t other = std::string("Host: x\r\nA: ").size();
        return "GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(bytes - other, 'a') + "\r\n\r\n";
    };
    CHECK(request_error(head(60), sizes) == parse_error::none);
    CHECK(request_error(head(61), sizes) == parse_error::headers_too_large);
    const std::string start = "GET / HTTP/1.1\r\nHost: x\r\n";
    CHECK(request_error(start + "A:" + std::string(100, ' '), sizes) ==
          parse_error::headers_too_large);
    CHECK(request_error(start + std::string(100, 'n'), sizes) == parse_error::headers_too_large);
    CHECK(request_error(start + "A:" + std::string(100, ' ') + "b\r\n\r\n", sizes) ==
          parse_error::headers_too_large);
}

TEST_CASE("as many header lines as allowed pass, and one more is refused") {
    limits sizes;
    for (const std::uint32_t count_max : {1U, 2U, 16U, 17U, 100U}) {
        sizes.header_count_max = count_max;
        std::string head = "GET / HTTP/1.1\r\nHost: x\r\n";
        for (std::uint32_t i = 1; i < count_max; ++i)
            head += "A: b\r\n";
        CHECK(request_error(head + "\r\n", sizes) == parse_error::none);
        CHECK(request_error(head + "A: b\r\n\r\n", sizes) == parse_error::too_many_headers);
    }
}

TEST_CASE("a body at the limit passes, and one byte more is refused") {
    limits sizes;
    sizes.body_bytes_max = 10;
    const auto sized = [](int bytes) {
        return "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(bytes) +
               "\r\n\r\n" + std::string(static_cast<std::size_t>(bytes), 'a');
    };
    CHECK(request_error(sized(10), sizes) == parse_error::none);
    CHECK(request_error(sized(11), sizes) == parse_error::body_too_large);
    CHECK(request_error(chunked_request("5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n"), sizes) ==
          parse_error::none);
    CHECK(request_error(chunked_request("5\r\nhello\r\n6\r\nhello!\r\n0\r\n\r\n"), sizes) ==
          parse_error::body_too_large);
    CHECK(run_request(sized(11), {}, sizes).log.empty());
}

TEST_CASE("the body of a response has the same limit, after its head is told") {
    limits sizes;
    sizes.body_bytes_max = 5;
    CHECK(response_error("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", sizes) ==
          parse_error::none);
    const std::string sized = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!";
    CHECK(response_error(sized, sizes) == parse_error::body_too_large);
    CHECK(run_response(sized, {}, method::get, sizes).log.starts_with("HEAD 200"));
    CHECK(run_response(sized, {}, method::head, sizes).error_at_end == parse_error::none);
    CHECK(response_error("HTTP/1.1 200 OK\r\n\r\nhello", sizes) == parse_error::none);
    CHECK(response_error("HTTP/1.1 200 OK\r\n\r\nhello!", sizes) == parse_error::body_too_large);
}

TEST_CASE("a status line has the limit of a request line, and its headers those of a request") {
    limits sizes;
    sizes.request_line_bytes_max = 40;
    sizes.header_bytes_max = 40;
    const auto answer = [](std::size_t reason_bytes, std::size_t value_bytes) {
        return "HTTP/1.1 200 " + std::string(reason_bytes, 'r') +
               "\r\nContent-Length: 0\r\nA: " + std::string(value_bytes, 'v') + "\r\n\r\n";
    };
    CHECK(response_error(answer(27, 18), sizes) == parse_error::none);
    CHECK(response_error(answer(28, 18), sizes) == parse_error::request_line_too_long);
    CHECK(response_error(answer(27, 19), sizes) == parse_error::headers_too_large);
}

TEST_CASE("chunk extensions are bounded over the whole message, named or not") {
    limits sizes;
    sizes.chunk_extension_bytes_max = 20;
    std::string few;
    for (int i = 0; i < 5; ++i)
        few += "1;ab\r\nx\r\n";
    CHECK(request_error(chunked_request(few + "0\r\n\r\n"), sizes) == parse_error::none);
    CHECK(request_error(chunked_request(few + few + "0\r\n\r\n"), sizes) ==
          parse_error::chunk_extensions_too_large);
    CHECK(request_error(chunked_request("1;" + std::string(40, 'a') + "=b\r\nx\r\n0\r\n\r\n"),
                        sizes) == parse_error::chunk_extensions_too_large);
    CHECK(request_error(chunked_request("1;a=\"" + std::string(40, 'a') + "\"\r\nx\r\n0\r\n\r\n"),
                        sizes) == parse_error::chunk_extensions_too_large);
    CHECK(request_error(chunked_request("1" + std::string(40, ';') + "\r\nx\r\n0\r\n\r\n"),
                        sizes) == parse_error::chunk_extensions_too_large);
}

TEST_CASE("framing that brings nothing does not go on for ever") {
    limits sizes;
    sizes.chunk_extension_bytes_max = 20;
    const auto endless = [&](const std::string& head, char repeated) {
        request_parser parser(sizes);
        request_recorder sink;
        parser.feed(head, sink);
        for (int i = 0; i < 100 && !parser.failed(); ++i)
            parser.feed({&repeated, 1}, sink);
        return parser.error();
    };
    CHECK(endless(chunked_request(""), '0') == parse_error::chunk_extensions_too_large);
    CHECK(endless(chunked_request("0\r\nT:"), ' ') == parse_error::chunk_extensions_too_large);
}

TEST_CASE("zeros before a chunk's size count the same however they are cut") {
    limits sizes;
    sizes.chunk_extension_bytes_max = 20;
    const auto errors = [&](const std::string& body) {
        const std::string bytes = chunked_request(body);
        request_parser in_pieces(sizes);
        request_recorder sink;
        for (std::size_t i = 0; i < bytes.size() && !in_pieces.failed(); ++i)
            in_pieces.feed({&bytes[i], 1}, sink);
        return std::pair{request_error(bytes, sizes), in_pieces.error()};
    };
    for (std::size_t zeros = 0; zeros < 40; ++zeros) {
        CAPTURE(zeros);
        const std::string padding(zeros, '0');
        const auto first = errors(padding + "1\r\nx\r\n0\r\n\r\n");
        const auto last = errors("1\r\nx\r\n" + padding + "0\r\n\r\n");
        const auto trailed = errors("1\r\nx\r\n" + padding + "0\r\nT: x\r\n\r\n");
        for (const auto& [whole, cut] : {first, last, trailed})
            CHECK(whole == cut);
        CHECK((first.first == parse_error::none) == (zeros + 3 <= 20));
        CHECK((last.first == parse_error::none) == (zeros + 7 <= 20));
        CHECK((trailed.first == parse_error::none) == (zeros + 5 <= 20));
    }
}

TEST_CASE("trailers are bounded in bytes and in number") {
    limits sizes;
    sizes.trailer_bytes_max = 10;
    sizes.trailer_count_max = 2;
    const auto trailers = [](const std::string& text) {
        return chunked_request("0\r\n" + text + "\r\n");
    };
    CHECK(request_error(trailers("T: 345678901\r\n"), sizes) == parse_error::none);
    CHECK(request_error(trailers("T: 3456789012\r\n"), sizes) == parse_error::trailers_too_large);
    CHECK(request_error(trailers("Trailername: 1\r\n"), sizes) == parse_error::trailers_too_large);
    CHECK(request_error(trailers("A:\r\nB:\r\n"), sizes) == parse_error::none);
    CHECK(request_error(trailers("A:\r\nB:\r\nC:\r\n"), sizes) == parse_error::trailers_too_large);
}

TEST_CASE("a few empty lines before a request pass, and more are refused") {
    limits sizes;
    sizes.leading_crlf_max = 2;
    const std::string request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    CHECK(request_error("\r\n\r\n" + request + "\r\n\r\n" + request, sizes) == parse_error::none);
    CHECK(request_error("\r\n\r\n\r\n" + request, sizes) == parse_error::too_many_empty_lines);
    CHECK(request_error("\r\n\r\n\r\n", sizes) == parse_error::too_many_empty_lines);
}

TEST_CASE("a few 1xx responses pass, and more are refused") {
    limits sizes;
    sizes.informational_max = 2;
    const std::string more = "HTTP/1.1 100 Continue\r\n\r\n";
    const std::string last = "HTTP/1.1 204 No Content\r\n\r\n";
    CHECK(response_error(more + more + last, sizes) == parse_error::none);
    CHECK(response_error(more + more + more + last, sizes) == parse_error::too_many_informational);
}
