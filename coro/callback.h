// Between coroutines, callbacks and futures, all on the loop's thread:
// * to_callback(loop, task, callback): runs the task, then calls `callback(outcome<T>)`, which must
//   not throw, from the loop's ready queue.
// * to_future(loop, task): runs the task, gives a future of its result.
// * to_task(future): the other way.
// * co_await from_callback<T>(start): calls `start(done)` and waits until `done` was called with
//   the value, now or later.
// Tasks start inside the call, up to their first wait. What is still running when `run` ends is
// cancelled and waited for (coro/run.h).
#pragma once

#include <exception>
#include <system_error>
#include <type_traits>
#include <utility>

#include "coro/future.h"
#include "coro/outcome.h"
#include "coro/run.h"
#include "coro/suspension.h"
#include "coro/task.h"

namespace ringlet {

namespace detail {

template <class T, class Callback>
class callback_job final : public detached_job, private work {
public:
    callback_job(ringlet::loop& owner, task<T> root, Callback callback,
                 spawn_site at) noexcept
        : detached_job(owner, at),
          work(&callback_job::run),
          root_(std::move(root)),
          callback_(std::move(callback)) {}

    void start() noexcept { root_.start_as_root(*this); }

private:
    void root_finished() noexcept override { this->loop().post(*this); }
    static void run(work& item) noexcept {
        auto& self = static_cast<callback_job&>(item);
        self.callback_(self.root_.take_result());
        delete &self;
    }

    task<T> root_;
    Callback callback_;
};

template <class T>
class future_job final : public detached_job {
public:
    future_job(ringlet::loop& owner, task<T> root, spawn_site at)
        : detached_job(owner, at), root_(std::move(root)), promise_(owner) {}

    // May destroy this.
    future<T> start() noexcept {
        future<T> result = promise_.get_future();
        root_.start_as_root(*this);
        return result;
    }

private:
    void root_finished() noexcept override {
        promise_.set_result(root_.take_result());
        delete this;
    }

    task<T> root_;
    promise<T> promise_;
};

}  // namespace detail

template <class T, class Callback>
void to_callback(loop& owner, task<T> root, Callback callback,
                 spawn_site at = spawn_site::here()) {
    (new detail::callback_job<T, Callback>(owner, std::move(root), std::move(callback), at))
        ->start();
}

template <class T>
future<T> to_future(loop& owner, task<T> root, spawn_site at = spawn_site::here()) {
    return (new detail::future_job<T>(owner, std::move(root), at))->start();
}

template <class T>
task<T> to_task(future<T> source) {
    co_return co_await source;
}

namespace detail {

// Where a callback's result arrives.
template <class T>
class callback_target {
public:
    virtual void arrived() noexcept = 0;
    outcome<T> result;

protected:
    ~callback_target() = default;
};

struct no_cancel {
    void operator()() const noexcept {}
};

}  // namespace detail

// The `done` given to a callback API: a pointer's worth, freely copied. It must be called exactly
// once over all copies; then the wait that made it may be gone.
template <class T>
class done_callback {
public:
    explicit done_callback(detail::callback_target<T>& target) noexcept : target_(&target) {}

    // With the value; with nothing for void.
    template <class... Args>
    void operator()(Args&&... args) const {
        require_first();
        target_->result.set_value(std::forward<Args>(args)...);
        target_->arrived();
    }
    void fail(std::exception_ptr failure) const noexcept {
        require_first();
        target_->result.set_exception(std::move(failure));
        target_->arrived();
    }
    // ECANCELED is thrown as `cancelled`.
    void fail(std::error_code code) const noexcept {
        fail(is_cancelled(code) ? std::make_exception_ptr(cancelled()) : failure_with(code));
    }

private:
    void require_first() const noexcept {
        RINGLET_REQUIRE(target_->result.empty(), "a callback was called twice");
    }
    detail::callback_target<T>* target_;
};

// Resumed from the ready queue, never inside `done`. If `start` throws, so does the wait, and
// `done` may not be called at all. The API
// may use memory of the waiting coroutine until it calls `done`, so a cancel does not end the wait:
// it calls `cancel` (which should make the API call `done` soon, and must not throw), then waits.
template <class T, class Start, class Cancel>
class [[nodiscard]] callback_wait final : public suspension<callback_wait<T, Start, Cancel>>,
                                          private detail::callback_target<T> {
public:
    callback_wait(Start start, Cancel cancel) noexcept
        : start_(std::move(start)), cancel_(std::move(cancel)) {}

    bool await_ready() const noexcept { return false; }
    void enlist() { start_(done_callback<T>(*this)); }
    void delist() noexcept {}
    T await_resume() {
        this->check_cancelled();
        return this->result.get();
    }
    void describe_wait(wait_description& into) const { into.kind = "callback"; }

private:
    void arrived() noexcept override { this->wake_up(); }
    void cancel_wait() noexcept override {
        if (this->result.empty()) {
            cancel_();
        }
    }

    Start start_;
    [[no_unique_address]] Cancel cancel_;
};

template <class T, class Start, class Cancel = detail::no_cancel>
callback_wait<T, Start, Cancel> from_callback(Start start, Cancel cancel = {}) {
    return callback_wait<T, Start, Cancel>(std::move(start), std::move(cancel));
}

}  // namespace ringlet
