// Intrusive first-in-first-out list of waits, for primitives that somebody can wait for: adding and
// taking out anywhere cost a few stores, and nothing is allocated. A wait derives from `wait_link`
// and stands in at most one list. Destroying a list in which somebody waits ends the program with a
// sentence: that wait could never end. Loop thread only.
#pragma once

#include "core/config.h"

namespace ringlet::detail {

struct wait_link {
    wait_link* next = nullptr;
    wait_link* previous = nullptr;
};

template <class Wait>
class wait_list {
public:
    wait_list() noexcept = default;
    wait_list(const wait_list&) = delete;
    wait_list& operator=(const wait_list&) = delete;
    ~wait_list() {
        RINGLET_REQUIRE(empty(), "something was destroyed while a coroutine waits for it");
    }

    bool empty() const noexcept { return head_ == nullptr; }

    // Requires: `wait` is in no list.
    void push(Wait& wait) noexcept {
        wait_link& link = wait;
        link.next = nullptr;
        link.previous = tail_;
        (tail_ != nullptr ? tail_->next : head_) = &link;
        tail_ = &link;
    }

    // Requires: `wait` is in this list.
    void remove(Wait& wait) noexcept {
        wait_link& link = wait;
        (link.previous != nullptr ? link.previous->next : head_) = link.next;
        (link.next != nullptr ? link.next->previous : tail_) = link.previous;
    }

    // The one that waits longest, or null. `pop` takes it out.
    Wait* front() const noexcept { return static_cast<Wait*>(head_); }
    Wait* pop() noexcept {
        Wait* const oldest = front();
        if (oldest != nullptr) {
            remove(*oldest);
        }
        return oldest;
    }

private:
    wait_link* head_ = nullptr;
    wait_link* tail_ = nullptr;
};

}  // namespace ringlet::detail
