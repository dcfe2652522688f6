#include "tests/http/recorder.h"

#include <string>
#include <vector>

using namespace ringlet::http;
using namespace ringlet::http::test;

TEST_CASE("every request of the table gets its verdict however it is cut") {
    for (const vector_line& line : read_vectors("http_requests.txt")) {
        CAPTURE(line.number);
        CAPTURE(line.bytes.substr(0, 200));
        const auto run = [&](const std::vector<std::size_t>& cuts, bool pausing) {
            return run_request(line.bytes, cuts, {}, pausing);
        };
        // The few long ones are cut at random elsewhere.
        const outcome result =
            line.bytes.size() < 4096 ? run_every_way(line.bytes, run) : run({}, false);
        CHECK(sentence(result.error_at_end) == sentence(error_named(line.word)));
    }
}

TEST_CASE("a request gives its head, its body and its end") {
    const outcome result = run_request(
        "POST /a/b?c=d HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\nX:  y z \r\n\r\nhello",
        {});
    CHECK(result.error_at_end == parse_error::none);
    CHECK(result.log ==
          "HEAD POST /a/b?c=d path=/a/b query=c=d host=example.org 1.1 keep 5"
          " [Host=example.org] [Content-Length=5] [X=y z]\n"
          "BODY hello\n"
          "END\n");
}

TEST_CASE("chunks are joined and trailers are given at the end") {
    const outcome result = run_request(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nT: v \r\nEmpty:\r\nU: w\r\n\r\n",
        {});
    CHECK(result.log ==
          "HEAD POST / path=/ query= host=x 1.1 keep chunked [Host=x] [Transfer-Encoding=chunked]\n"
          "BODY abcde\n"
          "END [T=v] [Empty=] [U=w]\n");
}

TEST_CASE("a Connection field among the trailers says nothing") {
    const std::string chunked =
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n";
    const std::string next = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n";
    const outcome kept =
        run_request(chunked + "\r\n0\r\nConnection: close\r\n\r\n" + next, {});
    CHECK(kept.log.find("GET /next") != std::string::npos);
    const outcome closed = run_request(
        chunked + "Connection: close\r\n\r\n0\r\nConnection: keep-alive\r\n\r\n" + next, {});
    CHECK(closed.log.find("GET /next") == std::string::npos);
}

TEST_CASE("an absolute target overrides the Host header") {
    const auto first_line = [](std::string_view target) {
        const outcome result =
            run_request("GET " + std::string(target) + " HTTP/1.1\r\nHost: x\r\n\r\n", {});
        return result.log.substr(0, result.log.find(" 1.1"));
    };
    CHECK(first_line("http://Other:81/p?q") ==
          "HEAD GET http://Other:81/p?q path=/p query=q host=Other:81");
    CHECK(first_line("https://[::1]") == "HEAD GET https://[::1] path=/ query= host=[::1]");
    CHECK(first_line("http://other?q") == "HEAD GET http://other?q path=/ query=q host=other");
    CHECK(first_line("/p?") == "HEAD GET /p? path=/p query= host=x");
}

TEST_CASE("the connection persists as the version and the header say") {
    const auto keeps = [](std::string_view version, std::string_view field) {
        const outcome result = run_request(
            "GET / HTTP/" + std::string(version) + "\r\nHost: x\r\n" + std::string(field) + "\r\n",
            {});
        CHECK(result.error_at_end == parse_error::none);
        CHECK((result.log.find(" keep") != std::string::npos) == result.keep_alive);
        return result.keep_alive;
    };
    CHECK(keeps("1.1", ""));
    CHECK(keeps("1.1", "Connection: keep-alive\r\n"));
    CHECK_FALSE(keeps("1.1", "Connection: close\r\n"));
    CHECK_FALSE(keeps("1.1", "Connection: TE, CLOSE\r\n"));
    CHECK_FALSE(keeps("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    CHECK_FALSE(keeps("1.0", ""));
    CHECK(keeps("1.0", "Connection: Keep-Alive\r\n"));
}

TEST_CASE("Expect and Upgrade are told, and neither changes the parsing") {
    const auto log = [](std::string_view version, std::string_view fields) {
        return run_request("POST / HTTP/" + std::string(version) + "\r\nHost: x\r\n" +
                               std::string(fields) + "\r\n",
                           {})
            .log;
    };
    const auto has = [](const std::string& text, const char* word) {
        return text.find(word) != std::string::npos;
    };
    CHECK(has(log("1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n"), " expects"));
    CHECK_FALSE(has(log("1.1", "Expect: 100-continue\r\n"), " expects"));
    CHECK_FALSE(has(log("1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n"), " expects"));
    CHECK_FALSE(has(log("1.1", "Expect: other\r\nContent-Length: 1\r\n"), " expects"));
    CHECK(has(log("1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n"), " upgrade"));
    CHECK_FALSE(has(log("1.1", "Upgrade: websocket\r\n"), " upgrade"));
    CHECK_FALSE(has(log("1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n"), " upgrade"));
}

TEST_CASE("many requests in one feed give all their events in order") {
    std::string bytes;
    for (int i = 0; i < 100; ++i)
        bytes += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
    limits sizes;
    request_parser parser(sizes);
    request_recorder sink;
    CHECK(parser.idle());
    CHECK(parser.feed(bytes, sink) == bytes.size());
    CHECK(sink.heads == 100);
    CHECK(sink.completes == 100);
    CHECK(sink.log.find("/99 path=/99") != std::string::npos);
    CHECK(parser.idle());
    CHECK(parser.finish());
}

TEST_CASE("nothing is parsed after the last request, after an error, or after a pause") {
    const limits sizes;
    const std::string next = "GET /b HTTP/1.1\r\nHost: x\r\n\r\n";
    SUBCASE("the last request") {
        request_parser parser(sizes);
        request_recorder sink;
        const std::string first = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        CHECK(parser.feed(first + next, sink) == first.size());
        CHECK(parser.ended());
        CHECK(parser.feed(next, sink) == 0);
        CHECK(sink.heads == 1);
        CHECK(parser.finish());
    }
    SUBCASE("an error") {
        request_parser parser(sizes);
        request_recorder sink;
        parser.feed("GET / HTTP/1.1\r\n\r\n" + next, sink);
        CHECK(parser.error() == parse_error::host_missing);
        CHECK(parser.feed(next, sink) == 0);
        CHECK(sink.heads == 0);
        CHECK_FALSE(parser.finish());
        CHECK(parser.error() == parse_error::host_missing);
    }
    SUBCASE("a pause at each event") {
        request_parser parser(sizes);
        request_recorder sink;
        sink.pauses = &parser;
        const std::string bytes = next + next;
        CHECK(parser.feed(bytes, sink) == next.size());
        CHECK(sink.heads == 1);
        CHECK(sink.completes == 0);
        CHECK(parser.paused());
        CHECK(parser.feed("", sink) == 0);
        CHECK(sink.completes == 1);
        CHECK(parser.feed(next, sink) == next.size());
        CHECK(sink.heads == 2);
    }
}

TEST_CASE("the parser tells where in a request it is") {
    const limits sizes;
    request_parser parser(sizes);
    request_recorder sink;
    CHECK(parser.idle());
    parser.feed("\r\n", sink);
    CHECK(parser.idle());
    parser.feed("POST", sink);
    CHECK(parser.in_head());
    parser.feed(" / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na", sink);
    CHECK_FALSE(parser.in_head());
    CHECK_FALSE(parser.idle());
    parser.feed("b", sink);
    CHECK(parser.idle());
}

TEST_CASE("a head in one feed is not copied, and an owned copy outlives the bytes") {
    struct keeper : request_events {
        owned_request_head copy;
        std::string_view target;
        void on_head(const request_head& head) override {
            target = head.target;
            copy.assign(head);
        }
        void on_body(std::string_view) override {}
        void on_complete(std::span<const header_view>) override {}
    };
    const limits sizes;
    request_parser parser(sizes);
    keeper sink;
    for (const std::string path : {"/a", "/longer/path", "/b"}) {
        auto bytes = std::make_unique<std::string>(
            "GET " + path + "?q HTTP/1.1\r\nHost: x\r\nA: " + path + "\r\n\r\n");
        parser.feed(*bytes, sink);
        CHECK(sink.target.data() == bytes->data() + 4);
        bytes.reset();
        const request_head& head = sink.copy.head();
        CHECK(head.target == path + "?q");
        CHECK(head.path == path);
        CHECK(head.query == "q");
        CHECK(head.host == "x");
        CHECK(head.value("a") == path);
        CHECK(head.headers.size() == 2);
        CHECK(head.find("b") == nullptr);
    }
}
