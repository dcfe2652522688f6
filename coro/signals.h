// signals: Unix signals for coroutines. `co_await stop.next()` gives the number of a signal that
// came since this object was made, the lowest first; one that came again before it was told is told
// once. Resumed from the loop's ready queue. One coroutine waits at a time; cancel ends the wait
// and loses no signal.
// What holds for signal_watch (core/signals.h) holds here.
#pragma once

#include <bit>
#include <cstdint>
#include <initializer_list>
#include <utility>

#include "core/signals.h"
#include "coro/suspension.h"

namespace ringlet {

class signals {
public:
    class [[nodiscard]] next_signal final : public suspension<next_signal> {
    public:
        explicit next_signal(signals& source) noexcept : source_(source) {}

        bool await_ready() noexcept {
            number_ = source_.take_first();
            return number_ != 0;
        }
        void enlist() noexcept {
            RINGLET_REQUIRE(source_.waiting_ == nullptr, "two coroutines wait for signals at once");
            source_.waiting_ = this;
        }
        void delist() noexcept { source_.waiting_ = nullptr; }
        int await_resume() {
            check_cancelled();
            return number_;
        }

    private:
        friend class signals;
        signals& source_;
        int number_ = 0;
    };

    signals(loop& owner, std::initializer_list<int> numbers)
        : watch_(owner, numbers, &signals::take, this) {}
    ~signals() {
        RINGLET_REQUIRE(waiting_ == nullptr, "signals were destroyed while a coroutine waits");
    }

    // co_await it.
    next_signal next() noexcept { return next_signal(*this); }

private:
    static void take(void* self, int number) noexcept {
        auto& to = *static_cast<signals*>(self);
        if (next_signal* const waiting = std::exchange(to.waiting_, nullptr)) {
            waiting->number_ = number;
            waiting->wake_up();
        } else {
            to.came_ |= std::uint64_t{1} << (number - 1);
        }
    }
    // 0: none came.
    int take_first() noexcept {
        if (came_ == 0) {
            return 0;
        }
        const int lowest = std::countr_zero(came_);
        came_ &= came_ - 1;
        return lowest + 1;
    }

    std::uint64_t came_ = 0;  // bit n - 1: signal n came and was not taken
    next_signal* waiting_ = nullptr;
    signal_watch watch_;
};

}  // namespace ringlet
