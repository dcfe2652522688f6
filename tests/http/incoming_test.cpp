#include "http/incoming.h"

#include <zlib.h>

#include "tests/http/hosts.h"

using namespace ringlet;
using namespace ringlet::test;
using http::client_options;
using http::client_request;
using http::incoming;
using http::method;
using http::phase;
using std::chrono::milliseconds;

namespace {

client_request to(std::string url) {
    client_request made;
    made.url = std::move(url);
    return made;
}

// A gzip stream of `count` million zeroes.
std::string zeroes_packed(int count) {
    z_stream stream = {};
    REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string zeroes(1'000'000, '\0');
    std::string out(static_cast<std::size_t>(count) * 2000 + 1000, '\0');
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    for (int part = 0; part < count; ++part) {
        stream.next_in = reinterpret_cast<Bytef*>(zeroes.data());
        stream.avail_in = static_cast<uInt>(zeroes.size());
        const int last = part + 1 == count ? Z_FINISH : Z_NO_FLUSH;
        REQUIRE(deflate(&stream, last) == (last == Z_FINISH ? Z_STREAM_END : Z_OK));
    }
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

}  // namespace

TEST_CASE("the head comes first and the body piece by piece") {
    tell_with_hosts([](loop& owner, street& hosts) -> task<void> {
        int seen = 0;
        raw_host& host = hosts.raw([&seen](raw_client& peer, int) -> task<void> {
            return [](raw_client& to_it, int& pieces) -> task<void> {
                co_await to_it.hear_to("\r\n\r\n");
                co_await to_it.say(
                    "HTTP/1.1 200 Very Well\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n");
                for (int next = 1; next <= 3; ++next) {
                    co_await until([&] { return pieces >= next; });
                    co_await to_it.say("5\r\npart" + std::to_string(next) + "\r\n");
                }
                co_await to_it.say("0\r\n\r\n");
            }(peer, seen);
        });
        http::client web(owner);
        incoming answer = co_await web.open(to(host.url + "/a"));
        CHECK(answer.status() == 200);
        CHECK(answer.reason() == "Very Well");
        CHECK(answer.header("x") == "y");
        CHECK(answer.headers().size() == 2);
        CHECK(answer.body_bytes() == 0);
        CHECK(answer.redirects() == 0);
        CHECK(answer.final_url().path() == "/a");
        std::string all;
        std::string piece;
        for (seen = 1; co_await answer.read(piece);) {
            all += piece;
            seen = 1 + static_cast<int>(all.size() / 5);
        }
        CHECK(all == "part1part2part3");
        CHECK(answer.body_bytes() == 15);
        co_await hosts.close();
    });
}

TEST_CASE("pieces make up the body, and their end is told again and again") {
    tell([](loop& owner) -> task<void> {
        const std::string large = pattern(3'000'000);
        site here(owner, [&](http::exchange& at) { at.respond(200, "a/b", large); });
        const std::string url = "http://" + here.where.text();
        http::client web(owner);
        incoming answer = co_await web.open(to(url));
        std::string all;
        std::string piece = "replaced";
        for (;;) {
            const bool more = co_await answer.read(piece);
            if (!more) {
                break;
            }
            all += piece;
        }
        CHECK(all == large);
        CHECK(answer.body_bytes() == large.size());
        CHECK(answer.timings().ended > 0);
        CHECK(web.stats().idle == 1);  // given back before the answer is destroyed
        const bool more = co_await answer.read(piece);
        CHECK(!more);
        const std::string rest = co_await answer.read_all();
        CHECK(rest == "");
    }, 4);
}

TEST_CASE("a reader that is slow makes the server wait") {
    tell([](loop& owner) -> task<void> {
        constexpr std::size_t whole = 30'000'000;
        std::size_t written = 0;
        std::vector<std::unique_ptr<reader>> all;
        const auto fill = [&](reader& self) {
            while (written < whole && self.at->writable()) {
                self.at->write(std::string(10'000, 'w'));
                written += 10'000;
            }
            if (written == whole) {
                self.at->finish();
            }
        };
        http::limits sizes;
        sizes.output_bytes_max = 100'000;
        site here(owner, [&](http::exchange& at) {
            reader& one = *all.emplace_back(std::make_unique<reader>(at));
            one.on_room = fill;
            at.start_response(200, {}, http::body_framing::chunked());
            fill(one);
        }, sizes);
        http::client web(owner);
        incoming answer = co_await web.open(to("http://" + here.where.text()));
        co_await sleep_for(milliseconds(200));
        CHECK(written < whole);
        const std::size_t before = written;
        std::string piece;
        std::size_t bytes = 0;
        while (co_await answer.read(piece)) {
            CHECK(piece.size() <= 1'000'000);
            bytes += piece.size();
        }
        CHECK(bytes == whole);
        CHECK(before < written);
    }, 2);
}

TEST_CASE("a bomb comes in pieces as well, up to the limit") {
    tell_with_hosts([](loop& owner, street& hosts) -> task<void> {
        const std::string bomb = zeroes_packed(20);
        CHECK(bomb.size() < 40'000);
        const speech said{sized_answer(bomb, "Content-Encoding: gzip\r\n")};
        scripted_host& host = hosts.scripted({said, said});
        client_options options;
        options.sizes.decoded_bytes_max = 20'000'000;
        http::client web(owner, options);
        incoming answer = co_await web.open(to(host.url));
        std::string piece;
        std::size_t bytes = 0;
        std::size_t largest = 0;
        while (co_await answer.read(piece)) {
            bytes += piece.size();
            largest = std::max(largest, piece.size());
        }
        CHECK(bytes == 20'000'000);
        CHECK(largest < 500'000);
        CHECK(web.stats().idle == 1);

        options.sizes.decoded_bytes_max = 3'000'000;
        http::client careful(owner, options);
        incoming second = co_await careful.open(to(host.url));
        bytes = 0;
        failure told;
        for (;;) {
            told = co_await failure_told(second.read(piece));
            if (!told.text.empty() || piece.empty()) {
                break;
            }
            bytes += piece.size();
        }
        CHECK(told.code == errc::limit_exceeded);
        CHECK(bytes <= 3'000'000);
        CHECK(bytes > 2'000'000);
    }, 4);
}

TEST_CASE("after a failure the body stays unreadable and the connection is closed") {
    tell_with_hosts([](loop& owner, street& hosts) -> task<void> {
        bool closed = false;
        raw_host& host = hosts.raw([&closed](raw_client& peer, int) -> task<void> {
            return [](raw_client& peer_of, bool& gone) -> task<void> {
                co_await peer_of.hear_to("\r\n\r\n");
                co_await peer_of.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
                (void)co_await peer_of.rest();
                gone = true;
            }(peer, closed);
        });
        client_options options;
        options.body_timeout = milliseconds(50);
        options.connections_max = 1;
        http::client web(owner, options);
        incoming answer = co_await web.open(to(host.url));
        std::string piece;
        failure told;
        while (told.text.empty()) {
            told = co_await failure_told(answer.read(piece));
        }
        CHECK(told.text == host.url + "/: response body: timed out after 50 ms");
        co_await until([&] { return closed; });
        told = co_await failure_told(answer.read(piece));
        CHECK(told.code == errc::closed);
        CHECK(told.phase == phase::body);
        // Its place is free although the answer lives.
        incoming other = co_await web.open(to(host.url));
        CHECK(other.status() == 200);
        co_await hosts.close();
    });
}

TEST_CASE("an answer destroyed unread closes its connection, one without a body gives it back") {
    tell([](loop& owner) -> task<void> {
        const std::string large(5'000'000, 'x');
        site here(owner, [&](http::exchange& at) {
            at.respond(at.request().path == "/none" ? 204 : 200, "a/b",
                       at.request().path == "/none" ? "" : large);
        });
        const std::string url = "http://" + here.where.text();
        http::client web(owner);
        {
            const incoming answer = co_await web.open(to(url));
            CHECK(answer.status() == 200);
        }
        CHECK(web.stats().idle == 0);
        co_await until([&] { return here.web->stats().open == 0; });
        {
            const incoming answer = co_await web.open(to(url + "/none"));
            CHECK(answer.status() == 204);
        }
        CHECK(web.stats().idle == 1);
        client_request head = to(url);
        head.method = method::head;
        {
            const incoming answer = co_await web.open(std::move(head));
            CHECK(answer.header("Content-Length") == "5000000");
        }
        CHECK(web.stats().idle == 1);
        CHECK(web.stats().connections == 2);
    }, 4);
}

TEST_CASE("answers may be moved, replaced, and destroyed in any order") {
    tell([](loop& owner) -> task<void> {
        const std::string large(500'000, 'x');
        site here(owner, [&](http::exchange& at) { at.respond(200, "a/b", large); });
        const std::string url = "http://" + here.where.text();
        auto web = std::make_unique<http::client>(owner);
        incoming first = co_await web->open(to(url));
        {
            incoming second = co_await web->open(to(url));
            incoming third = co_await web->open(to(url));
            first = std::move(third);  // the first is dropped
            const std::string body = co_await second.read_all();
            CHECK(body == large);
            CHECK(web->stats().idle == 1);
        }
        const std::string body = co_await first.read_all();
        CHECK(body == large);
        CHECK(web->stats().idle == 2);
        web.reset();
        // It was read to its end, so that it needs the client no more.
        CHECK(first.status() == 200);
        std::string piece;
        const bool more = co_await first.read(piece);
        CHECK(!more);
    }, 4);
}
