// Building blocks of awaitables. `suspension` is a wait that something else ends by `wake_up`;
// `operation_wait` is a wait for one kernel operation; `sleep_for` and `sleep_until` wait for time.
// All live in the awaiting frame and are cancelled through the job (coro/job.h).
#pragma once

#include <chrono>
#include <coroutine>

#include "core/loop.h"
#include "core/result.h"
#include "coro/job.h"

namespace ringlet {

// Base of awaitables that wait in a list of ours and are resumed through the loop's ready queue,
// never inside the call that wakes them. A derived class has:
//   bool await_ready()      done without waiting (then a cancelled job is not told here)
//   void enlist()           put this into the list it waits in; may throw, then nothing was done
//   void delist() noexcept  take it out again (it was not woken yet)
//   T await_resume()        starts with `check_cancelled()`
//   void describe_wait(wait_description&) const    what it is, for dump_tasks
template <class Derived>
class suspension : public waiter, private work {
public:
    suspension() noexcept : work(&suspension::run) {}

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) {
        job_ = job_of(handle);
        loop_ = job_ != nullptr ? &job_->loop() : loop::current();
        handle_ = handle;
        if (job_ != nullptr && job_->is_cancelled()) {
            cancelled_ = true;
            return false;
        }
        static_cast<Derived*>(this)->enlist();
        if (state_ == state::idle) {
            state_ = state::waiting;
        }
        if (job_ != nullptr) {
            job_->set_waiting(this);
            if (job_->is_cancelled()) {  // by what `enlist` called
                cancel_wait();
            }
        }
        return true;
    }

    void describe(wait_description& into) const override {
        if (state_ == state::woken) {
            into.kind = "ready";
        } else {
            static_cast<const Derived*>(this)->describe_wait(into);
        }
    }
    void describe_wait(wait_description&) const {}

    // Resumes the coroutine from the ready queue. Requires: no longer in any list, not woken yet.
    void wake_up() noexcept {
        state_ = state::woken;
        loop_->post(*this);
    }

protected:
    ~suspension() {
        RINGLET_REQUIRE(state_ != state::waiting, "a coroutine was destroyed while it waits");
    }
    void check_cancelled() const {
        if (cancelled_) {
            throw cancelled();
        }
    }
    bool was_cancelled() const noexcept { return cancelled_; }
    ringlet::loop& owner_loop() const noexcept { return *loop_; }

    void cancel_wait() noexcept override {
        if (state_ == state::waiting) {
            cancelled_ = true;
            static_cast<Derived*>(this)->delist();
            wake_up();
        }
    }

private:
    enum class state : unsigned char {
        idle,     // not awaited yet, or resumed
        waiting,  // in the list
        woken     // in the loop's ready queue; a cancel changes nothing any more
    };

    static void run(work& item) noexcept {
        auto& self = static_cast<suspension&>(item);
        self.state_ = state::idle;
        if (self.job_ != nullptr) {
            self.job_->set_waiting(nullptr);
        }
        self.handle_.resume();
    }

    std::coroutine_handle<> handle_;
    job* job_ = nullptr;
    loop* loop_ = nullptr;
    state state_ = state::idle;
    bool cancelled_ = false;
};

// By opcode, with descriptor and path where it has one.
void describe_operation(loop& owner, const operation& op, wait_description& into);

// Waits for the final completion of one single-shot operation. Resumed in the dispatch step of the
// turn in which it completes. Whoever makes it prepares the operation before it is awaited.
template <class Operation>
class basic_operation_wait : public Operation, public waiter {
public:
    explicit basic_operation_wait(ringlet::loop& owner) noexcept
        : Operation(&basic_operation_wait::complete), loop_(owner) {}

    bool await_ready() const noexcept { return false; }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        job_ = job_of(handle);
        handle_ = handle;
        if (job_ != nullptr) {
            if (job_->is_cancelled()) {
                result_ = -ECANCELED;
                return false;
            }
            job_->set_waiting(this);
        }
        loop_.start(*this);
        return true;
    }

    void describe(wait_description& into) const override {
        describe_operation(loop_, *this, into);
    }

    // The kernel's result: >= 0, or -errno.
    int await_resume() const noexcept { return result_; }

private:
    void cancel_wait() noexcept final { loop_.cancel(*this); }

    static void complete(operation& op, const completion& what) noexcept {
        auto& self = static_cast<basic_operation_wait&>(op);
        self.result_ = what.result;
        if (self.job_ != nullptr) {
            self.job_->set_waiting(nullptr);
        }
        self.handle_.resume();
    }

    ringlet::loop& loop_;
    std::coroutine_handle<> handle_;
    job* job_ = nullptr;
    int result_ = 0;
};

using operation_wait = basic_operation_wait<operation>;

// co_await sleep_until(loop.now() + ...): resumed in the timer step at or after `deadline`.
// Cancelled: throws `cancelled`.
class sleep_until : public suspension<sleep_until>, private timer {
public:
    explicit sleep_until(instant deadline) noexcept
        : timer(&sleep_until::expire), deadline_(deadline < 0 ? 0 : deadline) {}

    bool await_ready() const noexcept { return false; }
    void enlist() { owner_loop().start_timer(*this, deadline_); }
    void delist() noexcept { owner_loop().cancel_timer(*this); }
    void await_resume() const { check_cancelled(); }
    void describe_wait(wait_description& into) const {
        into.kind = "sleep";
        into.until = deadline_;
    }

private:
    static void expire(timer& item) noexcept { static_cast<sleep_until&>(item).wake_up(); }

    instant deadline_;
};

// Counts from the moment of the call. A duration of zero or less yields for one turn.
inline sleep_until sleep_for(nanoseconds duration) noexcept {
    loop* const here = loop::current();
    RINGLET_REQUIRE(here != nullptr, "sleep_for was called on a thread without a loop");
    const instant now = here->read_clock();
    return sleep_until(duration.count() > INT64_MAX - now ? INT64_MAX : now + duration.count());
}

// Lets everything that is ready run first; resumed in the same or the next turn.
class yield_now : public suspension<yield_now> {
public:
    bool await_ready() const noexcept { return false; }
    void enlist() noexcept { wake_up(); }
    void delist() noexcept {}
    void await_resume() const { check_cancelled(); }
};

}  // namespace ringlet
