#include "coro/race.h"

#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<int> number_after(int passes, int number) {
    const counted value = co_await after(passes, number);
    co_return value.number();
}

}  // namespace

TEST_SUITE_BEGIN("coro race");

TEST_CASE("the first task to end wins, the variant says which, the others are gone") {
    no_leaks check;
    std::string log;
    event never;
    auto story = [&]() -> task<void> {
        const auto result =
            co_await race(wait_for(never, log, 1), text_after(2, "winner"), wait_passes(50));
        static_assert(std::is_same_v<std::remove_const_t<decltype(result)>,
                                     std::variant<int, std::string, std::monostate>>);
        REQUIRE(result.index() == 1);
        CHECK(std::get<1>(result) == "winner");
    };
    play(story());
    CHECK(log == "1 cancelled ");
}

TEST_CASE("tasks of one type race in a vector, the result says who won") {
    no_leaks check;
    std::string log;
    event never;
    auto story = [&]() -> task<void> {
        std::vector<task<int>> all;
        all.push_back(wait_for(never, log, 0));
        all.push_back(number_after(9, 10));
        all.push_back(number_after(2, 20));
        all.push_back(wait_for(never, log, 3));
        const race_result<int> result = co_await race(std::move(all));
        CHECK(result.index == 2);
        CHECK(result.value == 20);
        std::vector<task<void>> voids;
        voids.push_back(wait_passes(5));
        voids.push_back(wait_passes(1));
        const race_result<void> winner = co_await race(std::move(voids));
        CHECK(winner.index == 1);
    };
    play(story());
    CHECK(log == "0 cancelled 3 cancelled ");
}

TEST_CASE("a task that ends at once wins before the others are started") {
    no_leaks check;
    std::string log;
    event never;
    bool started = false;
    auto sets = [](bool& flag) -> task<int> {
        flag = true;
        co_return 1;
    };
    auto story = [&]() -> task<void> {
        const std::variant<int, int, int> result =
            co_await race(wait_for(never, log, 1), number_after(0, 5), sets(started));
        CHECK(result.index() == 1);
        CHECK(std::get<1>(result) == 5);
    };
    play(story());
    CHECK(log == "1 cancelled ");
    CHECK_FALSE(started);
}

TEST_CASE("a winner that failed throws, a loser's failure is dropped") {
    no_leaks check;
    std::string log;
    event never;
    auto story = [&]() -> task<void> {
        co_await race(wait_for(never, log, 1), fail_int_after(1, "lost the race with a win"));
    };
    CHECK(ending_of(story()) == "lost the race with a win");
    auto other = [&]() -> task<void> {
        const auto result = co_await race(number_after(1, 4), fail_int_after(1, "too late"));
        CHECK(std::get<0>(result) == 4);
    };
    CHECK(ending_of(other()) == "value");
}

TEST_CASE("racing nothing is an error, racing alone is not") {
    no_leaks check;
    CHECK_THROWS_AS(static_cast<void>(race(std::vector<task<int>>())), error);
    auto story = []() -> task<void> {
        const std::variant<int> result = co_await race(number_after(2, 3));
        CHECK(std::get<0>(result) == 3);
    };
    play(story());
}

TEST_CASE("losers with operations in flight are waited for") {
    no_leaks check;
    loop on;
    {
        silence quiet(on);
        bool ended = false;
        auto story = [&]() -> task<void> {
            const auto result =
                co_await race(receive_nothing(quiet.fd(), &ended), number_after(3, 1));
            CHECK(result.index() == 1);
            CHECK(ended);
        };
        run(on, story());
        CHECK(on.stats().operations_live == 0);
    }
}

TEST_CASE("a cancel ends the race; a value that comes in spite of it wins") {
    no_leaks check;
    loop on;
    event never;
    event ready;
    std::string log;
    auto story = [&]() -> task<int> {
        const std::variant<int, int> result =
            co_await race(wait_for(never, log, 1), wait_for(ready, log, 2));
        co_return static_cast<int>(result.index());
    };
    hand_job<int> all_cancelled(on, story());
    all_cancelled.start();
    all_cancelled.cancel();
    CHECK(ending(all_cancelled.finish()) == "cancelled");
    CHECK(log == "1 cancelled 2 cancelled ");
    hand_job<int> one_ready(on, story());
    one_ready.start();
    ready.set();
    one_ready.cancel();
    CHECK(one_ready.finish().get() == 1);
    ready.reset();
    hand_job<int> never_started(on, story());
    never_started.cancel();
    never_started.start();
    CHECK(ending(never_started.finish()) == "cancelled");
}

TEST_CASE("a value of a task that ended after one cut short by the same cancel wins") {
    no_leaks check;
    loop on;
    event never;
    std::string log;
    auto stubborn = [](event& of) -> task<int> {
        try {
            co_await of.wait();
        } catch (const cancelled&) {
        }
        co_return 9;
    };
    auto story = [&]() -> task<int> {
        const std::variant<int, int> result =
            co_await race(wait_for(never, log, 1), stubborn(never));
        co_return std::get<1>(result);
    };
    hand_job<int> job(on, story());
    job.start();
    job.cancel();
    CHECK(job.finish().get() == 9);
}

TEST_SUITE_END();
