#include "core/helper_pool.h"

#include <algorithm>
#include <csignal>

#include "core/loop.h"

namespace ringlet {
namespace {

// A thread made while one lives takes no signals: they are the program's, and a SIGPIPE of a call
// made here is an error code.
class no_signals {
public:
    no_signals() noexcept {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    no_signals(const no_signals&) = delete;
    no_signals& operator=(const no_signals&) = delete;
    ~no_signals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

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
        const no_signals blocked;
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
