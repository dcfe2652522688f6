#include "tests/http/recorder.h"

#include <new>
#include <random>
#include <string>
#include <vector>

using namespace ringlet::http;
using namespace ringlet::http::test;

namespace {

// A few thousand bytes of every kind of request, with heads long enough to outgrow the carry.
std::string mixed_requests() {
    std::string bytes;
    for (int i = 0; i < 20; ++i) {
        const std::string number = std::to_string(i);
        bytes += "GET /" + std::string(static_cast<std::size_t>(i * 7), 'p') +
                 " HTTP/1.1\r\nHost: h" + number + "\r\n";
        for (int field = 0; field < i; ++field)
            bytes += "Name" + std::to_string(field) + ": value of " + number + " \r\n";
        bytes += "\r\n";
        bytes += "POST /sized HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello again";
        bytes +=
            "POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            "4;e=f\r\nabcd\r\n1\r\ne\r\n0\r\nTrailer" +
            number + ": t\r\n\r\n\r\n";
    }
    return bytes;
}

}  // namespace

TEST_CASE("many requests cut at random give the events of one feed") {
    const std::string bytes = mixed_requests();
    const outcome whole = run_request(bytes, {});
    REQUIRE(whole.error_at_end == parse_error::none);
    std::mt19937 random(1);
    for (int round = 0; round < 200; ++round) {
        CAPTURE(round);
        std::vector<std::size_t> cuts;
        std::uniform_int_distribution<std::size_t> step(1, round % 2 == 0 ? 20 : 400);
        for (std::size_t at = step(random); at < bytes.size(); at += step(random))
            cuts.push_back(at);
        const outcome other = run_request(bytes, cuts, {}, round % 3 == 0);
        REQUIRE(other.error_at_end == parse_error::none);
        REQUIRE(other.log == whole.log);
    }
}

TEST_CASE("damaged requests neither crash nor depend on the cuts") {
    const std::string bytes = mixed_requests().substr(0, 1500);
    std::mt19937 random(2);
    std::uniform_int_distribution<std::size_t> place(0, bytes.size() - 1);
    std::uniform_int_distribution<int> value(0, 255);
    for (int round = 0; round < 500; ++round) {
        CAPTURE(round);
        std::string damaged = bytes;
        for (int change = 0; change <= round % 4; ++change) {
            const std::size_t at = place(random);
            if (change % 2 == 0)
                damaged[at] = static_cast<char>(value(random));
            else
                damaged.erase(std::min(at, damaged.size()), 1 + at % 3);
        }
        std::vector<std::size_t> cuts;
        for (std::size_t at = 1 + place(random) % 50; at < damaged.size();
             at += 1 + place(random) % 50)
            cuts.push_back(at);
        const outcome whole = run_request(damaged, {});
        const outcome cut = run_request(damaged, cuts);
        REQUIRE(whole.log == cut.log);
        REQUIRE(sentence(whole.error) == sentence(cut.error));
        run_response(damaged, cuts);
    }
}

TEST_CASE("a trailing view, an empty value and a value of blanks stay apart") {
    const std::string bytes =
        "GET / HTTP/1.1\r\nHost: x\r\nA:\r\nB: \t \r\nC:c\r\nD: d\t\r\nE: e e\r\n\r\n";
    const outcome result =
        run_every_way(bytes, [&](const std::vector<std::size_t>& cuts, bool pausing) {
            return run_request(bytes, cuts, {}, pausing);
        });
    CHECK(result.log.find("[Host=x] [A=] [B=] [C=c] [D=d] [E=e e]") != std::string::npos);
}

TEST_CASE("pausing in a body gives the rest later and loses nothing") {
    struct sink : request_events {
        request_parser* parser = nullptr;
        std::string body;
        int pieces = 0;
        bool complete = false;
        void on_head(const request_head&) override {}
        void on_body(std::string_view bytes) override {
            body.append(bytes);
            ++pieces;
            parser->pause();
        }
        void on_complete(std::span<const header_view>) override { complete = true; }
    };
    const limits sizes;
    request_parser parser(sizes);
    sink events;
    events.parser = &parser;
    std::string_view rest =
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    rest.remove_prefix(parser.feed(rest, events));
    CHECK(events.body == "abc");
    CHECK(parser.paused());
    CHECK(rest.starts_with("\r\n3\r\ndef"));
    rest.remove_prefix(parser.feed(rest, events));
    CHECK(events.body == "abcdef");
    CHECK_FALSE(events.complete);
    rest.remove_prefix(parser.feed(rest, events));
    CHECK_FALSE(parser.paused());
    CHECK(rest.empty());
    CHECK(events.complete);
    CHECK(events.pieces == 2);
}

TEST_CASE("an event that finds no memory refuses the message, whichever event it is") {
    struct sink : request_events {
        int left = 0;  // events until then
        void on_head(const request_head&) override { next(); }
        void on_body(std::string_view) override { next(); }
        void on_complete(std::span<const header_view>) override { next(); }
        void next() {
            if (left-- == 0)
                throw std::bad_alloc();
        }
    };
    constexpr std::string_view bytes = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na";
    for (int which = 0; which < 3; ++which) {
        CAPTURE(which);
        const limits sizes;
        request_parser parser(sizes);
        sink events;
        events.left = which;
        parser.feed(bytes, events);
        CHECK(parser.error() == parse_error::out_of_memory);
        CHECK(status_of(parser.error()) == 503);
        CHECK(parser.feed("GET / HTTP/1.1\r\n", events) == 0);
    }
}
