// mutex: one at a time across suspensions. `auto guard = co_await m.lock();` holds it until `guard`
// is destroyed. Code that does not suspend while it works on shared state needs none: a loop is one
// thread. Fair, resumes and cancels as semaphore.h says. Not recursive. Loop thread only.
#pragma once

#include "coro/semaphore.h"

namespace ringlet {

class mutex {
public:
    using guard = semaphore::permit;

    // co_await it: a guard.
    semaphore::acquire_wait lock() noexcept { return turn_.acquire(); }
    // An empty guard when somebody holds it.
    guard try_lock() noexcept { return turn_.try_acquire(); }
    bool is_locked() const noexcept { return turn_.available() == 0; }

private:
    semaphore turn_{1, "mutex"};
};

}  // namespace ringlet
