#include "core/uring.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <utility>

#include "core/plain_calls.h"
#include "core/uring_constants.h"
#include "core/uring_files.h"
#include "core/uring_tags.h"

namespace ringlet {
namespace detail {
namespace {

constexpr unsigned submission_entries = 512;
constexpr unsigned completion_entries = 8192;
constexpr unsigned small_buffers = 256;
constexpr std::size_t small_buffer_bytes = 16 * 1024;
constexpr unsigned large_buffers = 64;
constexpr std::size_t large_buffer_bytes = 128 * 1024;

// What an operation waits for when the kernel would not wait itself; 0: it always does.
unsigned readiness_of(const operation& op) noexcept {
    switch (driver_access::code(op)) {
        case opcode::receive_into:
        case opcode::receive_message:
        case opcode::read: return POLLIN;
        case opcode::send:
        case opcode::send_message:
        case opcode::write: return POLLOUT;
        default: return 0;
    }
}

// The ring's set-up flags, best first. Linux 6.0 is the floor: it brought multishot receive.
constexpr unsigned setup_common =
    IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED |
    IORING_SETUP_SINGLE_ISSUER;
constexpr unsigned setup_ladder[] = {
    setup_common | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,  // 6.1
    setup_common | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,   // 6.0
};

}  // namespace

uring_driver::~uring_driver() {
    if (made_) {
        io_uring_queue_exit(&ring_);
    }
    if (wake_fd_ >= 0) {
        ::close(wake_fd_);
    }
}

// Makes a ring, not yet enabled. Returns 0 or -errno.
int uring_driver::make_ring(io_uring& ring) noexcept {
    int status = -EINVAL;
    for (const unsigned flags : setup_ladder) {
        io_uring_params params = {};
        params.flags = flags;
        params.cq_entries = completion_entries;
        status = io_uring_queue_init_params(submission_entries, &ring, &params);
        if (status != -EINVAL) {
            break;
        }
    }
    // The index array never changes: entry i is always slot i. Newer rings have none.
    for (unsigned i = 0; status == 0 && ring.sq.array != nullptr && i < ring.sq.ring_entries; ++i) {
        ring.sq.array[i] = i;
    }
    return status;
}

int uring_driver::set_up() noexcept {
    try {
        stash_.reserve(completion_entries);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    int status = make_ring(ring_);
    if (status != 0) {
        return status;
    }
    made_ = true;
    if ((ring_.features & feature_no_iowait) != 0) {
        enter_flags_ = enter_no_iowait;
    }
    status = buffers_[0].set_up(ring_, 0, small_buffers, small_buffer_bytes);
    if (status != 0) {
        return status;
    }
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0) {
        return -errno;
    }
    arm_wake();
    file_opcodes_ = probe_file_opcodes(ring_);
    return 0;
}

// The next free submission entry; submits what is there when the queue is full.
io_uring_sqe* uring_driver::entry() noexcept {
    while (unsubmitted() == ring_.sq.ring_entries) {
        const int status = enter(0, nullptr);
        if (status == -EBUSY || status == -EAGAIN) {
            stash_completions();
        }
    }
    io_uring_sqe* const sqe = &ring_.sq.sqes[ring_.sq.sqe_tail & *ring_.sq.kring_mask];
    ++ring_.sq.sqe_tail;
    *sqe = {};  // not every liburing's prep functions clear what an earlier use left
    return sqe;
}

void uring_driver::submit_operation(operation& op) noexcept {
    using access = driver_access;
    io_uring_sqe* const sqe = entry();
    const int fd = access::fd(op);
    void* const memory = access::memory(op);
    const std::size_t length = access::length(op);
    switch (access::code(op)) {
        case opcode::nop: io_uring_prep_nop(sqe); break;
        case opcode::accept:
            io_uring_prep_multishot_accept(sqe, fd, nullptr, nullptr, SOCK_CLOEXEC);
            break;
        case opcode::connect:
            io_uring_prep_connect(sqe, fd, static_cast<const sockaddr*>(memory),
                                  static_cast<socklen_t>(length));
            break;
        case opcode::receive:
            // A multishot takes dozens of buffers before anyone can stop it. Of small ones that is
            // little; of large ones it would be megabytes, so those are asked for one by one.
            if ((access::bits(op) & bit_large) != 0) {
                io_uring_prep_recv(sqe, fd, nullptr, 0, 0);
                sqe->buf_group = 1;
            } else {
                io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
                sqe->buf_group = 0;
            }
            sqe->flags |= IOSQE_BUFFER_SELECT;
            break;
        case opcode::receive_into:
            io_uring_prep_recv(sqe, fd, memory, transfer_bytes(length), 0);
            break;
        case opcode::send:
            io_uring_prep_send(sqe, fd, memory, transfer_bytes(length), MSG_NOSIGNAL);
            break;
        case opcode::send_message:
            // The kernel's own wait would not do: some sockets (unix datagrams whose receiver is
            // full) have used up the bytes when they say EAGAIN, and it would go on with none.
            io_uring_prep_sendmsg(sqe, fd, static_cast<const msghdr*>(memory),
                                  MSG_NOSIGNAL | MSG_DONTWAIT);
            break;
        case opcode::poll:
            io_uring_prep_poll_add(sqe, fd, static_cast<unsigned>(length));
            if (access::multishot(op)) {
                sqe->len = IORING_POLL_ADD_MULTI;
            }
            break;
        case opcode::receive_message:
            io_uring_prep_recvmsg(sqe, fd, static_cast<msghdr*>(memory), MSG_CMSG_CLOEXEC);
            break;
        case opcode::read:
            io_uring_prep_read(sqe, fd, memory, transfer_bytes(length), at_current_offset);
            break;
        case opcode::write:
            io_uring_prep_write(sqe, fd, memory, transfer_bytes(length), at_current_offset);
            break;
        default: prepare_file_entry(*sqe, static_cast<file_operation&>(op)); break;
    }
    sqe->user_data = address_of(op) | tag_operation;
}

void uring_driver::start(operation& op) noexcept {
    // A receive that was paused goes on with the buffers that fitted its traffic.
    const bool receives = driver_access::code(op) == opcode::receive;
    driver_access::bits(op) &= receives ? bit_large : std::uint8_t{0};
    driver_access::result(op) = 0;
    if (suspended_) {
        resting_.push(op);
        return;
    }
    submit_operation(op);
}

void uring_driver::submit_cancel(operation& op) noexcept {
    driver_access::bits(op) |= bit_cancel_asked;
    io_uring_sqe* const sqe = entry();
    io_uring_prep_cancel64(sqe, address_of(op) | tag_operation, 0);
    sqe->user_data = address_of(op) | tag_cancel;
}

void uring_driver::cancel(operation& op) noexcept {
    std::uint8_t& bits = driver_access::bits(op);
    if ((bits & bit_final_seen) != 0) {
        return;  // ended already; its completion stands in local_
    }
    if ((bits & bit_starved) != 0) {
        starved_.remove(op);
        bits = bit_final_seen;
        driver_access::result(op) = -ECANCELED;
        local_.push(op);
        return;
    }
    if (!suspended_) {  // else it is at rest, or has ended: `resume` looks
        submit_cancel(op);
    }
}

void uring_driver::cancel_all() noexcept {
    closing_ = true;
    while (operation* op = starved_.pop()) {
        driver_access::bits(*op) = bit_final_seen;
        driver_access::result(*op) = -ECANCELED;
        local_.push(*op);
    }
    if (suspended_) {
        return start_resting();
    }
    submit_cancel_of_all();
}

void uring_driver::submit_cancel_of_all() noexcept {
    io_uring_sqe* const sqe = entry();
    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = tag_ignored;
}

// What completes meanwhile stays in the ring, for the turn to come. A ring that is not enabled
// holds nothing yet, and is left to the thread that will wait; another one than that may not enter.
void uring_driver::let_go() noexcept {
    if (!suspended_ && enabled_ && owner_ == this_thread() && unsubmitted() != 0) {
        enter(0, nullptr);
    }
}

void uring_driver::arm_wake() noexcept {
    io_uring_sqe* const sqe = entry();
    wake_armed_ = true;
    io_uring_prep_poll_add(sqe, wake_fd_, POLLIN);
    sqe->len = IORING_POLL_ADD_MULTI;
    sqe->user_data = tag_wake;
}

// The descriptor is never read: a multishot poll reports each write, and the counter behind it
// would need five centuries of writes to fill.
void uring_driver::wake() noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

// Submits everything; with `wait_for` > 0 sleeps until that many completions or the timeout.
// Returns what io_uring_enter returned. EBUSY, EAGAIN (the completion queue is backed up, or
// memory is short) and EINTR leave the entries in place for the next call.
int uring_driver::enter(unsigned wait_for, const nanoseconds* timeout) noexcept {
    if (!enabled_) {
        enable();
    }
    if (enters_ >= register_at_) {
        register_descriptor();
    }
    const unsigned count = unsubmitted();
    io_uring_smp_store_release(ring_.sq.ktail, ring_.sq.sqe_tail);
    unsigned flags = enter_flags_ | IORING_ENTER_GETEVENTS;
    io_uring_getevents_arg argument = {};
    __kernel_timespec limit = {};
    void* extra = nullptr;
    std::size_t extra_bytes = 0;
    if (timeout != nullptr) {
        limit.tv_sec = timeout->count() / 1'000'000'000;
        limit.tv_nsec = timeout->count() % 1'000'000'000;
        argument.ts = reinterpret_cast<std::uintptr_t>(&limit);
        flags |= IORING_ENTER_EXT_ARG;
        extra = &argument;
        extra_bytes = sizeof argument;
    }
    ++enters_;
    const int taken = io_uring_enter2(static_cast<unsigned>(ring_.enter_ring_fd), count, wait_for,
                                      flags, static_cast<sigset_t*>(extra), extra_bytes);
    // Even a call that ends in ETIME or EINTR may have submitted: the kernel's head tells.
    submitted_ = io_uring_smp_load_acquire(ring_.sq.khead);
    RINGLET_REQUIRE(taken >= 0 || (taken != -EEXIST && owner_ == this_thread()),
                    "a loop was run in a thread other than its own");
    RINGLET_REQUIRE(taken >= 0 || taken == -EINTR || taken == -ETIME || taken == -EBUSY ||
                        taken == -EAGAIN || taken == -ENOMEM,
                    "io_uring_enter failed in a way that cannot be retried");
    return taken;
}

// Takes completions out of the ring early, so that the kernel can go on.
void uring_driver::stash_completions() noexcept {
    unsigned head = *ring_.cq.khead;
    const unsigned tail = io_uring_smp_load_acquire(ring_.cq.ktail);
    for (; head != tail; ++head) {
        stash_.push_back(ring_.cq.cqes[head & *ring_.cq.kring_mask]);
        count_ended(stash_.back());
    }
    io_uring_smp_store_release(ring_.cq.khead, head);
    batch_tail_ = head;
}

void uring_driver::wait(nanoseconds timeout) noexcept {
    if (suspended_) {
        RINGLET_REQUIRE(closing_, "a suspended driver was asked to wait");
        return;  // everything is at rest, and what there is to dispatch is here
    }
    rearm_starved();
    const unsigned head = *ring_.cq.khead;
    const bool something_here = std::exchange(woken_, false) || !local_.empty() ||
                                stash_read_ != stash_.size() || !called_off_.empty() ||
                                io_uring_smp_load_acquire(ring_.cq.ktail) != head;
    const bool collect =
        (kernel_flags() & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0 || unsubmitted() != 0;
    if ((kernel_flags() & IORING_SQ_CQ_OVERFLOW) != 0) {
        ++overflows_;
    }
    if (timeout == nanoseconds::zero() || something_here) {
        if (collect) {
            enter(0, nullptr);
        }
    } else {
        enter(1, timeout == wait_forever ? nullptr : &timeout);
    }
    batch_tail_ = io_uring_smp_load_acquire(ring_.cq.ktail);
}

bool uring_driver::has_work() noexcept {
    return unsubmitted() != 0 || !local_.empty() || !starved_.empty() || !resting_.empty() ||
           stash_read_ != stash_.size() || !called_off_.empty() ||
           io_uring_smp_load_acquire(ring_.cq.ktail) != *ring_.cq.khead ||
           (kernel_flags() & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

bool uring_driver::take(io_uring_cqe& entry) noexcept {
    if (stash_read_ != stash_.size()) {
        entry = stash_[stash_read_];
        if (++stash_read_ == stash_.size()) {
            stash_.clear();
            stash_read_ = 0;
        }
        return true;
    }
    if (operation* const op = called_off_.pop()) {
        entry = {};
        entry.user_data = address_of(*op) | tag_operation;
        entry.res = -ECANCELED;
        return true;
    }
    const unsigned head = *ring_.cq.khead;
    if (head == batch_tail_) {
        return false;
    }
    entry = ring_.cq.cqes[head & *ring_.cq.kring_mask];
    count_ended(entry);
    io_uring_smp_store_release(ring_.cq.khead, head + 1);
    return true;
}

bool uring_driver::next(operation*& op, completion& what) noexcept {
    if (!local_.empty()) {
        op = local_.pop();
        what = {driver_access::result(*op), false, {}};
        return true;
    }
    io_uring_cqe entry;
    while (take(entry)) {
        if (translate(entry, op, what)) {
            return true;
        }
    }
    return false;
}

// Turns a ring entry into a completion; false when it concerns nobody above the driver.
bool uring_driver::translate(const io_uring_cqe& entry, operation*& op,
                             completion& what) noexcept {
    const std::uint64_t tag = entry.user_data & tag_mask;
    if (tag == tag_wake) {
        if (note_wake(entry) && entry.res != -ECANCELED) {
            arm_wake();
        }
        return false;
    }
    if (tag == tag_ignored) {
        return false;
    }
    op = &operation_of(entry.user_data);
    if (tag == tag_cancel) {
        return translate_cancel(*op, entry.res, what);
    }
    if (driver_access::multishot(*op)) {
        return translate_multishot(*op, entry, what);
    }
    const bool special = (driver_access::bits(*op) & (bit_polling | bit_again)) != 0;
    if (special || entry.res == -EAGAIN || entry.res == -EINTR) [[unlikely]] {
        return translate_again(*op, entry.res, what);
    }
    return finish(*op, entry.res, what);
}

// Waits, or tries again, after an entry that ended without having done what was asked.
bool uring_driver::translate_again(operation& op, int result, completion& what) noexcept {
    std::uint8_t& bits = driver_access::bits(op);
    const opcode code = driver_access::code(op);
    const bool polled = (bits & bit_polling) != 0;
    const bool again = (bits & bit_again) != 0;
    bits &= static_cast<std::uint8_t>(~bit_polling);
    if (again && result == -EISCONN) {
        result = 0;  // done meanwhile
    }
    const unsigned readiness = again ? POLLOUT : readiness_of(op);
    const bool waits =
        !polled && readiness != 0 && result == (again ? -EALREADY : -EAGAIN);
    const bool not_done = waits || (polled ? result >= 0 : result == -EINTR);
    if (not_done && (closing_ || driver_access::cancelling(op))) {
        return finish(op, -ECANCELED, what);
    }
    if (!not_done || (code == opcode::connect && !again) || code == opcode::close_file) {
        return finish(op, result, what);
    }
    if (waits) {
        bits |= bit_polling;
        io_uring_sqe* const sqe = entry();
        io_uring_prep_poll_add(sqe, driver_access::fd(op), readiness);
        sqe->user_data = address_of(op) | tag_operation;
    } else {
        submit_operation(op);
    }
    return false;
}

bool uring_driver::translate_cancel(operation& op, int answer, completion& what) noexcept {
    driver_access::bits(op) &= static_cast<std::uint8_t>(~bit_cancel_asked);
    if ((driver_access::bits(op) & bit_final_seen) != 0) {
        what = {driver_access::result(op), false, {}};
        return true;
    }
    if (answer == -ENOENT) {
        // Some kernels miss an operation that is just being run (or re-armed): ask again.
        submit_cancel(op);
    }
    return false;
}

// The operation has ended: hands the result up, unless a cancel's answer is still outstanding.
bool uring_driver::finish(operation& op, int result, completion& what) noexcept {
    std::uint8_t& bits = driver_access::bits(op);
    if ((bits & bit_cancel_asked) != 0) {
        bits |= bit_final_seen;
        driver_access::result(op) = result;
        return false;
    }
    what = {result, false, {}};
    return true;
}

bool uring_driver::translate_multishot(operation& op, const io_uring_cqe& entry,
                                       completion& what) noexcept {
    std::uint8_t& bits = driver_access::bits(op);
    const bool ended = (entry.flags & IORING_CQE_F_MORE) == 0;
    const bool asked_to_end = closing_ || driver_access::cancelling(op);
    const bool is_receive = driver_access::code(op) == opcode::receive;
    what = {entry.res, true, {}};
    if ((entry.flags & IORING_CQE_F_BUFFER) != 0) {
        const auto id = static_cast<std::uint16_t>(entry.flags >> IORING_CQE_BUFFER_SHIFT);
        const std::uint16_t size_class = (bits & bit_large) != 0 ? 1 : 0;
        what.buffer = {buffers_[size_class].take(id), id, size_class};
        if (entry.res <= 0) {
            buffers_[size_class].give_back(id);
            what.buffer = {};
        } else {
            follow_traffic(op, entry.res);
        }
    }
    if (!ended) {
        return true;
    }
    const bool switched = (bits & bit_switching) != 0 && entry.res == -ECANCELED;
    if (!asked_to_end && is_receive && (entry.res == -ENOBUFS || switched)) {
        if (switched) {
            bits = static_cast<std::uint8_t>((bits & ~bit_switching) | bit_large);
            driver_access::result(op) = 0;
        } else {
            ++buffers_dry_;
        }
        bits |= bit_starved;
        starved_.push(op);
        return false;
    }
    const bool good = entry.res > 0 || (entry.res == 0 && !is_receive);
    if (!good) {
        return finish(op, is_receive && entry.res == -ENOBUFS ? -ECANCELED : entry.res, what);
    }
    // It was a receive into one large buffer, or the kernel ended a multishot that still works.
    if (!asked_to_end) {
        bits &= static_cast<std::uint8_t>(~bit_switching);
        submit_operation(op);
    } else if ((bits & bit_cancel_asked) != 0) {
        bits |= bit_final_seen;
        driver_access::result(op) = -ECANCELED;
    } else {
        bits |= bit_final_seen;
        driver_access::result(op) = -ECANCELED;
        local_.push(op);
    }
    return true;
}

// Moves a receive to the buffer size that fits: full buffers call for larger ones (two points up,
// one down), a long row of small receives for the small and hot ones. The move up ends the
// multishot by a cancel nobody waits for, whose completion re-arms it with large buffers.
void uring_driver::follow_traffic(operation& op, int bytes) noexcept {
    constexpr int enlarge_at = 4;
    constexpr int shrink_at = 64;
    std::uint8_t& bits = driver_access::bits(op);
    std::int32_t& score = driver_access::result(op);
    const auto size = static_cast<std::size_t>(bytes);
    if ((bits & bit_large) != 0) {
        score = size <= small_buffer_bytes / 2 ? score + 1 : 0;
        if (score >= shrink_at) {
            bits &= static_cast<std::uint8_t>(~bit_large);
            score = 0;
        }
        return;
    }
    score = size == small_buffer_bytes ? score + 2 : score > 0 ? score - 1 : 0;
    const bool move = score >= enlarge_at && large_buffers_ready();
    if (!move || closing_ || (bits & bit_switching) != 0 || driver_access::cancelling(op)) {
        return;
    }
    bits |= bit_switching;
    io_uring_sqe* const sqe = entry();
    io_uring_prep_cancel64(sqe, address_of(op) | tag_operation, 0);
    sqe->user_data = tag_ignored;
}

bool uring_driver::large_buffers_ready() noexcept {
    return buffers_[1].ready() ||
           buffers_[1].set_up(ring_, 1, large_buffers, large_buffer_bytes) == 0;
}

// Arms receives again that found no buffer, as many as there are buffers for.
void uring_driver::rearm_starved() noexcept {
    operation_queue still_starved;
    while (operation* op = starved_.pop()) {
        std::uint8_t& bits = driver_access::bits(*op);
        const uring_buffers& from = buffers_[(bits & bit_large) != 0 ? 1 : 0];
        if (from.lent() < from.count()) {
            bits &= static_cast<std::uint8_t>(~bit_starved);
            submit_operation(*op);
        } else {
            still_starved.push(*op);
        }
    }
    starved_ = still_starved;
}

void uring_driver::give_back(const lent_buffer& buffer) noexcept {
    buffers_[buffer.size_class].give_back(buffer.id);
}

bool uring_driver::buffers_scarce() const noexcept {
    return buffers_[0].lent() * 2 > buffers_[0].count() ||
           buffers_[1].lent() * 2 > buffers_[1].count();
}

std::size_t uring_driver::receive_bytes() const noexcept { return small_buffer_bytes; }

void uring_driver::add_stats(loop_stats& stats) const noexcept {
    stats.enters += enters_;
    stats.submitted += submitted_before_ + submitted_;
    stats.wakeups += wakeups_;
    stats.buffers_dry += buffers_dry_;
    stats.overflows += overflows_;
    stats.buffers_lent += buffers_[0].lent() + buffers_[1].lent();
}

}  // namespace detail

result<std::unique_ptr<driver>> make_uring_driver() {
    auto made = std::make_unique<detail::uring_driver>();
    const int status = made->set_up();
    if (status != 0) {
        return system_code(status);
    }
    return std::unique_ptr<driver>(std::move(made));
}

}  // namespace ringlet
