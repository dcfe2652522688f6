#include "coro/run.h"

#include "coro/callback.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("coro run");

TEST_CASE("run gives the value, or throws what the task threw") {
    no_leaks check;
    loop on;
    CHECK(run(on, after(0, 1)).number() == 1);
    CHECK(run(on, after(3, 2)).number() == 2);
    CHECK_THROWS_WITH(run(on, fail_after(0, "at once")), "at once");
    CHECK_THROWS_WITH(run(on, fail_after(2, "later")), "later");
}

TEST_CASE("a loop runs one task after the other, and does not oversleep the end of any") {
    loop on;
    for (int i = 0; i < 100; ++i) {
        CHECK(run(on, after(i % 5, i)).number() == i);
    }
}

TEST_CASE("run does not wait for a timer that has nothing to do with the task") {
    struct far_away : timer {
        far_away() : timer([](timer&) noexcept {}) {}
    } unrelated;
    loop on;
    on.start_timer(unrelated, on.read_clock() + nanoseconds(1h).count());
    CHECK(run(on, after(2, 1)).number() == 1);
    on.cancel_timer(unrelated);
}

TEST_CASE("what is still running when run ends is cancelled and waited for") {
    no_leaks check;
    loop on;
    std::string log;
    bool ended = false;
    {
        silence quiet(on);
        auto story = [](loop& in, int fd, bool* flag, std::string& told) -> task<void> {
            to_callback(in, receive_forever(fd, flag),
                        [&told](outcome<counted> result) { told += ending(std::move(result)); });
            to_callback(in, after(1000, 1), [&told](outcome<counted> result) {
                told += ending(std::move(result)) + " ";
            });
            co_await yield_now();
        };
        run(on, story(on, quiet.fd(), &ended, log));
        CHECK(ended);
        CHECK(log == "cancelled cancelled");
        CHECK(on.stats().operations_live == 0);
    }
}

TEST_CASE("finish_detached leaves the jobs of another loop alone") {
    no_leaks check;
    loop first;
    loop second;
    std::string log;
    to_callback(first, after(1'000'000, 1),
                [&log](outcome<counted> result) { log += ending(std::move(result)); });
    CHECK(run(second, after(3, 2)).number() == 2);
    CHECK(log.empty());
    finish_detached(first);
    CHECK(log == "cancelled");
    finish_detached(first);
}

TEST_CASE("run in a forked child throws instead of touching the parent's kernel objects") {
    loop on;
    int status = -1;
    auto story = [](int* told) -> task<void> {
        const pid_t child = ::fork();
        if (child == 0) {
            co_await sleep_for(1ms);  // throws out of run: this loop is not the child's
            ::_exit(3);
        }
        ::waitpid(child, told, 0);
    };
    bool in_child = false;
    try {
        run(on, story(&status));
    } catch (const error& failure) {
        in_child = true;
        ::_exit(failure.code() == errc::forked ? 7 : 8);
    }
    CHECK_FALSE(in_child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 7);
}

TEST_SUITE_END();
