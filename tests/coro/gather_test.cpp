#include "coro/gather.h"

#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("coro gather");

TEST_CASE("results of different types come as a tuple in the order of the tasks") {
    no_leaks check;
    int target = 3;
    auto refers = [](int& to) -> task<int&> { co_return to; };
    auto story = [&]() -> task<void> {
        auto results =
            co_await gather(after(2, 7), text_after(1, "text"), wait_passes(3), refers(target));
        static_assert(std::is_same_v<decltype(results),
                                     std::tuple<counted, std::string, std::monostate, int&>>);
        CHECK(std::get<0>(results).number() == 7);
        CHECK(std::get<1>(results) == "text");
        CHECK(&std::get<3>(results) == &target);
    };
    play(story());
}

TEST_CASE("a vector of tasks gives a vector of results in the same order") {
    no_leaks check;
    auto story = []() -> task<std::vector<counted>> {
        std::vector<task<counted>> all;
        for (int i = 0; i < 100; ++i) {
            all.push_back(after((i * 7) % 10, i));
        }
        co_return co_await gather(std::move(all));
    };
    const std::vector<counted> results = play(story());
    REQUIRE(results.size() == 100);
    for (int i = 0; i < 100; ++i) {
        CHECK(results[static_cast<std::size_t>(i)].number() == i);
    }
}

TEST_CASE("gathering nothing, one task, and tasks of void") {
    no_leaks check;
    auto story = []() -> task<void> {
        const std::tuple<> none = co_await gather();
        static_cast<void>(none);
        const std::vector<int> empty = co_await gather(std::vector<task<int>>());
        CHECK(empty.empty());
        const std::tuple<counted> one = co_await gather(after(0, 1));
        CHECK(std::get<0>(one).number() == 1);
        std::vector<task<void>> voids;
        voids.push_back(wait_passes(2));
        voids.push_back(wait_passes(0));
        co_await gather(std::move(voids));
    };
    play(story());
}

TEST_CASE("the tasks run side by side, not one after the other") {
    auto sleeps = [](nanoseconds duration) -> task<void> { co_await sleep_for(duration); };
    auto story = [&](loop& on) -> task<nanoseconds> {
        const instant before = on.read_clock();
        co_await gather(sleeps(20ms), sleeps(20ms), sleeps(20ms), sleeps(20ms));
        co_return nanoseconds(on.read_clock() - before);
    };
    loop on;
    CHECK(run(on, story(on)) < 60ms);
}

TEST_CASE("the first failure cancels the others, waits for them and is thrown") {
    no_leaks check;
    std::string log;
    event never;
    auto tuple = [&]() -> task<void> {
        co_await gather(wait_for(never, log, 1), fail_after(2, "first"), fail_after(4, "second"),
                        wait_for(never, log, 2));
    };
    CHECK(ending_of(tuple()) == "first");
    CHECK(log == "1 cancelled 2 cancelled ");
    log.clear();
    auto vector = [&]() -> task<void> {
        std::vector<task<int>> all;
        all.push_back(wait_for(never, log, 1));
        all.push_back(fail_int_after(2, "first"));
        all.push_back(wait_for(never, log, 2));
        co_await gather(std::move(all));
    };
    CHECK(ending_of(vector()) == "first");
    CHECK(log == "1 cancelled 2 cancelled ");
}

TEST_CASE("a failure while the tasks are started keeps the rest from starting") {
    no_leaks check;
    std::string log;
    event never;
    bool started = false;
    auto sets = [](bool& flag) -> task<int> {
        flag = true;
        co_return 1;
    };
    auto story = [&]() -> task<void> {
        co_await gather(wait_for(never, log, 1), fail_after(0, "at once"), sets(started));
    };
    CHECK(ending_of(story()) == "at once");
    CHECK(log == "1 cancelled ");
    CHECK_FALSE(started);
}

TEST_CASE("a cancel reaches the operations in flight and waits for them") {
    no_leaks check;
    loop on;
    {
        silence quiet(on);
        silence also_quiet(on);
        bool ended[2] = {};
        auto story = [&]() -> task<void> {
            co_await gather(receive_forever(quiet.fd(), &ended[0]),
                            receive_nothing(also_quiet.fd(), &ended[1]));
        };
        hand_job<void> job(on, story());
        job.start();
        on.run_once(false);
        CHECK(on.stats().operations_live == 2);
        job.cancel();
        CHECK(ending(job.finish()) == "cancelled");
        CHECK(ended[0]);
        CHECK(ended[1]);
        CHECK(on.stats().operations_live == 0);
    }
}

TEST_CASE("results that come in spite of a cancel are given") {
    no_leaks check;
    loop on;
    event ready;
    std::string log;
    auto story = [&]() -> task<int> {
        const std::tuple<int, int> both =
            co_await gather(wait_for(ready, log, 1), wait_for(ready, log, 2));
        co_return std::get<0>(both) + std::get<1>(both);
    };
    hand_job<int> job(on, story());
    job.start();
    ready.set();
    job.cancel();
    CHECK(job.finish().get() == 3);
}

TEST_CASE("a failure beats the cancel that came with it") {
    no_leaks check;
    loop on;
    event never;
    auto stubborn = [](event& of) -> task<void> {
        try {
            co_await of.wait();
        } catch (const cancelled&) {
        }
        throw std::runtime_error("could not clean up");
    };
    std::string log;
    auto story = [&]() -> task<void> {
        co_await gather(wait_for(never, log, 1), stubborn(never));
    };
    hand_job<void> job(on, story());
    job.start();
    job.cancel();
    CHECK(ending(job.finish()) == "could not clean up");
}

TEST_CASE("a gather in a cancelled job starts nothing") {
    no_leaks check;
    loop on;
    std::string log;
    event never;
    auto story = [&]() -> task<void> { co_await gather(after(0, 1), wait_for(never, log, 1)); };
    hand_job<void> job(on, story());
    job.cancel();
    job.start();
    CHECK(ending(job.finish()) == "cancelled");
    CHECK(log.empty());
}

TEST_CASE("a gather that is never awaited destroys its tasks") {
    no_leaks check;
    auto story = [](counted) -> task<void> { co_return; };
    {
        const auto unused = gather(story(counted()), story(counted()));
        CHECK(counted::live == 2);
    }
}

TEST_SUITE_END();
