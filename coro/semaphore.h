// semaphore: at most so many at a time. `co_await s.acquire()` gives a `permit`, which gives itself
// back when it is destroyed. Loop thread only; permits must not outlive the semaphore.
//
// Fair: waits end in the order in which they began, and `release` hands a permit directly to the
// oldest wait, so that nobody can overtake it. The waiter is resumed from the loop's ready queue,
// never inside `release`. Cancel takes a queued wait out of the queue and it throws `cancelled`; a
// wait that was already handed its permit delivers it. An `acquire` that finds a permit does not
// wait, also in a cancelled job.
#pragma once

#include <cstddef>
#include <utility>

#include "coro/suspension.h"
#include "coro/wait_list.h"

namespace ringlet {

class semaphore {
public:
    class permit;
    class acquire_wait;

    // `kind` is what dump_tasks calls a wait for it.
    explicit semaphore(std::size_t permits, const char* kind = "semaphore") noexcept
        : permits_(permits), kind_(kind) {}

    // co_await it: a permit.
    acquire_wait acquire() noexcept;
    // An empty permit when none is free.
    permit try_acquire() noexcept;
    // Adds permits, or gives back those taken without a `permit` (see permit::detach).
    void release(std::size_t permits = 1) noexcept;

    std::size_t available() const noexcept { return permits_; }

private:
    bool take() noexcept {
        if (permits_ == 0) {
            return false;
        }
        --permits_;
        return true;
    }

    std::size_t permits_;  // more than zero only while nobody waits
    const char* kind_;
    detail::wait_list<acquire_wait> waits_;
};

class [[nodiscard]] semaphore::permit {
public:
    permit() noexcept = default;
    permit(permit&& other) noexcept : source_(std::exchange(other.source_, nullptr)) {}
    permit& operator=(permit&& other) noexcept {
        if (this != &other) {
            give_back();
            source_ = std::exchange(other.source_, nullptr);
        }
        return *this;
    }
    ~permit() { give_back(); }

    explicit operator bool() const noexcept { return source_ != nullptr; }
    // Gives it back now; does nothing when empty.
    void give_back() noexcept {
        if (source_ != nullptr) {
            std::exchange(source_, nullptr)->release();
        }
    }
    // Becomes empty and gives nothing back: the caller will call semaphore::release.
    void detach() noexcept { source_ = nullptr; }

private:
    friend class semaphore;
    explicit permit(semaphore& source) noexcept : source_(&source) {}
    semaphore* source_ = nullptr;
};

class [[nodiscard]] semaphore::acquire_wait final : public suspension<acquire_wait>,
                                                    public detail::wait_link {
public:
    explicit acquire_wait(semaphore& source) noexcept : source_(source) {}

    bool await_ready() const noexcept { return source_.take(); }
    void enlist() noexcept { source_.waits_.push(*this); }
    void delist() noexcept { source_.waits_.remove(*this); }
    permit await_resume() const {
        check_cancelled();
        return permit(source_);
    }
    void describe_wait(wait_description& into) const { into.kind = source_.kind_; }

private:
    semaphore& source_;
};

inline semaphore::acquire_wait semaphore::acquire() noexcept { return acquire_wait(*this); }

inline semaphore::permit semaphore::try_acquire() noexcept {
    return take() ? permit(*this) : permit();
}

inline void semaphore::release(std::size_t permits) noexcept {
    for (; permits > 0; --permits) {
        acquire_wait* const oldest = waits_.pop();
        if (oldest == nullptr) {
            permits_ += permits;
            return;
        }
        oldest->wake_up();
    }
}

}  // namespace ringlet
