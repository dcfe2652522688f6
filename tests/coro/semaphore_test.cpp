#include "coro/semaphore.h"

#include "coro/gather.h"
#include "coro/scope.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<void> take_turn(semaphore& turns, std::string& log, char name, int passes) {
    const counted held;
    const semaphore::permit turn = co_await turns.acquire();
    log += name;
    for (int i = 0; i < passes; ++i) {
        co_await yield_now();
    }
}

task<semaphore::permit> take(semaphore& from) {
    const counted held;
    co_return co_await from.acquire();
}

}  // namespace

TEST_SUITE_BEGIN("coro semaphore");

TEST_CASE("no more than the permits are out at a time, and all get their turn") {
    auto worker = [](semaphore& limit, int& inside, int& most) -> task<void> {
        const semaphore::permit turn = co_await limit.acquire();
        most = std::max(most, ++inside);
        co_await yield_now();
        --inside;
    };
    semaphore limit(3);
    int inside = 0;
    int most = 0;
    auto story = [&]() -> task<void> {
        std::vector<task<void>> all;
        for (int i = 0; i < 50; ++i) {
            all.push_back(worker(limit, inside, most));
        }
        co_await gather(std::move(all));
    };
    play(story());
    CHECK(most == 3);
    CHECK(inside == 0);
    CHECK(limit.available() == 3);
}

TEST_CASE("waiters are served in the order they came, and nobody overtakes them") {
    no_leaks check;
    loop on;
    semaphore turns(0);
    std::string log;
    hand_job<void> a(on, take_turn(turns, log, 'a', 0));
    hand_job<void> b(on, take_turn(turns, log, 'b', 0));
    a.start();
    b.start();
    turns.release();
    CHECK(log.empty());  // not inside release
    CHECK_FALSE(static_cast<bool>(turns.try_acquire()));  // a has it already
    hand_job<void> c(on, take_turn(turns, log, 'c', 0));
    c.start();
    c.finish().get();
    a.finish().get();
    b.finish().get();
    CHECK(log == "abc");
    CHECK(turns.available() == 1);
}

TEST_CASE("release of many serves many and keeps the rest") {
    no_leaks check;
    loop on;
    semaphore turns(0);
    std::string log;
    hand_job<void> a(on, take_turn(turns, log, 'a', 0));
    hand_job<void> b(on, take_turn(turns, log, 'b', 0));
    a.start();
    b.start();
    turns.release(5);
    CHECK(turns.available() == 3);
    a.finish().get();
    b.finish().get();
    CHECK(log == "ab");
    CHECK(turns.available() == 5);
    turns.release(0);
    CHECK(turns.available() == 5);
}

TEST_CASE("a permit is given back once, however it is moved") {
    semaphore source(2);
    {
        semaphore::permit first = source.try_acquire();
        semaphore::permit second = std::move(first);
        CHECK_FALSE(static_cast<bool>(first));
        CHECK(static_cast<bool>(second));
        CHECK(source.available() == 1);
        semaphore::permit third = source.try_acquire();
        CHECK(source.available() == 0);
        third = std::move(second);  // gives back what it had
        CHECK(source.available() == 1);
        semaphore::permit& same = third;
        third = std::move(same);
        CHECK(static_cast<bool>(third));
        third.give_back();
        third.give_back();
        CHECK(source.available() == 2);
    }
    CHECK(source.available() == 2);
    semaphore::permit kept = source.try_acquire();
    kept.detach();
    CHECK_FALSE(static_cast<bool>(kept));
    CHECK(source.available() == 1);
    source.release();
    CHECK(source.available() == 2);
}

TEST_CASE("a cancelled wait leaves the queue, and the next one is served in its place") {
    no_leaks check;
    loop on;
    semaphore turns(0);
    hand_job<semaphore::permit> first(on, take(turns));
    hand_job<semaphore::permit> second(on, take(turns));
    hand_job<semaphore::permit> third(on, take(turns));
    first.start();
    second.start();
    third.start();
    second.cancel();
    turns.release(2);
    CHECK(ending(second.finish()) == "cancelled");
    CHECK(static_cast<bool>(first.finish().get()));
    CHECK(static_cast<bool>(third.finish().get()));
    CHECK(turns.available() == 2);
}

TEST_CASE("a permit handed over before the cancel is delivered, not lost") {
    no_leaks check;
    loop on;
    semaphore turns(0);
    hand_job<semaphore::permit> waiting(on, take(turns));
    waiting.start();
    turns.release();
    waiting.cancel();
    CHECK(turns.available() == 0);
    {
        outcome<semaphore::permit> result = waiting.finish();
        CHECK(static_cast<bool>(result.get()));
    }
    CHECK(turns.available() == 1);
}

TEST_CASE("cancelling everybody in a long queue gives every permit back") {
    no_leaks check;
    semaphore turns(2);
    std::string log;
    auto story = [&]() -> task<void> {
        co_await scoped([&](scope& all) -> task<void> {
            for (int i = 0; i < 100; ++i) {
                all.spawn(take_turn(turns, log, 'x', 1'000'000));
            }
            co_await yield_now();
            all.cancel();
        });
    };
    play(story());
    CHECK(log == "xx");
    CHECK(turns.available() == 2);
}

TEST_CASE("an acquire that is never awaited takes nothing") {
    semaphore one(1);
    {
        const semaphore::acquire_wait unused = one.acquire();
        CHECK(one.available() == 1);
    }
    CHECK(static_cast<bool>(one.try_acquire()));
}

TEST_CASE("destroying a semaphore in whose queue somebody waits is refused") {
    const std::string words = last_words([] {
        loop on;
        auto gone = std::make_unique<semaphore>(0);
        hand_job<semaphore::permit> waiting(on, take(*gone));
        waiting.start();
        gone.reset();
    });
    CHECK(contains(words, "destroyed while a coroutine waits for it"));
}

TEST_SUITE_END();
