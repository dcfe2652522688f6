#include "coro/as_completed.h"

#include <functional>

#include "coro/event.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

// No initializer list: GCC 12 cannot keep one in a coroutine across a co_await.
template <class... Passes>
std::vector<task<counted>> tasks_of_passes(Passes... passes) {
    std::vector<task<counted>> all;
    (all.push_back(after(passes, passes * 10)), ...);
    return all;
}

}  // namespace

TEST_SUITE_BEGIN("coro as_completed");

TEST_CASE("results come as the tasks end, with the place of each in the vector") {
    no_leaks check;
    std::string log;
    auto story = [&]() -> task<void> {
        co_await as_completed(tasks_of_passes(9, 3, 6, 0), [&](std::size_t index, counted value) {
            log += std::to_string(index) + ":" + std::to_string(value.number()) + " ";
        });
    };
    play(story());
    CHECK(log == "3:0 1:30 2:60 0:90 ");
}

TEST_CASE("a consumer that waits is called one at a time") {
    no_leaks check;
    int inside = 0;
    int most = 0;
    std::vector<std::size_t> order;
    auto consumer = [&](std::size_t index, counted) -> task<void> {
        most = std::max(most, ++inside);
        order.push_back(index);
        co_await yield_now();
        co_await yield_now();
        --inside;
    };
    auto story = [&]() -> task<void> {
        co_await as_completed(tasks_of_passes(1, 1, 1, 2), std::ref(consumer));
    };
    play(story());
    CHECK(most == 1);
    CHECK(order == std::vector<std::size_t>{0, 1, 2, 3});
}

TEST_CASE("no tasks, and tasks of void") {
    int calls = 0;
    auto story = [&]() -> task<void> {
        co_await as_completed(std::vector<task<int>>(), [&](std::size_t, int) { ++calls; });
        CHECK(calls == 0);
        std::vector<task<void>> voids;
        voids.push_back(wait_passes(1));
        voids.push_back(wait_passes(0));
        co_await as_completed(std::move(voids), [&](std::size_t) { ++calls; });
        CHECK(calls == 2);
    };
    play(story());
}

TEST_CASE("a task or a consumer that fails cancels the rest and waits for it") {
    no_leaks check;
    int calls = 0;
    auto count = [&](std::size_t, const counted&) { ++calls; };
    auto story = [&]() -> task<void> {
        std::vector<task<counted>> all = tasks_of_passes(1, 1'000'000, 1'000'000);
        all.push_back(fail_after(5, "a task"));
        co_await as_completed(std::move(all), count);
    };
    CHECK(ending_of(story()) == "a task");
    CHECK(calls == 1);
    auto throwing = []() -> task<void> {
        co_await as_completed(tasks_of_passes(1, 1'000'000), [](std::size_t, const counted&) {
            throw std::runtime_error("the consumer");
        });
    };
    CHECK(ending_of(throwing()) == "the consumer");
}

TEST_CASE("a cancel reaches every task") {
    no_leaks check;
    loop on;
    {
        silence quiet(on);
        bool ended = false;
        auto story = [&]() -> task<void> {
            std::vector<task<counted>> all;
            all.push_back(receive_forever(quiet.fd(), &ended));
            all.push_back(after(1'000'000, 1));
            co_await as_completed(std::move(all), [](std::size_t, const counted&) {});
        };
        hand_job<void> job(on, story());
        job.start();
        on.run_once(false);
        job.cancel();
        CHECK(ending(job.finish()) == "cancelled");
        CHECK(ended);
    }
}

TEST_SUITE_END();
