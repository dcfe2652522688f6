#include "coro/future.h"

#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<int> read(future<counted>& from) {
    const counted held;
    const counted value = co_await from;
    co_return value.number();
}

template <class T>
std::string failure_of(future<T> settled) {
    auto reads = [](future<T> from) -> task<void> { static_cast<void>(co_await from); };
    return ending_of(reads(std::move(settled)));
}

// Everything that is in the ready queue, and what that leads to.
void drain(loop& on) {
    for (int i = 0; i < 10; ++i) {
        on.run_once(false);
    }
}

std::exception_ptr failure(const char* why) {
    return std::make_exception_ptr(std::runtime_error(why));
}

}  // namespace

TEST_SUITE_BEGIN("coro future");

TEST_CASE("a coroutine waits for the value, or finds it there") {
    no_leaks check;
    loop on;
    promise<counted> made;
    future<counted> given = made.get_future();
    CHECK(given.valid());
    CHECK_FALSE(given.ready());
    hand_job<int> reader(on, read(given));
    reader.start();
    made.set_value(4);
    CHECK_FALSE(reader.finished());
    CHECK(reader.finish().get() == 4);
    CHECK_FALSE(given.valid());
    promise<counted> early;
    early.set_value(5);
    future<counted> there = early.get_future();
    CHECK(there.ready());
    hand_job<int> at_once(on, read(there));
    at_once.start();
    CHECK(at_once.finished());
    CHECK(at_once.finish().get() == 5);
}

TEST_CASE("a failure is thrown at whoever reads") {
    no_leaks check;
    loop on;
    promise<counted> made;
    future<counted> given = made.get_future();
    made.set_exception(failure("no value"));
    CHECK(failure_of(std::move(given)) == "no value");
    promise<void> other;
    future<void> of_void = other.get_future();
    other.set_result(outcome<void>(failure("no end")));
    CHECK(failure_of(std::move(of_void)) == "no end");
}

TEST_CASE("a promise that is destroyed or assigned over is broken") {
    no_leaks check;
    loop on;
    future<counted> left;
    {
        promise<counted> made;
        left = made.get_future();
    }
    CHECK(left.ready());
    CHECK(contains(failure_of(std::move(left)), "the promise was dropped"));
    promise<int> first;
    future<int> of_first = first.get_future();
    promise<int> second;
    future<int> of_second = second.get_future();
    first = std::move(second);
    CHECK(of_first.ready());
    CHECK_FALSE(of_second.ready());
    CHECK(contains(failure_of(std::move(of_first)), "the promise was dropped"));
    first.set_value(1);
    CHECK(of_second.ready());
}

TEST_CASE("a promise without a future can be settled and dropped") {
    no_leaks check;
    loop on;
    { promise<counted> unused; }
    {
        promise<counted> settled;
        settled.set_value(1);
        CHECK(counted::live == 1);
    }
    promise<counted> abandoned;
    { const future<counted> gone = abandoned.get_future(); }
    abandoned.set_value(2);
}

TEST_CASE("a callback that returns a future makes a chain with that one's result") {
    no_leaks check;
    loop on;
    // They outlive the stories: a callback may run after one that failed.
    promise<counted> first(on);
    promise<int> second(on);
    promise<void> third(on);
    auto then_second = [&](counted value) {
        CHECK(value.number() == 1);
        return second.get_future();
    };
    auto then_third = [&](int value) -> future<void> {
        CHECK(value == 2);
        return third.get_future();
    };
    auto story = [&]() -> task<void> {
        future<void> ended = first.get_future().then(then_second).then(then_third);
        first.set_value(1);
        co_await wait_passes(3);
        CHECK_FALSE(ended.ready());
        second.set_value(2);
        co_await wait_passes(3);
        CHECK_FALSE(ended.ready());
        third.set_value();
        co_await ended;
    };
    run(on, story());
    promise<void> outer(on);
    promise<int> inner(on);
    auto failing = [&]() -> task<void> {
        future<int> ended = outer.get_future().then([&] { return inner.get_future(); });
        outer.set_value();
        co_await wait_passes(2);
        inner.set_exception(std::make_exception_ptr(std::runtime_error("inner")));
        co_await ended;
    };
    CHECK_THROWS_WITH(run(on, failing()), "inner");
    promise<void> thrower(on);
    auto thrown = [&]() -> task<void> {
        future<int> ended = thrower.get_future().then(
            []() -> future<int> { throw std::runtime_error("no future"); });
        thrower.set_value();
        co_await ended;
    };
    CHECK_THROWS_WITH(run(on, thrown()), "no future");
    promise<void> other_outer(on);
    promise<int> dropped_inner(on);
    auto dropped = [&]() -> task<void> {
        future<int> ended =
            other_outer.get_future().then([&] { return dropped_inner.get_future(); });
        other_outer.set_value();
        co_await wait_passes(2);
        dropped_inner = promise<int>(on);
        co_await ended;
    };
    CHECK_THROWS_AS(run(on, dropped()), error);
}

TEST_CASE("callbacks run from the ready queue, never inside then or set_value") {
    no_leaks check;
    loop on;
    std::string log;
    promise<int> made;
    const auto tell = [&log](int value) { log += std::to_string(value); };
    future<void> ended = made.get_future().then(tell);
    made.set_value(7);
    CHECK(log.empty());
    CHECK_FALSE(ended.ready());
    drain(on);
    CHECK(log == "7");
    CHECK(ended.ready());
    promise<int> early;
    future<int> there = early.get_future();
    early.set_value(8);
    future<void> done = std::move(there).then(tell);
    CHECK_FALSE(there.valid());
    CHECK(log == "7");
    drain(on);
    CHECK(log == "78");
    CHECK(done.ready());
}

TEST_CASE("a chain passes values on, and a failure passes by to whoever takes an outcome") {
    no_leaks check;
    loop on;
    std::string log;
    promise<counted> made;
    future<std::string> end =
        made.get_future()
            .then([](counted value) { return value.number() + 1; })
            .then([&log](int value) {
                log += std::to_string(value);
                throw std::runtime_error("in the middle");
            })
            .then([&log] { log += "never"; })
            .then([&log](outcome<void> result) {
                log += " " + ending(std::move(result));
                return std::string("recovered");
            });
    made.set_value(1);
    drain(on);
    CHECK(log == "2 in the middle");
    auto reads = [](future<std::string> from) -> task<std::string> { co_return co_await from; };
    CHECK(run(on, reads(std::move(end))) == "recovered");
}

TEST_CASE("a broken promise and a cancelled one are outcomes for callbacks too") {
    no_leaks check;
    loop on;
    std::string log;
    future<void> ended;
    {
        promise<int> dropped;
        ended = dropped.get_future().then(
            [&log](outcome<int> result) { log += ending(std::move(result)); });
    }
    drain(on);
    CHECK(contains(log, "the promise was dropped"));
}

TEST_CASE("callbacks that move only, and values that move only") {
    no_leaks check;
    loop on;
    auto kept = std::make_unique<counted>(3);
    promise<std::unique_ptr<int>> made;
    int sum = 0;
    const future<void> ended = made.get_future().then(
        [&sum, kept = std::move(kept)](std::unique_ptr<int> value) {
            sum = *value + kept->number();
        });
    made.set_value(std::make_unique<int>(4));
    drain(on);
    CHECK(sum == 7);
    CHECK(counted::live == 0);
}

TEST_CASE("cancelling a wait leaves the future as it was, to be awaited again") {
    no_leaks check;
    loop on;
    promise<counted> made;
    future<counted> given = made.get_future();
    hand_job<int> given_up(on, read(given));
    given_up.start();
    given_up.cancel();
    CHECK(ending(given_up.finish()) == "cancelled");
    CHECK(given.valid());
    hand_job<int> again(on, read(given));
    again.start();
    made.set_value(6);
    again.cancel();  // too late: it has its value
    CHECK(again.finish().get() == 6);
}

TEST_CASE("callbacks on their way when run ends are called before it returns") {
    no_leaks check;
    std::string log;
    auto story = [&log]() -> task<void> {
        promise<int> made;
        future<int> given = made.get_future();
        made.set_value(1);
        future<void> last = std::move(given)
                                .then([&log](int value) {
                                    log += 'a';
                                    return value;
                                })
                                .then([&log](int) { log += 'b'; });
        co_return;
    };
    play(story());
    CHECK(log == "ab");
}

TEST_CASE("references and references to const come through") {
    loop on;
    int target = 1;
    promise<int&> made;
    future<int&> given = made.get_future();
    made.set_value(target);
    auto reads = [](future<int&> from) -> task<void> {
        int& alias = co_await from;
        alias = 9;
    };
    run(on, reads(std::move(given)));
    CHECK(target == 9);
}

TEST_CASE("a failure that nobody reads is told on stderr") {
    const std::string words = last_words([] {
        loop on;
        {
            promise<int> made;
            const future<int> dropped = made.get_future();
            made.set_exception(failure("lost and found"));
        }
        std::abort();
    });
    CHECK(contains(words, "a future was dropped unread, and it had failed: lost and found"));
}

TEST_CASE("mistakes with promises and futures end the program with a sentence") {
    CHECK(contains(last_words([] {
                       loop on;
                       promise<int> made;
                       made.set_value(1);
                       made.set_value(2);
                   }),
                   "settled twice"));
    CHECK(contains(last_words([] {
                       loop on;
                       promise<int> made;
                       const future<int> one = made.get_future();
                       const future<int> two = made.get_future();
                   }),
                   "asked for two futures"));
    CHECK(contains(last_words([] {
                       future<int> empty;
                       static_cast<void>(std::move(empty).then([](int) {}));
                   }),
                   "read twice"));
    CHECK(contains(last_words([] {
                       loop on;
                       auto reads = [](future<int> from) -> task<int> { co_return co_await from; };
                       static_cast<void>(run(on, reads({})));
                   }),
                   "an empty future was awaited"));
}

TEST_SUITE_END();
