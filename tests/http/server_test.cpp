#include "http/server.h"

#include <algorithm>

#include "tests/http/talk.h"

using namespace ringlet;
using namespace ringlet::test;
using std::chrono::milliseconds;

namespace {

using readers = std::vector<std::unique_ptr<reader>>;

reader& take_in(readers& all, http::exchange& at) {
    return *all.emplace_back(std::make_unique<reader>(at));
}

void echo_path(http::exchange& at) { at.respond(200, "text/plain", at.request().path); }

std::string numbered(int count) {
    std::string text;
    for (int number = 0; number < count; ++number) {
        text += get_text("/" + std::to_string(number));
    }
    return text;
}

task<void> expect_numbers(raw_client& peer, int count) {
    for (int number = 0; number < count; ++number) {
        const answer got = co_await peer.hear();
        CHECK(got.body == "/" + std::to_string(number));
    }
    CHECK(peer.unread.empty());
}

// Says `text` one byte at a time, with a pause after each, until the server ends the connection.
task<void> drip(raw_client& peer, std::string text, nanoseconds pause) {
    for (const char byte : text) {
        if (peer.code) {
            co_return;
        }
        co_await peer.say(std::string(1, byte));
        co_await sleep_for(pause);
    }
}

}  // namespace

TEST_CASE("a hundred requests in one segment are answered in order, by few sends") {
    tell([](loop& owner) -> task<void> {
        site here(owner, echo_path);
        raw_client peer = co_await here.visit();
        co_await peer.say(get_text("/"));
        co_await peer.hear();
        const std::uint64_t before = owner.stats().completions;
        co_await peer.say(numbered(100));
        co_await expect_numbers(peer, 100);
        if (real_kernel()) {
            CHECK(owner.stats().completions - before < 25);
        }
        CHECK(here.web->stats().requests == 101);
        CHECK(here.web->stats().connections == 1);
    });
}

TEST_CASE("answers are never reordered, however late some come") {
    tell([](loop& owner) -> task<void> {
        readers all;
        site here(owner, [&](http::exchange& at) {
            const std::string_view path = at.request().path;
            if ((path.back() - '0') % 3 == 0) {
                take_in(all, at);
            } else {
                echo_path(at);
            }
        });
        raw_client peer = co_await here.visit();
        co_await scoped([&](scope& both) -> task<void> {
            both.spawn(peer.say(numbered(30)));
            for (std::size_t next = 0; next < 12; ++next) {
                co_await until([&] { return all.size() > next; });
                CHECK(all.size() == next + 1);
                if (next % 2 == 0) {
                    co_await sleep_for(milliseconds(2));
                }
                http::exchange& at = *all[next]->at;
                at.respond(200, "a/b", std::string(at.request().path));
            }
        });
        co_await expect_numbers(peer, 30);
    });
}

TEST_CASE("a request in every possible pair of segments is the same request") {
    tell(
        [](loop& owner) -> task<void> {
            site here(owner, echo_path);
            raw_client peer = co_await here.visit();
            const std::string text = get_text("/0", "Some: header\r\n") + get_text("/1");
            for (std::size_t cut = 1; cut < text.size(); ++cut) {
                co_await peer.say(text.substr(0, cut));
                co_await yield_now();
                co_await peer.say(text.substr(cut));
                co_await expect_numbers(peer, 2);
            }
        },
        3);
}

TEST_CASE("what is no acceptable request gets its status, then an orderly end") {
    tell(
        [](loop& owner) -> task<void> {
            http::limits sizes;
            sizes.body_bytes_max = 1000;
            int handled = 0;
            site here(
                owner,
                [&](http::exchange& at) {
                    ++handled;
                    echo_path(at);
                },
                sizes);
            const std::string host = "Host: a\r\n";
            const std::string many(120, 'h');
            std::string fields;
            for (int count = 0; count < 101; ++count) {
                fields += "A" + std::to_string(count) + ": b\r\n";
            }
            const std::pair<std::string, int> table[] = {
                {"rubbish\r\n\r\n", 501},
                {"\r\n\r\n\r\n\r\n\r\n\r\n", 400},
                {"GET / HTTP/1.1\r\n\r\n", 400},
                {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
                {"GET / HTTP/1.1\r\n" + host + "Bad Name: x\r\n\r\n", 400},
                {"GET / HTTP/1.1\r\n" + host + "A: b\nC: d\r\n\r\n", 400},
                {"POST / HTTP/1.1\r\n" + host +
                     "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                 400},
                {"POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", 400},
                {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
                {"BREW / HTTP/1.1\r\n" + host + "\r\n", 501},
                {"CONNECT a:1 HTTP/1.1\r\n" + host + "\r\n", 501},
                {"GET / HTTP/3.0\r\n" + host + "\r\n", 505},
                {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
                {"GET /" + std::string(9000, 'u') + " HTTP/1.1\r\n" + host + "\r\n", 414},
                {"GET / HTTP/1.1\r\n" + host + "A: " + std::string(40'000, 'v') + "\r\n\r\n", 431},
                {"GET / HTTP/1.1\r\n" + host + fields + "\r\n", 431},
                {"POST / HTTP/1.1\r\n" + host + "Content-Length: 1001\r\n\r\n", 413},
                {"\x16\x03\x01\x02", 400},  // TLS at the wrong door
            };
            for (const auto& [text, status] : table) {
                const std::string start = text.substr(0, 60);
                CAPTURE(start);
                handled = 0;
                raw_client peer = co_await here.visit();
                co_await peer.say(get_text("/good") + text);
                const answer good = co_await peer.hear();
                CHECK(good.body == "/good");
                CHECK(handled == 1);
                const answer bad = co_await peer.hear();
                CHECK(bad.status == status);
                CHECK(bad.headers.value("Connection") == "close");
                CHECK(bad.body.size() > 10);
                CHECK(co_await peer.rest() == "");
                CHECK(!peer.code);
            }
            CHECK(here.web->stats().refused == std::size(table));
        },
        4);
}

TEST_CASE("a chunked body beyond the limit ends in a 413, told to its reader") {
    tell([](loop& owner) -> task<void> {
        http::limits sizes;
        sizes.body_bytes_max = 1000;
        readers all;
        site here(
            owner,
            [&](http::exchange& at) {
                take_in(all, at);
                at.want_body();
            },
            sizes);
        raw_client peer = co_await here.visit();
        co_await peer.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int chunks = 0; chunks < 30; ++chunks) {
            co_await peer.say("64\r\n" + std::string(100, 'c') + "\r\n");
        }
        const answer got = co_await peer.hear();
        CHECK(got.status == 413);
        CHECK(co_await peer.rest() == "");
        CHECK(!peer.code);
        REQUIRE(!all.empty());
        CHECK(all[0]->aborts == 1);
        CHECK(all[0]->ends == 0);
        CHECK(all[0]->body.size() == 1000);
    });
}

TEST_CASE("a refusal arrives although the peer goes on sending") {
    tell(
        [](loop& owner) -> task<void> {
            site here(owner, echo_path);
            raw_client peer = co_await here.visit();
            co_await peer.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
            for (int piece = 0; piece < 40; ++piece) {
                co_await peer.say(std::string(100'000, 'x'));
            }
            CHECK(!peer.code);
            const answer got = co_await peer.hear();
            CHECK(got.status == 413);
            CHECK(co_await peer.rest() == "");
            CHECK(!peer.code);
        },
        3);
}

TEST_CASE("one who never stops sending is cut off at last") {
    tell([](loop& owner) -> task<void> {
        http::limits sizes;
        sizes.linger_timeout = milliseconds(60);
        site here(owner, echo_path, sizes);
        raw_client peer = co_await here.visit();
        co_await peer.say("rubbish\r\n\r\n");
        while (!peer.code) {
            co_await peer.say("more");
            co_await sleep_for(milliseconds(1));
        }
        CHECK(here.web->stats().open == 0);
        CHECK(here.web->stats().timeouts == 1);
    });
}

TEST_CASE("a head that does not come in time is a 408, also a byte at a time") {
    tell([](loop& owner) -> task<void> {
        http::limits sizes;
        sizes.header_timeout = milliseconds(100);
        site here(owner, echo_path, sizes);
        // Nothing at all: closed without a word.
        raw_client silent = co_await here.visit();
        CHECK(co_await silent.rest() == "");
        CHECK(!silent.code);

        raw_client stalled = co_await here.visit();
        co_await stalled.say("GET / HTTP/1.1\r\nHo");
        answer got = co_await stalled.hear();
        CHECK(got.status == 408);

        const instant begun = owner.read_clock();
        raw_client slow = co_await here.visit();
        co_await drip(slow, get_text("/", "A: " + std::string(1000, 'a') + "\r\n"),
                      milliseconds(2));
        got = co_await slow.hear();
        CHECK((got.status == 408 || slow.code));
        CHECK(owner.read_clock() - begun >= 100'000'000);

        // Counted anew for the second request, from its own first byte.
        raw_client second = co_await here.visit();
        co_await second.say(get_text("/0"));
        co_await expect_numbers(second, 1);
        co_await sleep_for(milliseconds(130));
        co_await second.say("GET /0 HTTP");
        co_await sleep_for(milliseconds(30));
        co_await second.say("/1.1\r\nHost: a\r\n\r\nGET");
        co_await expect_numbers(second, 1);
        got = co_await second.hear();
        CHECK(got.status == 408);
        CHECK(here.web->stats().timeouts >= 4);
    });
}

TEST_CASE("a body that stops coming is a 408, one that keeps coming is not") {
    tell(
        [](loop& owner) -> task<void> {
            http::limits sizes;
            sizes.body_idle_timeout = milliseconds(400);
            readers all;
            site here(
                owner,
                [&](http::exchange& at) {
                    if (at.request().path == "/early") {
                        at.respond(200, "a/b", "early");
                        return;
                    }
                    reader& one = take_in(all, at);
                    one.on_end = [](reader& self) { self.at->respond(200, "a/b", self.body); };
                    if (at.request().path == "/stream") {
                        at.start_response(200, {}, http::body_framing::chunked());
                    }
                    at.want_body();
                },
                sizes);
            const std::string head = " HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
            raw_client slow = co_await here.visit();
            co_await slow.say("POST /" + head);
            for (const char* piece : {"slow", "and", "ok"}) {
                co_await sleep_for(milliseconds(200));
                co_await slow.say(piece);
            }
            answer got = co_await slow.hear();
            CHECK(got.body == "slowandok");

            raw_client stalled = co_await here.visit();
            co_await stalled.say("POST /" + head + "stall");
            got = co_await stalled.hear();
            CHECK(got.status == 408);
            CHECK(all.back()->aborts == 1);
            CHECK(all.back()->why == errc::timed_out);

            raw_client early = co_await here.visit();
            co_await early.say("POST /early" + head + "stall");
            got = co_await early.hear();
            CHECK(got.body == "early");
            CHECK(co_await early.rest() == "");

            raw_client streaming = co_await here.visit();
            co_await streaming.say("POST /stream" + head + "stall");
            got = co_await streaming.hear();
            CHECK(!got.complete);
            CHECK(streaming.code == std::errc::connection_reset);
            CHECK(all.back()->aborts == 1);
        },
        4);
}

TEST_CASE("a peer that takes no byte of an answer is cut off, a slow one is not") {
    tell(
        [](loop& owner) -> task<void> {
            http::limits sizes;
            sizes.write_stall_timeout = milliseconds(300);
            const std::string large(8'000'000, 'w');
            readers all;
            site here(
                owner,
                [&](http::exchange& at) {
                    if (at.request().path == "/late") {
                        reader& one = take_in(all, at);
                        one.on_room = [](reader& self) {
                            self.at->write(std::string(100'000, 'x'));
                        };
                    } else {
                        at.respond(200, "a/b", large);
                    }
                },
                sizes);
            raw_client stalled = co_await here.visit();
            co_await stalled.say(get_text("/"));
            co_await until([&] { return here.web->stats().timeouts == 1; });
            CHECK(here.web->stats().open == 0);
            const answer cut = co_await stalled.hear();
            CHECK(!cut.complete);

            // Streamed from outside of any event of the connection.
            raw_client late = co_await here.visit();
            co_await late.say(get_text("/late"));
            co_await until([&] { return !all.empty(); });
            all[0]->at->start_response(200, {}, http::body_framing::chunked());
            for (int piece = 0; piece < 100 && all[0]->at->writable(); ++piece) {
                all[0]->at->write(large);
            }
            co_await until([&] { return all[0]->aborts == 1; });
            CHECK(all[0]->why == errc::timed_out);

            raw_client slow = co_await here.visit();
            co_await slow.say(get_text("/"));
            for (std::size_t bytes = 0, wanted = 0; bytes < large.size() && !slow.ended;) {
                wanted += 1'000'000;
                co_await sleep_for(milliseconds(100));
                while (bytes < std::min(wanted, large.size()) && !slow.ended) {
                    co_await slow.receive();
                    bytes += std::exchange(slow.unread, {}).size();
                }
            }
            CHECK(!slow.ended);
            CHECK(here.web->stats().timeouts >= 2);
        },
        2);
}

TEST_CASE("an idle connection is closed in time, and not before") {
    tell([](loop& owner) -> task<void> {
        http::limits sizes;
        sizes.keep_alive_timeout = milliseconds(200);
        site here(owner, echo_path, sizes);
        raw_client peer = co_await here.visit();
        for (int round = 0; round < 3; ++round) {
            co_await peer.say(get_text("/0"));
            co_await expect_numbers(peer, 1);
            co_await sleep_for(milliseconds(60));
        }
        const instant begun = owner.read_clock();
        CHECK(co_await peer.rest() == "");
        CHECK(!peer.code);
        CHECK(owner.read_clock() - begun >= 100'000'000);
    });
}

TEST_CASE("a connection carries so many requests and no more") {
    tell([](loop& owner) -> task<void> {
        http::limits sizes;
        sizes.requests_per_connection_max = 3;
        site here(owner, echo_path, sizes);
        raw_client peer = co_await here.visit();
        co_await peer.say(numbered(5));
        for (int number = 0; number < 3; ++number) {
            const answer got = co_await peer.hear();
            CHECK(got.headers.value("Connection") == (number == 2 ? "close" : ""));
        }
        CHECK(co_await peer.rest() == "");
        CHECK(!peer.code);
        CHECK(here.web->stats().requests == 3);
    });
}

TEST_CASE("accepting pauses at the limit of connections and goes on below it") {
    tell([](loop& owner) -> task<void> {
        http::limits sizes;
        sizes.connections_max = 2;
        site here(owner, echo_path, sizes);
        std::vector<raw_client> peers;
        for (int number = 0; number < 2; ++number) {
            peers.push_back(co_await here.visit());
            co_await peers.back().say(get_text("/0"));
            co_await expect_numbers(peers.back(), 1);
        }
        co_await pass_time();
        for (int number = 0; number < 6; ++number) {
            peers.push_back(co_await here.visit());
            co_await peers.back().say(get_text("/0"));
        }
        co_await pass_time();
        CHECK(here.web->stats().open == 2);
        for (std::size_t next = 2; next < peers.size(); ++next) {
            peers[next - 2].stream.close();
            co_await expect_numbers(peers[next], 1);
            CHECK(here.web->stats().open <= 2);
        }
        CHECK(here.web->stats().connections == 8);
    });
}

TEST_CASE("connections beyond the limit are closed with the server, or by a drain") {
    tell([](loop& owner) -> task<void> {
        for (const bool drain : {false, true}) {
            http::limits sizes;
            sizes.connections_max = 1;
            site here(owner, echo_path, sizes);
            std::vector<raw_client> peers;
            for (int number = 0; number < 6; ++number) {
                peers.push_back(co_await here.visit());
            }
            co_await pass_time();
            CHECK(here.web->stats().open == 1);
            if (drain) {
                here.web->drain();
            } else {
                here.web.reset();
            }
            for (raw_client& peer : peers) {
                CHECK(co_await peer.rest() == "");
            }
        }
    });
}

TEST_CASE("a peer that only asks and never reads stops being served") {
    tell(
        [](loop& owner) -> task<void> {
            http::limits sizes;
            sizes.output_bytes_max = 100'000;
            sizes.requests_per_connection_max = ~0U;
            const std::string large(50'000, 'l');
            int handled = 0;
            site here(
                owner,
                [&](http::exchange& at) {
                    ++handled;
                    at.respond(200, "a/b", large);
                },
                sizes);
            raw_client peer = co_await here.visit();
            constexpr int asked = 600;
            co_await scoped([&](scope& both) -> task<void> {
                std::string text;
                for (int number = 0; number < asked; ++number) {
                    text += get_text("/", "Padding: " + std::string(1000, 'p') + "\r\n");
                }
                both.spawn(peer.say(text));
                co_await sleep_for(milliseconds(150));
                CHECK(handled < asked);
                for (int number = 0; number < asked; ++number) {
                    const answer got = co_await peer.hear();
                    CHECK(got.body.size() == large.size());
                }
            });
            CHECK(handled == asked);
        },
        2);
}

TEST_CASE("a drain closes the idle, lets the busy finish, and says when all have gone") {
    tell([](loop& owner) -> task<void> {
        readers all;
        int idles = 0;
        site here(owner, [&](http::exchange& at) {
            if (at.request().path == "/0") {
                echo_path(at);
            } else {
                take_in(all, at);
            }
        });
        raw_client fresh = co_await here.visit();
        raw_client idle = co_await here.visit();
        co_await idle.say(get_text("/0"));
        co_await expect_numbers(idle, 1);
        raw_client busy = co_await here.visit();
        co_await busy.say(get_text("/busy"));
        raw_client streaming = co_await here.visit();
        co_await streaming.say(get_text("/stream"));
        raw_client halfway = co_await here.visit();
        co_await halfway.say("GET /0 HTTP/1.1\r\n");
        co_await until([&] { return all.size() == 2 && here.web->stats().open == 5; });
        co_await pass_time();
        reader& stream_of = *all[all[0]->at->request().path == "/stream" ? 0 : 1];
        reader& busy_of = *all[all[0]->at->request().path == "/stream" ? 1 : 0];
        stream_of.at->start_response(200, {}, http::body_framing::chunked());

        here.web->on_idle([](void* count) noexcept { ++*static_cast<int*>(count); }, &idles);
        here.web->drain();
        here.web->drain();
        CHECK(co_await fresh.rest() == "");
        CHECK(co_await idle.rest() == "");
        CHECK((!fresh.code && !idle.code));
        CHECK(idles == 0);
        CHECK(!here.web->idle());
        // The listener is closed once its accept has been cancelled, which may come late.
        std::error_code refused;
        for (int tries = 0; tries < 100 && refused != std::errc::connection_refused; ++tries) {
            refused = co_await failure_of(here.visit());
        }
        CHECK(refused == std::errc::connection_refused);

        busy_of.at->respond(200, "a/b", "done");
        const answer got = co_await busy.hear();
        CHECK(got.body == "done");
        CHECK(got.headers.value("Connection") == "close");
        CHECK(co_await busy.rest() == "");
        co_await halfway.say("Host: a\r\n\r\n");
        const answer other = co_await halfway.hear();
        CHECK(other.body == "/0");
        CHECK(co_await halfway.rest() == "");
        stream_of.at->write("end");
        stream_of.at->finish();
        const answer streamed = co_await streaming.hear();
        CHECK(streamed.body == "end");
        CHECK(co_await streaming.rest() == "");
        CHECK(!streaming.code);
        for (raw_client* each : {&fresh, &idle, &busy, &streaming, &halfway}) {
            each->stream.close();
        }
        co_await until([&] { return here.web->idle(); });
        CHECK(idles == 1);
        here.web->on_idle([](void* count) noexcept { ++*static_cast<int*>(count); }, &idles);
        CHECK(idles == 2);  // it has ended already
    });
}

TEST_CASE("a drain closes also a connection whose answer is still on its way") {
    tell(
        [](loop& owner) -> task<void> {
            const std::string large(6'000'000, 'd');
            site here(owner, [&](http::exchange& at) { at.respond(200, "a/b", large); });
            raw_client peer = co_await here.visit();
            co_await peer.say(get_text("/"));
            co_await until([&] { return here.web->stats().requests == 1; });
            here.web->drain();
            const answer got = co_await peer.hear();
            CHECK(got.body.size() == large.size());
            CHECK(co_await peer.rest() == "");
            CHECK(!peer.code);
            peer.stream.close();
            co_await until([&] { return here.web->idle(); });
        },
        3);
}

TEST_CASE("a server may be destroyed while requests run") {
    tell(
        [](loop& owner) -> task<void> {
            readers all;
            const std::string large(6'000'000, 'd');
            site here(owner, [&](http::exchange& at) {
                if (at.request().path == "/large") {
                    at.respond(200, "a/b", large);
                } else {
                    take_in(all, at);
                    at.want_body();
                }
            });
            std::vector<raw_client> peers;
            const std::string requests[] = {
                get_text("/"),
                post_text("/", "body"),
                get_text("/large"),
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nha",
                "GET / HT",
                "rubbish\r\n\r\n",
                ""};
            for (const std::string& text : requests) {
                peers.push_back(co_await here.visit());
                co_await peers.back().say(text);
            }
            co_await until([&] { return all.size() == 3; });
            co_await pass_time();
            CHECK(here.web->stats().open == std::size(requests));
            here.web.reset();
            for (const auto& each : all) {
                CHECK(each->aborts == 1);
                CHECK(each->why == errc::closed);
            }
            for (raw_client& peer : peers) {
                co_await peer.rest();
                CHECK(peer.ended);
            }
        },
        4);
}

TEST_CASE("a listener of one exchange may abort another when both time out") {
    tell([](loop& owner) -> task<void> {
        http::limits sizes;
        sizes.body_idle_timeout = milliseconds(100);
        struct pair final : http::exchange_listener {
            http::exchange* at = nullptr;
            pair* other = nullptr;
            int aborts = 0;
            void on_body(std::string_view) noexcept override {}
            void on_body_end() noexcept override {}
            void on_writable() noexcept override {}
            void on_aborted(std::error_code) noexcept override {
                ++aborts;
                at = nullptr;
                if (other->at != nullptr) {
                    std::exchange(other->at, nullptr)->abort();
                }
            }
        } both[2];
        both[0].other = &both[1];
        both[1].other = &both[0];
        int next = 0;
        site here(
            owner,
            [&](http::exchange& at) {
                both[next].at = &at;
                at.take(both[next++]);
                at.want_body();
            },
            sizes);
        raw_client first = co_await here.visit();
        raw_client second = co_await here.visit();
        co_await first.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
        co_await second.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
        co_await first.rest();
        co_await second.rest();
        CHECK(both[0].aborts + both[1].aborts == 1);
        CHECK(here.web->stats().timeouts == 1);
    });
}

TEST_CASE("a server listens on several addresses, and says which one it cannot have") {
    tell([](loop& owner) -> task<void> {
        site here(owner, echo_path);
        const address second = here.web->listen(address::loopback_v4(0));
        CHECK(second.port() != here.where.port());
        here.where = second;
        raw_client peer = co_await here.visit();
        co_await peer.say(get_text("/0"));
        co_await expect_numbers(peer, 1);
        std::string text;
        try {
            here.web->listen(second);
        } catch (const error& failure) {
            text = failure.what();
        }
        CHECK(text.find("listen on " + second.text()) != std::string::npos);
        raw_client again = co_await here.visit();
        co_await again.say(get_text("/0"));
        co_await expect_numbers(again, 1);
    });
}

TEST_CASE("a thousand connections at once are served") {
    tell(
        [](loop& owner) -> task<void> {
            site here(owner, echo_path);
            std::vector<raw_client> peers;
            for (int number = 0; number < 1000; ++number) {
                peers.push_back(co_await here.visit());
                co_await peers.back().say(numbered(3));
            }
            for (raw_client& peer : peers) {
                co_await expect_numbers(peer, 3);
            }
            CHECK(here.web->stats().open == 1000);
            CHECK(here.web->stats().requests == 3000);
            for (raw_client& peer : peers) {
                peer.stream.close();
            }
            co_await until([&] { return here.web->idle(); });
        },
        1);
}
