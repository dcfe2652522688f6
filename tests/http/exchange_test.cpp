#include "http/exchange.h"

#include <algorithm>

#include "tests/http/talk.h"

using namespace ringlet;
using namespace ringlet::test;
using http::body_framing;
using http::header_view;

namespace {

// Everything but the date, which changes.
std::string without_date(std::string text) {
    const std::size_t at = text.find("Date: ");
    return at == std::string::npos
               ? text
               : text.erase(at, sizeof "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" - 1);
}

using readers = std::vector<std::unique_ptr<reader>>;

reader& take_in(readers& all, http::exchange& at) {
    return *all.emplace_back(std::make_unique<reader>(at));
}

}  // namespace

TEST_CASE("an answer at once has status, date, type, length and body") {
    tell([](loop& owner) -> task<void> {
        site here(owner, [](http::exchange& at) { at.respond(200, "text/plain", "Hello"); });
        const std::string text =
            co_await here.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        CHECK(text.find("\r\nDate: ") != std::string::npos);
        CHECK(without_date(text) ==
              "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
              "Connection: close\r\n\r\nHello");
    });
}

TEST_CASE("HEAD gets the same head and no body, and the connection goes on") {
    tell([](loop& owner) -> task<void> {
        site here(owner, [](http::exchange& at) {
            if (at.request().path == "/list") {
                const header_view type{"Content-Type", "a/b"};
                at.respond(200, std::span(&type, 1), "twelve bytes");
            } else if (at.request().path == "/stream") {
                at.start_response(200, {}, body_framing::chunked());
                CHECK(at.write("never sent"));
                CHECK(at.finish());
            } else {
                at.respond(200, "a/b", "twelve bytes");
            }
        });
        raw_client peer = co_await here.visit();
        for (const char* path : {"/", "/list", "/stream"}) {
            CAPTURE(path);
            co_await peer.say("HEAD " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n\r\n");
            const answer head = co_await peer.hear(http::method::head);
            CHECK(head.status == 200);
            CHECK(head.complete);
            CHECK(peer.unread.empty());
            if (path != std::string_view("/stream")) {
                CHECK(head.headers.value("Content-Length") == "12");
            }
        }
        co_await peer.say(get_text("/"));
        const answer whole = co_await peer.hear();
        CHECK(whole.body == "twelve bytes");
    });
}

TEST_CASE("HTTP/1.0 is answered and closed, unless it asks to be kept") {
    tell([](loop& owner) -> task<void> {
        site here(owner, [](http::exchange& at) { at.respond(200, "a/b", "x"); });
        const std::string closed = co_await here.ask("GET / HTTP/1.0\r\n\r\n");
        CHECK(closed.find("Connection: close") != std::string::npos);
        raw_client peer = co_await here.visit();
        for (int round = 0; round < 2; ++round) {
            co_await peer.say("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
            const answer kept = co_await peer.hear();
            CHECK(kept.headers.value("Connection") == "keep-alive");
        }
    });
}

TEST_CASE("a header that may not be sent makes the answer a 500 and splits nothing") {
    tell([](loop& owner) -> task<void> {
        std::vector<http::write_error> failures;
        site here(owner, [&](http::exchange& at) {
            const header_view lists[] = {{"X", "a\r\nSet-Cookie: b"},
                                         {"X y", "a"},
                                         {"Content-Length", "3"},
                                         {"transfer-encoding", "chunked"},
                                         {"X", std::string_view("a\0b", 3)}};
            const std::string_view path = at.request().path;
            if (path == "/type") {
                failures.push_back(at.respond(200, "text/html\r\nX: y", "body"));
            } else if (path == "/status") {
                failures.push_back(at.respond(99, "text/html", "body"));
            } else if (path == "/interim") {
                failures.push_back(at.respond(103, "text/html", "body"));
            } else if (path == "/switch") {
                failures.push_back(at.start_response(101, {}, body_framing::none()));
                at.respond(200, "a/b", "");
            } else {
                failures.push_back(at.respond(200, std::span(&lists[path.at(1) - '0'], 1), "body"));
            }
        });
        raw_client peer = co_await here.visit();
        for (const char* path : {"/0", "/1", "/2", "/3", "/4", "/type", "/status", "/interim"}) {
            CAPTURE(path);
            co_await peer.say(get_text(path));
            const answer got = co_await peer.hear();
            CHECK(got.status == 500);
            CHECK(got.body == "The handler's answer could not be sent.\n");
            CHECK(!got.headers.contains("Set-Cookie"));
            CHECK(!got.headers.contains("X"));
        }
        co_await peer.say(get_text("/switch"));
        const answer got = co_await peer.hear();
        CHECK(got.status == 200);
        CHECK(peer.informational.empty());
        CHECK(failures.size() == 9);
        CHECK(std::count(failures.begin(), failures.end(), http::write_error::none) == 0);
    });
}

TEST_CASE("answers without a body, and statuses without a name") {
    tell([](loop& owner) -> task<void> {
        site here(owner, [](http::exchange& at) {
            const std::string_view path = at.request().path;
            const int status = std::stoi(std::string(path.substr(1)));
            at.respond(status, "a/b", status == 299 ? "odd" : "");
        });
        raw_client peer = co_await here.visit();
        for (const int status : {204, 304, 299, 200}) {
            co_await peer.say(get_text("/" + std::to_string(status)));
            const answer got = co_await peer.hear();
            CHECK(got.status == status);
            CHECK(got.complete);
            CHECK(got.body == (status == 299 ? "odd" : ""));
        }
        CHECK(peer.unread.empty());
    });
}

TEST_CASE("interim answers come before the final one, and not to HTTP/1.0") {
    tell([](loop& owner) -> task<void> {
        site here(owner, [](http::exchange& at) {
            const header_view link{"Link", "</style.css>"};
            CHECK(at.start_response(103, std::span(&link, 1), body_framing::none()) ==
                  http::write_error::none);
            CHECK(!at.started());
            at.respond(200, "a/b", "final");
        });
        raw_client peer = co_await here.visit();
        co_await peer.say(get_text("/"));
        const answer got = co_await peer.hear();
        CHECK(got.body == "final");
        CHECK(peer.informational == "103 ");
        const std::string old = co_await here.ask("GET / HTTP/1.0\r\n\r\n");
        CHECK(old.starts_with("HTTP/1.1 200 OK\r\n"));
    });
}

TEST_CASE("a streamed answer is chunked, sized, or ends with the connection") {
    tell([](loop& owner) -> task<void> {
        site here(owner, [](http::exchange& at) {
            const std::string_view path = at.request().path;
            const body_framing how = path == "/sized"   ? body_framing::sized(10)
                                     : path == "/close" ? body_framing::until_close()
                                                        : body_framing::chunked();
            CHECK(at.start_response(200, {}, how) == http::write_error::none);
            CHECK(at.started());
            CHECK(at.write("hello"));
            CHECK(at.write(""));
            CHECK(at.write("world"));
            CHECK(at.finish());
        });
        raw_client peer = co_await here.visit();
        co_await peer.say(get_text("/chunked") + get_text("/sized") + get_text("/close"));
        const answer chunked = co_await peer.hear();
        CHECK(chunked.headers.value("Transfer-Encoding") == "chunked");
        CHECK(chunked.body == "helloworld");
        const answer sized = co_await peer.hear();
        CHECK(sized.headers.value("Content-Length") == "10");
        CHECK(sized.body == "helloworld");
        const answer last = co_await peer.hear();
        CHECK(last.headers.value("Connection") == "close");
        CHECK(last.complete);
        CHECK(last.body == "helloworld");
        CHECK(!peer.code);
        const std::string old =
            co_await here.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        CHECK(old.ends_with("Connection: close\r\n\r\nhelloworld"));
    });
}

TEST_CASE("the end of a stream that has nothing more to send closes at once") {
    tell([](loop& owner) -> task<void> {
        readers all;
        site here(owner, [&](http::exchange& at) {
            take_in(all, at);
            at.start_response(200, {}, body_framing::until_close());
            CHECK(at.write("all of it"));
        });
        raw_client peer = co_await here.visit();
        co_await peer.say(get_text("/"));
        co_await peer.hear_to("all of it");
        co_await pass_time();
        const instant begun = owner.read_clock();
        CHECK(all.at(0)->at->finish());
        const std::string more = co_await peer.rest();
        CHECK(more.empty());
        CHECK(!peer.code);
        CHECK(owner.read_clock() - begun < 1'500'000'000);
    });
}

TEST_CASE("an announced length that is not kept resets the connection") {
    tell([](loop& owner) -> task<void> {
        readers all;
        bool taken = false;
        site here(owner, [&](http::exchange& at) {
            if (taken) {
                take_in(all, at);
            }
            at.start_response(200, {}, body_framing::sized(8));
            if (at.request().path == "/long") {
                CHECK(at.write("12345678"));
                CHECK(!at.write("9"));
            } else {
                CHECK(at.write("1234567"));
                CHECK(!at.finish());
            }
        });
        for (const char* path : {"/long", "/short"}) {
            for (const bool take : {false, true}) {
                taken = take;
                raw_client peer = co_await here.visit();
                co_await peer.say(get_text(path));
                const answer got = co_await peer.hear();
                CHECK((got.status == 0 || !got.complete || path == std::string_view("/long")));
                CHECK((peer.ended || got.complete));
                co_await peer.rest();
                CHECK(peer.code == std::errc::connection_reset);
            }
        }
        for (const auto& each : all) {
            CHECK(each->aborts == 0);  // the caller was told by `false`
        }
    });
}

TEST_CASE("an answer may come later, and the request is kept for it") {
    tell([](loop& owner) -> task<void> {
        readers all;
        site here(owner, [&](http::exchange& at) { take_in(all, at); });
        raw_client peer = co_await here.visit();
        co_await peer.say(get_text("/first?q=1", "X-Mark: one\r\n") + get_text("/second"));
        co_await until([&] { return !all.empty(); });
        co_await pass_time();
        CHECK(all.size() == 1);  // the second waits for the answer to the first
        REQUIRE(all[0]->aborts == 0);
        const http::request_head& seen = all[0]->at->request();
        CHECK(seen.path == "/first");
        CHECK(seen.query == "q=1");
        CHECK(seen.value("x-mark") == "one");
        CHECK(seen.host == "here");
        CHECK(all[0]->at->peer_address() == peer.stream.local_address());
        CHECK(all[0]->at->respond(200, "a/b", "one") == http::write_error::none);
        co_await until([&] { return all.size() == 2; });
        CHECK(all[1]->at->request().path == "/second");
        all[1]->at->respond(404, "a/b", "two");
        const answer one = co_await peer.hear();
        CHECK(one.body == "one");
        const answer two = co_await peer.hear();
        CHECK(two.status == 404);
        CHECK(all[0]->ends + all[1]->ends + all[0]->aborts + all[1]->aborts == 0);
    });
}

TEST_CASE("a body comes to whoever wants it, whole, in order, with one end") {
    tell([](loop& owner) -> task<void> {
        readers all;
        site here(owner, [&](http::exchange& at) {
            reader& one = take_in(all, at);
            one.on_end = [](reader& self) {
                self.at->respond(200, "a/b", std::to_string(self.body.size()));
            };
            at.want_body();
        });
        raw_client peer = co_await here.visit();
        const std::string large = pattern(200'000);
        co_await peer.say(post_text("/", "small") + post_text("/", large) + get_text("/none") +
                          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n" +
                          post_text("/", ""));
        for (const char* size : {"5", "200000", "0", "7", "0"}) {
            const answer got = co_await peer.hear();
            CHECK(got.body == size);
        }
        for (const char byte : post_text("/", "slow")) {
            co_await peer.say(std::string(1, byte));
            co_await yield_now();
        }
        const answer got = co_await peer.hear();
        CHECK(got.body == "4");
        REQUIRE(all.size() == 6);
        CHECK(all[1]->body == large);
        CHECK(all[3]->body == "abcdefg");
        CHECK(all[5]->body == "slow");
        for (const auto& each : all) {
            CHECK(each->ends == 1);
            CHECK(each->aborts == 0);
        }
    });
}

TEST_CASE("100 Continue is sent when the body is wanted, once") {
    tell([](loop& owner) -> task<void> {
        readers all;
        site here(owner, [&](http::exchange& at) {
            reader& one = take_in(all, at);
            one.on_end = [](reader& self) { self.at->respond(200, "a/b", self.body); };
            if (at.request().path == "/now") {
                at.want_body();
            }
        });
        const std::string expecting =
            " HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
        raw_client peer = co_await here.visit();
        co_await peer.say("POST /now" + expecting);
        CHECK(co_await peer.hear_to("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
        co_await peer.say("body");
        answer got = co_await peer.hear();
        CHECK(got.body == "body");

        co_await peer.say("POST /later" + expecting);
        co_await until([&] { return all.size() == 2; });
        co_await pass_time();
        all[1]->at->want_body();
        CHECK(co_await peer.hear_to("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
        co_await peer.say("more");
        got = co_await peer.hear();
        CHECK(got.body == "more");
        CHECK(got.headers.value("Connection") == "");

        // A peer that does not wait.
        co_await peer.say("POST /now" + expecting + "fast");
        got = co_await peer.hear();
        CHECK(got.body == "fast");
        // HTTP/1.0 knows no 100.
        const std::string old = co_await here.ask(
            "POST /now HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok");
        CHECK(old.starts_with("HTTP/1.1 200 OK\r\n"));
    });
}

TEST_CASE("an early answer to Expect closes, because the body may come or not") {
    tell([](loop& owner) -> task<void> {
        int requests = 0;
        site here(owner, [&](http::exchange& at) {
            ++requests;
            at.respond(417, "a/b", "no");
        });
        raw_client peer = co_await here.visit();
        co_await peer.say(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\nExpect: 100-continue\r\n\r\n");
        const answer got = co_await peer.hear();
        CHECK(got.status == 417);
        CHECK(got.headers.value("Connection") == "close");
        co_await peer.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n...");
        CHECK(co_await peer.rest() == "");
        CHECK(requests == 1);
    });
}

TEST_CASE("a body nobody wants is dropped after the answer, and the connection goes on") {
    tell([](loop& owner) -> task<void> {
        site here(owner, [](http::exchange& at) { at.respond(200, "a/b", at.request().path); });
        raw_client peer = co_await here.visit();
        co_await peer.say(post_text("/one", std::string(100'000, 'x')) + get_text("/two"));
        const answer one = co_await peer.hear();
        CHECK(one.body == "/one");
        const answer two = co_await peer.hear();
        CHECK(two.body == "/two");
    });
}

TEST_CASE("what follows an early answer gets no second one, however broken it is") {
    tell([](loop& owner) -> task<void> {
        site here(owner, [](http::exchange& at) { at.respond(200, "a/b", "early"); });
        raw_client peer = co_await here.visit();
        co_await peer.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        const answer got = co_await peer.hear();
        CHECK(got.body == "early");
        co_await peer.say("this is no chunk size\r\n");
        CHECK(co_await peer.rest() == "");
        CHECK(!peer.code);
    });
}

TEST_CASE("a paused body makes the peer wait, and all of it comes in the end") {
    tell(
        [](loop& owner) -> task<void> {
            http::limits sizes;
            sizes.body_bytes_max = 100'000'000;
            sizes.body_idle_timeout = std::chrono::milliseconds(300);
            readers all;
            site here(
                owner,
                [&](http::exchange& at) {
                    reader& one = take_in(all, at);
                    one.on_piece = [](reader& self) {
                        if (self.body.size() > 50'000) {
                            self.at->pause_body();
                        }
                    };
                    one.on_end = [](reader& self) { self.at->respond(200, "a/b", "thanks"); };
                    at.want_body();
                },
                sizes);
            raw_client peer = co_await here.visit();
            const std::string large = pattern(12'000'000);
            bool sent = false;
            co_await scoped([&](scope& both) -> task<void> {
                both.spawn([](raw_client& from, const std::string& what, bool& done) -> task<void> {
                    co_await from.say(post_text("/", what));
                    done = true;
                }(peer, large, sent));
                co_await until([&] { return !all.empty() && all[0]->body.size() > 50'000; });
                co_await sleep_for(std::chrono::milliseconds(600));  // longer than a body may pause
                CHECK(!sent);
                CHECK(all[0]->body.size() < 1'000'000);
                CHECK(all[0]->aborts == 0);
                all[0]->on_piece = {};
                all[0]->at->resume_body();
                const answer got = co_await peer.hear();
                CHECK(got.body == "thanks");
            });
            CHECK(sent);
            CHECK(all[0]->ends == 1);
            CHECK(all[0]->body == large);
        },
        4);
}

TEST_CASE("a writer is told when to stop and when to go on") {
    tell(
        [](loop& owner) -> task<void> {
            http::limits sizes;
            sizes.output_bytes_max = 100'000;
            readers all;
            std::size_t written = 0;
            constexpr std::size_t whole = 20'000'000;
            const std::string text = pattern(1000);
            const auto fill = [&](reader& self) {
                while (written < whole && self.at->writable()) {
                    CHECK(self.at->write(text));
                    written += text.size();
                }
                if (written == whole) {
                    self.at->finish();
                }
            };
            site here(
                owner,
                [&](http::exchange& at) {
                    if (at.request().path == "/next") {
                        CHECK(written == whole);
                        at.respond(200, "a/b", "next");
                        return;
                    }
                    reader& one = take_in(all, at);
                    one.on_room = fill;
                    at.start_response(200, {}, body_framing::sized(whole));
                    fill(one);
                },
                sizes);
            raw_client peer = co_await here.visit();
            co_await peer.say(get_text("/") + get_text("/next"));
            co_await sleep_for(std::chrono::milliseconds(100));
            CHECK(written < whole);
            const answer got = co_await peer.hear();
            REQUIRE(got.body.size() == whole);
            bool same = true;
            for (std::size_t at = 0; at < whole && same; at += text.size()) {
                same = std::string_view(got.body).substr(at, text.size()) == text;
            }
            CHECK(same);
            CHECK(all[0]->writables > 0);
            CHECK(all[0]->aborts == 0);
            const answer next = co_await peer.hear();
            CHECK(next.body == "next");
        },
        3);
}

TEST_CASE("a handler that gives no answer is a 500, one that leaves a stream open a reset") {
    tell([](loop& owner) -> task<void> {
        site here(owner, [](http::exchange& at) {
            if (at.request().path == "/stream") {
                at.start_response(200, {}, body_framing::chunked());
                CHECK(at.write("cut"));
            }
        });
        raw_client peer = co_await here.visit();
        co_await peer.say(get_text("/none"));
        const answer got = co_await peer.hear();
        CHECK(got.status == 500);
        CHECK(got.body == "The handler gave no answer.\n");
        co_await peer.say(get_text("/stream"));
        co_await peer.rest();
        CHECK(peer.code == std::errc::connection_reset);
    });
}

TEST_CASE("an exchange may be aborted anywhere, and then tells nothing more") {
    tell([](loop& owner) -> task<void> {
        for (int where = 0; where < 6; ++where) {
            CAPTURE(where);
            readers all;
            site here(owner, [&](http::exchange& at) {
                if (where == 0) {
                    at.abort();
                    return;
                }
                reader& one = take_in(all, at);
                if (where == 1) {
                    at.abort();
                    return;
                }
                if (where == 2) {
                    one.on_piece = [](reader& self) { self.at->abort(); };
                } else if (where == 3) {
                    one.on_end = [](reader& self) { self.at->abort(); };
                } else if (where == 4) {
                    one.on_end = [](reader& self) {
                        self.at->start_response(200, {}, body_framing::chunked());
                        self.at->write("some");
                        self.at->abort();
                    };
                }
                if (where == 5) {
                    at.want_body();
                    at.abort();
                    return;
                }
                at.want_body();
            });
            raw_client peer = co_await here.visit();
            co_await peer.say(post_text("/", "body") + get_text("/"));
            CHECK(co_await peer.rest() == "");
            CHECK(peer.code == std::errc::connection_reset);
            CHECK(all.size() == (where == 0 ? 0 : 1));
            for (const auto& each : all) {
                CHECK(each->aborts == 0);
                // Those that abort at the end have heard all of it, byte by byte at the worst.
                CHECK(each->pieces <= (where == 3 || where == 4 ? 4 : 1));
            }
            CHECK(here.web->stats().open == 0);
        }
    });
}

TEST_CASE("a peer that goes away aborts what it asked for") {
    tell([](loop& owner) -> task<void> {
        for (int when = 0; when < 4; ++when) {
            CAPTURE(when);
            readers all;
            site here(owner, [&](http::exchange& at) {
                reader& one = take_in(all, at);
                if (when == 3 && (at.start_response(200, {}, body_framing::chunked()) !=
                                      http::write_error::none ||
                                  !one.at->write("begun"))) {
                    return;  // out of memory, and that was the end
                }
                at.want_body();
            });
            raw_client peer = co_await here.visit();
            if (when < 2) {
                co_await peer.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
            } else {
                co_await peer.say(get_text("/"));
            }
            co_await until([&] { return !all.empty() && (when >= 2 || all[0]->body == "half"); });
            if (when == 0) {
                peer.stream.shutdown_send();  // in the middle of the body
                CHECK(co_await peer.rest() == "");
            } else {
                peer.stream.abort();
            }
            co_await until([&] { return all[0]->aborts > 0; });
            CHECK(all[0]->aborts == 1);
            CHECK(all[0]->why == (when == 0 ? make_error_code(errc::end_of_stream)
                                            : std::error_code(ECONNRESET, std::system_category())));
            CHECK(all[0]->ends == (when < 2 ? 0 : 1));
            CHECK(here.web->stats().open == 0);
        }
    });
}

TEST_CASE("a request whose sender ended its side is answered all the same") {
    tell([](loop& owner) -> task<void> {
        readers all;
        site here(owner, [&](http::exchange& at) {
            if (at.request().path == "/now") {
                at.respond(200, "a/b", "now");
            } else {
                take_in(all, at);
            }
        });
        raw_client peer = co_await here.visit();
        co_await peer.say(get_text("/now") + post_text("/late", "text") + get_text("/now"));
        peer.stream.shutdown_send();
        co_await until([&] { return !all.empty(); });
        co_await pass_time();
        CHECK(all[0]->aborts == 0);
        all[0]->on_end = [](reader& self) { self.at->respond(200, "a/b", self.body); };
        all[0]->at->want_body();
        std::string bodies;
        for (int round = 0; round < 3; ++round) {
            const answer got = co_await peer.hear();
            bodies += got.body + " ";
        }
        CHECK(bodies == "now text now ");
        CHECK(co_await peer.rest() == "");
        CHECK(!peer.code);
    });
}

TEST_CASE("a body paused at its last byte is still whole after its sender has ended") {
    tell([](loop& owner) -> task<void> {
        readers all;
        site here(owner, [&](http::exchange& at) {
            reader& one = take_in(all, at);
            one.on_piece = [](reader& self) { self.at->pause_body(); };
            one.on_end = [](reader& self) { self.at->respond(200, "a/b", self.body); };
            at.want_body();
        });
        raw_client peer = co_await here.visit();
        co_await peer.say(post_text("/", "whole"));
        peer.stream.shutdown_send();
        co_await until([&] { return !all.empty(); });
        while (all[0]->ends == 0) {
            co_await sleep_for(std::chrono::milliseconds(3));
            CHECK(all[0]->aborts == 0);
            all[0]->at->resume_body();
        }
        const answer got = co_await peer.hear();
        CHECK(got.body == "whole");
    });
}
