#include "tests/http/recorder.h"

#include <string>
#include <vector>

using namespace ringlet::http;
using namespace ringlet::http::test;

TEST_CASE("every response of the table gets its verdict however it is cut") {
    for (const vector_line& line : read_vectors("http_responses.txt")) {
        CAPTURE(line.number);
        CAPTURE(line.bytes);
        const auto run = [&](const std::vector<std::size_t>& cuts, bool pausing) {
            return run_response(line.bytes, cuts, method::get, {}, pausing);
        };
        const outcome result = run_every_way(line.bytes, run);
        CHECK(sentence(result.error_at_end) == sentence(error_named(line.word)));
    }
}

TEST_CASE("a response gives its head, its body and its end") {
    const outcome sized =
        run_response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b \r\n\r\nhello", {});
    CHECK(sized.log ==
          "HEAD 200 'OK' 1.1 length=5 body [Content-Length=5] [A=b]\nBODY hello\nEND\n");
    CHECK(sized.keep_alive);
    const outcome chunked = run_response(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
        "1\r\nb\r\n0\r\nT: v\r\n\r\n",
        {});
    CHECK(chunked.log ==
          "HEAD 200 'OK' 1.1 chunked body [Transfer-Encoding=chunked]\nBODY ab\nEND [T=v]\n");
    CHECK(chunked.keep_alive);
    const outcome endless = run_response("HTTP/1.1 200 OK\r\n\r\nto the end", {});
    CHECK(endless.log == "HEAD 200 'OK' 1.1 until-close body\nBODY to the end\nEND\n");
    CHECK_FALSE(endless.keep_alive);
}

TEST_CASE("an answer without a body says chunked as its field reads, blanks taken off") {
    const outcome result =
        run_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n", {}, method::head);
    CHECK(result.log == "HEAD 200 'OK' 1.1 chunked [Transfer-Encoding=chunked]\nEND\n");
}

TEST_CASE("1xx responses are reported and skipped") {
    const outcome result = run_response(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        {});
    CHECK(result.log ==
          "INFO 100 'Continue' 1.1\nINFO 103 'Early' 1.1 [Link=a]\nHEAD 204 'No' 1.1\nEND\n");
    CHECK(result.keep_alive);
}

TEST_CASE("the request's method decides whether a body follows") {
    const std::string sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    const outcome head = run_response(sized, {}, method::head);
    CHECK(head.log == "HEAD 200 'OK' 1.1 length=5 [Content-Length=5]\nEND\n");
    CHECK(head.error_at_end == parse_error::none);
    CHECK(head.keep_alive);
    CHECK(run_response(sized, {}, method::post).error_at_end == parse_error::truncated_body);
    const outcome chunked =
        run_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", {}, method::head);
    CHECK(chunked.log == "HEAD 200 'OK' 1.1 chunked [Transfer-Encoding=chunked]\nEND\n");
    CHECK(chunked.keep_alive);
    CHECK_FALSE(run_response("HTTP/1.0 200 OK\r\n\r\n", {}, method::head).keep_alive);
}

TEST_CASE("a CONNECT that succeeds opens a tunnel, one that fails has a body") {
    const limits sizes;
    response_parser parser(sizes);
    response_recorder sink;
    const std::string head = "HTTP/1.1 200 Yes\r\nContent-Length: 3\r\n\r\n";
    parser.start(method::connect);
    CHECK(parser.feed(head + "\x16\x03\x01", sink) == head.size());
    CHECK(parser.complete());
    CHECK(parser.tunnel());
    CHECK_FALSE(parser.keep_alive());

    response_parser other(sizes);
    response_recorder refused;
    const std::string answer = "HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nabc";
    other.start(method::connect);
    CHECK(other.feed(answer, refused) == answer.size());
    CHECK_FALSE(other.tunnel());
    CHECK(other.keep_alive());
}

TEST_CASE("responses on one connection are parsed one by one") {
    const limits sizes;
    response_parser parser(sizes);
    response_recorder sink;
    const std::string first = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    const std::string second = "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n";
    const std::string third = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nb";
    const std::string all = first + second + third;
    std::string_view rest = all;
    CHECK_FALSE(parser.started());
    CHECK(parser.feed(rest, sink) == first.size());
    rest.remove_prefix(first.size());
    CHECK(parser.feed(rest, sink) == 0);
    REQUIRE(parser.complete());
    REQUIRE(parser.keep_alive());
    parser.start(method::get);
    CHECK_FALSE(parser.complete());
    CHECK_FALSE(parser.started());
    CHECK(parser.feed(rest, sink) == second.size());
    rest.remove_prefix(second.size());
    REQUIRE(parser.complete());
    REQUIRE(parser.keep_alive());
    parser.start(method::get);
    CHECK(parser.feed(rest, sink) == third.size());
    CHECK(parser.started());
    CHECK_FALSE(parser.keep_alive());
    CHECK(sink.completes == 3);
    CHECK(parser.finish(sink));
}

TEST_CASE("a connection that closes before any byte has not started an answer") {
    const limits sizes;
    response_parser parser(sizes);
    response_recorder sink;
    parser.start(method::get);
    CHECK_FALSE(parser.finish(sink));
    CHECK(parser.error() == parse_error::truncated_head);
    CHECK_FALSE(parser.started());
    response_parser other(sizes);
    other.start(method::get);
    other.feed("HTTP/1.1 100 C\r\n\r\n", sink);
    CHECK(other.started());
}

TEST_CASE("whether the connection persists follows version and header") {
    const auto keeps = [](std::string_view version, std::string_view field) {
        return run_response("HTTP/" + std::string(version) + " 200 OK\r\nContent-Length: 0\r\n" +
                                std::string(field) + "\r\n",
                            {})
            .keep_alive;
    };
    CHECK(keeps("1.1", ""));
    CHECK_FALSE(keeps("1.1", "Connection: close\r\n"));
    CHECK_FALSE(keeps("1.0", ""));
    CHECK(keeps("1.0", "Connection: keep-alive\r\n"));
}
