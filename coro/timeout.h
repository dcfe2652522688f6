// with_timeout(duration, task): the task's result, or `error(errc::timed_out)` when it has not
// ended by then. The task runs as a job of its own; at the deadline it is cancelled and waited for,
// so when the error is thrown nothing of it is in flight any more. A task that ends with a value in
// spite of the cancel keeps its value, and one that fails otherwise keeps its failure. A duration
// of zero or less lets the task run up to its first wait. Resumed when the task has ended.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "core/loop.h"
#include "core/result.h"
#include "coro/child.h"
#include "coro/task.h"

namespace ringlet {

template <class T>
class [[nodiscard]] with_timeout final : public detail::fork_wait<with_timeout<T>>, private timer {
public:
    static constexpr const char* wait_name = "with_timeout";

    with_timeout(nanoseconds duration, task<T> root) noexcept
        : timer(&with_timeout::expire), duration_(duration), root_(std::move(root)) {}

    T await_resume() {
        if (!child_) {
            throw cancelled();  // before it was started
        }
        if (timed_out_ && !this->was_cancelled()) {
            throw error(errc::timed_out);
        }
        return child_->take_result().get();
    }

    void start_children(loop& owner) {
        const instant now = owner.read_clock();
        const std::int64_t wait = duration_.count();
        until_ = wait > INT64_MAX - now ? INT64_MAX : now + wait;
        owner.start_timer(*this, until_);
        this->add_child();
        child_.emplace(owner, static_cast<detail::child_owner&>(*this), std::move(root_),
                       this->site());
        child_->start();
    }
    void cancel_children() noexcept { child_->cancel(); }
    void describe(wait_description& into) const override {
        detail::fork_wait<with_timeout>::describe(into);
        into.until = until_;
    }

private:
    void child_finished(job& child, const std::exception_ptr& failure) noexcept override {
        child.loop().cancel_timer(*this);
        timed_out_ = expired_ && detail::cut_short(child, failure);
        this->child_ended();
    }
    static void expire(timer& item) noexcept {
        auto& self = static_cast<with_timeout&>(item);
        self.expired_ = true;
        self.child_->cancel();
    }

    nanoseconds duration_;
    instant until_ = -1;
    task<T> root_;
    std::optional<detail::child_job<T>> child_;
    bool expired_ = false;
    bool timed_out_ = false;
};

}  // namespace ringlet
