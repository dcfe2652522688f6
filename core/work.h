// A unit of work for the loop: an intrusive node owned by whoever queues it. The loop never
// allocates for it, and forgets it before running it, so `run` may queue the node again or destroy
// it. `work_queue` is the plain first-in-first-out list of such nodes (loop thread only).
#pragma once

#include "core/config.h"

namespace ringlet {

class work {
public:
    using function = void (*)(work&) noexcept;

    explicit work(function run) noexcept : run_(run) {}
    work(const work&) = delete;
    work& operator=(const work&) = delete;
    ~work() { RINGLET_REQUIRE(!queued_, "queued work was destroyed before it ran"); }

    bool queued() const noexcept { return queued_; }

protected:
    // For work that frees something: runs even when the loop dies before its turn came.
    void run_always() noexcept { always_ = true; }

private:
    friend class work_queue;
    friend class inbox;
    friend class loop;

    work* next_ = nullptr;
    function run_;
    bool queued_ = false;
    bool always_ = false;
};

class work_queue {
public:
    bool empty() const noexcept { return head_ == nullptr; }

    // Requires: `item` is in no queue.
    void push(work& item) noexcept {
        RINGLET_REQUIRE(!item.queued_, "work was queued twice");
        item.queued_ = true;
        item.next_ = nullptr;
        (tail_ != nullptr ? tail_->next_ : head_) = &item;
        tail_ = &item;
    }

    // The oldest item, or null.
    work* pop() noexcept {
        work* item = head_;
        if (item != nullptr) {
            head_ = item->next_;
            if (head_ == nullptr) {
                tail_ = nullptr;
            }
            item->queued_ = false;
        }
        return item;
    }

    // Takes `item` out wherever it stands; linear, for the rare cancellation of queued work.
    void remove(work& item) noexcept {
        work* before = nullptr;
        for (work* at = head_; at != nullptr; before = at, at = at->next_) {
            if (at == &item) {
                (before != nullptr ? before->next_ : head_) = at->next_;
                if (tail_ == at) {
                    tail_ = before;
                }
                at->queued_ = false;
                return;
            }
        }
    }

private:
    work* head_ = nullptr;
    work* tail_ = nullptr;
};

}  // namespace ringlet
