#include "coro/job.h"

#include "coro/channel.h"
#include "coro/event.h"
#include "coro/fan_out.h"
#include "coro/gather.h"
#include "coro/race.h"
#include "coro/scope.h"
#include "coro/semaphore.h"
#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<void> wait_then_log(event& until, std::string& log) {
    const counted held;
    try {
        co_await until.wait();
        log += "woken ";
    } catch (const cancelled&) {
        log += "cancelled ";
    }
    try {
        co_await yield_now();
        log += "went on";
    } catch (const cancelled&) {
        log += "cancelled again";
    }
}

// Cancels `victim` when it is passed for the n-th time.
struct tripwire {
    job* victim = nullptr;
    int passes_left = 0;

    task<int> pass(int number) {
        const counted held;
        if (passes_left-- == 0) {
            victim->cancel();
        }
        co_await yield_now();
        if (passes_left-- == 0) {
            victim->cancel();
        }
        co_return number;
    }
};

task<void> produce(channel<counted>& to, tripwire& wire) {
    for (int i = 0; i < 5; ++i) {
        const int number = co_await wire.pass(i);
        co_await to.send(counted(number));
    }
    to.close();
}

task<void> consume(channel<counted>& from, semaphore& turns, tripwire& wire) {
    for (;;) {
        const std::optional<counted> value = co_await from.receive();
        if (!value) {
            break;
        }
        const semaphore::permit turn = co_await turns.acquire();
        static_cast<void>(co_await wire.pass(1));
    }
}

// Some of everything, nested.
task<int> everything(tripwire& wire, int silent_fd) {
    const counted held;
    channel<counted> values(1);
    semaphore turns(1);
    bool ended = false;
    co_await scoped([&](scope& children) -> task<void> {
        children.spawn(produce(values, wire));
        children.spawn(consume(values, turns, wire));
        children.spawn(consume(values, turns, wire));
        static_cast<void>(co_await wire.pass(0));
    });
    const auto first = co_await race(receive_nothing(silent_fd, &ended), wire.pass(2));
    const auto both = co_await gather(wire.pass(3), wire.pass(4));
    const int numbers[] = {1, 2, 3, 4, 5, 6, 7};
    const std::vector<int> all =
        co_await fan_out(numbers, 3, [&](int number) { return wire.pass(number); });
    const int last = co_await with_timeout(std::chrono::hours(1), wire.pass(5));
    int sum = static_cast<int>(first.index()) + std::get<0>(both) + std::get<1>(both) + last;
    for (const int each : all) {
        sum += each;
    }
    co_return sum;
}

}  // namespace

TEST_SUITE_BEGIN("coro job");

TEST_CASE("a job cancelled before its first wait runs up to it and gets `cancelled` there") {
    no_leaks check;
    loop on;
    event never;
    std::string log;
    hand_job<void> story(on, wait_then_log(never, log));
    story.cancel();
    CHECK(story.is_cancelled());
    CHECK(log.empty());
    story.start();
    CHECK(story.finished());
    CHECK(log == "cancelled cancelled again");
}

TEST_CASE("cancelling a waiting job ends the wait from the loop, and every later wait at once") {
    no_leaks check;
    loop on;
    event never;
    std::string log;
    hand_job<void> story(on, wait_then_log(never, log));
    story.start();
    story.cancel();
    story.cancel();  // asked twice is asked once
    CHECK(log.empty());
    CHECK(story.finish().has_value());
    CHECK(log == "cancelled cancelled again");
}

TEST_CASE("a wait that has been woken when the cancel comes ends well, the next one does not") {
    no_leaks check;
    loop on;
    event soon;
    std::string log;
    hand_job<void> story(on, wait_then_log(soon, log));
    story.start();
    soon.set();
    story.cancel();
    CHECK(story.finish().has_value());
    CHECK(log == "woken cancelled again");
}

TEST_CASE("cancelling a finished job does nothing") {
    loop on;
    auto story = []() -> task<void> { co_return; };
    hand_job<void> done(on, story());
    done.start();
    CHECK(done.finished());
    done.cancel();
    CHECK(done.finish().has_value());
}

TEST_CASE("a job that cancels itself goes on to its next wait") {
    loop on;
    hand_job<int>* self = nullptr;
    auto story = [](hand_job<int>*& me) -> task<int> {
        co_await yield_now();
        me->cancel();
        int reached = 1;
        try {
            co_await yield_now();
        } catch (const cancelled&) {
            reached = 2;
        }
        co_return reached;
    };
    hand_job<int> own(on, story(self));
    self = &own;
    own.start();
    CHECK(own.finish().get() == 2);
}

TEST_CASE("a wait that need not wait succeeds in a cancelled job") {
    loop on;
    semaphore free(1);
    auto story = [](semaphore& from) -> task<bool> {
        const semaphore::permit got = co_await from.acquire();
        co_return static_cast<bool>(got);
    };
    hand_job<bool> job(on, story(free));
    job.cancel();
    job.start();
    CHECK(job.finish().get());
}

TEST_CASE("a story of everything, cancelled at every step in turn, ends and leaves nothing") {
    no_leaks check;
    loop on;
    {
        silence quiet(on);
        int cut_short = 0;
        bool whole = false;
        for (int step = 0; !whole; ++step) {
            REQUIRE(step < 1000);
            tripwire wire;
            wire.passes_left = step;
            hand_job<int> story(on, everything(wire, quiet.fd()));
            wire.victim = &story;
            story.start();
            outcome<int> result = story.finish();
            whole = wire.passes_left >= 0;  // it ended before the wire was reached
            if (result.has_value()) {
                CHECK(result.get() == 1 + 3 + 4 + 5 + 28);
            } else {
                CHECK(ending(std::move(result)) == "cancelled");
                ++cut_short;
            }
            CHECK(on.stats().operations_live == 0);
            CHECK(on.stats().timers_pending == 0);
        }
        CHECK(cut_short > 30);
    }
}

TEST_SUITE_END();
