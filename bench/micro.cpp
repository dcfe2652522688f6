// What Ringlet's own parts cost, without any I/O: the same six pieces of work as micro_asio.cpp,
// under the same names, so that the two can be put side by side.
#include <atomic>
#include <memory>
#include <thread>

#include "bench/micro.h"
#include "core/loop.h"
#include "coro/run.h"
#include "coro/scope.h"
#include "coro/semaphore.h"
#include "coro/suspension.h"
#include "coro/task.h"

namespace {

using ringlet::loop;
using ringlet::scope;
using ringlet::semaphore;
using ringlet::task;

constexpr std::size_t pending_timers = 1000;
constexpr ringlet::instant second_ns = 1'000'000'000;

task<std::size_t> child(std::size_t value) { co_return value + 1; }

task<void> await_children(std::size_t count) {
    std::size_t sum = 0;
    while (sum < count) {
        sum = co_await child(sum);
    }
}

task<void> add_one(std::size_t& sum) {
    sum++;
    co_return;
}

task<void> spawn_children(loop& owner, std::size_t count) {
    scope children(owner);
    std::size_t sum = 0;
    while (sum < count) {
        children.spawn(add_one(sum));
        co_await children.join();
    }
}

task<void> yield_again(std::size_t count) {
    for (std::size_t i = 0; i < count; i++) {
        co_await ringlet::yield_now();
    }
}

task<void> hand_over(semaphore& mine, semaphore& other, std::size_t count) {
    for (std::size_t i = 0; i < count; i++) {
        semaphore::permit permit = co_await mine.acquire();
        permit.detach();
        other.release();
    }
}

// Two tasks hand one permit to and fro.
task<void> hand_over_between_two(loop& owner, std::size_t count) {
    semaphore left(1);
    semaphore right(0);
    scope both(owner);
    both.spawn(hand_over(left, right, count / 2));
    both.spawn(hand_over(right, left, count / 2));
    co_await both.join();
}

void measure_coroutines(loop& owner) {
    micro::measure("await a child task", 200'000,
                   [&](std::size_t count) { run(owner, await_children(count)); });
    micro::measure("spawn a child and await it", 50'000,
                   [&](std::size_t count) { run(owner, spawn_children(owner, count)); });
    micro::measure("yield through the ready queue", 100'000,
                   [&](std::size_t count) { run(owner, yield_again(count)); });
    micro::measure("semaphore hand-over", 50'000,
                   [&](std::size_t count) { run(owner, hand_over_between_two(owner, count)); });
}

struct silent_timer : ringlet::timer {
    silent_timer() noexcept : timer([](ringlet::timer&) noexcept {}) {}
};

void measure_timers(loop& owner) {
    const auto pending = std::make_unique<silent_timer[]>(pending_timers);
    for (std::size_t i = 0; i < pending_timers; i++) {
        owner.start_timer(pending[i], owner.now() + second_ns * ringlet::instant(3600 + i));
    }
    silent_timer measured;
    micro::measure("timer add and cancel", 50'000, [&](std::size_t count) {
        for (std::size_t i = 0; i < count; i++) {
            owner.start_timer(measured, owner.now() + second_ns * ringlet::instant(60 + i % 1000));
            owner.cancel_timer(measured);
        }
    });
    for (std::size_t i = 0; i < pending_timers; i++) {
        owner.cancel_timer(pending[i]);
    }
}

// One of a burst posted from another thread; the last of them says that the burst has run.
struct posted : ringlet::work {
    posted() noexcept : work(&posted::run) {}
    static void run(ringlet::work& item) noexcept {
        auto& self = static_cast<posted&>(item);
        if (self.last != nullptr) {
            self.last->store(true);
            self.last->notify_one();
        }
    }
    std::atomic<bool>* last = nullptr;
};

struct stopper : ringlet::work {
    stopper() noexcept : work([](ringlet::work&) noexcept { loop::current()->stop(); }) {}
};

// A loop belongs to the thread that runs it, so it is made there.
void measure_posts() {
    constexpr std::size_t burst = 50'000;
    const auto items = std::make_unique<posted[]>(burst + 1);
    std::atomic<bool> done{false};
    std::atomic<loop*> made{nullptr};
    std::thread runner([&] {
        loop mine;
        made.store(&mine);
        made.notify_one();
        mine.run();
    });
    made.wait(nullptr);
    loop& target = *made.load();
    micro::measure("post from another thread", burst, [&](std::size_t count) {
        done.store(false);
        for (std::size_t i = 0; i < count; i++) {
            items[i].last = i + 1 == count ? &done : nullptr;
            target.post_from_thread(items[i]);
        }
        done.wait(false);
    });
    stopper stop;
    target.post_from_thread(stop);
    runner.join();
}

}  // namespace

int main() {
    {
        loop owner;
        measure_coroutines(owner);
        measure_timers(owner);
    }
    measure_posts();
}
