// co_await on_helper(loop, fn): runs `fn()` on one of the loop's helper threads and gives its
// value, or throws what it threw. For calls that can only block and that no driver does: reading a folder.
// Resumed from the loop's ready queue.
//
// Cancelled: a call that has not begun never does, and the wait throws `cancelled`. One that has
// begun cannot be stopped: the wait goes on to its end and gives its value. `fn` may take a
// `const std::atomic<bool>&` that becomes true when its end is wished for, and look at it now and
// then. As it runs beside the loop, `fn` may use nothing that the loop's thread uses meanwhile.
// Give a capturing lambda a name before awaiting (docs/lambda-captures.md).
#pragma once

#include <atomic>
#include <coroutine>
#include <type_traits>
#include <utility>

#include "core/helper_pool.h"
#include "core/loop.h"
#include "coro/job.h"
#include "coro/outcome.h"

namespace ringlet {

template <class F>
class [[nodiscard]] on_helper final : public waiter, private helper_job {
    static constexpr bool takes_stop = std::is_invocable_v<F&, const std::atomic<bool>&>;
    static auto value_of(F& fn, const std::atomic<bool>& stop) {
        if constexpr (takes_stop) {
            return fn(stop);
        } else {
            return fn();
        }
    }
    using value = decltype(value_of(std::declval<F&>(), std::declval<const std::atomic<bool>&>()));

public:
    on_helper(ringlet::loop& owner, F fn)
        : helper_job(&on_helper::block, &on_helper::done), loop_(owner), fn_(std::move(fn)) {}
    on_helper(const on_helper&) = delete;
    on_helper& operator=(const on_helper&) = delete;
    ~on_helper() {
        RINGLET_REQUIRE(!waiting_, "a coroutine was destroyed while it waits for a helper thread");
    }

    bool await_ready() const noexcept { return false; }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) {
        job_ = job_of(handle);
        handle_ = handle;
        if (job_ != nullptr && job_->is_cancelled()) {
            cancelled_ = true;
            return false;
        }
        loop_.helpers().submit(*this);
        waiting_ = true;
        if (job_ != nullptr) {
            job_->set_waiting(this);
        }
        return true;
    }

    value await_resume() {
        if (cancelled_) {
            throw cancelled();
        }
        return outcome_.get();
    }

private:
    void cancel_wait() noexcept override {
        if (loop_.helpers().withdraw(*this)) {
            cancelled_ = true;
            loop_.post(*this);
        } else {
            stop_.store(true, std::memory_order_relaxed);
        }
    }
    static void block(helper_job& item) noexcept {
        auto& self = static_cast<on_helper&>(item);
        try {
            if constexpr (std::is_void_v<value>) {
                value_of(self.fn_, self.stop_);
                self.outcome_.set_value();
            } else {
                self.outcome_.set_value(value_of(self.fn_, self.stop_));
            }
        } catch (...) {
            self.outcome_.set_exception(std::current_exception());
        }
    }
    static void done(work& item) noexcept {
        auto& self = static_cast<on_helper&>(item);
        self.waiting_ = false;
        if (self.job_ != nullptr) {
            self.job_->set_waiting(nullptr);
        }
        self.handle_.resume();
    }

    ringlet::loop& loop_;
    F fn_;
    outcome<value> outcome_;
    std::coroutine_handle<> handle_;
    job* job_ = nullptr;
    std::atomic<bool> stop_{false};
    bool waiting_ = false;
    bool cancelled_ = false;
};

}  // namespace ringlet
