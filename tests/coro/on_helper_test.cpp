#include "coro/on_helper.h"

#include <atomic>
#include <csignal>
#include <thread>

#include "coro/dump.h"
#include "coro/gather.h"
#include "coro/scope.h"
#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

task<std::string> text_from_helper() {
    auto make = [] { return std::string("made there"); };
    co_return co_await on_helper(make);
}

task<void> hold(std::atomic<bool>& go, std::atomic<int>& begun) {
    auto wait = [&] {
        ++begun;
        while (!go) {
            std::this_thread::sleep_for(1ms);
        }
    };
    co_await on_helper(wait);
}

}  // namespace

TEST_SUITE_BEGIN("coro on_helper");

TEST_CASE("a function runs on another thread, its value and its exception come back") {
    CHECK(play(text_from_helper()) == "made there");
    const auto thread_of = []() -> task<std::thread::id> {
        auto ask = [] { return std::this_thread::get_id(); };
        co_return co_await on_helper(ask);
    };
    CHECK(play(thread_of()) != std::this_thread::get_id());
    const auto fails = []() -> task<void> {
        auto fail = [] { throw std::runtime_error("there"); };
        co_await on_helper(fail);
    };
    CHECK(ending_of(fails()) == "there");
}

TEST_CASE("more calls than threads all end, and the loop turns meanwhile") {
    loop on;
    std::atomic<bool> go{false};
    std::atomic<int> begun{0};
    const auto story = [](std::atomic<bool>& may, std::atomic<int>& count) -> task<void> {
        std::vector<task<void>> all;
        for (int i = 0; i < 20; ++i) {
            all.push_back(hold(may, count));
        }
        const auto release = [](std::atomic<bool>& flag) -> task<void> {
            co_await yield_now();
            flag = true;
        };
        all.push_back(release(may));
        co_await gather(std::move(all));
    };
    run(on, story(go, begun));
    CHECK(begun == 20);
}

TEST_CASE("a cancel takes back what has not begun and waits for what has") {
    loop on;
    std::atomic<bool> go{false};
    std::atomic<int> begun{0};
    std::vector<std::unique_ptr<hand_job<void>>> jobs;
    for (unsigned i = 0; i < helper_pool::threads_max + 3; ++i) {
        jobs.push_back(std::make_unique<hand_job<void>>(on, hold(go, begun)));
        jobs.back()->start();
    }
    while (begun < static_cast<int>(helper_pool::threads_max)) {
        std::this_thread::sleep_for(1ms);
    }
    CHECK(std::string(live_jobs(on).front().wait.kind) == "helper thread");
    for (const auto& each : jobs) {
        each->cancel();
    }
    on.run_once(false);
    CHECK_FALSE(jobs.front()->finished());
    CHECK(jobs.back()->finished());
    go = true;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        CHECK(run_until(on, [&] { return jobs[i]->finished(); }, no_limit));
        CHECK(ending(jobs[i]->finish()) ==
              (i < helper_pool::threads_max ? "value" : "cancelled"));
    }
    CHECK(begun == static_cast<int>(helper_pool::threads_max));
}

TEST_CASE("a call that looks at its stop flag ends early when it is cancelled") {
    loop owner;
    std::atomic<int> state{0};
    run(owner, [](loop& on, std::atomic<int>& at) -> task<void> {
        scope one(on);
        one.spawn([](std::atomic<int>& told) -> task<void> {
            on_helper looping([&told](const std::atomic<bool>& stop) {
                told = 1;
                while (!stop) {
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
                }
                told = 2;
            });
            co_await looping;
        }(at));
        while (at != 1 && one.size() > 0) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        one.cancel();
        co_await one.join();
    }(owner, state));
    CHECK(state == 2);
}

TEST_CASE("helper threads leave signals to the program") {
    loop owner;
    run(owner, []() -> task<void> {
        on_helper looking([] {
            sigset_t now;
            ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
            return ::sigismember(&now, SIGTERM) == 1 && ::sigismember(&now, SIGPIPE) == 1;
        });
        CHECK(co_await looking);
    }());
    sigset_t now;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
    CHECK(::sigismember(&now, SIGTERM) == 0);
}

TEST_SUITE_END();
