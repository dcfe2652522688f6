// child_job<T>: one concurrent branch of a wait that owns several (gather, race, with_timeout).
// It lives in its owner, runs one task and tells the owner when it has ended; the owner must not
// die before. `fork_wait` is the common part of such owners: an awaitable that starts its children
// when awaited and resumes when the last of them has ended; cancelling it cancels the children, and
// goes on waiting for them.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "coro/job.h"
#include "coro/task.h"

namespace ringlet::detail {

// Told of each child's end; may be called inside the child's start.
class child_owner {
public:
    // `failure` is null when the child ended with a value.
    virtual void child_finished(job& child, const std::exception_ptr& failure) noexcept = 0;
    // The job that waits, if it is one of ours.
    virtual const job* waiting_job() const noexcept = 0;

protected:
    ~child_owner() = default;
};

// True when the child ended early because it was asked to, which is no failure.
inline bool cut_short(const job& child, const std::exception_ptr& failure) noexcept {
    return failure && child.is_cancelled() && is_cancellation(failure);
}

template <class T>
class child_job final : public job {
public:
    child_job(ringlet::loop& loop, child_owner& owner, task<T> root, spawn_site at) noexcept
        : job(loop, at), owner_(owner), root_(std::move(root)) {}

    void start() noexcept { root_.start_as_root(*this); }
    // Once, after the end.
    outcome<T> take_result() noexcept { return root_.take_result(); }
    const job* parent() const noexcept override { return owner_.waiting_job(); }

private:
    void root_finished() noexcept override { owner_.child_finished(*this, root_.failure()); }

    child_owner& owner_;
    task<T> root_;
};

// A task that becomes a child when it is started, for owners of several.
template <class T>
class branch {
public:
    branch() noexcept = default;
    explicit branch(task<T> root) noexcept : root_(std::move(root)) {}

    void start(ringlet::loop& where, child_owner& owner, spawn_site at) noexcept {
        child_.emplace(where, owner, std::move(root_), at);
        child_->start();
    }
    void cancel() noexcept {
        if (child_) {
            child_->cancel();
        }
    }
    bool is(const job* child) const noexcept { return child_ && &*child_ == child; }
    // Once, after the end: the value, or throws the failure.
    kept<T> take() {
        if constexpr (std::is_void_v<T>) {
            child_->take_result().get();
            return {};
        } else {
            return child_->take_result().get();
        }
    }

    // All in one place, which they never leave.
    static std::vector<branch> all_of(std::vector<task<T>>& roots) {
        std::vector<branch> all(roots.size());
        for (std::size_t i = 0; i < roots.size(); ++i) {
            all[i].root_ = std::move(roots[i]);
        }
        return all;
    }

private:
    task<T> root_;
    std::optional<child_job<T>> child_;
};

// A derived awaitable has `void start_children(loop&)` (each start preceded by `add_child()`; may
// throw before the first), `void cancel_children() noexcept` (asks every started child), and calls
// `child_ended()` from its child_finished, and a `wait_name` for dump_tasks.
template <class Derived>
class fork_wait : public waiter, protected child_owner {
public:
    fork_wait(const fork_wait&) = delete;
    fork_wait& operator=(const fork_wait&) = delete;

    // A co_await evaluates this default argument at its own place in the source.
    bool await_ready(spawn_site at = spawn_site::here()) noexcept {
        site_ = at;
        return false;
    }

    // Resumed inside the end of the last child.
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) {
        job_ = job_of(handle);
        handle_ = handle;
        if (job_ != nullptr && job_->is_cancelled()) {
            cancelled_ = true;
            return false;
        }
        children_ = 1;  // held while starting, so that an early end of all does not resume
        try {
            static_cast<Derived*>(this)->start_children(job_ != nullptr ? job_->loop()
                                                                         : *loop::current());
        } catch (...) {
            children_ = 0;
            throw;
        }
        if (--children_ == 0) {
            return false;
        }
        suspended_ = true;
        if (job_ != nullptr) {
            job_->set_waiting(this);
            if (job_->is_cancelled()) {  // by one of the children, while they were started
                cancel_wait();
            }
        }
        return true;
    }

protected:
    fork_wait() noexcept = default;
    ~fork_wait() {
        RINGLET_REQUIRE(children_ == 0, "a coroutine was destroyed while its children live");
    }
    void describe(wait_description& into) const override {
        into.kind = Derived::wait_name;
        into.detail = std::to_string(children_) + (children_ == 1 ? " child" : " children");
    }
    const job* waiting_job() const noexcept final { return job_; }
    const spawn_site& site() const noexcept { return site_; }
    bool was_cancelled() const noexcept { return cancelled_; }
    // The job was cancelled before the wait began.
    bool never_started() const noexcept { return cancelled_ && !suspended_; }
    void add_child() noexcept { ++children_; }
    void child_ended() noexcept {
        if (--children_ == 0 && suspended_) {
            if (job_ != nullptr) {
                job_->set_waiting(nullptr);
            }
            handle_.resume();
        }
    }

private:
    void cancel_wait() noexcept final {
        cancelled_ = true;
        static_cast<Derived*>(this)->cancel_children();
    }

    std::coroutine_handle<> handle_;
    job* job_ = nullptr;
    std::size_t children_ = 0;
    spawn_site site_;
    bool suspended_ = false;
    bool cancelled_ = false;
};

}  // namespace ringlet::detail
