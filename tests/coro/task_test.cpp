#include "coro/task.h"

#include "coro/event.h"
#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<int> one(int value) { co_return value; }
task<void> nothing() { co_return; }

task<int> throws(int value, counted) {
    if (value >= 0) {
        throw std::runtime_error("thrown");
    }
    co_return value;
}

task<int> throws_later(int value) {
    const counted held;
    co_await yield_now();
    const int result = co_await throws(value, held);
    co_return result;
}

task<long> sum_of_done_children(long count) {
    long sum = 0;
    for (long i = 0; i < count; ++i) {
        sum += co_await one(static_cast<int>(i & 1));
        co_await nothing();
    }
    co_return sum;
}

task<int> suspends(int value) {
    const counted held;
    co_await yield_now();
    co_return value;
}

task<long> sum_of_suspending_children(long count) {
    long sum = 0;
    for (long i = 0; i < count; ++i) {
        sum += co_await suspends(static_cast<int>(i & 1));
    }
    co_return sum;
}

task<long> count_exceptions(int count) {
    long caught = 0;
    for (int i = 0; i < count; ++i) {
        try {
            if (i % 4 == 0) {
                caught += co_await throws_later(i);
            } else {
                caught += co_await throws(i, counted());
            }
        } catch (const std::runtime_error&) {
            ++caught;
        }
    }
    co_return caught;
}

task<int> chain(int depth, event* at_the_bottom) {
    const counted held;
    if (depth == 0) {
        if (at_the_bottom != nullptr) {
            co_await at_the_bottom->wait();
        }
        co_return 0;
    }
    const int below = co_await chain(depth - 1, at_the_bottom);
    co_return below + 1;
}

struct never : std::suspend_always {};

task<void> chain_forever(int depth) {
    const counted held;
    if (depth == 0) {
        co_await never();
    } else {
        co_await chain_forever(depth - 1);
    }
}

task<int&> reference_to(int& target) {
    co_await yield_now();
    co_return target;
}

task<std::unique_ptr<int>> move_only() { co_return std::make_unique<int>(7); }

// Throws when it is destroyed, after the value was returned.
struct late_failure {
    ~late_failure() noexcept(false) { throw std::runtime_error("while leaving"); }
};

task<counted> value_then_failure() {
    const late_failure thrown_on_the_way_out;
    co_return counted(1);
}

constexpr long children = 20'000'000;
// Unlike a row of children, a chain that unwinds uses the stack: up to a KiB a level here.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int chain_depth = 2'000;
#else
constexpr int chain_depth = 10'000;
#endif

}  // namespace

TEST_SUITE_BEGIN("coro task");

TEST_CASE("a task does nothing before it is awaited and is destroyed unstarted without a trace") {
    no_leaks check;
    bool started = false;
    {
        auto story = [](bool& flag, counted) -> task<void> {
            flag = true;
            co_return;
        };
        task<void> unstarted = story(started, counted());
        CHECK(counted::live == 1);
        CHECK(static_cast<bool>(unstarted));
    }
    CHECK_FALSE(started);
}

TEST_CASE("values, references and move-only results come out of an awaited task") {
    auto story = []() -> task<void> {
        int target = 1;
        int& alias = co_await reference_to(target);
        alias = 5;
        CHECK(target == 5);
        const std::unique_ptr<int> seven = co_await move_only();
        CHECK(*seven == 7);
    };
    play(story());
}

TEST_CASE("millions of children that finish at once use no stack") {
    CHECK(play(sum_of_done_children(children)) == children / 2);
}

TEST_CASE("children that suspend resume their parent and use no stack") {
    no_leaks check;
    CHECK(play(sum_of_suspending_children(children / 20)) == children / 40);
}

TEST_CASE("exceptions of finished and of suspended children reach whoever awaits") {
    no_leaks check;
    CHECK(play(count_exceptions(2000)) == 2000);
}

TEST_CASE("an exception travels through a whole chain and destroys every frame") {
    no_leaks check;
    auto deep = [](auto& self, int depth) -> task<int> {
        const counted held;
        if (depth == 0) {
            co_await yield_now();
            throw std::logic_error("from the bottom");
        }
        const int below = co_await self(self, depth - 1);
        co_return below;
    };
    CHECK(ending_of(deep(deep, 100)) == "from the bottom");
}

TEST_CASE("a failure of a local's destructor after co_return replaces the value") {
    no_leaks check;
    CHECK(ending_of(value_then_failure()) == "while leaving");
}

TEST_CASE("a chain of thousands of awaits runs down at once and up again") {
    no_leaks check;
    CHECK(play(chain(chain_depth, nullptr)) == chain_depth);
}

TEST_CASE("a chain of thousands of awaits that waits at its end is resumed through all of it") {
    no_leaks check;
    loop on;
    event bottom;
    hand_job<int> story(on, chain(chain_depth, &bottom));
    story.start();
    CHECK_FALSE(story.finished());
    CHECK(counted::live == chain_depth + 1);
    bottom.set();
    CHECK(story.finish().get() == chain_depth);
}

TEST_CASE("destroying a suspended task destroys the frames of all it awaits") {
    no_leaks check;
    loop on;
    hand_job<void> owner(on, {});
    {
        task<void> story = chain_forever(chain_depth);
        story.start_as_root(owner);
        CHECK(counted::live == chain_depth + 1);
    }
    CHECK(counted::live == 0);
}

TEST_CASE("moving a task moves the frame, and a move assignment gives up the old one") {
    no_leaks check;
    auto story = [](counted) -> task<void> { co_return; };
    task<void> first = story(counted());
    task<void> second = std::move(first);
    CHECK_FALSE(static_cast<bool>(first));
    second = story(counted());
    CHECK(counted::live == 1);
    second = {};
    CHECK(counted::live == 0);
}

TEST_SUITE_END();
