// How the io_uring driver leaves a thread, and goes on in the same or another one. Suspending
// cancels what is in the kernel and waits for it: everything comes back as a completion, and so
// names its operation. Results are kept in `stash_`; what was merely called off stands in
// `resting_`. Going on in another thread means a new ring over the same buffers.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "core/uring.h"
#include "core/uring_constants.h"
#include "core/uring_tags.h"

namespace ringlet::detail {
namespace {

constexpr nanoseconds first_patience = std::chrono::milliseconds(1);
constexpr nanoseconds patience_max = std::chrono::milliseconds(16);
constexpr unsigned answers_max = 4096;         // to wait for at once; well below the ring's size
constexpr std::uint64_t enters_unregistered = 64;  // before the ring's descriptor is worth a call

// Whether it makes no difference to anyone else that this has not been begun yet.
bool can_be_put_off(const operation& op) noexcept {
    switch (driver_access::code(op)) {
        case opcode::nop:
        case opcode::accept:
        case opcode::receive:
        case opcode::receive_into:
        case opcode::receive_message:
        case opcode::read:
        case opcode::poll: return true;
        default: return false;
    }
}

}  // namespace

// A number that no other thread has, or will have.
std::uint64_t uring_driver::this_thread() noexcept {
    static std::atomic<std::uint64_t> threads{0};
    thread_local const std::uint64_t number = ++threads;
    return number;
}

void uring_driver::enable() noexcept {
    enabled_ = true;
    owner_ = this_thread();
    // The call itself: the shared liburing 2.3 does not export io_uring_enable_rings.
    const long status = ::syscall(__NR_io_uring_register, ring_.ring_fd,
                                  IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    RINGLET_REQUIRE(status == 0, "the kernel refused to enable the ring");
}

// Saves each enter the look-up of the descriptor. It is the thread that knows the ring then, and
// keeps it alive: a driver that has left a thread must have undone it there.
void uring_driver::register_descriptor() noexcept {
    register_at_ = UINT64_MAX;
    registered_ = io_uring_register_ring_fd(&ring_) == 1;
    if (registered_) {
        enter_flags_ |= IORING_ENTER_REGISTERED_RING;
    }
}

void uring_driver::unregister_descriptor() noexcept {
    if (registered_) {
        io_uring_unregister_ring_fd(&ring_);
        registered_ = false;
        enter_flags_ &= ~unsigned{IORING_ENTER_REGISTERED_RING};
    }
    register_at_ = enters_ + enters_unregistered;
}

// True when that was the last report of the wake descriptor's poll.
bool uring_driver::note_wake(const io_uring_cqe& entry) noexcept {
    if (entry.res > 0) {
        ++wakeups_;
        wake_counter_used_ = true;
    }
    if ((entry.flags & IORING_CQE_F_MORE) != 0) {
        return false;
    }
    wake_armed_ = false;
    return true;
}

void uring_driver::suspend() noexcept {
    if (suspended_ || closing_) {
        return;
    }
    withdraw_unsubmitted();
    const bool only_wake_is_in_kernel = in_flight() == (wake_armed_ ? 1U : 0U);
    nanoseconds patience = first_patience;
    while (!only_wake_is_in_kernel && in_flight() != 0) {
        // Asked again and again: an operation that is just being run may miss one cancel, and one
        // that a kernel's thread has begun to run goes on to its end.
        submit_cancel_of_all();
        enter(std::min(in_flight(), answers_max), &patience);
        stash_completions();
        patience = std::min(patience * 2, patience_max);
    }
    unregister_descriptor();
    suspended_ = true;
    settle_stash();
    if (!wake_armed_ && wake_counter_used_) {
        // A new poll would report the old wakes once more, at each resume.
        std::uint64_t count = 0;
        [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &count, sizeof count);
        wake_counter_used_ = false;
        woken_ = true;
    }
}

// Takes back what the kernel has not seen yet, but for what others may be waiting for: that is let
// begin, unless there is no thread yet in which it could.
void uring_driver::withdraw_unsubmitted() noexcept {
    const unsigned mask = *ring_.sq.kring_mask;
    const unsigned tail = ring_.sq.sqe_tail;
    unsigned kept = submitted_;
    for (unsigned at = submitted_; at != tail; ++at) {
        const io_uring_sqe& entry = ring_.sq.sqes[at & mask];
        const std::uint64_t tag = entry.user_data & tag_mask;
        if (tag == tag_wake) {
            wake_armed_ = false;
            continue;
        }
        if (tag == tag_ignored) {
            continue;
        }
        operation& op = operation_of(entry.user_data);
        std::uint8_t& bits = driver_access::bits(op);
        if (tag == tag_operation) {
            if (!enabled_ || can_be_put_off(op) || (bits & bit_polling) != 0) {
                rest(op);
            } else {
                ring_.sq.sqes[kept++ & mask] = entry;
            }
            continue;
        }
        // Everything is called off in any case. An operation that has ended waits for this answer.
        bits &= static_cast<std::uint8_t>(~bit_cancel_asked);
        if ((bits & bit_final_seen) != 0) {
            local_.push(op);
        }
    }
    ring_.sq.sqe_tail = kept;
    io_uring_smp_store_release(ring_.sq.ktail, kept);
}

// Takes out of the stash what nobody above has to hear of.
void uring_driver::settle_stash() noexcept {
    std::size_t kept = 0;
    for (std::size_t at = stash_read_; at < stash_.size(); ++at) {
        if (!settle(stash_[at])) {
            stash_[kept++] = stash_[at];
        }
    }
    stash_.resize(kept);
    stash_read_ = 0;
}

// False when the entry has to be dispatched. No cancel's answer is outstanding any more, so what is
// kept can be translated without the kernel.
bool uring_driver::settle(const io_uring_cqe& entry) noexcept {
    const std::uint64_t tag = entry.user_data & tag_mask;
    if (tag == tag_wake) {
        note_wake(entry);
        return true;
    }
    if (tag == tag_ignored) {
        return true;
    }
    operation& op = operation_of(entry.user_data);
    std::uint8_t& bits = driver_access::bits(op);
    if (tag == tag_cancel) {
        if ((bits & bit_final_seen) != 0) {
            return false;
        }
        bits &= static_cast<std::uint8_t>(~bit_cancel_asked);
        return true;
    }
    const opcode code = driver_access::code(op);
    const bool interrupted = entry.res == -EINTR ||
                             (entry.res <= -restart_first && entry.res >= -restart_last);
    const bool called_off =
        entry.res == -ECANCELED || (interrupted && code != opcode::close_file);
    if ((entry.flags & IORING_CQE_F_MORE) != 0 || !called_off || driver_access::cancelling(op)) {
        return false;
    }
    if ((entry.flags & IORING_CQE_F_BUFFER) != 0) {
        uring_buffers& from = buffers_[(bits & bit_large) != 0 ? 1 : 0];
        const auto id = static_cast<std::uint16_t>(entry.flags >> IORING_CQE_BUFFER_SHIFT);
        from.take(id);
        from.give_back(id);
    }
    if (code == opcode::connect) {
        bits |= bit_again;
    }
    rest(op);
    return true;
}

void uring_driver::rest(operation& op) noexcept {
    driver_access::bits(op) &= static_cast<std::uint8_t>(~(bit_polling | bit_switching));
    resting_.push(op);
}

std::error_code uring_driver::resume() noexcept {
    if (!suspended_) {
        return {};
    }
    if (enabled_ && owner_ != this_thread()) {
        const int status = move_to_new_ring();
        if (status != 0) {
            return system_code(status);
        }
    }
    suspended_ = false;
    if (!wake_armed_) {
        arm_wake();
    }
    start_resting();
    return {};
}

// What its owner called off meanwhile ends instead, after all that it has brought before.
void uring_driver::start_resting() noexcept {
    while (operation* op = resting_.pop()) {
        if (closing_ || driver_access::cancelling(*op)) {
            called_off_.push(*op);
        } else {
            submit_operation(*op);
        }
    }
}

// Nothing has changed when this returns something else than 0.
int uring_driver::move_to_new_ring() noexcept {
    io_uring fresh = {};
    int status = make_ring(fresh);
    if (status != 0) {
        return status;
    }
    for (std::uint16_t group = 0; group < 2 && status == 0; ++group) {
        if (buffers_[group].ready()) {
            status = buffers_[group].register_with(fresh, group);
        }
    }
    if (status != 0) {
        io_uring_queue_exit(&fresh);
        return status;
    }
    io_uring_queue_exit(&ring_);
    ring_ = fresh;
    enabled_ = false;
    wake_armed_ = false;
    submitted_before_ += submitted_;
    submitted_ = 0;
    ended_ = 0;
    batch_tail_ = 0;
    unsigned named[2] = {0, 0};
    for (std::size_t at = stash_read_; at < stash_.size(); ++at) {
        const io_uring_cqe& entry = stash_[at];
        if ((entry.flags & IORING_CQE_F_BUFFER) != 0) {
            operation& op = operation_of(entry.user_data);
            ++named[(driver_access::bits(op) & bit_large) != 0 ? 1 : 0];
        }
    }
    for (int group = 0; group < 2; ++group) {
        if (buffers_[group].ready()) {
            buffers_[group].restock(named[group]);
        }
    }
    return 0;
}

}  // namespace ringlet::detail
