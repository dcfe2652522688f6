#include "coro/on_helper.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "coro/run.h"
#include "coro/scope.h"
#include "coro/suspension.h"
#include "coro/task.h"
#include "tests/support/support.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<void> block_on(loop& owner, std::atomic<int>& begun, const std::atomic<bool>& gate) {
    on_helper blocking(owner, [&begun, &gate] {
        ++begun;
        while (!gate) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });
    co_await blocking;
}

}  // namespace

TEST_CASE("a call runs on another thread, and its value or failure comes back") {
    loop owner;
    run(owner, [](loop& on) -> task<void> {
        on_helper asking(on, [] { return std::this_thread::get_id(); });
        const std::thread::id there = co_await asking;
        CHECK(there != std::this_thread::get_id());
        on_helper making(on, [] { return std::make_unique<std::string>("moved"); });
        const std::unique_ptr<std::string> made = co_await making;
        CHECK(*made == "moved");
        on_helper failing(on, []() -> int { throw error(errc::bad_address, "there"); });
        std::string said;
        try {
            (void)co_await failing;
        } catch (const error& failure) {
            said = failure.what();
        }
        CHECK(said.find("there") == 0);
    }(owner));
}

TEST_CASE("a cancel takes back what has not begun and waits for what has") {
    loop owner;
    std::atomic<int> begun{0};
    std::atomic<bool> gate{false};
    constexpr int count = 20;
    run(owner, [](loop& on, std::atomic<int>& runs, std::atomic<bool>& open) -> task<void> {
        scope all(on);
        for (int i = 0; i < count; ++i) {
            all.spawn(block_on(on, runs, open));
        }
        while (runs < static_cast<int>(helper_pool::threads_max)) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        all.cancel();
        for (int turn = 0; turn < 5; ++turn) {
            co_await yield_now();
        }
        CHECK(all.size() == helper_pool::threads_max);
        open = true;
        try {
            co_await all.join();
        } catch (const cancelled&) {
        }
    }(owner, begun, gate));
    CHECK(begun == static_cast<int>(helper_pool::threads_max));
    CHECK(run_until(owner, [&] { return owner.helpers().outstanding() == 0; }, no_limit));
}

TEST_CASE("a call that looks at its stop flag ends early when it is cancelled") {
    loop owner;
    std::atomic<int> state{0};
    run(owner, [](loop& on, std::atomic<int>& at) -> task<void> {
        scope one(on);
        one.spawn([](loop& of, std::atomic<int>& told) -> task<void> {
            on_helper looping(of, [&told](const std::atomic<bool>& stop) {
                told = 1;
                while (!stop) {
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
                }
                told = 2;
            });
            co_await looping;
        }(on, at));
        while (at != 1) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        one.cancel();
        co_await one.join();
    }(owner, state));
    CHECK(state == 2);
}

TEST_CASE("in a job that is cancelled already nothing begins") {
    loop owner;
    std::atomic<int> begun{0};
    const std::atomic<bool> gate{true};
    run(owner, [](loop& on, std::atomic<int>& runs, const std::atomic<bool>& open) -> task<void> {
        scope one(on);
        one.spawn([](loop& of, std::atomic<int>& counted,
                     const std::atomic<bool>& passing) -> task<void> {
            try {
                co_await sleep_for(std::chrono::hours(1));
            } catch (const cancelled&) {
            }
            co_await block_on(of, counted, passing);
        }(on, runs, open));
        one.cancel();
        try {
            co_await one.join();
        } catch (const cancelled&) {
        }
    }(owner, begun, gate));
    CHECK(begun == 0);
}

TEST_CASE("helper threads leave signals to the program") {
    loop owner;
    run(owner, [](loop& on) -> task<void> {
        on_helper looking(on, [] {
            sigset_t now;
            ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
            return ::sigismember(&now, SIGTERM) == 1 && ::sigismember(&now, SIGPIPE) == 1;
        });
        CHECK(co_await looking);
    }(owner));
    sigset_t now;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
    CHECK(::sigismember(&now, SIGTERM) == 0);
}
