// co_await on_helper(fn): runs `fn()` on a helper thread of the loop and gives what it returns or
// throws; for calls that can only block. Resumed from the loop's ready queue. `fn` runs beside the
// loop's thread, so it may touch only what nobody else does meanwhile.
//
// Cancelled: a call that has not begun never does, and the wait throws `cancelled`. One that has
// begun cannot be stopped: the wait goes on to its end and gives its value. `fn` may take a
// `const std::atomic<bool>&` that becomes true when its end is wished for, and look at it now and
// then.
//
// A capturing lambda belongs into a variable first (docs/lambda-captures.md):
//     auto write = [&] { ... };
//     co_await on_helper(write);
#pragma once

#include <atomic>
#include <exception>
#include <type_traits>
#include <utility>

#include "core/helper_pool.h"
#include "coro/outcome.h"
#include "coro/suspension.h"

namespace ringlet {

template <class Fn>
class [[nodiscard]] on_helper final : public suspension<on_helper<Fn>>, private helper_job {
    static auto call(Fn& fn, const std::atomic<bool>& stop) {
        if constexpr (std::is_invocable_v<Fn&, const std::atomic<bool>&>) {
            return fn(stop);
        } else {
            return fn();
        }
    }
    using value = decltype(call(std::declval<Fn&>(), std::declval<const std::atomic<bool>&>()));

public:
    explicit on_helper(Fn fn) noexcept
        : helper_job(&on_helper::block, &on_helper::done), fn_(std::move(fn)) {}

    bool await_ready() const noexcept { return false; }
    void enlist() { this->owner_loop().helpers().submit(*this); }
    void delist() noexcept {}
    void describe_wait(wait_description& into) const { into.kind = "helper thread"; }
    value await_resume() {
        this->check_cancelled();
        return outcome_.get();
    }

private:
    void cancel_wait() noexcept override {
        if (this->owner_loop().helpers().withdraw(*this)) {
            suspension<on_helper>::cancel_wait();
        } else {
            stop_.store(true, std::memory_order_relaxed);
        }
    }
    static void block(helper_job& job) noexcept {
        auto& self = static_cast<on_helper&>(job);
        try {
            if constexpr (std::is_void_v<value>) {
                call(self.fn_, self.stop_);
                self.outcome_.set_value();
            } else {
                self.outcome_.set_value(call(self.fn_, self.stop_));
            }
        } catch (...) {
            self.outcome_.set_exception(std::current_exception());
        }
    }
    static void done(work& item) noexcept {
        static_cast<on_helper&>(static_cast<helper_job&>(item)).wake_up();
    }

    Fn fn_;
    outcome<value> outcome_;
    std::atomic<bool> stop_{false};
};

}  // namespace ringlet
