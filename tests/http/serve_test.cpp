#include "http/serve.h"

#include <stdexcept>

#include "coro/gather.h"
#include "tests/http/talk.h"

using namespace ringlet;
using namespace ringlet::test;
using http::body_framing;
using std::chrono::milliseconds;

namespace {

// What the handlers of one story did.
struct log {
    int begun = 0;
    int ended = 0;      // their frames are gone
    int cancelled = 0;  // of these by a cancel
    int failures = 0;   // std::invalid_argument and std::length_error they were told of
};

struct mark {
    explicit mark(log& to) : notes(to) { ++notes.begun; }
    ~mark() { ++notes.ended; }
    log& notes;
};

using handler = task<void> (*)(log&, http::request&, http::response&);

struct bound {
    handler run;
    log* notes;
    task<void> operator()(http::request& in, http::response& out) { return run(*notes, in, out); }
};

// A service for one story.
struct app {
    app(loop& owner, handler run, log& notes, const http::limits& sizes = {})
        : web(std::in_place, owner, bound{run, &notes}, sizes) {
        where = web->listen(address::loopback_v4(0));
    }
    task<raw_client> visit() {
        tcp_stream stream = co_await connect(web->owner(), only(where));
        co_return raw_client(std::move(stream));
    }
    std::optional<http::service<bound>> web;
    address where;
};

task<void> various(log& notes, http::request& in, http::response& out) {
    const mark here(notes);
    const std::string path(in.path());
    if (path == "/send") {
        co_await out.send(200, "text/plain", std::string(in.method()) + std::string(in.query()));
    } else if (path == "/list") {
        http::headers fields;
        fields.add("X-Seen", in.header("x-given"));
        co_await out.send(201, fields, in.target());
    } else if (path == "/late") {
        co_await sleep_for(milliseconds(5));
        co_await out.send(200, "text/plain", "late");
    } else if (path == "/body") {
        const std::string body = co_await in.body();
        co_await out.send(200, "text/plain", body);
    } else if (path == "/echo") {
        out.start(200, {});
        for (;;) {
            const std::string piece = co_await in.read();
            if (piece.empty()) {
                break;
            }
            co_await out.write(piece);
        }
        out.finish();
    } else if (path == "/hints") {
        out.start(103, {});
        CHECK(!out.started());
        co_await out.send(200, "text/plain", "hinted");
    } else if (path == "/throw") {
        throw std::runtime_error("a test handler throws");
    } else if (path == "/throw-late") {
        co_await yield_now();
        throw std::runtime_error("a test handler throws late");
    } else if (path == "/throw-started") {
        out.start(200, {});
        co_await out.write("begun");
        throw std::runtime_error("a test handler throws in its answer");
    } else if (path == "/throw-after") {
        co_await out.send(200, "text/plain", "sent");
        throw std::runtime_error("a test handler throws after its answer");
    } else if (path == "/nothing") {
        co_await yield_now();
    } else if (path == "/unfinished") {
        out.start(200, {});
        co_await out.write("begun");
    }
}

task<std::string> body_of(raw_client& peer, std::string text, int status = 200) {
    co_await peer.say(std::move(text));
    answer got = co_await peer.hear();
    CHECK(got.status == status);
    CHECK(got.complete);
    co_return got.body;
}

}  // namespace

TEST_CASE("coroutine handlers see the request and answer it, at once, late or streamed") {
    tell([](loop& owner) -> task<void> {
        log notes;
        app here(owner, various, notes);
        raw_client peer = co_await here.visit();
        CHECK(co_await body_of(peer, get_text("/send?a=b")) == "GETa=b");
        co_await peer.say(get_text("/list?x", "X-Given: value\r\n"));
        const answer listed = co_await peer.hear();
        CHECK(listed.status == 201);
        CHECK(listed.headers.value("X-Seen") == "value");
        CHECK(listed.body == "/list?x");
        CHECK(co_await body_of(peer, get_text("/late")) == "late");
        CHECK(co_await body_of(peer, post_text("/body", "whole")) == "whole");
        CHECK(co_await body_of(peer, get_text("/body")) == "");
        const std::string large = pattern(700'000);
        CHECK(co_await body_of(peer, post_text("/body", large)) == large);
        CHECK(co_await body_of(peer, post_text("/echo", "back")) == "back");
        CHECK(co_await body_of(peer, get_text("/hints")) == "hinted");
        CHECK(peer.informational == "103 ");
        std::string all;
        for (int round = 0; round < 30; ++round) {
            all += get_text(round % 2 == 0 ? "/send?x" : "/late");
        }
        co_await peer.say(all);
        for (int round = 0; round < 30; ++round) {
            const answer got = co_await peer.hear();
            CHECK(got.body == (round % 2 == 0 ? "GETx" : "late"));
        }
        co_await until([&] { return notes.ended == notes.begun; });
        CHECK(notes.begun == 38);
    });
}

TEST_CASE("a large body is echoed while it comes, both sides at their own pace") {
    tell(
        [](loop& owner) -> task<void> {
            log notes;
            http::limits sizes;
            sizes.body_bytes_max = 100'000'000;
            sizes.output_bytes_max = 200'000;
            app here(owner, various, notes, sizes);
            raw_client peer = co_await here.visit();
            const std::string large = pattern(6'000'000);
            answer got;
            co_await scoped([&](scope& both) -> task<void> {
                both.spawn(peer.say(post_text("/echo", large)));
                co_await sleep_for(milliseconds(100));
                got = co_await peer.hear();
            });
            CHECK(got.body == large);
        },
        3);
}

TEST_CASE("a handler that fails is a 500, or a reset once it has begun to answer") {
    tell(
        [](loop& owner) -> task<void> {
            log notes;
            app here(owner, various, notes);
            raw_client peer = co_await here.visit();
            CHECK(co_await body_of(peer, get_text("/throw"), 500) == "The handler failed.\n");
            CHECK(co_await body_of(peer, get_text("/throw-late"), 500) == "The handler failed.\n");
            CHECK(co_await body_of(peer, get_text("/nothing"), 500) ==
                  "The handler gave no answer.\n");
            CHECK(co_await body_of(peer, get_text("/throw-after")) == "sent");
            CHECK(co_await body_of(peer, get_text("/send?on")) == "GETon");
            for (const char* path : {"/throw-started", "/unfinished"}) {
                raw_client other = co_await here.visit();
                co_await other.say(get_text(path));
                const answer got = co_await other.hear();
                CHECK(!got.complete);
                CHECK(other.code == std::errc::connection_reset);
            }
            CHECK(notes.ended == notes.begun);
        },
        3);
}

TEST_CASE("a callable that throws before it is a coroutine is a 500 too") {
    tell(
        [](loop& owner) -> task<void> {
            const auto throwing = [](http::request&, http::response&) -> task<void> {
                throw std::runtime_error("a test callable throws");
            };
            http::service web(owner, throwing);
            const address where = web.listen(address::loopback_v4(0));
            raw_client peer(co_await connect(owner, only(where)));
            CHECK(co_await body_of(peer, get_text("/"), 500) == "The handler failed.\n");
            CHECK(co_await body_of(peer, post_text("/", "body"), 500) == "The handler failed.\n");
        },
        2);
}

TEST_CASE("what may not be sent is told to the handler") {
    tell([](loop& owner) -> task<void> {
        log notes;
        app here(
            owner,
            [](log& told, http::request& in, http::response& out) -> task<void> {
                http::headers fields;
                fields.add("Split", "a\r\nb: c");
                const std::string path(in.path());
                try {
                    if (path == "/send") {
                        co_await out.send(200, fields, "text");
                    } else if (path == "/start") {
                        out.start(200, fields);
                    } else {
                        out.start(200, {}, body_framing::sized(4));
                        co_await out.write(path == "/long" ? "12345" : "123");
                        out.finish();
                    }
                } catch (const std::invalid_argument& failure) {
                    ++told.failures;
                    CHECK(std::string_view(failure.what()).find("header value") !=
                          std::string_view::npos);
                } catch (const std::length_error& failure) {
                    ++told.failures;
                    CHECK(std::string_view(failure.what()).starts_with("The body is "));
                }
                if (path == "/start") {
                    co_await out.send(200, "a/b", "second try");
                }
            },
            notes);
        raw_client peer = co_await here.visit();
        CHECK(co_await body_of(peer, get_text("/send"), 500) ==
              "The handler's answer could not be sent.\n");
        CHECK(co_await body_of(peer, get_text("/start")) == "second try");
        for (const char* path : {"/long", "/short"}) {
            raw_client other = co_await here.visit();
            co_await other.say(get_text(path));
            const answer got = co_await other.hear();
            CHECK(!got.complete);
            CHECK(other.code == std::errc::connection_reset);
        }
        CHECK(notes.failures == 4);
    });
}

TEST_CASE("a handler that reads slowly makes its peer wait") {
    tell(
        [](loop& owner) -> task<void> {
            log notes;
            http::limits sizes;
            sizes.body_bytes_max = 100'000'000;
            app here(
                owner,
                [](log&, http::request& in, http::response& out) -> task<void> {
                    std::size_t bytes = 0;
                    std::size_t largest = 0;
                    for (;;) {
                        const std::string piece = co_await in.read();
                        if (piece.empty()) {
                            break;
                        }
                        bytes += piece.size();
                        largest = std::max(largest, piece.size());
                        if (bytes < 2'000'000) {
                            co_await sleep_for(milliseconds(20));
                        }
                    }
                    CHECK(largest < 4'000'000);
                    co_await out.send(200, "a/b", std::to_string(bytes));
                },
                notes, sizes);
            raw_client peer = co_await here.visit();
            CHECK(co_await body_of(peer, post_text("/", std::string(9'000'000, 's'))) == "9000000");
        },
        3);
}

TEST_CASE("a handler is cancelled when its peer goes away, wherever it waits") {
    tell(
        [](loop& owner) -> task<void> {
            log notes;
            app here(
                owner,
                [](log& told, http::request& in, http::response& out) -> task<void> {
                    const mark here_is(told);
                    try {
                        if (in.path() == "/sleep") {
                            co_await sleep_for(std::chrono::hours(1));
                        } else if (in.path() == "/read") {
                            (void)co_await in.body();
                        } else if (in.path() == "/write") {
                            out.start(200, {});
                            for (;;) {
                                co_await out.write(std::string(100'000, 'w'));
                            }
                        } else {
                            co_await gather(
                                [](http::request& from) -> task<void> {
                                    (void)co_await from.body();
                                }(in),
                                [](http::response& to) -> task<void> {
                                    to.start(200, {});
                                    for (;;) {
                                        co_await to.write(std::string(100'000, 'w'));
                                    }
                                }(out));
                        }
                    } catch (const cancelled&) {
                        ++told.cancelled;
                        CHECK_THROWS_AS((void)in.path(), cancelled);
                        CHECK_THROWS_AS(out.finish(), cancelled);
                        throw;
                    }
                },
                notes);
            for (const char* path : {"/sleep", "/read", "/write", "/both"}) {
                CAPTURE(path);
                const int before = notes.ended;
                raw_client peer = co_await here.visit();
                co_await peer.say("POST " + std::string(path) +
                                  " HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
                co_await until([&] { return notes.begun == before + 1; });
                co_await pass_time();
                CHECK(notes.ended == before);
                peer.stream.abort();
                co_await until([&] { return notes.ended == before + 1; });
                CHECK(notes.cancelled == before + 1);
            }
            CHECK(here.web->stats().open == 0);
        },
        6);
}

TEST_CASE("handlers outlive a destroyed service until they have ended") {
    log notes;
    for (int round = 0; round < (real_kernel() ? 1 : 8); ++round) {
        loop owner(options_with_seed(seed() + static_cast<std::uint64_t>(round)));
        run(owner, [](loop& on, log& told) -> task<void> {
            app here(
                on,
                [](log& to, http::request&, http::response& out) -> task<void> {
                    const mark running(to);
                    try {
                        co_await sleep_for(std::chrono::hours(1));
                    } catch (const cancelled&) {
                        ++to.cancelled;
                    }
                    co_await out.send(200, "a/b", "nobody hears this");  // throws `cancelled`
                },
                told);
            raw_client peer = co_await here.visit();
            co_await peer.say(get_text("/"));
            const int before = told.ended;
            co_await until([&] { return told.begun == before + 1; });
            here.web.reset();
            CHECK(told.ended == before);
            (void)co_await peer.rest();
        }(owner, notes));
        CHECK(notes.ended == round + 1);
        CHECK(notes.cancelled == round + 1);
    }
}
