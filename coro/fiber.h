// Fibers: plain-looking code that waits. `run_fiber(fn)` is a task that calls `fn()` on a stack of
// its own; in there `await(x)` waits for whatever a coroutine could co_await (a task, a future, a
// semaphore, a sleep) without `fn` or what it calls being a coroutine:
//
//     task<std::size_t> length = run_fiber([&] { return await(web.get(url)).body.size(); });
//
// The task is like any other: lazy, and awaited, or given to scope, gather, with_timeout,
// to_future. The fiber is a job of its own; cancelling whoever awaits it cancels it, which throws
// `cancelled` out of the `await` it is in, and waits for its end. What `fn` throws comes out of the
// task. `fn` is kept until it has ended. The tasks a fiber waits for run on the loop's stack, not
// on the fiber's. Loop thread only.
//
// An overflow of the stack ends the program with SIGSEGV (coro/fiber_stack.h). Destroying a fiber
// that has begun and not ended ends it with a sentence, and so does `await` outside any fiber.
// What else to know: docs/fibers.md.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "core/config.h"
#include "core/result.h"
#include "coro/awaitable.h"
#include "coro/child.h"
#include "coro/fiber_stack.h"
#include "coro/outcome.h"
#include "coro/spawn_site.h"
#include "coro/task.h"

namespace ringlet {

struct fiber_options {
    // Only what is used of it costs memory. Enough for a TLS handshake in plain OpenSSL calls,
    // which takes 320 KiB.
    std::size_t stack_bytes = 512 * 1024;
};

namespace detail {

// The coroutine that stands for a fiber towards whatever it waits for.
using fiber_driver = std::coroutine_handle<task_promise<void>>;

// What a fiber waits for; on its stack.
class fiber_wait {
public:
    // Runs on the loop's stack. False: there is nothing to wait for after all.
    virtual bool begin(fiber_driver driver) = 0;

protected:
    ~fiber_wait() = default;
};

// The stack, and the job that runs on it; part of the wait that owns it.
class fiber final : public job {
public:
    using body = void (*)(void* argument) noexcept;

    // Throws `error` when no stack can be had.
    fiber(ringlet::loop& where, child_owner& owner, std::size_t stack_bytes, body run,
          void* argument, const spawn_site& at);
    ~fiber();

    // Runs it to its first wait. May end it, and destroy this.
    void start() noexcept { driver_.start_as_root(*this); }
    // The driver's part: runs it until it waits (then true) or has ended.
    bool resume() noexcept;
    // co_await it: begins the wait that the fiber stopped for.
    bool await_ready() const noexcept { return false; }
    bool await_suspend(fiber_driver driver) noexcept;
    void await_resume() const noexcept {}

    // Inside the fiber. Throws what `begin` threw.
    void wait(fiber_wait& what);
    // The one that runs; null outside any.
    static fiber* running() noexcept;

    std::string describe() const override { return "fiber"; }
    const job* parent() const noexcept override { return owner_.waiting_job(); }

private:
    struct switching;

    void root_finished() noexcept override { owner_.child_finished(*this, nullptr); }

    child_owner& owner_;
    task<void> driver_;
    fiber_stack stack_;
    void* context_;  // where it stopped, for Boost.Context
    body run_;
    void* argument_;
    fiber_wait* wait_ = nullptr;
    std::exception_ptr wait_failure_;
    void* resumer_ = nullptr;  // the context that resumed it
    const void* resumer_stack_ = nullptr;
    std::size_t resumer_stack_bytes_ = 0;
    void* sanitizer_fiber_ = nullptr;
    void* sanitizer_resumer_ = nullptr;
    // The runtime's list of exceptions being handled and count of those in flight belong to a
    // stack, and it keeps one of each per thread.
    void* caught_exceptions_ = nullptr;
    unsigned uncaught_exceptions_ = 0;
    bool started_ = false;
    bool ended_ = false;
};

// The wait for a fiber's end, which starts it.
class fiber_run final : public fork_wait<fiber_run> {
public:
    static constexpr const char* wait_name = "fiber";

    fiber_run(const fiber_options& options, fiber::body run, void* argument,
              const spawn_site& at) noexcept
        : options_(options), run_(run), argument_(argument), at_(at) {}

    void start_children(loop& where) {
        fiber_.emplace(where, static_cast<child_owner&>(*this), options_.stack_bytes, run_,
                       argument_, at_);
        this->add_child();
        fiber_->start();
    }
    void cancel_children() noexcept { fiber_->cancel(); }
    void await_resume() const {
        if (never_started()) {
            throw cancelled();
        }
    }

private:
    void child_finished(job&, const std::exception_ptr&) noexcept override { child_ended(); }

    fiber_options options_;
    fiber::body run_;
    void* argument_;
    spawn_site at_;
    std::optional<fiber> fiber_;
};

// Waits that spawn jobs take the place where they are awaited.
template <class Awaiter>
bool is_ready(Awaiter& awaiter, const spawn_site& at) {
    if constexpr (requires { awaiter.await_ready(at); }) {
        return awaiter.await_ready(at);
    } else {
        return awaiter.await_ready();
    }
}

template <class Awaiter>
class fiber_wait_for final : public fiber_wait {
public:
    explicit fiber_wait_for(Awaiter& awaiter) noexcept : awaiter_(awaiter) {}

private:
    bool begin(fiber_driver driver) override {
        using answer = decltype(awaiter_.await_suspend(driver));
        if constexpr (std::is_void_v<answer>) {
            awaiter_.await_suspend(driver);
            return true;
        } else if constexpr (std::is_same_v<answer, bool>) {
            return awaiter_.await_suspend(driver);
        } else {
            awaiter_.await_suspend(driver).resume();
            return true;
        }
    }
    Awaiter& awaiter_;
};

template <class Fn>
class fiber_call {
public:
    using value = std::invoke_result_t<Fn&>;

    explicit fiber_call(Fn& fn) noexcept : fn_(fn) {}
    static void run(void* self) noexcept { static_cast<fiber_call*>(self)->call(); }
    value get() { return result_.get(); }

private:
    void call() noexcept {
        try {
            if constexpr (std::is_void_v<value>) {
                fn_();
                result_.set_value();
            } else {
                result_.set_value(fn_());
            }
        } catch (...) {
            result_.set_exception(std::current_exception());
        }
    }
    Fn& fn_;
    outcome<value> result_;
};

}  // namespace detail

// Throws, when it is awaited, `error` if no stack can be had.
template <class Fn>
task<std::invoke_result_t<Fn&>> run_fiber(Fn fn, fiber_options options = {},
                                          spawn_site at = spawn_site::here()) {
    detail::fiber_call<Fn> call(fn);
    detail::fiber_run running(options, &detail::fiber_call<Fn>::run, &call, at);
    co_await running;
    co_return call.get();
}

// Whether this code runs in a fiber, so that it may `await`.
inline bool in_fiber() noexcept { return detail::fiber::running() != nullptr; }

// What `co_await awaitable` gives or throws. Other fibers and coroutines run meanwhile. Tasks are
// given as rvalues.
template <class Awaitable>
decltype(auto) await(Awaitable&& awaitable, spawn_site at = spawn_site::here()) {
    detail::fiber* const self = detail::fiber::running();
    RINGLET_REQUIRE(
        self != nullptr,
        "await was called outside any fiber: call it in a function that run_fiber runs");
    auto&& awaiter = detail::awaiter_of(std::forward<Awaitable>(awaitable));
    if (!detail::is_ready(awaiter, at)) {
        detail::fiber_wait_for<std::remove_reference_t<decltype(awaiter)>> wait(awaiter);
        self->wait(wait);
    }
    return awaiter.await_resume();
}

}  // namespace ringlet
