#include "net/tcp_stream.h"

#include <sys/resource.h>

#include <algorithm>

#include "tests/net/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

// Sends `text` in pieces of random sizes, now and then after a pause, then ends the direction.
task<void> send_in_pieces(tcp_stream& to, std::string_view text, std::uint64_t piece_seed) {
    detail::fake_random random(piece_seed);
    while (!text.empty()) {
        const std::size_t bytes = std::min<std::size_t>(text.size(), 1 + random.below(100'000));
        co_await to.send(text.substr(0, bytes));
        text.remove_prefix(bytes);
        if (random.chance(40)) {
            co_await yield_now();
        }
    }
    to.shutdown_send();
}

task<void> receive_to(tcp_stream& from, std::string& into) { into = co_await read_all(from); }

task<void> send_all_of(tcp_stream& to, std::string_view text, std::error_code& code) {
    try {
        co_await to.send(text);
    } catch (const error& failure) {
        code = failure.code();
    } catch (const cancelled&) {
        code = std::make_error_code(std::errc::operation_canceled);
    }
}

task<chunk> receive_task(tcp_stream& from) { co_return co_await from.receive(); }

task<void> echo_one(tcp_stream client, std::uint64_t text_seed, int& good) {
    detail::fake_random random(text_seed);
    const std::string text = random_text(random, 1 + random.below(2000));
    co_await client.send(text);
    std::string got(text.size(), '\0');
    co_await client.read_exactly(std::as_writable_bytes(std::span(got)));
    good += got == text;
}

task<void> serve_echo(tcp_listener& door, scope& served) {
    for (;;) {
        tcp_stream peer = co_await door.accept();
        served.spawn(echo_until_end(std::move(peer)));
    }
}

}  // namespace

TEST_CASE("random bytes go both ways at once and arrive whole and in order") {
    tell([](loop& owner) -> task<void> {
        detail::fake_random random(seed());
        stream_pair both = co_await connected_pair(owner);
        const std::string up = random_text(random, 1'500'000);
        const std::string down = random_text(random, 700'001);
        std::string got_up;
        std::string got_down;
        scope parts(owner);
        parts.spawn(send_in_pieces(both.client, up, seed()));
        parts.spawn(send_in_pieces(both.server, down, seed() + 1));
        parts.spawn(receive_to(both.server, got_up));
        parts.spawn(receive_to(both.client, got_down));
        co_await parts.join();
        CHECK(got_up == up);
        CHECK(got_down == down);
        CHECK(both.client.readable());
    }, 6);
}

TEST_CASE("a thousand streams echo at once") {
    rlimit limit = {};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const int count = limit.rlim_cur > 2500 ? 1000 : 400;
    static int streams;
    streams = count;
    tell([](loop& owner) -> task<void> {
        tcp_listener door(owner, address::loopback_v4(0));
        const std::vector<address> there = only(door.local_address());
        scope served(owner);
        served.spawn(serve_echo(door, served));
        int good = 0;
        scope clients(owner);
        std::vector<tcp_stream> all;
        for (int at = 0; at < streams; ++at) {
            all.push_back(co_await connect(owner, there));
        }
        std::uint64_t text_seed = seed();
        for (tcp_stream& each : all) {
            clients.spawn(echo_one(std::move(each), ++text_seed, good));
        }
        co_await clients.join();
        CHECK(good == streams);
        while (served.size() > 1) {
            co_await yield_now();
        }
        served.cancel();
        co_await served.join();
    }, 2);
}

TEST_CASE("after shutdown_send the peer sees the end, and its bytes still come") {
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        co_await both.client.send("question");
        both.client.shutdown_send();
        const std::string question = co_await read_all(both.server);
        CHECK(question == "question");
        co_await both.server.send("answer");
        both.server.close();
        const std::string answer = co_await read_all(both.client);
        CHECK(answer == "answer");
        const chunk again = co_await both.client.receive();
        CHECK(!again);
    });
}

TEST_CASE("an abort is a reset at the peer, and a close is an orderly end") {
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        both.server.abort();
        CHECK(!both.server);
        const std::error_code code = co_await failure_of(receive_task(both.client));
        CHECK(code == std::errc::connection_reset);
        const std::error_code same = co_await failure_of(receive_task(both.client));
        CHECK(same == std::errc::connection_reset);

        stream_pair orderly = co_await connected_pair(owner);
        orderly.server.close();
        const chunk end = co_await orderly.client.receive();
        CHECK(!end);
    });
}

TEST_CASE("sending to a peer that has gone fails, sooner or later, with an error") {
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        both.server.close();
        std::error_code code;
        for (int round = 0; round < 1000 && !code; ++round) {
            co_await send_all_of(both.client, "into the void", code);
            co_await pass_time(std::chrono::milliseconds(1));
        }
        CHECK((code == std::errc::broken_pipe || code == std::errc::connection_reset));
    });
}

TEST_CASE("read_exactly says so when the peer ends early, and read_some returns 0") {
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        co_await both.client.send("12345");
        both.client.close();
        std::byte into[8];
        const std::error_code code =
            co_await failure_of(both.server.read_exactly(std::span(into, 8)));
        CHECK(code == errc::end_of_stream);
        const std::size_t none = co_await both.server.read_some(std::span(into, 8));
        CHECK(none == 0);
    });
}

TEST_CASE("small reads take the bytes piece by piece, and mix with receive") {
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        detail::fake_random random(seed());
        const std::string text = random_text(random, 50'000);
        scope sender(owner);
        sender.spawn(send_in_pieces(both.client, text, seed()));
        std::string got;
        std::byte into[700];
        CHECK(co_await both.server.read_some(std::span(into, 0)) == 0);
        for (;;) {
            if (random.chance(20)) {
                const chunk next = co_await both.server.receive();
                got += next.text();
            }
            const std::size_t room = 1 + random.below(700);
            const std::size_t bytes = co_await both.server.read_some(std::span(into, room));
            if (bytes == 0) {
                break;
            }
            got.append(reinterpret_cast<const char*>(into), bytes);
        }
        co_await sender.join();
        CHECK(got == text);
    });
}

TEST_CASE("bytes that come while nobody waits are kept up to a limit, and none is lost") {
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        detail::fake_random random(seed());
        const std::string text = random_text(random, 24'000'000);
        co_await both.client.send("!");
        const chunk first = co_await both.server.receive();
        CHECK(first.text() == "!");
        // From now on the server's receive is armed, and nobody waits.
        std::error_code code;
        scope sender(owner);
        sender.spawn(send_all_of(both.client, text, code));
        co_await pass_time();
        CHECK(both.server.readable());
        CHECK(sender.size() == 1);  // back-pressure has reached it
        const chunk kept = co_await both.server.receive();
        CHECK(kept.size() >= 1);
        CHECK(kept.size() <= 5'000'000);  // the limit, and what was on its way
        std::string got(kept.text());
        while (got.size() < text.size()) {
            const chunk next = co_await both.server.receive();
            REQUIRE(next);
            got += next.text();
        }
        co_await sender.join();
        CHECK(!code);
        CHECK(got == text);
    }, 3);
}

TEST_CASE("a cancelled receive loses nothing") {
    tell([](loop& owner) -> task<void> {
        detail::fake_random random(seed());
        stream_pair both = co_await connected_pair(owner);
        const std::string text = random_text(random, 40'000);
        scope sender(owner);
        sender.spawn(send_in_pieces(both.client, text, seed()));
        std::string got;
        for (int cancels = 0;;) {
            const auto patience = std::chrono::microseconds(random.below(200));
            try {
                const chunk next =
                    co_await with_timeout(patience, receive_task(both.server));
                if (!next) {
                    break;
                }
                got += next.text();
            } catch (const error& failure) {
                REQUIRE(failure.code() == errc::timed_out);
                REQUIRE(++cancels < 10'000);
            }
        }
        co_await sender.join();
        CHECK(got == text);
    });
}

TEST_CASE("a receive that is cancelled before anything comes ends, and the next one works") {
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        for (int round = 0; round < 3; ++round) {
            const std::error_code code = co_await failure_of(
                with_timeout_task(std::chrono::milliseconds(1), receive_task(both.server)));
            CHECK(code == errc::timed_out);
        }
        co_await both.client.send("late");
        std::byte into[4];
        co_await both.server.read_exactly(into);
        CHECK(std::string(reinterpret_cast<char*>(into), 4) == "late");
    });
}

TEST_CASE("a cancelled send ends early, and its memory is free then") {
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        std::error_code code;
        {
            const std::string text(30'000'000, 's');
            scope sender(owner);
            sender.spawn(send_all_of(both.client, text, code));
            co_await pass_time();
            CHECK(sender.size() == 1);
            sender.cancel();
            (void)co_await failure_of([](scope& of) -> task<void> { co_await of.join(); }(sender));
            CHECK(code == std::errc::operation_canceled);
        }
        both.client.shutdown_send();
        const std::string got = co_await read_all(both.server);
        CHECK(got.size() < 30'000'000);
        CHECK(got == std::string(got.size(), 's'));
    }, 4);
}

TEST_CASE("a stream may be destroyed with its receive armed and bytes unread") {
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        co_await both.client.send("first");
        (void)co_await both.server.receive();
        co_await both.client.send("second");
        co_await pass_time(std::chrono::milliseconds(2));
        both.server = tcp_stream();
        std::error_code code;
        while (!code) {
            try {
                const chunk next = co_await both.client.receive();
                if (!next) {
                    break;
                }
            } catch (const error& failure) {
                code = failure.code();
            }
        }
        CHECK((!code || code == std::errc::connection_reset));
    });
}

TEST_CASE("cancelling a scope ends receivers and senders of many streams") {
    tell([](loop& owner) -> task<void> {
        const std::string text(8'000'000, 'x');
        std::vector<stream_pair> all;
        for (int at = 0; at < 20; ++at) {
            all.push_back(co_await connected_pair(owner));
        }
        std::vector<std::error_code> codes(all.size());
        scope several(owner);
        for (std::size_t at = 0; at < all.size(); ++at) {
            several.spawn(echo_until_end(std::move(all[at].client)));
            several.spawn(send_all_of(all[at].server, text, codes[at]));
        }
        co_await pass_time(std::chrono::milliseconds(5));
        several.cancel();
        (void)co_await failure_of([](scope& of) -> task<void> { co_await of.join(); }(several));
        for (const std::error_code code : codes) {
            // The peer may have been cancelled, and closed, first.
            CHECK((code == std::errc::operation_canceled || code == std::errc::broken_pipe ||
                   code == std::errc::connection_reset || !code));
        }
    }, 3);
}

TEST_CASE("both ends know their addresses, and an empty stream is false") {
    tell([](loop& owner) -> task<void> {
        CHECK(!tcp_stream());
        stream_pair both = co_await connected_pair(owner);
        CHECK(both.client.local_address() == both.server.peer_address());
        CHECK(both.client.peer_address() == both.server.local_address());
        CHECK(both.client.local_address().is_loopback());
        CHECK(both.client.descriptor() != both.server.descriptor());
        tcp_stream moved = std::move(both.client);
        CHECK(moved);
        CHECK(!both.client);
        co_await moved.send("");
        co_await moved.send("x");
        const chunk got = co_await both.server.receive();
        CHECK(got.text() == "x");
    });
}
