// event: a flag that can be waited for. `set` lets everybody through, now and later, until `reset`.
// Loop thread only. Waiters are resumed from the loop's ready queue in the order they came, never
// inside `set`; a `reset` right after a `set` does not hold back those who were already waiting.
// Cancel takes a wait out of the queue and it throws `cancelled`. A set event is not waited for.
#pragma once

#include "coro/suspension.h"
#include "coro/wait_list.h"

namespace ringlet {

class event {
public:
    class [[nodiscard]] wait_until_set final : public suspension<wait_until_set>,
                                               public detail::wait_link {
    public:
        explicit wait_until_set(event& source) noexcept : source_(source) {}

        bool await_ready() const noexcept { return source_.set_; }
        void enlist() noexcept { source_.waits_.push(*this); }
        void delist() noexcept { source_.waits_.remove(*this); }
        void await_resume() const { check_cancelled(); }
        void describe_wait(wait_description& into) const { into.kind = "event"; }

    private:
        event& source_;
    };

    explicit event(bool set = false) noexcept : set_(set) {}

    bool is_set() const noexcept { return set_; }
    void set() noexcept {
        set_ = true;
        while (wait_until_set* const oldest = waits_.pop()) {
            oldest->wake_up();
        }
    }
    void reset() noexcept { set_ = false; }
    // co_await it.
    wait_until_set wait() noexcept { return wait_until_set(*this); }

private:
    bool set_;
    detail::wait_list<wait_until_set> waits_;
};

}  // namespace ringlet
