#include "coro/mutex.h"

#include "coro/event.h"
#include "coro/gather.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

// Reads, waits, writes: what a mutex is for.
task<void> add_slowly(mutex& guarding, int& sum, int times) {
    const counted held;
    for (int i = 0; i < times; ++i) {
        const mutex::guard alone = co_await guarding.lock();
        const int before = sum;
        co_await yield_now();
        sum = before + 1;
    }
}

task<void> hold(mutex& guarding, event& until, std::string& log, char name) {
    const counted held;
    const mutex::guard alone = co_await guarding.lock();
    log += name;
    co_await until.wait();
}

}  // namespace

TEST_SUITE_BEGIN("coro mutex");

TEST_CASE("updates that wait in their middle are not lost under a mutex") {
    no_leaks check;
    mutex guarding;
    int sum = 0;
    auto story = [&]() -> task<void> {
        co_await gather(add_slowly(guarding, sum, 20), add_slowly(guarding, sum, 30),
                        add_slowly(guarding, sum, 10));
    };
    play(story());
    CHECK(sum == 60);
    CHECK_FALSE(guarding.is_locked());
}

TEST_CASE("try_lock takes a free mutex only") {
    mutex guarding;
    {
        const mutex::guard first = guarding.try_lock();
        CHECK(static_cast<bool>(first));
        CHECK(guarding.is_locked());
        CHECK_FALSE(static_cast<bool>(guarding.try_lock()));
    }
    CHECK_FALSE(guarding.is_locked());
}

TEST_CASE("an exception and a cancel give the mutex to the next one in the queue") {
    no_leaks check;
    loop on;
    mutex guarding;
    event until;
    std::string log;
    auto fails = [](mutex& m) -> task<void> {
        const mutex::guard alone = co_await m.lock();
        co_await yield_now();
        throw std::runtime_error("while holding it");
    };
    hand_job<void> failing(on, fails(guarding));
    hand_job<void> cancelled_in_queue(on, hold(guarding, until, log, 'q'));
    hand_job<void> cancelled_inside(on, hold(guarding, until, log, 'i'));
    hand_job<void> last(on, hold(guarding, until, log, 'l'));
    failing.start();
    cancelled_in_queue.start();
    cancelled_inside.start();
    last.start();
    cancelled_in_queue.cancel();
    CHECK(ending(failing.finish()) == "while holding it");
    CHECK(run_until(on, [&] { return log == "i"; }));
    CHECK_FALSE(last.finished());
    cancelled_inside.cancel();
    CHECK(ending(cancelled_inside.finish()) == "cancelled");
    CHECK(ending(cancelled_in_queue.finish()) == "cancelled");
    until.set();
    last.finish().get();
    CHECK(log == "il");
    CHECK_FALSE(guarding.is_locked());
}

TEST_SUITE_END();
