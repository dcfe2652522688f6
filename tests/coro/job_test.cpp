#include "coro/job.h"

#include "coro/event.h"
#include "coro/semaphore.h"
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

TEST_SUITE_END();
