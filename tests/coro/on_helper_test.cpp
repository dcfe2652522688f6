#include "coro/on_helper.h"

#include <atomic>
#include <thread>

#include "coro/dump.h"
#include "coro/gather.h"
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

TEST_SUITE_END();
