#include "core/loop.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "core/file_operation.h"

namespace ringlet {
namespace {

constexpr int ready_budget = 256;    // pieces of ready work per turn
constexpr int timer_budget = 1024;   // timers per turn

thread_local loop* current_loop = nullptr;

// Counts the forks behind this process, so that a child can tell a loop it inherited.
std::atomic<unsigned> fork_count{0};

void count_forks() {
    static std::once_flag once;
    std::call_once(once, [] {
        pthread_atfork(nullptr, nullptr,
                       [] { fork_count.fetch_add(1, std::memory_order_relaxed); });
    });
}

}  // namespace

loop::loop(const loop_options& options) : driver_(make_driver(options.driver)) {
    count_forks();
    fork_generation_ = fork_count.load(std::memory_order_relaxed);
    now_ = driver_->now();
    previous_ = current_loop;
    if (options.current) {
        current_loop = this;
    }
}

loop::~loop() {
    if (forked()) {
        static_cast<void>(helpers_.release());  // its threads are the parent's: none to join here
    } else {
        helpers_.reset();
        drain_active();
    }
    run_always_work();
    while (flush_.pop() != nullptr) {
    }
    while (timers_.pop_due(INT64_MAX) != nullptr) {
    }
    jobs_.clear();
    job_groups_.clear();
    if (current_loop == this) {
        current_loop = previous_;
    }
}

loop* loop::current() noexcept { return current_loop; }

bool loop::forked() const noexcept {
    return fork_generation_ != fork_count.load(std::memory_order_relaxed);
}

void loop::suspend() noexcept {
    if (suspended_ || forked()) {
        return;
    }
    driver_->suspend();
    suspended_ = true;
    if (current_loop == this) {
        current_loop = std::exchange(previous_, nullptr);
    }
}

void loop::resume() {
    if (forked()) {
        throw error(errc::forked);
    }
    if (!suspended_) {
        return;
    }
    if (const std::error_code failure = driver_->resume()) {
        throw error(failure, "resume");
    }
    suspended_ = false;
    if (current_loop != this) {
        previous_ = std::exchange(current_loop, this);
    }
}

void loop::run() {
    while (!stopping_) {
        run_once(true);
    }
    stopping_ = false;
}

void loop::run_once(bool may_block) {
    if (forked()) {
        throw error(errc::forked);
    }
    if (suspended_) [[unlikely]] {
        resume();
    }
    loop* const outer = std::exchange(current_loop, this);
    ++stats_.turns;
    run_ready();
    run_timers();
    run_flushes();
    const bool skip_sleep = std::exchange(skip_sleep_, false);
    wait(may_block && !stopping_ && !skip_sleep);
    dispatch();
    current_loop = outer;
}

void loop::start(operation& op) noexcept {
    RINGLET_REQUIRE(!op.active(), "an active operation was started again");
    op.state_ = operation::state::active;
    ++operations_live_;
    if (forked()) [[unlikely]] {
        return;
    }
    if (runs_on_helper(op)) [[unlikely]] {
        return start_on_helper(static_cast<file_operation&>(op));
    }
    driver_->start(op);
}

void loop::cancel(operation& op) noexcept {
    if (op.state_ != operation::state::active) {
        return;
    }
    op.state_ = operation::state::cancelling;
    if (forked()) [[unlikely]] {
        return;
    }
    if (!runs_on_helper(op)) [[likely]] {
        return driver_->cancel(op);
    }
    // A call that has begun goes on to its end.
    if (helpers_ && helpers_->withdraw(static_cast<file_operation&>(op).job_)) {
        end_on_helper(op, -ECANCELED);
    }
}

void loop::start_on_helper(file_operation& op) noexcept {
    op.job_.owner = this;
    try {
        helpers().submit(op.job_);
    } catch (const std::system_error& failure) {
        end_on_helper(op, -failure.code().value());
    } catch (const std::bad_alloc&) {
        end_on_helper(op, -ENOMEM);
    }
}

void loop::end_on_helper(operation& op, int result) noexcept {
    op.driver_result_ = result;
    helped_.push(op);
}

void loop::forget(work& item) noexcept {
    if (item.queued()) {
        ready_.remove(item);
        flush_.remove(item);
    }
}

void loop::post_from_thread(work& item) noexcept {
    if (inbox_.push(item)) {
        driver_->wake();
    }
}

void loop::start_timer(timer& item, instant deadline) {
    if (item.pending()) {
        timers_.move(item, deadline);
    } else {
        timers_.add(item, deadline);
    }
}

helper_pool& loop::helpers() {
    if (!helpers_) {
        helpers_ = std::make_unique<helper_pool>(*this);
    }
    return *helpers_;
}

loop_stats loop::stats() const noexcept {
    loop_stats all = stats_;
    all.timers_pending = timers_.size();
    all.operations_live = operations_live_;
    driver_->add_stats(all);
    return all;
}

void loop::run_ready() noexcept {
    inbox_.drain(ready_);
    for (int budget = ready_budget; budget > 0; --budget) {
        work* item = ready_.pop();
        if (item == nullptr) {
            return;
        }
        item->run_(*item);
    }
}

void loop::run_timers() noexcept {
    if (timers_.empty()) {
        return;
    }
    for (int budget = timer_budget; budget > 0; --budget) {
        timer* item = timers_.pop_due(now_);
        if (item == nullptr) {
            return;
        }
        ++stats_.timers_expired;
        item->expire_(*item);
    }
}

void loop::run_flushes() noexcept {
    // Only what is there now: a flush that queues another one for itself waits for the next turn.
    work_queue batch = std::exchange(flush_, {});
    while (work* item = batch.pop()) {
        item->run_(*item);
    }
}

void loop::wait(bool may_block) noexcept {
    nanoseconds timeout = wait_forever;
    if (!timers_.empty()) {
        // The clock is read anew: the handlers of this turn took time that must not be slept.
        const instant now = read_clock();
        timeout = nanoseconds(std::max(timers_.first_deadline(), now) - now);
    }
    if (helpers_) {
        // Asked before the inbox is: what has been posted by now is then seen there.
        driver_->expect_wake(helpers_->outstanding() > 0);
    }
    const bool idle = ready_.empty() && flush_.empty() && helped_.empty() &&
                      timeout > nanoseconds::zero();
    if (!may_block || !idle || !inbox_.begin_sleep()) {
        if (driver_->has_work()) {
            driver_->wait(nanoseconds::zero());
        }
        return;
    }
    ++stats_.waits;
    if (hooks_.before != nullptr) {
        hooks_.before(hooks_.context);
    }
    driver_->wait(timeout);
    inbox_.end_sleep();
    if (hooks_.after != nullptr) {
        hooks_.after(hooks_.context);
    }
    read_clock();
}

void loop::dispatch() noexcept {
    operation* op = nullptr;
    completion what;
    while (driver_->next(op, what)) {
        finish(*op, what);
    }
    // Only what is there now: a handler may start the next one, which may fail at once.
    operation_queue ended = std::exchange(helped_, {});
    while ((op = ended.pop()) != nullptr) {
        finish(*op, {op->driver_result_, false, {}});
    }
}

void loop::finish(operation& op, const completion& what) noexcept {
    ++stats_.completions;
    if (!what.more) {
        op.state_ = operation::state::idle;
        --operations_live_;
    }
    op.on_complete_(op, what);
}

void loop::run_always_work() noexcept {
    inbox_.drain(ready_);
    while (work* item = ready_.pop()) {
        if (item->always_) {
            item->run_(*item);
        }
    }
}

void loop::drain_active() noexcept {
    loop* const outer = std::exchange(current_loop, this);
    run_always_work();  // what helper threads have done ends here
    while (operations_live_ > 0) {
        // Asked again and again: an operation that is just being run may miss one cancel.
        driver_->cancel_all();
        driver_->wait(std::chrono::milliseconds(10));
        dispatch();
    }
    current_loop = outer;
}

}  // namespace ringlet
