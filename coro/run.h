// run(loop, task): drives the loop until the task has ended and gives its result, or throws what it
// threw; the bridge from ordinary code into coroutines. Jobs started by to_callback or to_future
// that are still alive then are cancelled and waited for, as asyncio.run does.
//
// `detached` is the base of what nobody waits for but the end of the program: such jobs, and
// callbacks that are on their way. It stands in a list of its thread while it lives.
#pragma once

#include "core/loop.h"
#include "coro/frame_pool.h"
#include "coro/job.h"
#include "coro/task.h"

namespace ringlet {

class detached : public detail::pooled {
public:
    detached(const detached&) = delete;
    detached& operator=(const detached&) = delete;
    virtual ~detached();

protected:
    explicit detached(ringlet::loop& owner) noexcept;

private:
    friend void finish_detached(ringlet::loop& owner);
    // Asks for an early end. Never ends inside the call.
    virtual void hurry() noexcept {}

    ringlet::loop& owner_;
    detached* next_;
    detached** link_;  // the pointer that points here
};

// Cancels every detached job of `owner` and turns the loop until they, and the callbacks they led
// to, have ended. For programs that drive the loop themselves, before they destroy it.
void finish_detached(loop& owner);

// A job made with `new` that deletes itself at its end.
class detached_job : public job, public detached {
protected:
    explicit detached_job(ringlet::loop& owner, spawn_site at = {}) noexcept
        : job(owner, at), detached(owner) {}

private:
    void hurry() noexcept final { cancel(); }
};

namespace detail {

template <class T>
class run_job final : public job {
public:
    run_job(ringlet::loop& owner, task<T> root, spawn_site at) noexcept
        : job(owner, at), root_(std::move(root)) {}

    T run() {
        root_.start_as_root(*this);
        try {
            while (!finished_) {
                loop().run_once();
            }
            finish_detached(loop());
        } catch (...) {
            // Only in a forked child, where what the task waits for can neither end nor be undone.
            root_.leak();
            throw;
        }
        return root_.take_result().get();
    }
    void root_finished() noexcept override {
        finished_ = true;
        loop().skip_sleep();
    }

private:
    task<T> root_;
    bool finished_ = false;
};

}  // namespace detail

template <class T>
T run(loop& owner, task<T> root, spawn_site at = spawn_site::here()) {
    return detail::run_job<T>(owner, std::move(root), at).run();
}

}  // namespace ringlet
