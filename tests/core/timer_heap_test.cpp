#include "core/timer_heap.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <set>
#include <utility>
#include <vector>

#include "core/fake_random.h"
#include "tests/support/support.h"

using namespace ringlet;

namespace {

struct counted_timer : timer {
    counted_timer()
        : timer([](timer& self) noexcept { ++static_cast<counted_timer&>(self).expirations; }) {}
    int expirations = 0;
};

// Takes everything out, so that the timers may be destroyed.
void empty(timer_heap& heap) {
    while (heap.pop_due(INT64_MAX) != nullptr) {
    }
}

}  // namespace

TEST_CASE("timers come out in the order of their deadlines, and not before them") {
    timer_heap heap;
    counted_timer late;
    counted_timer early;
    counted_timer middle;
    CHECK(heap.empty());
    heap.add(late, 30);
    heap.add(early, 10);
    heap.add(middle, 20);
    CHECK(heap.size() == 3);
    CHECK(heap.first_deadline() == 10);
    CHECK(heap.pop_due(9) == nullptr);
    CHECK(heap.pop_due(10) == &early);
    CHECK_FALSE(early.pending());
    CHECK(heap.pop_due(15) == nullptr);
    CHECK(heap.pop_due(100) == &middle);
    CHECK(heap.pop_due(100) == &late);
    CHECK(heap.pop_due(100) == nullptr);
    CHECK(heap.empty());
}

TEST_CASE("deadlines at the ends of the clock are deadlines like others") {
    timer_heap heap;
    counted_timer first;
    counted_timer last;
    heap.add(last, INT64_MAX);
    heap.add(first, INT64_MIN);
    CHECK(heap.pop_due(INT64_MIN) == &first);
    CHECK(heap.pop_due(INT64_MAX - 1) == nullptr);
    CHECK(heap.pop_due(INT64_MAX) == &last);
}

TEST_CASE("removing a timer that is not pending changes nothing") {
    timer_heap heap;
    counted_timer never_added;
    counted_timer other;
    heap.add(other, 1);
    heap.remove(never_added);
    CHECK(heap.size() == 1);
    heap.remove(other);
    heap.remove(other);
    CHECK(heap.empty());
}

TEST_CASE("random adds, moves and removes agree with a sorted set") {
    for (std::uint64_t round = 0; round < 20; ++round) {
        CAPTURE(round);
        detail::fake_random random(test::seed() * 100 + round);
        timer_heap heap;
        std::vector<counted_timer> timers(200);
        std::set<std::pair<std::int64_t, counted_timer*>> model;
        for (int step = 0; step < 5000; ++step) {
            counted_timer& chosen = timers[random.below(timers.size())];
            const auto deadline = static_cast<std::int64_t>(random.below(1000));
            if (!chosen.pending()) {
                heap.add(chosen, deadline);
                model.emplace(deadline, &chosen);
            } else if (random.chance(128)) {
                model.erase({chosen.deadline(), &chosen});
                heap.move(chosen, deadline);
                model.emplace(deadline, &chosen);
            } else if (random.chance(128)) {
                model.erase({chosen.deadline(), &chosen});
                heap.remove(chosen);
            } else {
                const timer* popped = heap.pop_due(static_cast<std::int64_t>(random.below(300)));
                if (popped != nullptr) {
                    REQUIRE(popped->deadline() == model.begin()->first);
                    const auto found = std::find_if(model.begin(), model.end(), [&](auto& each) {
                        return each.second == popped;
                    });
                    REQUIRE(found != model.end());
                    model.erase(found);
                }
            }
            REQUIRE(heap.size() == model.size());
            REQUIRE((model.empty() || heap.first_deadline() == model.begin()->first));
        }
        empty(heap);
    }
}

TEST_CASE("a million timers are pending at once, and come out sorted") {
    constexpr int count = 1'000'000;
    detail::fake_random random(test::seed());
    timer_heap heap;
    std::deque<counted_timer> timers;
    for (int i = 0; i < count; ++i) {
        heap.add(timers.emplace_back(), static_cast<std::int64_t>(random.next() >> 1));
    }
    CHECK(heap.size() == count);
    for (int i = 0; i < count; i += 2) {
        heap.remove(timers[static_cast<std::size_t>(i)]);
    }
    CHECK(heap.size() == count / 2);
    std::int64_t before = 0;
    int popped = 0;
    bool sorted = true;
    while (const timer* item = heap.pop_due(INT64_MAX)) {
        sorted = sorted && item->deadline() >= before;
        before = item->deadline();
        ++popped;
    }
    CHECK(sorted);
    CHECK(popped == count / 2);
}
