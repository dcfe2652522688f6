// The peer of micro.cpp: the same six pieces of work written with Boost.Asio's awaitables, in
// Asio's cheapest form. One thread drives the context, so it is told that no locking is needed,
// except where another thread posts. Asio 1.74 has no semaphore; the usual idiom stands in for it:
// a timer that never expires and is cancelled to wake one waiter.
#include <atomic>
#include <thread>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "bench/micro.h"

namespace {

namespace asio = boost::asio;
using executor = asio::io_context::executor_type;

constexpr asio::use_awaitable_t<executor> use_awaitable;

constexpr int unlocked = BOOST_ASIO_CONCURRENCY_HINT_UNSAFE;
constexpr std::size_t pending_timers = 1000;

asio::awaitable<std::size_t, executor> child(std::size_t value) { co_return value + 1; }

asio::awaitable<void, executor> await_children(std::size_t count) {
    std::size_t sum = 0;
    while (sum < count) {
        sum = co_await child(sum);
    }
}

asio::awaitable<void, executor> spawn_children(executor where, std::size_t count) {
    std::size_t sum = 0;
    while (sum < count) {
        sum = co_await asio::co_spawn(where, child(sum), use_awaitable);
    }
}

asio::awaitable<void, executor> yield_again(executor where, std::size_t count) {
    for (std::size_t i = 0; i < count; i++) {
        co_await asio::post(where, use_awaitable);
    }
}

using timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, executor>;

// Counts permits; a waiter sleeps on the timer until a release cancels it.
class timer_semaphore {
public:
    timer_semaphore(executor where, int permits) : permits_(permits), wakeup_(where) {
        wakeup_.expires_at(timer::time_point::max());
    }

    asio::awaitable<void, executor> acquire() {
        while (permits_ == 0) {
            boost::system::error_code cancelled;
            co_await wakeup_.async_wait(asio::redirect_error(use_awaitable, cancelled));
        }
        permits_--;
    }

    void release() {
        permits_++;
        wakeup_.cancel_one();
    }

private:
    int permits_;
    timer wakeup_;
};

// Two of these hand one permit to and fro.
asio::awaitable<void, executor> hand_over(timer_semaphore& mine, timer_semaphore& other,
                                          std::size_t count) {
    for (std::size_t i = 0; i < count; i++) {
        co_await mine.acquire();
        other.release();
    }
}

template <typename Coroutine>
void run(asio::io_context& context, Coroutine coroutine) {
    asio::co_spawn(context.get_executor(), std::move(coroutine), asio::detached);
    context.restart();
    context.run();
}

void measure_coroutines() {
    asio::io_context context(unlocked);
    const executor where = context.get_executor();
    micro::measure("await a child task", 200'000,
                   [&](std::size_t count) { run(context, await_children(count)); });
    micro::measure("spawn a child and await it", 50'000,
                   [&](std::size_t count) { run(context, spawn_children(where, count)); });
    micro::measure("yield through the ready queue", 100'000,
                   [&](std::size_t count) { run(context, yield_again(where, count)); });
    micro::measure("semaphore hand-over", 50'000, [&](std::size_t count) {
        timer_semaphore left(where, 1);
        timer_semaphore right(where, 0);
        asio::co_spawn(where, hand_over(right, left, count / 2), asio::detached);
        run(context, hand_over(left, right, count / 2));
    });
}

void measure_timers() {
    asio::io_context context(unlocked);
    std::vector<timer> pending;
    for (std::size_t i = 0; i < pending_timers; i++) {
        pending.emplace_back(context.get_executor(), std::chrono::seconds(3600 + i));
        pending.back().async_wait([](boost::system::error_code) {});
    }
    timer measured(context.get_executor());
    micro::measure("timer add and cancel", 50'000, [&](std::size_t count) {
        for (std::size_t i = 0; i < count; i++) {
            measured.expires_after(std::chrono::seconds(60 + i % 1000));
            measured.async_wait([](boost::system::error_code) {});
            measured.cancel();
            context.poll();
        }
    });
}

void measure_posts() {
    asio::io_context context(1);
    auto guard = asio::make_work_guard(context);
    std::thread runner([&] { context.run(); });
    std::size_t ran = 0;
    std::atomic<bool> done{false};
    micro::measure("post from another thread", 50'000, [&](std::size_t count) {
        done.store(false);
        for (std::size_t i = 0; i < count; i++) {
            asio::post(context, [&ran, &done, count] {
                if (++ran == count) {
                    ran = 0;
                    done.store(true);
                    done.notify_one();
                }
            });
        }
        done.wait(false);
    });
    guard.reset();
    runner.join();
}

}  // namespace

int main() {
    measure_coroutines();
    measure_timers();
    measure_posts();
}
