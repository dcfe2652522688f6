// The event loop: one per thread that wants one, used by that thread only (except
// `post_from_thread` and `stop_from_thread`). Between `suspend` and `resume` it belongs to no
// thread, and may go on, or be destroyed, in any.
//
// One turn:
//   1. run ready work, up to a budget, so that I/O is never starved; take in the inbox
//   2. run the timers that are due
//   3. run the flush work: sockets hand over what they collected during the turn
//   4. wait: submit everything in one system call, until the next timer; no system call at all
//      while work is ready and the driver sees nothing to do
//   5. dispatch the completions of this turn, each copied out before its handler runs
#pragma once

#include <memory>
#include <utility>

#include "core/driver.h"
#include "core/inbox.h"
#include "core/live_link.h"
#include "core/operation.h"
#include "core/stats.h"
#include "core/timer_heap.h"
#include "core/work.h"

namespace ringlet {

class file_operation;
class helper_pool;

struct loop_options {
    driver_options driver;
    // Whether it becomes this thread's `loop::current` at once, not only while it runs.
    bool current = true;
};

class loop {
public:
    // Throws `error` when the driver cannot be had.
    explicit loop(const loop_options& options = {});
    loop(const loop&) = delete;
    loop& operator=(const loop&) = delete;
    // Cancels what is still active and waits for it: handlers may run in here, and may not start
    // anything new. Queued work and pending timers are forgotten (but see work::run_always).
    ~loop();

    // Turns until `stop`. Throws `error(errc::forked)` in a child process of the loop's maker.
    void run();
    // One turn; sleeps only if `may_block` and nothing is ready.
    void run_once(bool may_block = true);
    // The flush work (step 3) alone, outside a turn: for who may not make another one.
    void hand_over() noexcept { run_flushes(); }
    // Leaves this thread, outside a turn: every operation is brought to rest, so that the kernel
    // holds nothing of anyone's, and yet stays active for its owner, who hears nothing of this.
    // What completes on the way is kept for the first turn afterwards. Until `resume`, any one
    // thread at a time may start, cancel, post, give back, or destroy the loop. Calls that helper
    // threads make go on. Does nothing when suspended, or in a child process.
    void suspend() noexcept;
    // Goes on, in this thread; run_once does it by itself. Throws `error` when the driver cannot be
    // had in this thread (the loop then stays suspended) or in a child process.
    void resume();
    bool suspended() const noexcept { return suspended_; }

    // Makes `run` return at the end of this turn (also when called before it).
    void stop() noexcept { stopping_ = true; }

    // Keeps this turn (or, outside one, the next) from sleeping: what it was turned for is done.
    void skip_sleep() noexcept { skip_sleep_ = true; }

    // Operations: see operation.h for who owns what until when. In a child process made by fork()
    // neither start nor cancel does anything: the ring or the epoll set is the parent's.
    // Requires: not active and prepared.
    void start(operation& op) noexcept;
    // Asks for an early end. Does nothing when `op` is idle or was already asked.
    void cancel(operation& op) noexcept;
    void give_back(const lent_buffer& buffer) noexcept { driver_->give_back(buffer); }

    // Work to run in the next turn's step 1 (or later in this one's), in order.
    void post(work& item) noexcept { ready_.push(item); }
    // Work to run in this turn's step 3, after ready work and timers.
    void post_flush(work& item) noexcept { flush_.push(item); }
    void forget(work& item) noexcept;
    // The same as `post` for other threads. The node must live until it ran, and the
    // loop until the call returned.
    void post_from_thread(work& item) noexcept;

    // Timers. `start_timer` moves a pending timer. Throws std::bad_alloc when the heap cannot grow.
    void start_timer(timer& item, instant deadline);
    void cancel_timer(timer& item) noexcept { timers_.remove(item); }

    // This turn's time: read once per turn, good enough for timeouts.
    instant now() const noexcept { return now_; }
    // The clock itself; also becomes this turn's time.
    instant read_clock() noexcept { return now_ = driver_->now(); }

    // Called around a wait that can block, and only then. A language binding lives here.
    struct wait_hooks {
        void (*before)(void* context) = nullptr;
        void (*after)(void* context) = nullptr;
        void* context = nullptr;
    };
    void set_wait_hooks(const wait_hooks& hooks) noexcept { hooks_ = hooks; }

    ringlet::driver& driver() noexcept { return *driver_; }
    helper_pool& helpers();
    // Heads of the lists in which the jobs of this loop stand (coro/job.h): each in the one, or in
    // a group of the other, which scopes have for their children anyway.
    live_link& jobs() noexcept { return jobs_; }
    live_link& job_groups() noexcept { return job_groups_; }
    loop_stats stats() const noexcept;
    // True in a child process made by fork() after this loop was.
    bool forked() const noexcept;

    // The loop that is running, or was made or resumed last, on this thread and has not left it;
    // null when there is none.
    static loop* current() noexcept;

private:
    friend class file_operation;

    void run_ready() noexcept;
    void run_timers() noexcept;
    void run_flushes() noexcept;
    void wait(bool may_block) noexcept;
    void dispatch() noexcept;
    void drain_active() noexcept;
    void run_always_work() noexcept;
    bool runs_on_helper(const operation& op) const noexcept {
        return is_for_files(op.code_) && !driver_->handles(op.code_);
    }
    void start_on_helper(file_operation& op) noexcept;
    void end_on_helper(operation& op, int result) noexcept;
    void finish(operation& op, const completion& what) noexcept;

    std::unique_ptr<ringlet::driver> driver_;
    work_queue ready_;
    work_queue flush_;
    operation_queue helped_;  // ended on a helper thread, to be dispatched
    timer_heap timers_;
    inbox inbox_;
    instant now_ = 0;
    std::uint64_t operations_live_ = 0;
    loop_stats stats_;
    wait_hooks hooks_;
    bool stopping_ = false;
    bool suspended_ = false;
    bool skip_sleep_ = false;
    unsigned fork_generation_;
    loop* previous_;
    live_link jobs_;
    live_link job_groups_;  // of live_group
    std::unique_ptr<helper_pool> helpers_;
};

}  // namespace ringlet
