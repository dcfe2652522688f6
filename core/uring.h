// The io_uring driver: one ring, used by its loop's thread only.
//
// * SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG where the kernel has them (6.1), a step down on
//   6.0; older kernels are refused. The ring is made disabled and enabled by the first wait, so a
//   loop may be made in one thread and run in another.
// * Suspending, and going on in another thread: core/uring_suspend.cpp.
// * One io_uring_enter per turn submits everything and waits. The two words that say whether
//   anything has happened lie in memory, so a busy loop enters only when something has.
// * Receives are multishot over two rings of buffers; a receive moves between small and large
//   buffers as its traffic does. A receive that finds no buffer (ENOBUFS) waits in `starved_` and
//   is armed again as soon as one has been given back.
// * Cancel: an ASYNC_CANCEL entry by user_data. The final completion is handed up only when both
//   the operation's last entry and the cancel's answer are in, so that no late answer can ever
//   meet a new operation at the same address.
// * What the kernel will not wait for (EAGAIN of a descriptor with O_NONBLOCK) waits by a poll
//   entry in the operation's name, and is then tried again.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <vector>

#include "core/driver.h"
#include "core/uring_buffers.h"

namespace ringlet::detail {

class uring_driver final : public driver {
public:
    uring_driver() = default;
    ~uring_driver() override;

    // Makes the ring. Returns 0 or -errno of the step that failed.
    int set_up() noexcept;

    const char* name() const noexcept override { return "uring"; }
    bool handles(opcode code) const noexcept override {
        return !is_for_files(code) || (file_opcodes_ >> static_cast<unsigned>(code) & 1) != 0;
    }
    void start(operation& op) noexcept override;
    void cancel(operation& op) noexcept override;
    void cancel_all() noexcept override;
    void suspend() noexcept override;
    std::error_code resume() noexcept override;
    void let_go() noexcept override;
    void wait(nanoseconds timeout) noexcept override;
    bool next(operation*& op, completion& what) noexcept override;
    bool has_work() noexcept override;
    void give_back(const lent_buffer& buffer) noexcept override;
    bool buffers_scarce() const noexcept override;
    std::size_t receive_bytes() const noexcept override;
    void wake() noexcept override;
    void add_stats(loop_stats& stats) const noexcept override;

private:
    static int make_ring(io_uring& ring) noexcept;
    static std::uint64_t this_thread() noexcept;
    io_uring_sqe* entry() noexcept;
    void submit_operation(operation& op) noexcept;
    void submit_cancel(operation& op) noexcept;
    void submit_cancel_of_all() noexcept;
    void arm_wake() noexcept;
    bool note_wake(const io_uring_cqe& entry) noexcept;
    void enable() noexcept;
    void register_descriptor() noexcept;
    void unregister_descriptor() noexcept;
    void withdraw_unsubmitted() noexcept;
    void settle_stash() noexcept;
    bool settle(const io_uring_cqe& entry) noexcept;
    void rest(operation& op) noexcept;
    void start_resting() noexcept;
    int move_to_new_ring() noexcept;
    int enter(unsigned wait_for, const nanoseconds* timeout) noexcept;
    void stash_completions() noexcept;
    void rearm_starved() noexcept;
    bool take(io_uring_cqe& entry) noexcept;
    bool translate(const io_uring_cqe& entry, operation*& op, completion& what) noexcept;
    bool translate_again(operation& op, int result, completion& what) noexcept;
    bool translate_cancel(operation& op, int answer, completion& what) noexcept;
    bool translate_multishot(operation& op, const io_uring_cqe& entry, completion& what) noexcept;
    bool finish(operation& op, int result, completion& what) noexcept;
    void follow_traffic(operation& op, int bytes) noexcept;
    bool large_buffers_ready() noexcept;
    unsigned unsubmitted() const noexcept { return ring_.sq.sqe_tail - submitted_; }
    // Every entry ends with one completion that says so: what has not, the kernel has.
    void count_ended(const io_uring_cqe& entry) noexcept {
        ended_ += (entry.flags & IORING_CQE_F_MORE) == 0 ? 1 : 0;
    }
    unsigned in_flight() const noexcept { return ring_.sq.sqe_tail - ended_; }
    unsigned kernel_flags() const noexcept { return IO_URING_READ_ONCE(*ring_.sq.kflags); }

    uring_buffers buffers_[2];  // by size class; freed after the ring
    io_uring ring_ = {};
    bool made_ = false;
    bool enabled_ = false;
    bool registered_ = false;
    bool suspended_ = false;
    bool wake_armed_ = false;         // the wake descriptor's poll has been entered
    bool wake_counter_used_ = false;  // the wake descriptor's counter is above zero
    bool woken_ = false;              // the next wait does not sleep
    bool closing_ = false;     // cancel_all was called: nothing is armed again
    unsigned submitted_ = 0;   // entries the kernel has taken, counted like the ring's tail
    unsigned ended_ = 0;       // entries whose last completion has left the ring, likewise
    unsigned batch_tail_ = 0;  // completions before this one belong to the current turn
    unsigned enter_flags_ = 0;
    int wake_fd_ = -1;
    std::uint32_t file_opcodes_ = 0;  // a bit for each opcode that the kernel has for files
    operation_queue starved_;  // receives that found no buffer
    operation_queue resting_;  // suspended: to be entered again by resume
    operation_queue called_off_;  // while they rested: they end after what is in the stash
    operation_queue local_;    // completions decided here, without the kernel
    // Completions taken early to make room, oldest first. It has room from the start for as many as
    // the ring holds: nobody could be told that there is no memory for one.
    std::vector<io_uring_cqe> stash_;
    std::size_t stash_read_ = 0;
    std::uint64_t owner_ = 0;        // the thread that enabled the ring
    std::uint64_t register_at_ = 0;  // `enters_` at which the ring's descriptor is registered
    std::uint64_t submitted_before_ = 0;  // by rings of earlier threads
    std::uint64_t enters_ = 0;
    std::uint64_t wakeups_ = 0;
    std::uint64_t buffers_dry_ = 0;
    std::uint64_t overflows_ = 0;
};

}  // namespace ringlet::detail
