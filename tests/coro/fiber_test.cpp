#include "coro/fiber.h"

#include <cstring>

#include "coro/callback.h"
#include "coro/channel.h"
#include "coro/event.h"
#include "coro/gather.h"
#include "coro/mutex.h"
#include "coro/race.h"
#include "coro/scope.h"
#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

task<int> number(int value) { co_return value; }

task<int> number_later(int value) {
    co_await yield_now();
    co_return value;
}

task<int> failing(const char* why) {
    co_await yield_now();
    throw std::runtime_error(why);
}

// What the fiber is doing when this returns the last time is deep in plain calls.
int sum_below(int depth) {
    const counted held;
    if (depth == 0) {
        return await(number_later(0));
    }
    return depth + sum_below(depth - 1);
}

// A foreign awaitable with an operator co_await that is no member.
struct plain_value {
    int value;
};
struct plain_awaiter {
    int value;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const noexcept { handle.resume(); }
    int await_resume() const noexcept { return value; }
};
plain_awaiter operator co_await(plain_value from) noexcept { return {from.value}; }

// Symmetric transfer back to whoever waits.
struct handle_awaiter {
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> handle) const noexcept {
        return handle;
    }
    void await_resume() const noexcept {}
};

// Cannot even begin to wait.
struct broken_wait : suspension<broken_wait> {
    bool await_ready() const noexcept { return false; }
    void enlist() { throw std::runtime_error("the list is full"); }
    void delist() noexcept {}
    void await_resume() const { check_cancelled(); }
};

// Waits while it is destroyed, also by an exception that is on its way.
struct slow_goodbye {
    bool* unwinding;
    ~slow_goodbye() {
        await(yield_now());
        *unwinding = std::uncaught_exceptions() == 1;
    }
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int many_waits = 20'000;
constexpr int many_fibers = 500;
#else
constexpr int many_waits = 2'000'000;
constexpr int many_fibers = 5'000;
#endif

}  // namespace

TEST_SUITE_BEGIN("coro fiber");

TEST_CASE("a fiber waits for tasks in plain calls, and a coroutine waits for the fiber") {
    no_leaks check;
    auto story = []() -> task<int> {
        auto plain = [] {
            CHECK(in_fiber());
            return await(number(1)) + sum_below(10);
        };
        CHECK_FALSE(in_fiber());
        const int sum = co_await run_fiber(plain);
        CHECK_FALSE(in_fiber());
        co_return sum;
    };
    CHECK(play(story()) == 56);
}

TEST_CASE("values of any kind come out of a fiber: void, references, what only moves") {
    int target = 1;
    auto story = [&]() -> task<void> {
        bool ran = false;
        co_await run_fiber([&] { ran = true; });
        CHECK(ran);
        int& alias = co_await run_fiber([&]() -> int& {
            await(yield_now());
            return target;
        });
        CHECK(&alias == &target);
        const std::unique_ptr<int> seven =
            co_await run_fiber([] { return std::make_unique<int>(await(number_later(7))); });
        CHECK(*seven == 7);
    };
    play(story());
}

TEST_CASE("a fiber is lazy, and one that is never started runs nothing") {
    no_leaks check;
    bool ran = false;
    {
        const counted kept(3);
        const task<void> unstarted = run_fiber([&ran, kept] { ran = kept.number() == 3; });
        CHECK(counted::live == 2);
    }
    CHECK_FALSE(ran);
}

TEST_CASE("a fiber waits for anything a coroutine can wait for") {
    loop on;
    auto plain = [&] {
        await(sleep_for(1ms));
        event flag;
        semaphore one(1);
        mutex turn;
        channel<int> numbers(1);
        promise<int> promised(on);
        future<int> coming = promised.get_future();
        scope others(on);
        others.spawn([](event& set, channel<int>& into, promise<int>& settled) -> task<void> {
            co_await yield_now();
            set.set();
            co_await into.send(4);
            settled.set_value(5);
        }(flag, numbers, promised));
        await(flag.wait());
        const semaphore::permit permit = await(one.acquire());
        const mutex::guard guard = await(turn.lock());
        CHECK(await(numbers.receive()).value() == 4);
        CHECK(await(coming) == 5);
        await(others.join());
        const auto [left, right] = await(gather(number(1), number_later(2)));
        CHECK(left + right == 3);
        CHECK(await(race(number_later(1), number(2))).index() == 1);
        CHECK(await(with_timeout(1s, number_later(8))) == 8);
        CHECK(await(plain_value{9}) == 9);
        await(handle_awaiter());
        await(std::suspend_never());
        CHECK(await(from_callback<int>([](done_callback<int> done) { done(6); })) == 6);
        return 1;
    };
    CHECK(run(on, run_fiber(plain)) == 1);
}

TEST_CASE("a fiber waits for a fiber, also deep, and fibers run side by side") {
    no_leaks check;
    std::string log;
    auto letter = [&log](char name, int passes) {
        const counted held;
        for (int i = 0; i < passes; ++i) {
            log += name;
            await(yield_now());
        }
        return passes;
    };
    auto story = [&]() -> task<void> {
        auto a = [&] { return letter('a', 3); };
        auto b = [&] { return letter('b', 2); };
        auto outer = [&] {
            auto inner = [&] { return letter('c', 1) + await(run_fiber(a)); };
            return await(run_fiber(inner));
        };
        const auto [first, second] = co_await gather(run_fiber(a), run_fiber(b));
        CHECK(first + second == 5);
        CHECK(log == "ababa");
        const int third = co_await run_fiber(outer);
        CHECK(third == 4);
        CHECK(log == "ababacaaa");
    };
    play(story());
}

TEST_CASE("a fiber may start tasks and fibers from its own stack") {
    no_leaks check;
    std::string log;
    auto story = [&]() -> task<void> {
        auto child = [&] {
            log += "child ";
            await(yield_now());
            log += "child again ";
        };
        auto parent = [&] {
            scope children(*loop::current());
            children.spawn(run_fiber(child));  // switches from this fiber into the new one
            log += "parent ";
            CHECK(in_fiber());
            await(children.join());
            log += "joined";
        };
        co_await run_fiber(parent);
    };
    play(story());
    CHECK(log == "child parent child again joined");
}

TEST_CASE("exceptions come out of a fiber and of what it waits for, on the side that reads them") {
    no_leaks check;
    auto story = []() -> task<void> {
        auto plain = [] {
            const counted held;
            try {
                await(failing("inside"));
            } catch (const std::runtime_error& failure) {
                throw std::logic_error(std::string(failure.what()) + ", then outside");
            }
        };
        co_await run_fiber(plain);
    };
    CHECK(ending_of(story()) == "inside, then outside");
    auto at_once = []() -> task<void> {
        co_await run_fiber([] { throw std::runtime_error("x"); });
    };
    CHECK(ending_of(at_once()) == "x");
    auto cannot_begin = []() -> task<void> {
        co_await run_fiber([] {
            const counted held;
            await(broken_wait());
        });
    };
    CHECK(ending_of(cannot_begin()) == "the list is full");
}

TEST_CASE("a fiber may wait in a catch block while another one throws and catches") {
    no_leaks check;
    auto waits_inside_catch = [](int name, int passes) {
        try {
            throw counted(name);
        } catch (const counted& mine) {
            for (int i = 0; i < passes; ++i) {
                await(yield_now());
                CHECK(mine.number() == name);
                try {
                    std::rethrow_exception(std::current_exception());
                } catch (const counted& again) {
                    CHECK(again.number() == name);
                }
            }
            try {
                throw;  // the exception of this fiber, not of the one that threw last
            } catch (const counted& again) {
                return again.number();
            }
        }
    };
    auto story = [&]() -> task<int> {
        std::vector<task<int>> all;
        for (int name = 0; name < 7; ++name) {
            auto one = [&waits_inside_catch, name] { return waits_inside_catch(name, 9 - name); };
            all.push_back(run_fiber(one));
        }
        const std::vector<int> names = co_await gather(std::move(all));
        CHECK(std::current_exception() == nullptr);
        int sum = 0;
        for (const int name : names) {
            sum += name;
        }
        co_return sum;
    };
    CHECK(play(story()) == 21);
}

TEST_CASE("a fiber that is started in a catch block sees no exception of its starter") {
    auto story = []() -> task<void> {
        auto outer = [] {
            try {
                throw std::runtime_error("of the outer fiber");
            } catch (const std::runtime_error& failure) {
                auto inner = [] { return std::current_exception() == nullptr; };
                CHECK(await(run_fiber(inner)));
                scope children(*loop::current());
                children.spawn(run_fiber([] { CHECK(std::current_exception() == nullptr); }));
                await(children.join());
                CHECK(std::string(failure.what()) == "of the outer fiber");
                CHECK(std::current_exception() != nullptr);
            }
        };
        co_await run_fiber(outer);
    };
    play(story());
}

TEST_CASE("a destructor may wait while an exception unwinds, and others see none in flight") {
    bool unwinding = false;
    bool others_see_none = true;
    auto story = [&]() -> task<void> {
        auto thrower = [&] {
            const slow_goodbye at_the_end{&unwinding};
            throw std::runtime_error("passing by");
        };
        auto watcher = [&] {
            for (int i = 0; i < 5; ++i) {
                others_see_none = others_see_none && std::uncaught_exceptions() == 0;
                await(yield_now());
            }
        };
        co_await gather(run_fiber(watcher), run_fiber(thrower));
    };
    CHECK(ending_of(story()) == "passing by");
    CHECK(unwinding);
    CHECK(others_see_none);
    CHECK(std::uncaught_exceptions() == 0);
}

TEST_CASE("a cancel throws `cancelled` out of the wait, is remembered, and unwinds the fiber") {
    no_leaks check;
    loop on;
    event never;
    int later_waits_cut = 0;
    auto plain = [&] {
        const counted held;
        try {
            await(never.wait());
        } catch (const cancelled&) {
            for (int i = 0; i < 3; ++i) {
                try {
                    await(yield_now());
                } catch (const cancelled&) {
                    ++later_waits_cut;
                }
            }
            throw;
        }
    };
    hand_job<void> story(on, run_fiber(plain));
    story.start();
    CHECK(counted::live == 1);
    story.cancel();
    CHECK(counted::live == 1);  // never inside the cancel
    CHECK(ending(story.finish()) == "cancelled");
    CHECK(later_waits_cut == 3);
}

TEST_CASE("a deadline, a race and a failing sibling cancel a fiber, and wait for the kernel") {
    no_leaks check;
    loop on;
    {
        silence quiet(on);
        bool ended = false;
        auto plain = [&] { return await(receive_forever(quiet.fd(), &ended)).number(); };
        CHECK_THROWS_AS(
            run(on,
                [](auto& fn) -> task<void> { co_await with_timeout(2ms, run_fiber(fn)); }(plain)),
            error);
        CHECK(ended);
        ended = false;
        CHECK(run(on, [](auto& fn) -> task<std::size_t> {
                  const auto winner = co_await race(run_fiber(fn), number_later(3));
                  co_return winner.index();
              }(plain)) == 1);
        CHECK(ended);
        ended = false;
        CHECK_THROWS_AS(run(on,
                            [](auto& fn) -> task<void> {
                                co_await gather(run_fiber(fn), failing("sibling"));
                            }(plain)),
                        std::runtime_error);
        CHECK(ended);
        CHECK(on.stats().operations_live == 0);
    }
}

TEST_CASE("a fiber awaited by a cancelled job never begins") {
    no_leaks check;
    loop on;
    bool ran = false;
    hand_job<void> story(on, run_fiber([&] { ran = true; }));
    story.cancel();
    story.start();
    CHECK(ending(story.finish()) == "cancelled");
    CHECK_FALSE(ran);
}

TEST_CASE("a fiber that ends with a value in spite of a cancel keeps it") {
    no_leaks check;
    loop on;
    event never;
    auto stubborn = [&] {
        const counted held;
        try {
            await(never.wait());
        } catch (const cancelled&) {
        }
        return 3;
    };
    hand_job<int> story(on, run_fiber(stubborn));
    story.start();
    story.cancel();
    CHECK(story.finish().get() == 3);
}

TEST_CASE("a fiber becomes a future and a callback, and ends with `run` when nobody waits") {
    no_leaks check;
    loop on;
    event never;
    bool unwound = false;
    int told = 0;
    auto value = [] { return await(number_later(11)); };
    auto endless = [&] {
        const counted held;
        try {
            await(never.wait());
        } catch (const cancelled&) {
            unwound = true;
            throw;
        }
    };
    auto story = [&]() -> task<int> {
        future<void> dropped = to_future(on, run_fiber(endless));
        to_callback(on, run_fiber(value), [&](outcome<int> result) { told = result.get(); });
        future<int> coming = to_future(on, run_fiber(value));
        co_return co_await coming;
    };
    CHECK(run(on, story()) == 11);
    CHECK(told == 11);
    CHECK(unwound);
}

TEST_CASE("millions of waits of one fiber and thousands of fibers at once") {
    no_leaks check;
    auto story = []() -> task<long> {
        auto counts = [] {
            long sum = 0;
            for (int i = 0; i < many_waits; ++i) {
                sum += await(number(1));
            }
            return sum;
        };
        long sum = co_await run_fiber(counts);
        auto waits = [] {
            const counted held;
            await(yield_now());
            await(yield_now());
            return 1;
        };
        std::vector<task<int>> all;
        for (int i = 0; i < many_fibers; ++i) {
            all.push_back(run_fiber(waits, {.stack_bytes = 32 * 1024}));
        }
        const std::vector<int> ones = co_await gather(std::move(all));
        sum += static_cast<long>(ones.size());
        co_return sum;
    };
    CHECK(play(story()) == many_waits + many_fibers);
}

TEST_CASE("a stack of the size that was asked for can be used") {
    auto story = []() -> task<int> {
        auto greedy = [] {
            char large[3 * 1024 * 1024];
            std::memset(large, 7, sizeof large);
            await(yield_now());
            return static_cast<int>(large[0] + large[sizeof large - 1]);
        };
        co_return co_await run_fiber(greedy, {.stack_bytes = 4 * 1024 * 1024});
    };
    CHECK(play(story()) == 14);
}

TEST_CASE("a stack that is larger than can be is an error that says so") {
    auto story = []() -> task<void> {
        co_await run_fiber([] {}, {.stack_bytes = std::size_t{1} << 40});
    };
    CHECK(ending_of(story()) ==
          "a fiber's stack has at most 1073741824 bytes, and 1099511627776 "
          "were asked for: Invalid argument");
}

TEST_CASE("await outside any fiber ends the program with a sentence") {
    CHECK(contains(test::last_words([] { await(yield_now()); }),
                   "await was called outside any fiber"));
    CHECK(contains(test::last_words([] {
                       auto story = []() -> task<void> {
                           auto plain = [] {
                               // On the loop's stack: a coroutine has co_await.
                               await([]() -> task<void> {
                                   await(yield_now());
                                   co_return;
                               }());
                           };
                           co_await run_fiber(plain);
                       };
                       play(story());
                   }),
                   "await was called outside any fiber"));
}

TEST_CASE("destroying a fiber in the middle ends the program with a sentence") {
    CHECK(contains(test::last_words([] {
                       loop on;
                       hand_job<void> owner(on, {});
                       task<void> story = run_fiber([] { await(std::suspend_always()); });
                       story.start_as_root(owner);
                       story = {};
                   }),
                   "a fiber was destroyed before its end"));
}

TEST_SUITE_END();
