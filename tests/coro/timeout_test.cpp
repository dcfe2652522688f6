#include "coro/timeout.h"

#include "coro/event.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

task<counted> limited(nanoseconds duration, task<counted> work) {
    co_return co_await with_timeout(duration, std::move(work));
}

task<counted> wait_for(event& of, int number) {
    const counted held;
    co_await of.wait();
    co_return counted(number);
}

// Takes the cancel as a reason to hurry, not to fail.
task<counted> value_in_spite_of_cancel(event& of) {
    const counted held;
    try {
        co_await of.wait();
    } catch (const cancelled&) {
    }
    co_return counted(5);
}

task<counted> failure_in_spite_of_cancel(event& of) {
    const counted held;
    try {
        co_await of.wait();
    } catch (const cancelled&) {
    }
    throw std::runtime_error("could not clean up");
}

constexpr auto timed_out = "the deadline passed";

}  // namespace

TEST_SUITE_BEGIN("coro timeout");

TEST_CASE("a task that ends in time gives its value or its failure, and no timer stays") {
    no_leaks check;
    loop on;
    CHECK(run(on, limited(1h, after(0, 1))).number() == 1);
    CHECK(run(on, limited(1h, after(3, 2))).number() == 2);
    CHECK(run(on, limited(nanoseconds::max(), after(3, 3))).number() == 3);
    CHECK_THROWS_WITH(run(on, limited(1h, fail_after(0, "early"))), "early");
    CHECK_THROWS_WITH(run(on, limited(1h, fail_after(2, "later"))), "later");
    CHECK(on.stats().timers_pending == 0);
}

TEST_CASE("at the deadline the task is cancelled, waited for, and timed_out is thrown") {
    no_leaks check;
    loop on;
    {
        silence quiet(on);
        bool ended = false;
        try {
            run(on, limited(2ms, receive_forever(quiet.fd(), &ended)));
            FAIL("nothing was thrown");
        } catch (const error& failure) {
            CHECK(failure.code() == errc::timed_out);
            CHECK(failure.code() == std::errc::timed_out);
        }
        CHECK(ended);
        CHECK(on.stats().operations_live == 0);
    }
}

TEST_CASE("no time at all still lets a task end that does not wait") {
    no_leaks check;
    event never;
    for (const nanoseconds none : {nanoseconds(0), nanoseconds(-1), nanoseconds::min()}) {
        CHECK(play(limited(none, after(0, 1))).number() == 1);
        CHECK(contains(ending_of(limited(none, wait_for(never, 1))), timed_out));
    }
}

TEST_CASE("a value or another failure that comes in spite of the deadline is kept") {
    no_leaks check;
    event never;
    CHECK(play(limited(1ms, value_in_spite_of_cancel(never))).number() == 5);
    CHECK(ending_of(limited(1ms, failure_in_spite_of_cancel(never))) == "could not clean up");
}

TEST_CASE("a cancel from outside reaches the task and stays a cancel") {
    no_leaks check;
    loop on;
    event never;
    hand_job<counted> story(on, limited(1h, wait_for(never, 1)));
    story.start();
    story.cancel();
    CHECK(ending(story.finish()) == "cancelled");
    CHECK(on.stats().timers_pending == 0);
}

TEST_CASE("a cancel that comes together with the deadline stays a cancel") {
    no_leaks check;
    loop on;
    event never;
    hand_job<counted> story(on, limited(0ms, wait_for(never, 1)));
    story.start();
    on.run_once(false);  // the deadline has passed, the task is not yet told
    story.cancel();
    CHECK(ending(story.finish()) == "cancelled");
}

TEST_CASE("a task whose wait has ended when the deadline passes keeps its value") {
    no_leaks check;
    loop on;
    event soon;
    hand_job<counted> story(on, limited(0ms, wait_for(soon, 6)));
    story.start();
    soon.set();
    CHECK(story.finish().get().number() == 6);
}

TEST_CASE("a timeout in a cancelled job does not start its task") {
    no_leaks check;
    loop on;
    hand_job<counted> story(on, limited(1h, after(0, 1)));
    story.cancel();
    story.start();
    CHECK(ending(story.finish()) == "cancelled");
}

TEST_CASE("of nested timeouts the shorter one strikes, wherever it is") {
    no_leaks check;
    event never;
    auto outer = [](event& of) -> task<counted> {
        co_return co_await with_timeout(1ms, limited(1h, wait_for(of, 1)));
    };
    auto inner = [](event& of) -> task<std::string> {
        co_return co_await with_timeout(1h, [](event& until) -> task<std::string> {
            std::string met = "nothing";
            try {
                co_await with_timeout(1ms, wait_for(until, 1));
            } catch (const error&) {
                met = "inner";
            }
            co_await yield_now();  // the outer one was not cancelled
            co_return met;
        }(of));
    };
    CHECK(contains(ending_of(outer(never)), timed_out));
    CHECK(play(inner(never)) == "inner");
}

TEST_SUITE_END();
