// A few threads for what can only block (name look-ups). A job runs on a helper thread, then its
// `done` runs on the loop's thread, through the loop's inbox. Threads start when first needed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "core/work.h"

namespace ringlet {

class loop;

// Owned by the asker and alive until `done` ran or it was withdrawn. A blocking call that has begun
// cannot be cancelled.
class helper_job : public work {
public:
    // `blocking` runs on a helper thread, `done` afterwards on the loop's.
    helper_job(void (*blocking)(helper_job&) noexcept, work::function done) noexcept
        : work(done), blocking_(blocking) {
        run_always();
    }

private:
    friend class helper_pool;
    void (*blocking_)(helper_job&) noexcept;
};

class helper_pool {
public:
    static constexpr unsigned threads_max = 4;

    explicit helper_pool(loop& owner) : loop_(owner) {}
    // Waits for the jobs that run; jobs not begun still run, so that every `done` is posted.
    ~helper_pool();

    // Loop thread. Throws std::system_error when no thread at all can be started.
    void submit(helper_job& job);
    // Takes back a job that no thread has begun: true, and neither of its functions runs.
    bool withdraw(helper_job& job) noexcept;
    // Jobs submitted whose `done` has not been posted yet.
    unsigned outstanding() const noexcept { return outstanding_.load(std::memory_order_acquire); }

private:
    void serve() noexcept;

    loop& loop_;
    std::mutex mutex_;
    std::condition_variable ready_;
    std::deque<helper_job*> jobs_;
    unsigned idle_ = 0;
    bool closing_ = false;
    std::atomic<unsigned> outstanding_{0};
    std::vector<std::thread> threads_;
};

}  // namespace ringlet
