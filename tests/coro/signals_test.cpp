#include "coro/signals.h"

#include <doctest/doctest.h>

#include <unistd.h>

#include "coro/event.h"
#include "coro/run.h"
#include "coro/scope.h"
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

TEST_CASE("several wait for one stream: each signal goes to the one that waits longest") {
    tell([](loop& owner) -> task<void> {
        signals watched(owner, {SIGUSR1, SIGUSR2});
        std::string log;
        auto wait = [](signals& from, std::string& to, char name) -> task<void> {
            const int number = co_await from.next();
            to += name;
            to += number == SIGUSR1 ? '1' : '2';
        };
        co_await scoped([&](scope& waiters) -> task<void> {
            waiters.spawn(wait(watched, log, 'a'));
            waiters.spawn(wait(watched, log, 'b'));
            ::kill(::getpid(), SIGUSR2);
            while (log.empty()) {
                co_await yield_now();
            }
            CHECK(log == "a2");
            ::kill(::getpid(), SIGUSR1);
        });
        CHECK(log == "a2b1");
    });
}

TEST_CASE("a cancelled waiter leaves its place to the next") {
    tell([](loop& owner) -> task<void> {
        signals watched(owner, {SIGUSR1});
        event ended;
        int number = 0;
        auto first = [](signals& from) -> task<void> { (void)co_await from.next(); };
        auto second = [](signals& from, int& to, event& end) -> task<void> {
            to = co_await from.next();
            end.set();
        };
        scope early(owner);
        scope late(owner);
        early.spawn(first(watched));
        late.spawn(second(watched, number, ended));
        early.cancel();
        co_await early.join();
        ::kill(::getpid(), SIGUSR1);
        co_await ended.wait();
        CHECK(number == SIGUSR1);
        co_await late.join();
    });
}

TEST_CASE("a handler of the program stays, and works again when the stream has gone") {
    static volatile std::sig_atomic_t handled = 0;
    struct sigaction before = {};
    struct sigaction mine = {};
    mine.sa_handler = [](int) { handled = handled + 1; };
    ::sigaction(SIGUSR1, &mine, &before);
    tell([](loop& owner) -> task<void> {
        signals watched(owner, {SIGUSR1});
        ::kill(::getpid(), SIGUSR1);
        const int number = co_await watched.next();
        CHECK(number == SIGUSR1);
        CHECK(handled == 0);
    });
    struct sigaction now = {};
    ::sigaction(SIGUSR1, &before, &now);
    CHECK((now.sa_handler == mine.sa_handler));
    ::sigaction(SIGUSR1, &mine, nullptr);
    ::raise(SIGUSR1);
    CHECK(handled == 1);
    ::sigaction(SIGUSR1, &before, nullptr);
}
