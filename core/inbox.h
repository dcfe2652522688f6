// The one door into a loop from other threads: a lock-free stack of work nodes that the loop
// empties once per turn, in the order they were pushed. `push` may be called by any thread at any
// time while the loop lives; it says whether the loop must be woken.
//
// The awake word: the loop calls `begin_sleep` before a wait that can block and goes to sleep only
// when it returns true. A pusher that finds the word at `asleep` sets it to `awake` and rings; so a
// sleeping loop is rung once, however many push. Both sides use sequentially consistent order:
// either the pusher sees the sleeper, or the sleeper sees the pushed node.
#pragma once

#include <atomic>

#include "core/work.h"

namespace ringlet {

class inbox {
public:
    // Returns true when the caller has to wake the loop.
    [[nodiscard]] bool push(work& item) noexcept {
        work* head = head_.load(std::memory_order_relaxed);
        do {
            item.next_ = head;
        } while (!head_.compare_exchange_weak(head, &item, std::memory_order_seq_cst,
                                              std::memory_order_relaxed));
        return asleep_.load(std::memory_order_seq_cst) &&
               asleep_.exchange(false, std::memory_order_seq_cst);
    }

    bool empty() const noexcept { return head_.load(std::memory_order_relaxed) == nullptr; }

    // Loop thread: moves everything pushed so far to `target`, oldest first.
    void drain(work_queue& target) noexcept {
        if (empty()) {
            return;
        }
        work* item = head_.exchange(nullptr, std::memory_order_acquire);
        work* oldest_first = nullptr;
        while (item != nullptr) {
            work* next = item->next_;
            item->next_ = oldest_first;
            oldest_first = item;
            item = next;
        }
        while (oldest_first != nullptr) {
            work* next = oldest_first->next_;
            target.push(*oldest_first);
            oldest_first = next;
        }
    }

    // Loop thread: true when the loop may block; false when something was pushed meanwhile.
    [[nodiscard]] bool begin_sleep() noexcept {
        asleep_.store(true, std::memory_order_seq_cst);
        if (head_.load(std::memory_order_seq_cst) == nullptr) {
            return true;
        }
        asleep_.store(false, std::memory_order_relaxed);
        return false;
    }

    void end_sleep() noexcept { asleep_.store(false, std::memory_order_relaxed); }

private:
    std::atomic<work*> head_{nullptr};
    std::atomic<bool> asleep_{false};
};

}  // namespace ringlet
