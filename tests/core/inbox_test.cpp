#include "core/inbox.h"

#include <doctest/doctest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/support.h"

using namespace ringlet;

namespace {

struct item : work {
    item() : work([](work&) noexcept {}) {}
};

// What one producer posts, and how far the loop has got with it.
struct producer {
    struct parcel : work {
        parcel(producer& sender, int place)
            : work([](work& self) noexcept { static_cast<parcel&>(self).arrive(); }),
              from(sender),
              number(place) {}
        void arrive() noexcept {
            from.in_order = from.in_order && from.arrived == number;
            ++from.arrived;
        }
        producer& from;
        int number;
    };

    std::deque<parcel> parcels;
    int arrived = 0;
    bool in_order = true;
};

}  // namespace

TEST_CASE("what is pushed comes out oldest first") {
    inbox door;
    work_queue out;
    item first;
    item second;
    item third;
    CHECK(door.empty());
    CHECK_FALSE(door.push(first));
    CHECK_FALSE(door.push(second));
    CHECK_FALSE(door.empty());
    door.drain(out);
    CHECK(door.empty());
    CHECK_FALSE(door.push(third));
    door.drain(out);
    CHECK(out.pop() == &first);
    CHECK(out.pop() == &second);
    CHECK(out.pop() == &third);
    CHECK(out.empty());
}

TEST_CASE("only the first push to a sleeping loop has to wake it") {
    inbox door;
    work_queue out;
    item first;
    item second;
    CHECK(door.begin_sleep());
    CHECK(door.push(first));
    CHECK_FALSE(door.push(second));
    door.end_sleep();
    CHECK_FALSE(door.begin_sleep());
    door.drain(out);
    CHECK(door.begin_sleep());
    door.end_sleep();
    CHECK_FALSE(door.push(*out.pop()));
    door.drain(out);
    while (out.pop() != nullptr) {
    }
}

TEST_CASE("eight threads post to a loop that sleeps and wakes, and nothing is lost or swapped") {
    constexpr int producer_count = 8;
    constexpr int parcel_count = 100'000;
    loop on;
    std::vector<std::unique_ptr<producer>> producers;
    std::vector<std::thread> threads;
    for (int i = 0; i < producer_count; ++i) {
        producers.push_back(std::make_unique<producer>());
        for (int number = 0; number < parcel_count; ++number) {
            producers.back()->parcels.emplace_back(*producers.back(), number);
        }
    }
    for (const auto& each : producers) {
        threads.emplace_back([&on, &from = *each] {
            for (producer::parcel& parcel : from.parcels) {
                on.post_from_thread(parcel);
                // Slowly first, so that the loop sleeps between posts; then as fast as it goes.
                if (parcel.number < 100 || parcel.number % 5000 == 0) {
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
                }
            }
        });
    }
    const auto all_here = [&] {
        for (const auto& each : producers) {
            if (each->arrived != parcel_count) {
                return false;
            }
        }
        return true;
    };
    CHECK(test::run_until(on, all_here, test::no_limit));
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const auto& each : producers) {
        CHECK(each->in_order);
    }
    const loop_stats stats = on.stats();
    // One ring per sleep (or per attempt at one), however many post meanwhile.
    CHECK(stats.wakeups > 0);
    CHECK(stats.wakeups <= stats.turns);
    CHECK(stats.wakeups < producer_count * parcel_count / 100);
    MESSAGE(stats.turns, " turns, ", stats.waits, " waits, ", stats.wakeups, " wakeups for ",
            producer_count * parcel_count, " posts");
}

TEST_CASE("a post that meets the loop just going to sleep wakes it every time") {
    struct ball : work {
        ball() : work([](work& self) noexcept { static_cast<ball&>(self).arrived = true; }) {}
        bool arrived = false;
    };
    constexpr int throws = 5'000;
    loop on;
    std::atomic<ball*> thrown{nullptr};
    std::thread thrower([&] {
        for (int i = 0; i < throws; ++i) {
            ball* next = nullptr;
            while ((next = thrown.exchange(nullptr, std::memory_order_acquire)) == nullptr) {
                std::this_thread::yield();
            }
            on.post_from_thread(*next);
        }
    });
    for (int i = 0; i < throws; ++i) {
        ball one;
        thrown.store(&one, std::memory_order_release);
        // Hangs for good if a wake is ever missed.
        test::run_until(on, [&] { return one.arrived; }, test::no_limit);
    }
    thrower.join();
    CHECK(on.stats().wakeups <= throws);
}
