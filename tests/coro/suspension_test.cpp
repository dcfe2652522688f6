#include "coro/suspension.h"

#include <climits>

#include "coro/event.h"
#include "coro/gather.h"
#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

task<void> note(std::string& log, char name, int times) {
    for (int i = 0; i < times; ++i) {
        log += name;
        co_await yield_now();
    }
}

task<void> sleep_until_instant(instant deadline) { co_await sleep_until(deadline); }

// A wait whose list is full: it cannot begin.
class refused_wait : public suspension<refused_wait> {
public:
    bool await_ready() const noexcept { return false; }
    void enlist() { throw std::runtime_error("refused"); }
    void delist() noexcept {}
    void await_resume() const { check_cancelled(); }
};

task<std::string> meet_refusal() {
    std::string met;
    try {
        co_await refused_wait();
    } catch (const std::runtime_error& failure) {
        met = failure.what();
    }
    co_await yield_now();  // the job is as good as before
    co_return met;
}

}  // namespace

TEST_SUITE_BEGIN("coro suspension");

TEST_CASE("yielding lets everything that is ready run first, in turn") {
    std::string log;
    auto story = [](std::string& all) -> task<void> {
        co_await gather(note(all, 'a', 3), note(all, 'b', 3), note(all, 'c', 2));
    };
    play(story(log));
    CHECK(log == "abcabcab");
}

TEST_CASE("sleeping takes at least the time asked for, and no time when none is asked") {
    auto story = [](loop& on) -> task<void> {
        const instant before = on.read_clock();
        co_await sleep_for(3ms);
        CHECK(on.read_clock() - before >= nanoseconds(3ms).count());
        co_await sleep_for(0ms);
        co_await sleep_for(-5s);
        co_await sleep_for(nanoseconds::min());
        co_await sleep_until(INT64_MIN);
        co_await sleep_until(0);
        CHECK(on.stats().timers_pending == 0);
    };
    loop on;
    run(on, story(on));
}

TEST_CASE("sleepers wake in the order of their deadlines, not of their calls") {
    auto sleeper = [](std::string& all, char name, nanoseconds duration) -> task<void> {
        co_await sleep_for(duration);
        all += name;
    };
    auto story = [&](std::string& all) -> task<void> {
        co_await gather(sleeper(all, 'c', 9ms), sleeper(all, 'a', 1ms), sleeper(all, 'b', 5ms));
    };
    std::string log;
    play(story(log));
    CHECK(log == "abc");
}

TEST_CASE("a sleep without end ends when it is cancelled, and its timer is gone") {
    for (const instant deadline : {INT64_MAX, INT64_MAX - 1, instant{1} << 62}) {
        loop on;
        hand_job<void> story(on, sleep_until_instant(deadline));
        story.start();
        on.run_once(false);
        CHECK(on.stats().timers_pending == 1);
        story.cancel();
        CHECK_FALSE(story.finished());  // never inside the cancel
        CHECK(ending(story.finish()) == "cancelled");
        CHECK(on.stats().timers_pending == 0);
    }
    auto longest = []() -> task<void> {
        auto asleep = []() -> task<void> { co_await sleep_for(nanoseconds::max()); };
        co_await with_timeout(1ms, asleep());
    };
    CHECK(contains(ending_of(longest()), "the deadline passed"));
}

TEST_CASE("an operation in flight is cancelled and waited for") {
    no_leaks check;
    loop on;
    {
        silence quiet(on);
        bool ended = false;
        hand_job<counted> story(on, receive_forever(quiet.fd(), &ended));
        story.start();
        on.run_once(false);
        on.run_once(false);
        CHECK(on.stats().operations_live == 1);
        story.cancel();
        CHECK_FALSE(story.finished());
        CHECK_FALSE(ended);
        CHECK(ending(story.finish()) == "cancelled");
        CHECK(ended);
        CHECK(on.stats().operations_live == 0);
    }
}

TEST_CASE("an operation that has got its bytes when the cancel comes delivers them") {
    no_leaks check;
    loop on;
    {
        silence quiet(on);
        bool ended = false;
        hand_job<counted> story(on, receive_forever(quiet.fd(), &ended));
        CHECK(send_all(on, quiet.other(), "seven b"));
        story.start();
        CHECK(run_until(on, [&] { return story.finished(); }));
        story.cancel();
        const int bytes = story.finish().get().number();
        CHECK((bytes == 7 || (!real_kernel() && bytes > 0)));  // the fake kernel may cut them
    }
}

TEST_CASE("an operation is not started by a job that is already cancelled") {
    loop on;
    silence quiet(on);
    bool ended = false;
    hand_job<counted> story(on, receive_forever(quiet.fd(), &ended));
    story.cancel();
    story.start();
    CHECK(story.finished());
    CHECK(ended);
    CHECK(ending(story.finish()) == "cancelled");
}

TEST_CASE("a wait that cannot begin throws, and the coroutine goes on") {
    CHECK(play(meet_refusal()) == "refused");
}

TEST_CASE("destroying a coroutine that waits in a list ends the program with a sentence") {
    const std::string words = last_words([] {
        loop on;
        event never;
        auto story = [](event& of) -> task<void> { co_await of.wait(); };
        hand_job<void> owner(on, story(never));
        owner.start();
    });
    CHECK(contains(words, "a coroutine was destroyed while it waits"));
}

TEST_SUITE_END();
