// on_helper(fn): calls `fn()` on a helper thread of the loop and gives what it returns or throws;
// for calls that can only block. `fn` runs beside the loop's thread, so it may touch only what
// nobody else does meanwhile. Resumed from the loop's ready queue. Cancel takes it back while no
// thread has begun it; after that the wait goes on to its end, as nobody can stop a blocking call.
//
// A capturing lambda belongs into a variable first (docs/lambda-captures.md):
//     auto write = [&] { ... };
//     co_await on_helper(write);
#pragma once

#include <exception>
#include <type_traits>
#include <utility>

#include "core/helper_pool.h"
#include "coro/outcome.h"
#include "coro/suspension.h"

namespace ringlet {

template <class Fn>
class [[nodiscard]] on_helper final : public suspension<on_helper<Fn>>, private helper_job {
    using result = std::invoke_result_t<Fn&>;

public:
    explicit on_helper(Fn fn) noexcept
        : helper_job(&on_helper::block, &on_helper::done), fn_(std::move(fn)) {}

    bool await_ready() const noexcept { return false; }
    void enlist() { this->owner_loop().helpers().submit(*this); }
    void delist() noexcept {}
    void describe_wait(wait_description& into) const { into.kind = "helper thread"; }
    result await_resume() {
        this->check_cancelled();
        return outcome_.get();
    }

private:
    void cancel_wait() noexcept override {
        if (this->owner_loop().helpers().withdraw(*this)) {
            suspension<on_helper>::cancel_wait();
        }
    }
    static void block(helper_job& job) noexcept {
        auto& self = static_cast<on_helper&>(job);
        try {
            if constexpr (std::is_void_v<result>) {
                self.fn_();
                self.outcome_.set_value();
            } else {
                self.outcome_.set_value(self.fn_());
            }
        } catch (...) {
            self.outcome_.set_exception(std::current_exception());
        }
    }
    static void done(work& item) noexcept {
        static_cast<on_helper&>(static_cast<helper_job&>(item)).wake_up();
    }

    Fn fn_;
    outcome<result> outcome_;
};

}  // namespace ringlet
