// async_generator<T>: a coroutine that makes values one at a time and may wait for what it needs.
//
//     async_generator<std::string> lines(tcp_stream& from) { ... co_await ...; co_yield line; }
//     while (std::string* line = co_await source.next()) ...
//
// `next` gives a pointer to the next value, null at the end, or throws what the generator threw,
// which ends it. The generator runs inside `next` and as part of the job that awaits it, so a
// cancel of that job throws `cancelled` out of the wait the generator is in. The reader is resumed
// inside the generator's co_yield. Loop thread only; one `next` at a time.
//
// What is yielded stays in place until the following `next`. For async_generator<T> an rvalue is
// given as it is, so the reader may move it away, and an lvalue is copied; for async_generator<T&>
// it is given by reference. Between two calls of `next` it may be destroyed at any time, begun or
// not, with what is in it. Stack-safe as tasks are (docs/symmetric-transfer.md).
#pragma once

#include <coroutine>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include "core/config.h"
#include "coro/frame_pool.h"
#include "coro/generator.h"
#include "coro/job.h"

namespace ringlet {

template <class T>
class async_generator;

namespace detail {

// `continuation`, `owner`, `started_inline` and `finished` are those of the `next` in progress.
template <class T>
class async_generator_promise : public promise_base, public pooled {
    using value = std::remove_reference_t<T>;
    using handle = std::coroutine_handle<async_generator_promise>;

    // Gives control back to the reader: by returning to it when it is on the stack below.
    struct hand_over : std::suspend_always {
        void await_suspend(handle frame) const noexcept { frame.promise().give_control(); }
    };
    struct hand_over_copy : yielded_copy<value, async_generator_promise> {
        using copy = yielded_copy<value, async_generator_promise>;
        using copy::copy;
        void await_suspend(handle frame) noexcept {
            copy::await_suspend(frame);
            frame.promise().give_control();
        }
    };

public:
    async_generator<T> get_return_object() noexcept {
        return async_generator<T>(handle::from_promise(*this));
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    hand_over final_suspend() noexcept { return {}; }
    void return_void() noexcept { shown_ = nullptr; }
    void unhandled_exception() noexcept {
        shown_ = nullptr;
        failure_ = std::current_exception();
    }

    hand_over yield_value(value& lvalue) noexcept requires(std::is_reference_v<T>) {
        show(std::addressof(lvalue));
        return {};
    }
    hand_over yield_value(value&& rvalue) noexcept requires(!std::is_reference_v<T>) {
        show(std::addressof(rvalue));
        return {};
    }
    hand_over_copy yield_value(const value& lvalue) requires(!std::is_reference_v<T>) {
        return hand_over_copy(lvalue);
    }

    void show(value* yielded) noexcept { shown_ = yielded; }
    value* take_shown() {
        if (failure_) [[unlikely]] {
            std::rethrow_exception(std::exchange(failure_, nullptr));
        }
        return shown_;
    }

private:
    void give_control() noexcept {
        finished = true;
        if (!started_inline) {
            continuation.resume();  // may destroy this
        }
    }

    value* shown_ = nullptr;
    std::exception_ptr failure_;
};

}  // namespace detail

template <class T>
class [[nodiscard]] async_generator {
public:
    using promise_type = detail::async_generator_promise<T>;
    using value_type = T;
    class next_wait;

    async_generator() noexcept = default;
    explicit async_generator(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    async_generator(async_generator&& other) noexcept
        : frame_(std::exchange(other.frame_, nullptr)) {}
    async_generator& operator=(async_generator&& other) noexcept {
        std::swap(frame_, other.frame_);
        return *this;
    }
    ~async_generator() {
        if (frame_) {
            const promise_type& promise = frame_.promise();
            RINGLET_REQUIRE(promise.finished || !promise.continuation,
                            "an async_generator was destroyed while it is awaited");
            frame_.destroy();
        }
    }

    // co_await it: a pointer to the value, null at the end (of an empty generator at once).
    next_wait next() noexcept { return next_wait(frame_); }

private:
    std::coroutine_handle<promise_type> frame_;
};

template <class T>
class [[nodiscard]] async_generator<T>::next_wait {
public:
    explicit next_wait(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}

    bool await_ready() const noexcept { return !frame_ || frame_.done(); }

    // Runs the generator here. False (go on at once) when that brought the value or the end.
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> reader) noexcept {
        promise_type& promise = frame_.promise();
        RINGLET_REQUIRE(promise.finished || !promise.continuation,
                        "next of an async_generator was called while another next is awaited");
        promise.continuation = reader;
        promise.owner = job_of(reader);
        promise.started_inline = true;
        promise.finished = false;
        frame_.resume();
        promise.started_inline = false;
        return !promise.finished;
    }
    // Requires: the generator was not moved into another variable since.
    std::remove_reference_t<T>* await_resume() const {
        return frame_ ? frame_.promise().take_shown() : nullptr;
    }

private:
    std::coroutine_handle<promise_type> frame_;
};

}  // namespace ringlet
