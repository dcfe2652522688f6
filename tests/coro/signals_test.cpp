#include "coro/signals.h"

#include <doctest/doctest.h>

#include <unistd.h>

#include "coro/run.h"
#include "coro/task.h"
#include "coro/timeout.h"
#include "tests/support/support.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<int> next_of(signals& from) { co_return co_await from.next(); }

template <class Story>
void tell(Story story) {
    const int before = open_descriptors();
    {
        loop owner(options_with_seed(seed()));
        run(owner, story(owner));
    }
    CHECK(open_descriptors() == before);
}

}  // namespace

TEST_CASE("a coroutine waits for a signal and gets its number") {
    tell([](loop& owner) -> task<void> {
        signals watched(owner, {SIGUSR1, SIGUSR2});
        ::kill(::getpid(), SIGUSR2);
        const int first = co_await watched.next();
        CHECK(first == SIGUSR2);
        ::kill(::getpid(), SIGUSR1);
        const int second = co_await watched.next();
        CHECK(second == SIGUSR1);
    });
}

TEST_CASE("signals that came while nobody waited are told later, the lowest number first") {
    tell([](loop& owner) -> task<void> {
        signals watched(owner, {SIGUSR1, SIGUSR2, SIGHUP});
        ::kill(::getpid(), SIGUSR2);
        ::kill(::getpid(), SIGHUP);
        ::kill(::getpid(), SIGUSR1);
        int numbers[3] = {};
        for (int& number : numbers) {
            number = co_await watched.next();
        }
        CHECK(numbers[0] == SIGHUP);
        CHECK(numbers[1] == SIGUSR1);
        CHECK(numbers[2] == SIGUSR2);
    });
}

TEST_CASE("a cancelled wait for a signal ends, and the signal that comes then is not lost") {
    tell([](loop& owner) -> task<void> {
        signals watched(owner, {SIGUSR1});
        std::error_code code;
        try {
            (void)co_await with_timeout(std::chrono::milliseconds(2), next_of(watched));
        } catch (const error& failure) {
            code = failure.code();
        }
        CHECK(code == errc::timed_out);
        ::kill(::getpid(), SIGUSR1);
        const int number = co_await with_timeout(std::chrono::seconds(10), next_of(watched));
        CHECK(number == SIGUSR1);
    });
}
