#include "tests/http/recorder.h"

#include <string>
#include <vector>

#include "http/writer.h"

using namespace ringlet::http;
using namespace ringlet::http::test;

namespace {

constexpr std::string_view date = "Sun, 06 Nov 1994 08:49:37 GMT";

std::string head_of(const response_start& start) {
    std::string out;
    CHECK(append_response_head(out, start).error == write_error::none);
    return out;
}

// Every text that could end a header or hide one.
const std::vector<std::string> hostile_values = {"a\r\nX: y",
                                                 "a\nX: y",
                                                 "a\rX",
                                                 std::string("a\0b", 3),
                                                 "a\x7f",
                                                 "a\x1b[0m",
                                                 " a",
                                                 "a ",
                                                 "\ta",
                                                 "a long enough value with\na line end in it",
                                                 "a long enough value with no end\r"};

}  // namespace

TEST_CASE("a response head is written with its framing") {
    const header_view fields[] = {{"Server", "r"}, {"X-Empty", ""}, {"X-Tab", "a\tb\xe9"}};
    CHECK(head_of({.headers = fields, .body = body_framing::sized(12), .date = date}) ==
          "HTTP/1.1 200 OK\r\nServer: r\r\nX-Empty: \r\nX-Tab: a\tb\xe9\r\n"
          "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 12\r\n\r\n");
    CHECK(head_of({.status = 404}) == "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    CHECK(head_of({.status = 404, .reason = "Gone Fishing"})
              .starts_with("HTTP/1.1 404 Gone Fishing\r\n"));
    CHECK(head_of({.status = 299}).starts_with("HTTP/1.1 299 Unknown\r\n"));
    CHECK(head_of({.body = body_framing::sized(18446744073709551615U)})
              .find("Content-Length: 18446744073709551615\r\n") != std::string::npos);
    CHECK(head_of({.keep_alive = false}).find("Connection: close\r\n") != std::string::npos);
    const header_view own_date[] = {{"date", "now"}};
    CHECK(head_of({.headers = own_date, .date = date}).find("Sun") == std::string::npos);
}

TEST_CASE("the verdict tells how the body is sent and whether the connection ends") {
    std::string out;
    response_verdict verdict = append_response_head(out, {.body = body_framing::chunked()});
    CHECK(verdict.chunks);
    CHECK_FALSE(verdict.closes);
    CHECK(out == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    out.clear();
    verdict = append_response_head(out, {.body = body_framing::chunked(), .request_minor = 0});
    CHECK_FALSE(verdict.chunks);
    CHECK(verdict.closes);
    CHECK(out == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    out.clear();
    verdict = append_response_head(out, {.body = body_framing::sized(1), .request_minor = 0});
    CHECK_FALSE(verdict.closes);
    CHECK(out == "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n");
    out.clear();
    CHECK(append_response_head(out, {.body = body_framing::until_close()}).closes);
    CHECK(append_response_head(out, {.keep_alive = false}).closes);
}

TEST_CASE("1xx, 204 and 304 get no framing header whatever is asked") {
    for (const body_framing body :
         {body_framing::none(), body_framing::sized(5), body_framing::chunked()}) {
        CHECK(head_of({.status = 204, .body = body}) == "HTTP/1.1 204 No Content\r\n\r\n");
        CHECK(head_of({.status = 304, .body = body}) == "HTTP/1.1 304 Not Modified\r\n\r\n");
        CHECK(head_of({.status = 100, .body = body, .keep_alive = false, .date = date}) ==
              "HTTP/1.1 100 Continue\r\n\r\n");
    }
    std::string out;
    CHECK_FALSE(
        append_response_head(out, {.status = 204, .body = body_framing::until_close()}).closes);
}

TEST_CASE("no text of an application splits a response") {
    for (const std::string& value : hostile_values) {
        CAPTURE(value);
        CHECK_FALSE(is_field_value(value));
        std::string out = "before";
        const header_view in_value[] = {{"Fine", "yes"}, {"X", value}};
        const header_view in_name[] = {{value, "x"}};
        CHECK(append_response_head(out, {.headers = in_value}).error == write_error::bad_value);
        CHECK(append_response_head(out, {.headers = in_name}).error == write_error::bad_name);
        CHECK(append_response_head(out, {.reason = value}).error == write_error::bad_reason);
        CHECK(append_response(out, {.content_type = value}) == write_error::bad_value);
        CHECK(append_request_head(out, {.method = value, .host = "x"}) == write_error::bad_method);
        CHECK(append_request_head(out, {.target = value, .host = "x"}) == write_error::bad_target);
        CHECK(append_request_head(out, {.host = value}) == write_error::bad_host);
        CHECK(append_request_head(out, {.host = "x", .headers = in_value}) ==
              write_error::bad_value);
        CHECK(append_last_chunk(out, in_value) == write_error::bad_value);
        CHECK(append_last_chunk(out, in_name) == write_error::bad_name);
        CHECK(out == "before");
    }
    for (const std::string_view name : {"", "a b", "a:", "a\x80", "(a)", "a/b", "a\"b"}) {
        std::string out;
        const header_view field[] = {{name, "x"}};
        CHECK(append_response_head(out, {.headers = field}).error == write_error::bad_name);
        CHECK(out.empty());
    }
}

TEST_CASE("every control character is found at every place of a value") {
    for (std::size_t size = 1; size < 40; ++size)
        for (std::size_t at = 0; at < size; ++at)
            for (int byte = 0; byte < 256; ++byte) {
                std::string value(size, 'v');
                value[at] = static_cast<char>(byte);
                const bool outer = at == 0 || at + 1 == size;
                const bool allowed =
                    (byte > ' ' && byte != 0x7f) || (!outer && (byte == ' ' || byte == '\t'));
                if (is_field_value(value) != allowed)
                    FAIL("byte " << byte << " at " << at << " of " << size);
            }
    CHECK(is_field_value(""));
    CHECK_FALSE(is_field_value(" "));
}

TEST_CASE("headers that frame a message are the writer's alone") {
    for (const std::string_view name : {"Content-Length", "TRANSFER-ENCODING", "connection"}) {
        std::string out;
        const header_view field[] = {{name, "close"}};
        CHECK(append_response_head(out, {.headers = field}).error == write_error::framing_header);
        CHECK(append_request_head(out, {.host = "x", .headers = field}) ==
              write_error::framing_header);
        CHECK(append_last_chunk(out, field) == write_error::framing_header);
        CHECK(out.empty());
    }
    std::string out;
    const header_view host[] = {{"Host", "y"}};
    CHECK(append_request_head(out, {.host = "x", .headers = host}) == write_error::framing_header);
    CHECK(append_last_chunk(out, host) == write_error::framing_header);
    const header_view upgrade[] = {{"Connection", "Upgrade"}, {"Upgrade", "websocket"}};
    CHECK(append_response_head(out, {.status = 101, .headers = upgrade}).error ==
          write_error::none);
    out.clear();
    for (const int status : {-1, 0, 99, 600, 1000})
        CHECK(append_response_head(out, {.status = status}).error == write_error::bad_status);
    CHECK(out.empty());
}

TEST_CASE("a short response is one head and its body") {
    std::string out;
    CHECK(append_response(out, {.content_type = "text/plain", .body = "Hello", .date = date}) ==
          write_error::none);
    CHECK(out ==
          "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
          "Content-Length: 5\r\n\r\nHello");
    out.clear();
    CHECK(append_response(out, {.status = 500, .keep_alive = false}) == write_error::none);
    CHECK(out ==
          "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    out.clear();
    CHECK(append_response(out, {.body = "Hello", .request_minor = 0, .head_only = true}) ==
          write_error::none);
    CHECK(out == "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n");
    out.clear();
    for (const int status : {0, 100, 204, 304, 299})
        CHECK(append_response(out, {.status = status}) == write_error::bad_status);
    CHECK(append_response(out, {.content_type = std::string(257, 'a')}) == write_error::bad_value);
    CHECK(out.empty());
    CHECK(append_response(out, {.status = 431,
                                .content_type = std::string(256, 'a'),
                                .date = date,
                                .keep_alive = false}) == write_error::none);
}

TEST_CASE("a request head is written with its framing") {
    const header_view fields[] = {{"Accept", "*/*"}};
    std::string out;
    CHECK(append_request_head(out, {.target = "/a?b", .host = "h:81", .headers = fields}) ==
          write_error::none);
    CHECK(out == "GET /a?b HTTP/1.1\r\nHost: h:81\r\nAccept: */*\r\n\r\n");
    out.clear();
    CHECK(append_request_head(out, {.method = "POST", .host = "h", .keep_alive = false}) ==
          write_error::none);
    CHECK(out == "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    out.clear();
    CHECK(
        append_request_head(out, {.method = "PUT", .host = "h", .body = body_framing::chunked()}) ==
        write_error::none);
    CHECK(out == "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    out.clear();
    CHECK(append_request_head(out, {.host = "h", .body = body_framing::until_close()}) ==
          write_error::bad_framing);
    CHECK(append_request_head(out, {.target = "", .host = "h"}) == write_error::bad_target);
    CHECK(append_request_head(out, {.target = "/a#b", .host = "h"}) == write_error::bad_target);
    CHECK(append_request_head(out, {.target = "/\xc3\xa9", .host = "h"}) ==
          write_error::bad_target);
    for (const std::string_view host : {"a b", "a/b", "u@h", "a,b", "a?b"})
        CHECK(append_request_head(out, {.host = host}) == write_error::bad_host);
    CHECK(out.empty());
}

TEST_CASE("what the writer writes, the parsers read") {
    std::string out;
    const header_view fields[] = {{"A", "b"}};
    const header_view trailers[] = {{"T", "v"}};
    REQUIRE(append_response_head(out, {.headers = fields, .body = body_framing::chunked()}).chunks);
    append_chunk(out, "");
    append_chunk(out, "first ");
    const std::size_t empty = begin_chunk(out);
    end_chunk(out, empty);
    const std::size_t begun = begin_chunk(out);
    out += std::string(300, 's');
    end_chunk(out, begun);
    append_chunk_size(out, 26);
    out += "abcdefghijklmnopqrstuvwxyz\r\n";
    REQUIRE(append_last_chunk(out, trailers) == write_error::none);
    CHECK(out.find("\r\n0000012c\r\nsss") != std::string::npos);
    CHECK(out.find("\r\n1a\r\nabc") != std::string::npos);
    const outcome response = run_response(out, {});
    CHECK(response.error_at_end == parse_error::none);
    CHECK(response.log ==
          "HEAD 200 'OK' 1.1 chunked body [A=b] [Transfer-Encoding=chunked]\nBODY first " +
              std::string(300, 's') + "abcdefghijklmnopqrstuvwxyz\nEND [T=v]\n");

    out.clear();
    REQUIRE(append_request_head(out, {.method = "POST",
                                      .target = "/p?q",
                                      .host = "h",
                                      .body = body_framing::sized(4)}) == write_error::none);
    out += "body";
    const outcome request = run_request(out, {});
    CHECK(request.error_at_end == parse_error::none);
    CHECK(request.log ==
          "HEAD POST /p?q path=/p query=q host=h 1.1 keep 4 [Host=h] [Content-Length=4]\n"
          "BODY body\nEND\n");
}

TEST_CASE("every write error has a sentence") {
    for (int code = 0; code <= static_cast<int>(write_error::bad_framing); ++code)
        CHECK(sentence(static_cast<write_error>(code)).ends_with("."));
}
