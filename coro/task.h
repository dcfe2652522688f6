// task<T>: a lazy coroutine. It starts when awaited (or given to a scope, gather, run ...), in the
// awaiting job, and resumes whoever awaits it when it ends, in the same turn. Awaited once, as an
// rvalue. Exceptions travel to whoever awaits.
//
// Stack-safe in every build mode: a child that finishes without suspending returns to its awaiter's
// loop instead of resuming it, so a loop over millions of such children uses no stack, with no tail
// call needed from the compiler (docs/symmetric-transfer.md). Depth is bounded by the await chain.
//
// Destroying a task that has started and not ended is allowed only when nothing in it is in flight
// (an operation in the frame ends the program with a sentence otherwise). House rules: no capturing
// lambda as a coroutine unless the lambda outlives it; no co_await inside ?: or a structured
// binding.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

#include "coro/frame_pool.h"
#include "coro/job.h"
#include "coro/outcome.h"

namespace ringlet {

template <class T = void>
class task;

namespace detail {

struct final_awaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
        promise_base& promise = handle.promise();
        if (promise.started_inline) [[likely]] {
            promise.finished = true;  // task_awaiter::await_suspend is below us and goes on
        } else if (promise.continuation) {
            promise.continuation.resume();
        } else {
            promise.owner->root_finished();
        }
    }
    void await_resume() const noexcept {}
};

template <class T>
struct task_promise_base : promise_base, pooled {
    outcome<T> result;

    std::suspend_always initial_suspend() const noexcept { return {}; }
    final_awaiter final_suspend() const noexcept { return {}; }
    void unhandled_exception() noexcept { result.set_exception(std::current_exception()); }
};

template <class T>
struct task_promise : task_promise_base<T> {
    task<T> get_return_object() noexcept;
    template <class U>
    void return_value(U&& value) {
        this->result.set_value(std::forward<U>(value));
    }
};

template <>
struct task_promise<void> : task_promise_base<void> {
    task<void> get_return_object() noexcept;
    void return_void() { result.set_value(); }
};

template <class T>
struct task_awaiter {
    std::coroutine_handle<task_promise<T>> frame;

    bool await_ready() const noexcept { return false; }
    // Runs the child here. False (go on at once) when it finished without suspending.
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> parent) const noexcept {
        promise_base& child = frame.promise();
        child.continuation = parent;
        child.owner = job_of(parent);
        child.started_inline = true;
        frame.resume();
        child.started_inline = false;
        return !child.finished;
    }
    T await_resume() const { return frame.promise().result.get(); }
};

}  // namespace detail

template <class T>
class [[nodiscard]] task {
public:
    using promise_type = detail::task_promise<T>;
    using value_type = T;
    using handle = std::coroutine_handle<promise_type>;

    task() noexcept = default;
    explicit task(handle frame) noexcept : frame_(frame) {}
    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    task& operator=(task&& other) noexcept {
        std::swap(frame_, other.frame_);
        return *this;
    }
    ~task() {
        if (frame_) {
            frame_.destroy();
        }
    }

    explicit operator bool() const noexcept { return static_cast<bool>(frame_); }

    auto operator co_await() && noexcept {
        RINGLET_REQUIRE(frame_, "an empty task was awaited");
        return detail::task_awaiter<T>{frame_};
    }

    // Starts it as the root of `owner`, whose root_finished is called at its end, which may be
    // before this returns. Then `take_result` and destruction are the owner's.
    void start_as_root(job& owner) noexcept {
        RINGLET_REQUIRE(frame_, "an empty task was started");
        frame_.promise().owner = &owner;
        frame_.resume();
    }
    outcome<T> take_result() noexcept { return std::move(frame_.promise().result); }
    // After the end: null when it has a value.
    std::exception_ptr failure() const noexcept { return frame_.promise().result.exception(); }
    // Gives the frame up for good, with all it holds.
    void leak() noexcept { frame_ = nullptr; }

private:
    handle frame_;
};

template <class T>
task<T> detail::task_promise<T>::get_return_object() noexcept {
    return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
}

inline task<void> detail::task_promise<void>::get_return_object() noexcept {
    return task<void>(std::coroutine_handle<task_promise>::from_promise(*this));
}

}  // namespace ringlet
