// signals: Unix signals as a stream for coroutines. `co_await stop.next()` gives the number of a
// signal that came since this object was made and was not taken yet. Each is given to one waiter,
// the one that waits longest. While nobody waits they are kept, a signal that comes again is kept
// once, and the lowest number is given first. Resumed from the loop's ready queue. Cancel ends a
// wait and loses no signal.
// What holds for signal_watch (core/signals.h) holds here. Nobody may wait when it is destroyed.
#pragma once

#include <bit>
#include <cstdint>
#include <initializer_list>

#include "core/signals.h"
#include "coro/suspension.h"
#include "coro/wait_list.h"

namespace ringlet {

class signals {
public:
    class [[nodiscard]] next_signal final : public suspension<next_signal>,
                                            public detail::wait_link {
    public:
        explicit next_signal(signals& source) noexcept : source_(source) {}

        bool await_ready() noexcept {
            number_ = source_.take_first();
            return number_ != 0;
        }
        void enlist() noexcept { source_.waits_.push(*this); }
        void delist() noexcept { source_.waits_.remove(*this); }
        int await_resume() const {
            check_cancelled();
            return number_;
        }
        void describe_wait(wait_description& into) const;

    private:
        friend class signals;
        signals& source_;
        int number_ = 0;
    };

    signals(loop& owner, std::initializer_list<int> numbers)
        : watch_(owner, numbers, &signals::take, this) {
        for (const int number : numbers) {
            watched_ |= bit(number);
        }
    }
    ~signals() {
        RINGLET_REQUIRE(waits_.empty(), "signals were destroyed while a coroutine waits");
    }

    // co_await it.
    next_signal next() noexcept { return next_signal(*this); }

private:
    // Signals are numbered from 1 to 64.
    static constexpr std::uint64_t bit(int number) noexcept {
        return std::uint64_t{1} << (number - 1);
    }
    static void take(void* self, int number) noexcept {
        auto& to = *static_cast<signals*>(self);
        if (next_signal* const oldest = to.waits_.pop()) {
            oldest->number_ = number;
            oldest->wake_up();
        } else {
            to.came_ |= bit(number);
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

    std::uint64_t watched_ = 0;
    std::uint64_t came_ = 0;  // and were not taken
    detail::wait_list<next_signal> waits_;
    signal_watch watch_;
};

}  // namespace ringlet
