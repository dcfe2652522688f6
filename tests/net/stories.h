// What the suites of net share: a story is a coroutine told on a fresh loop, after which nothing
// may be left: no operation, no lent buffer, no descriptor.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "core/fake_random.h"
#include "core/loop.h"
#include "coro/run.h"
#include "coro/scope.h"
#include "coro/suspension.h"
#include "coro/task.h"
#include "coro/timeout.h"
#include "net/connect.h"
#include "net/tcp_listener.h"
#include "net/tcp_stream.h"
#include "tests/support/support.h"

namespace ringlet::test {

// The lowest free descriptor; another one after a story means that one was left open.
inline int lowest_free(loop& owner) {
    const int fd = owner.driver().open_socket(AF_INET, SOCK_STREAM, 0).value();
    owner.driver().close(fd);
    return fd;
}

template <class Story>
void tell_once(Story& story, std::uint64_t fake_seed) {
    CAPTURE(fake_seed);
    const int before = open_descriptors();
    {
        loop owner(options_with_seed(fake_seed));
        const int lowest = lowest_free(owner);
        run(owner, [](Story& told, loop& on) -> task<void> {
            co_await with_timeout(std::chrono::seconds(60), told(on));
        }(story, owner));
        CHECK(run_until_idle(owner));
        for (int turn = 0; turn < 4; ++turn) {
            owner.run_once(false);
        }
        CHECK(owner.stats().operations_live == 0);
        CHECK(owner.stats().buffers_lent == 0);
        CHECK(owner.stats().timers_pending == 0);
        CHECK(lowest_free(owner) == lowest);
    }
    CHECK(open_descriptors() == before);
}

// `story(loop&)` gives a task<void>. On the fake driver it is told with several seeds.
template <class Story>
void tell(Story story, int fake_seeds = 12) {
    for (int round = 0; round < (real_kernel() ? 1 : fake_seeds); ++round) {
        tell_once(story, seed() + static_cast<std::uint64_t>(round));
    }
}

inline std::vector<address> only(const address& one) { return std::vector<address>(1, one); }

struct stream_pair {
    tcp_stream client;
    tcp_stream server;
};

inline task<stream_pair> connected_pair(loop& owner) {
    tcp_listener door(owner, address::loopback_v4(0));
    stream_pair made;
    made.client = co_await connect(owner, only(door.local_address()));
    made.server = co_await door.accept();
    co_return made;
}

inline std::string random_text(detail::fake_random& random, std::size_t bytes) {
    std::string text(bytes, '\0');
    for (char& each : text) {
        each = static_cast<char>(random.below(256));
    }
    return text;
}

// Everything up to the end of the stream.
inline task<std::string> read_all(tcp_stream& from) {
    std::string text;
    while (const chunk bytes = co_await from.receive()) {
        text += bytes.text();
    }
    co_return text;
}

inline task<void> echo_until_end(tcp_stream peer) {
    while (const chunk bytes = co_await peer.receive()) {
        co_await peer.send(bytes);
    }
}

// Turns without end for others to go on; real drivers get real time as well.
inline task<void> pass_time(std::chrono::milliseconds real = std::chrono::milliseconds(20)) {
    co_await sleep_for(real);
    for (int turn = 0; turn < 20; ++turn) {
        co_await yield_now();
    }
}

template <class T>
task<T> with_timeout_task(nanoseconds duration, task<T> what) {
    co_return co_await with_timeout(duration, std::move(what));
}

// The code that awaiting `what` failed with; no code when it did not fail. Cancellation is
// ECANCELED.
template <class T>
task<std::error_code> failure_of(task<T> what) {
    try {
        (void)co_await std::move(what);
    } catch (const error& failure) {
        co_return failure.code();
    } catch (const cancelled&) {
        co_return std::make_error_code(std::errc::operation_canceled);
    }
    co_return std::error_code();
}

}  // namespace ringlet::test
