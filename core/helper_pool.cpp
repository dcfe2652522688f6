#include "core/helper_pool.h"

#include <algorithm>
#include <csignal>

#include "core/loop.h"

namespace ringlet {
namespace {

// Signals belong to the program's own threads: a loop's thread watches them, or a handler of the
// program expects to run there. A thread starts with the mask of its maker, so it is the maker's
// that changes for the moment. Faults stay deliverable: they mean the thread itself.
class signals_blocked {
public:
    signals_blocked() noexcept {
        sigset_t most;
        sigfillset(&most);
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
            sigdelset(&most, fault);
        }
        ::pthread_sigmask(SIG_BLOCK, &most, &before_);
    }
    signals_blocked(const signals_blocked&) = delete;
    signals_blocked& operator=(const signals_blocked&) = delete;
    ~signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

private:
    sigset_t before_;
};

}  // namespace

helper_pool::~helper_pool() {
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
    }
    ready_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

void helper_pool::submit(helper_job& job) {
    bool start_thread = false;
    {
        const std::lock_guard lock(mutex_);
        start_thread = jobs_.size() >= idle_ && threads_.size() < threads_max;
    }
    if (start_thread) {
        const signals_blocked masked;
        try {
            threads_.emplace_back([this] { serve(); });
        } catch (const std::system_error&) {
            if (threads_.empty()) {
                throw;
            }
        }
    }
    {
        const std::lock_guard lock(mutex_);
        jobs_.push_back(&job);
        outstanding_.fetch_add(1, std::memory_order_relaxed);
    }
    ready_.notify_one();
}

bool helper_pool::withdraw(helper_job& job) noexcept {
    const std::lock_guard lock(mutex_);
    const auto at = std::find(jobs_.begin(), jobs_.end(), &job);
    if (at == jobs_.end()) {
        return false;
    }
    jobs_.erase(at);
    outstanding_.fetch_sub(1, std::memory_order_relaxed);
    return true;
}

void helper_pool::serve() noexcept {
    std::unique_lock lock(mutex_);
    for (;;) {
        ++idle_;
        ready_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
        --idle_;
        if (jobs_.empty()) {
            return;
        }
        helper_job& job = *jobs_.front();
        jobs_.pop_front();
        lock.unlock();
        job.blocking_(job);
        loop_.post_from_thread(job);
        outstanding_.fetch_sub(1, std::memory_order_release);
        lock.lock();
    }
}

}  // namespace ringlet
