// scope: structured concurrency. Tasks spawned into a scope run side by side, each as a job of its
// own, and none outlives it. The first child that fails cancels all others; its exception comes out
// of the join, later ones are dropped. Loop thread only.
//
// * `co_await scoped(body)`: `body(scope&)` is a task<void>, itself a child. Ends when the body and
//   all it spawned have ended. The body's callable lives as long, so a capturing lambda is safe.
// * A scope that lives in an object (a server): `spawn`, `cancel`, and `co_await s.join()` before
//   it is destroyed; destroying a scope whose children live ends the program with a sentence.
//
// Cancelling whoever joins cancels the children, waits for them, then throws `cancelled` if that
// cut one of them short. A child that ends with `cancelled` because its scope was cancelled is no
// failure. The join is resumed inside the end of the last child.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <utility>

#include "coro/job.h"
#include "coro/task.h"

namespace ringlet {

class scope {
public:
    class join_wait;

    explicit scope(ringlet::loop& owner) noexcept : loop_(owner), children_(owner.job_groups()) {}
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;
    ~scope();

    // Starts the task inside this call, up to its first wait. In a cancelled scope it is destroyed
    // without having started. Throws std::bad_alloc, and then has destroyed the task.
    void spawn(task<void> root, spawn_site at = spawn_site::here());

    // Cancels all children. Stays cancelled until joined.
    void cancel() noexcept;
    bool is_cancelled() const noexcept { return cancelled_; }
    std::size_t size() const noexcept { return size_; }
    ringlet::loop& loop() const noexcept { return loop_; }

    // co_await it: waits until no child lives, then rethrows the first failure. The scope may be
    // used again afterwards. One join at a time, never by a child.
    join_wait join() noexcept;

private:
    class child;

    void child_finished(child& ended) noexcept;

    ringlet::loop& loop_;
    live_group children_;
    std::size_t size_ = 0;
    join_wait* joiner_ = nullptr;
    std::exception_ptr failure_;
    bool cancelled_ = false;
    bool cut_short_ = false;  // a child ended by the cancel, or never started because of it
};

class [[nodiscard]] scope::join_wait final : public waiter {
public:
    explicit join_wait(scope& joined) noexcept : scope_(joined) {}
    join_wait(const join_wait&) = delete;
    join_wait& operator=(const join_wait&) = delete;

    bool await_ready() const noexcept { return scope_.size_ == 0; }

    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        RINGLET_REQUIRE(scope_.joiner_ == nullptr, "a scope was joined twice at the same time");
        handle_ = handle;
        job_ = job_of(handle);
        scope_.joiner_ = this;
        if (job_ != nullptr) {
            job_->set_waiting(this);
            if (job_->is_cancelled()) {
                cancel_wait();
            }
        }
    }

    void await_resume();
    void describe(wait_description& into) const override;

private:
    friend class scope;
    void cancel_wait() noexcept override {
        cancelled_ = true;
        scope_.cancel();
    }
    void resume() noexcept;

    scope& scope_;
    std::coroutine_handle<> handle_;
    job* job_ = nullptr;
    bool cancelled_ = false;
};

inline scope::join_wait scope::join() noexcept { return join_wait(*this); }

// Takes any callable that gives a task<void> for a scope&.
template <class Body>
task<void> scoped(Body body, spawn_site at = spawn_site::here()) {
    scope children(*loop::current());
    children.spawn(body(children), at);
    co_await children.join();
}

}  // namespace ringlet
