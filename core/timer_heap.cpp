#include "core/timer_heap.h"

namespace ringlet {
namespace {
constexpr std::size_t arity = 4;
}

void timer_heap::add(timer& item, std::int64_t deadline) {
    RINGLET_REQUIRE(!item.pending(), "a pending timer was started again");
    slots_.emplace_back();
    item.deadline_ = deadline;
    sift_up(slots_.size() - 1, {deadline, &item});
}

void timer_heap::remove(timer& item) noexcept {
    if (!item.pending()) {
        return;
    }
    const std::size_t at = item.place_;
    item.place_ = timer::nowhere;
    const slot last = slots_.back();
    slots_.pop_back();
    if (last.item != &item) {
        settle(at, last);
    }
}

void timer_heap::move(timer& item, std::int64_t deadline) noexcept {
    item.deadline_ = deadline;
    settle(item.place_, {deadline, &item});
}

timer* timer_heap::pop_due(std::int64_t now) noexcept {
    if (slots_.empty() || slots_.front().deadline > now) {
        return nullptr;
    }
    timer* item = slots_.front().item;
    remove(*item);
    return item;
}

void timer_heap::settle(std::size_t at, slot what) noexcept {
    if (at > 0 && what.deadline < slots_[(at - 1) / arity].deadline) {
        sift_up(at, what);
    } else {
        sift_down(at, what);
    }
}

void timer_heap::sift_up(std::size_t at, slot what) noexcept {
    while (at > 0) {
        const std::size_t parent = (at - 1) / arity;
        if (slots_[parent].deadline <= what.deadline) {
            break;
        }
        place(at, slots_[parent]);
        at = parent;
    }
    place(at, what);
}

void timer_heap::sift_down(std::size_t at, slot what) noexcept {
    const std::size_t size = slots_.size();
    for (;;) {
        const std::size_t first = at * arity + 1;
        if (first >= size) {
            break;
        }
        const std::size_t end = first + arity < size ? first + arity : size;
        std::size_t least = first;
        for (std::size_t child = first + 1; child < end; ++child) {
            if (slots_[child].deadline < slots_[least].deadline) {
                least = child;
            }
        }
        if (what.deadline <= slots_[least].deadline) {
            break;
        }
        place(at, slots_[least]);
        at = least;
    }
    place(at, what);
}

}  // namespace ringlet
