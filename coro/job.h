// A job is one line of execution: a root task and the chain of tasks it awaits, of which exactly
// one waits for something at any time. Cancellation works on jobs.
//
// `cancel` is remembered: the wait the job is in ends early, and every later wait of the job throws
// `cancelled` at once. A wait that has already got its result delivers it first, so nothing that
// the kernel did is lost. Cancel never resumes the job inside the call; it resumes from the loop,
// after the operation in flight has really ended. Loop thread only.
#pragma once

#include <coroutine>
#include <string>

#include "core/live_link.h"
#include "core/loop.h"
#include "coro/spawn_site.h"

namespace ringlet {

// What a wait says of itself to dump_tasks (coro/dump.h).
struct wait_description {
    const char* kind = "something";  // in one word or two: "receive", "channel send"
    std::string detail;              // what of: a peer, a name; may be empty
    int descriptor = -1;             // the one it is about, if there is one
    instant until = -1;              // when it ends by itself; -1: nobody knows
};

// What a suspended job waits for. Lives in the awaiting frame.
class waiter {
public:
    // Asks for an early end; the job is resumed later, from the loop.
    virtual void cancel_wait() noexcept = 0;
    virtual void describe(wait_description&) const {}

protected:
    ~waiter() = default;
};

class job : private live_link {
public:
    explicit job(ringlet::loop& owner, spawn_site at = {}) noexcept
        : job(owner, owner.jobs(), at) {}
    // Stands in a list of its maker's, which is one of loop::job_groups.
    job(ringlet::loop& owner, live_link& members, spawn_site at) noexcept
        : live_link(members), loop_(owner), spawned_(at) {}
    job(const job&) = delete;
    job& operator=(const job&) = delete;

    ringlet::loop& loop() const noexcept { return loop_; }
    bool is_cancelled() const noexcept { return cancelled_; }

    void cancel() noexcept {
        if (!cancelled_) {
            cancelled_ = true;
            if (waiting_ != nullptr) {
                waiting_->cancel_wait();
            }
        }
    }

    // For awaitables: what the job waits for now; null when it runs.
    void set_waiting(waiter* what) noexcept {
        waiting_ = what;
        if (what != nullptr) {
            since_ = loop_.now();
        }
    }

    // For dump_tasks: what this is, and the job that waits for its end, where one is known.
    virtual std::string describe() const { return "task"; }
    virtual const job* parent() const noexcept { return nullptr; }
    const spawn_site& spawned() const noexcept { return spawned_; }
    const waiter* waiting() const noexcept { return waiting_; }
    // The loop's time when it began to wait. Requires: it waits.
    instant since() const noexcept { return since_; }
    // Of a link in one of those lists.
    static job& of(live_link& place) noexcept { return static_cast<job&>(place); }

    // Called once, when the root task has ended and is suspended at its end: its frame may be
    // destroyed in here.
    virtual void root_finished() noexcept = 0;

protected:
    ~job() = default;

private:
    ringlet::loop& loop_;
    waiter* waiting_ = nullptr;
    bool cancelled_ = false;
    instant since_ = 0;
    const spawn_site spawned_;
};

// What every promise of ours starts with, so that awaitables find the job of whoever awaits.
struct promise_base {
    std::coroutine_handle<> continuation;  // debuggers look for this name
    job* owner = nullptr;
    bool started_inline = false;  // whoever awaits is on the stack, in await_suspend
    bool finished = false;
};

// The job behind a coroutine; null for coroutines that are not ours (they cannot be cancelled).
template <class Promise>
job* job_of(std::coroutine_handle<Promise> handle) noexcept {
    if constexpr (std::is_base_of_v<promise_base, Promise>) {
        return handle.promise().owner;
    } else {
        return nullptr;
    }
}

}  // namespace ringlet
