// Timers of one loop: a four-way heap of (deadline, timer) pairs, each timer knowing its place, so
// that adding and cancelling are O(log n) and O(1) for the usual timeout, which is added last and
// cancelled early. No allocation per timer but the heap's own growing array. Loop thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/config.h"

namespace ringlet {

// An intrusive timer, owned by whoever waits. Its function runs in the timer step of a turn, at
// or after the deadline; the timer is idle again before that, so it may be started anew.
class timer {
public:
    using function = void (*)(timer&) noexcept;

    explicit timer(function expire) noexcept : expire_(expire) {}
    timer(const timer&) = delete;
    timer& operator=(const timer&) = delete;
    ~timer() { RINGLET_REQUIRE(!pending(), "a pending timer was destroyed"); }

    bool pending() const noexcept { return place_ != nowhere; }
    std::int64_t deadline() const noexcept { return deadline_; }

private:
    friend class timer_heap;
    friend class loop;
    static constexpr std::uint32_t nowhere = ~std::uint32_t{0};

    function expire_;
    std::int64_t deadline_ = 0;
    std::uint32_t place_ = nowhere;
};

class timer_heap {
public:
    bool empty() const noexcept { return slots_.empty(); }
    std::size_t size() const noexcept { return slots_.size(); }
    // Requires: not empty.
    std::int64_t first_deadline() const noexcept { return slots_.front().deadline; }

    // Requires: `item` is not pending. Throws std::bad_alloc, and then changes nothing.
    void add(timer& item, std::int64_t deadline);
    // Does nothing when `item` is not pending.
    void remove(timer& item) noexcept;
    // Moves a pending timer to another deadline without leaving the heap.
    void move(timer& item, std::int64_t deadline) noexcept;
    // Takes the first timer out when its deadline is at or before `now`, else null.
    timer* pop_due(std::int64_t now) noexcept;
    // Calls `visit(timer&)` for each pending one, in no order. Nothing may be added or removed.
    template <class F>
    void for_each(F&& visit) const {
        for (const slot& each : slots_) {
            visit(*each.item);
        }
    }

private:
    struct slot {
        std::int64_t deadline;
        timer* item;
    };

    void place(std::size_t at, slot what) noexcept {
        slots_[at] = what;
        what.item->place_ = static_cast<std::uint32_t>(at);
    }
    void sift_up(std::size_t at, slot what) noexcept;
    void sift_down(std::size_t at, slot what) noexcept;
    void settle(std::size_t at, slot what) noexcept;

    std::vector<slot> slots_;
};

}  // namespace ringlet
