// The epoll driver: the operations of operation.h emulated on readiness.
//
// * A descriptor stays in the epoll set as long as it is of use: a receive or an accept registers
//   once, not once per completion. An event that finds nobody waiting takes the registration back.
// * Writes are tried at once by `start`, and wait for EPOLLOUT only when the socket is full.
// * A turn's events are served lazily: `next` turns one event into one system call, into the
//   buffer given back last. So one hot buffer serves a whole batch when handlers return it at once.
// * Every operation is served at most once per turn (an accept up to `accepts_max` times), so no
//   busy descriptor starves the others.
// * Several operations may wait on one descriptor; each direction is first come, first served.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>
#include <vector>

#include "core/driver.h"
#include "core/epoll_buffers.h"
#include "core/epoll_calls.h"

namespace ringlet {
namespace {

using access = driver_access;
using detail::begin_connect;
using detail::end_connect;
using detail::call_result;
using detail::set_nonblocking;
using detail::try_transfer;
using detail::try_write;

constexpr int events_max = 256;        // per wait
constexpr int accepts_max = 64;        // per listener and turn
constexpr int unpolled_turns_max = 4;  // turns served from memory before the kernel is asked again
constexpr std::uint64_t wake_key = ~std::uint64_t{0};

// What the driver's words of an operation mean here. While it waits in a descriptor's list,
// `bits` is `waiting` and `result` the turn it was last served in; once it has completed, `bits`
// is `completed`, `result` its result, and it stands in local_ or batch_.
constexpr std::uint8_t completed = 0;
constexpr std::uint8_t waiting = 1;

constexpr std::uint32_t events_known = 0xffff;  // what lies above are epoll's modes, not events

struct descriptor {
    operation_queue operations;    // waiting for readiness, oldest first
    std::uint32_t generation = 0;  // tells an event of an earlier life of this number
    std::uint16_t registered = 0;  // the mask in the epoll set; 0: not in it
    bool revisited = false;        // stands in revisit_
    bool starved = false;          // a receive found no buffer; its EPOLLIN is withheld
};

// The readiness an operation waits for.
std::uint32_t interest(const operation& op) noexcept {
    switch (access::code(op)) {
        case opcode::connect:
        case opcode::send:
        case opcode::send_message:
        case opcode::write: return EPOLLOUT;
        case opcode::poll:
            // EPOLLERR is always reported; named, it keeps the mask of a poll for nothing else
            // from being zero.
            return (static_cast<std::uint32_t>(access::length(op)) & events_known) | EPOLLERR;
        default: return EPOLLIN;
    }
}

std::uint32_t interest(const descriptor& of) noexcept {
    std::uint32_t mask = 0;
    for (operation* op = of.operations.front(); op != nullptr; op = access::next(*op)) {
        mask |= interest(*op);
    }
    return mask;
}

class epoll_driver final : public driver {
public:
    epoll_driver();
    ~epoll_driver() override;

    const char* name() const noexcept override { return "epoll"; }
    void start(operation& op) noexcept override;
    void cancel(operation& op) noexcept override;
    void cancel_all() noexcept override;
    void wait(nanoseconds timeout) noexcept override;
    bool next(operation*& op, completion& what) noexcept override;
    bool has_work() noexcept override {
        return waiting_count_ > 0 || !written_.empty() || !local_.empty() || !batch_.empty();
    }
    bool polls_by_level() const noexcept override { return true; }
    void give_back(const lent_buffer& buffer) noexcept override { buffers_.give_back(buffer.id); }
    bool buffers_scarce() const noexcept override {
        return buffers_.lent() > buffers_.count_max / 2;
    }
    std::size_t receive_bytes() const noexcept override { return buffers_.bytes; }
    void wake() noexcept override;
    void add_stats(loop_stats& stats) const noexcept override;
    result<int> open_socket(int family, int type, int protocol) noexcept override;
    void close(int fd) noexcept override;
    void release(int fd) noexcept override;

private:
    void complete(operation& op, std::int32_t result) noexcept;
    void enqueue(operation& op) noexcept;
    void leave(operation& op) noexcept;
    int make_room(int fd) noexcept;
    int set_registration(int fd, std::uint32_t mask) noexcept;
    void revisit(int fd) noexcept;
    void revisit_all() noexcept;
    void forget(int fd) noexcept;
    bool writer_waits(int fd) const noexcept;
    int collect(nanoseconds timeout) noexcept;

    bool serve(epoll_event& event, operation*& op, completion& what) noexcept;
    bool serve(operation& op, epoll_event& event, completion& what) noexcept;
    std::int32_t perform(operation& op, lent_buffer& buffer) noexcept;
    std::int32_t accept_one(int fd) noexcept;
    std::int32_t receive(int fd, lent_buffer& buffer) noexcept;

    int epoll_fd_ = -1;
    int wake_fd_ = -1;
    bool has_pwait2_ = true;
    pid_t owner_ = 0;
    std::vector<descriptor> table_;  // by descriptor
    std::vector<int> revisit_;       // descriptors whose registration wait() looks at again
    detail::epoll_buffers buffers_;
    std::uint64_t waiting_count_ = 0;  // operations in the table

    operation_queue written_;  // completed by start
    operation_queue local_;    // completed without an event; next turn's
    operation_queue batch_;    // the same, this turn's
    std::int32_t turn_ = 0;
    int unpolled_turns_ = 0;

    epoll_event events_[events_max];
    int event_count_ = 0;
    int event_at_ = 0;
    // The last completion came of an event: a write that its handler got done may follow it in the
    // same turn, so that its buffer is given back while it is hot. One each: turns stay bounded.
    bool event_served_ = false;
    // Of the event at event_at_: the interests that found somebody, the directions in which a
    // system call said there is nothing more, and the connections it may still accept.
    std::uint32_t claimed_ = 0;
    std::uint32_t exhausted_ = 0;
    int accepts_left_ = accepts_max;

    std::uint64_t enters_ = 0;
    std::uint64_t wakeups_ = 0;
    std::uint64_t buffers_dry_ = 0;
};

epoll_driver::epoll_driver() : owner_(::getpid()) {
    epoll_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd_ < 0) {
        throw error(system_code(errno), "epoll_create1");
    }
    // Edge-triggered: each write is an event, and nobody has to read the counter back to zero.
    epoll_event event{EPOLLIN | EPOLLET, {}};
    event.data.u64 = wake_key;
    wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0 || ::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) < 0) {
        const std::error_code code = system_code(errno);
        ::close(epoll_fd_);
        if (wake_fd_ >= 0) {
            ::close(wake_fd_);
        }
        throw error(code, "eventfd");
    }
}

epoll_driver::~epoll_driver() {
    ::close(wake_fd_);
    ::close(epoll_fd_);
}

void epoll_driver::complete(operation& op, std::int32_t result) noexcept {
    access::bits(op) = completed;
    access::result(op) = result;
    local_.push(op);
}

void epoll_driver::start(operation& op) noexcept {
    const int fd = access::fd(op);
    switch (access::code(op)) {
        case opcode::nop: return complete(op, 0);
        case opcode::accept: set_nonblocking(fd); break;
        case opcode::connect: {
            const std::int32_t result = begin_connect(op);
            if (result != -EINPROGRESS) {
                return complete(op, result);
            }
            break;
        }
        case opcode::send:
        case opcode::send_message:
        case opcode::write:
            if (!writer_waits(fd)) {
                const std::int32_t result = try_write(op, false);
                if (result != -EAGAIN) {
                    access::bits(op) = completed;
                    access::result(op) = result;
                    return written_.push(op);
                }
            }
            break;
        default: break;
    }
    enqueue(op);
}

bool epoll_driver::writer_waits(int fd) const noexcept {
    if (fd < 0 || static_cast<std::size_t>(fd) >= table_.size()) {
        return false;
    }
    operation* op = table_[static_cast<std::size_t>(fd)].operations.front();
    while (op != nullptr && (access::code(*op) == opcode::poll || interest(*op) != EPOLLOUT)) {
        op = access::next(*op);
    }
    return op != nullptr;
}

void epoll_driver::enqueue(operation& op) noexcept {
    const int fd = access::fd(op);
    const bool is_poll = access::code(op) == opcode::poll;
    int status = make_room(fd);
    if (status == 0) {
        descriptor& at = table_[static_cast<std::size_t>(fd)];
        if ((interest(op) & ~std::uint32_t{at.registered}) != 0) {
            // EPOLLIN is kept even if nobody waits for it now: the next receive is to come.
            const std::uint32_t kept = at.registered & EPOLLIN;
            status = set_registration(fd, interest(at) | interest(op) | kept);
        }
    }
    if (status == -EPERM) {
        // Not pollable, and so always ready: a regular file, /dev/null. No socket, in any case.
        if (access::code(op) == opcode::read || access::code(op) == opcode::write) {
            return complete(op, try_transfer(op, access::length(op), true));
        }
        return complete(op, is_poll ? static_cast<int>(interest(op) & (EPOLLIN | EPOLLOUT))
                                    : -ENOTSOCK);
    }
    if (status != 0) {
        return complete(op, status);
    }
    access::bits(op) = waiting;
    access::result(op) = turn_;
    table_[static_cast<std::size_t>(fd)].operations.push(op);
    ++waiting_count_;
}

// Takes a waiting operation out of the table. EPOLLIN may outlast it, as the next receive is to
// come; but EPOLLOUT would fire in every turn, and a polled descriptor may be closed elsewhere.
void epoll_driver::leave(operation& op) noexcept {
    const int fd = access::fd(op);
    descriptor& at = table_[static_cast<std::size_t>(fd)];
    at.operations.remove(op);
    access::bits(op) = completed;
    --waiting_count_;
    if (access::code(op) == opcode::poll && at.operations.empty()) {
        set_registration(fd, 0);
    } else if (interest(op) != EPOLLIN) {
        revisit(fd);
    }
}

// Makes the table reach to `fd`. Returns 0 or -errno.
int epoll_driver::make_room(int fd) noexcept {
    const auto index = static_cast<std::size_t>(fd);
    if (fd >= 0 && index < table_.size()) {
        return 0;
    }
    if (fd < 0 || ::fcntl(fd, F_GETFD) < 0) {
        return -EBADF;
    }
    try {
        table_.resize(std::max(index + 1, table_.size() * 2));
        revisit_.reserve(table_.size());
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    return 0;
}

// Makes the epoll set watch `fd` for `mask` (0: not at all). Returns 0 or -errno.
int epoll_driver::set_registration(int fd, std::uint32_t mask) noexcept {
    descriptor& at = table_[static_cast<std::size_t>(fd)];
    if (mask == at.registered) {
        return 0;
    }
    epoll_event event{mask, {}};
    event.data.u64 = std::uint64_t{at.generation} << 32 | static_cast<std::uint32_t>(fd);
    int what = mask == 0 ? EPOLL_CTL_DEL : at.registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    int status = ::epoll_ctl(epoll_fd_, what, fd, &event);
    if (status < 0 && what != EPOLL_CTL_DEL && (errno == ENOENT || errno == EEXIST)) {
        // The number was closed, or closed and opened anew, behind our back.
        what = errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
        status = ::epoll_ctl(epoll_fd_, what, fd, &event);
    }
    if (status < 0 && what != EPOLL_CTL_DEL) {
        return -errno;
    }
    at.registered = static_cast<std::uint16_t>(mask);
    return 0;
}

// Has the registration of `fd` put right at the beginning of the next wait.
void epoll_driver::revisit(int fd) noexcept {
    descriptor& at = table_[static_cast<std::size_t>(fd)];
    if (!at.revisited) {
        at.revisited = true;
        revisit_.push_back(fd);
    }
}

void epoll_driver::revisit_all() noexcept {
    std::size_t kept = 0;
    for (const int fd : revisit_) {
        descriptor& at = table_[static_cast<std::size_t>(fd)];
        if (at.starved && buffers_.dry()) {
            revisit_[kept++] = fd;
            continue;
        }
        at.revisited = false;
        at.starved = false;
        set_registration(fd, interest(at));
    }
    revisit_.resize(kept);
}

// `fd` is new: whatever is known of that number is of an earlier life.
void epoll_driver::forget(int fd) noexcept {
    if (static_cast<std::size_t>(fd) < table_.size()) {
        descriptor& at = table_[static_cast<std::size_t>(fd)];
        ++at.generation;
        at.registered = 0;
        at.starved = false;
    }
}

void epoll_driver::cancel(operation& op) noexcept {
    if (access::bits(op) != waiting) {
        return;  // its completion is under way
    }
    leave(op);
    complete(op, -ECANCELED);
}

void epoll_driver::cancel_all() noexcept {
    for (descriptor& at : table_) {
        while (operation* op = at.operations.pop()) {
            --waiting_count_;
            complete(*op, -ECANCELED);
        }
    }
}

void epoll_driver::wait(nanoseconds timeout) noexcept {
    turn_ = turn_ == INT32_MAX ? 0 : turn_ + 1;
    event_count_ = 0;
    event_at_ = 0;
    event_served_ = false;
    while (operation* op = written_.pop()) {
        local_.push(*op);
    }
    if (batch_.empty()) {
        std::swap(batch_, local_);
    }
    if (!revisit_.empty()) {
        revisit_all();
    }
    if (!batch_.empty()) {
        if (++unpolled_turns_ <= unpolled_turns_max) {
            return;
        }
        timeout = nanoseconds::zero();
    }
    unpolled_turns_ = 0;
    ++enters_;
    event_count_ = std::max(collect(timeout), 0);  // a signal ends the wait, nothing more
}

int epoll_driver::collect(nanoseconds timeout) noexcept {
    if (timeout <= nanoseconds::zero() || timeout == wait_forever) {
        return ::epoll_wait(epoll_fd_, events_, events_max, timeout == wait_forever ? -1 : 0);
    }
#ifdef SYS_epoll_pwait2
    if (has_pwait2_) {
        timespec limit{};
        limit.tv_sec = timeout.count() / 1'000'000'000;
        limit.tv_nsec = timeout.count() % 1'000'000'000;
        const long count = ::syscall(SYS_epoll_pwait2, epoll_fd_, events_, events_max, &limit,
                                     nullptr, std::size_t{0});
        if (count >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return static_cast<int>(count);
        }
        has_pwait2_ = false;
    }
#endif
    const auto timeout_ms = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
    constexpr std::int64_t longest_ms = 1'000'000'000;
    return ::epoll_wait(epoll_fd_, events_, events_max,
                        static_cast<int>(std::min<std::int64_t>(timeout_ms, longest_ms)));
}

bool epoll_driver::next(operation*& op, completion& what) noexcept {
    op = batch_.pop();
    if (op == nullptr && std::exchange(event_served_, false)) {
        op = written_.pop();
    }
    if (op != nullptr) {
        what = {access::result(*op), false, {}};
        return true;
    }
    while (event_at_ < event_count_) {
        if (serve(events_[event_at_], op, what)) {
            event_served_ = true;
            return true;  // the event stays current: it may have more to give
        }
        ++event_at_;
        claimed_ = 0;
        exhausted_ = 0;
        accepts_left_ = accepts_max;
    }
    return false;
}

// Serves one of the operations that `event` is about; false when there is none left.
bool epoll_driver::serve(epoll_event& event, operation*& op, completion& what) noexcept {
    if (event.data.u64 == wake_key) {
        ++wakeups_;
        return false;
    }
    const auto index = static_cast<std::size_t>(static_cast<std::uint32_t>(event.data.u64));
    descriptor& at = table_[index];
    if (at.generation != event.data.u64 >> 32) {
        return false;
    }
    for (operation* each = at.operations.front(); each != nullptr;) {
        operation* const following = access::next(*each);
        if (serve(*each, event, what)) {
            op = each;
            return true;
        }
        each = following;
    }
    constexpr std::uint32_t both_sides = EPOLLHUP | EPOLLERR;
    const std::uint32_t unclaimed = event.events & ~claimed_ & ~both_sides;
    if (unclaimed != 0 || (claimed_ == 0 && at.operations.empty())) {
        set_registration(static_cast<int>(index), at.starved ? interest(at) & ~EPOLLIN
                                                             : interest(at));
    }
    return false;
}

bool epoll_driver::serve(operation& op, epoll_event& event, completion& what) noexcept {
    const std::uint32_t side = interest(op);
    const bool is_poll = access::code(op) == opcode::poll;
    const std::uint32_t ready = event.events & (side | EPOLLHUP | EPOLLERR);
    if (ready == 0) {
        return false;
    }
    claimed_ |= side;
    if (access::result(op) == turn_ || (!is_poll && (exhausted_ & side) != 0)) {
        return false;
    }
    what.buffer = {};
    what.result = is_poll ? static_cast<std::int32_t>(ready) : perform(op, what.buffer);
    if (what.result == -EAGAIN) {
        exhausted_ |= side;
        return false;
    }
    const bool is_receive = access::code(op) == opcode::receive;
    what.more = access::multishot(op) && (is_receive ? what.result > 0 : what.result >= 0);
    if (!what.more) {
        leave(op);
    } else if (access::code(op) != opcode::accept || --accepts_left_ == 0) {
        access::result(op) = turn_;
    }
    return true;
}

// Does what `op` waits for. Returns its result; -EAGAIN when it has to go on waiting.
std::int32_t epoll_driver::perform(operation& op, lent_buffer& buffer) noexcept {
    const int fd = access::fd(op);
    switch (access::code(op)) {
        case opcode::accept: return accept_one(fd);
        case opcode::connect: return end_connect(fd);
        case opcode::receive: return receive(fd, buffer);
        case opcode::receive_into:
            return call_result([&] {
                return ::recv(fd, access::memory(op), access::length(op), MSG_DONTWAIT);
            });
        case opcode::receive_message:
            return call_result([&] {
                return ::recvmsg(fd, static_cast<msghdr*>(access::memory(op)),
                                 MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
            });
        case opcode::read: return try_transfer(op, access::length(op), true);
        default: return try_write(op, true);
    }
}

std::int32_t epoll_driver::accept_one(int fd) noexcept {
    for (;;) {
        const std::int32_t result = call_result(
            [&] { return ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); });
        if (result >= 0) {
            forget(result);
            return result;
        }
        // A connection that died in the queue says nothing about the listener.
        if (result != -ECONNABORTED && result != -EPROTO) {
            return result;
        }
    }
}

std::int32_t epoll_driver::receive(int fd, lent_buffer& buffer) noexcept {
    buffer = buffers_.take();
    if (buffer.data == nullptr) {
        // Its EPOLLIN would fire in every turn until a buffer has come back.
        ++buffers_dry_;
        descriptor& at = table_[static_cast<std::size_t>(fd)];
        at.starved = true;
        revisit(fd);
        set_registration(fd, at.registered & ~EPOLLIN);
        return -EAGAIN;
    }
    const std::int32_t result =
        call_result([&] { return ::recv(fd, buffer.data, buffers_.bytes, MSG_DONTWAIT); });
    if (result <= 0) {
        buffers_.give_back(buffer.id);
        buffer = {};
    }
    return result;
}

void epoll_driver::wake() noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void epoll_driver::add_stats(loop_stats& stats) const noexcept {
    stats.enters += enters_;
    stats.wakeups += wakeups_;
    stats.buffers_dry += buffers_dry_;
    stats.buffers_lent += buffers_.lent();
}

result<int> epoll_driver::open_socket(int family, int type, int protocol) noexcept {
    result<int> made = driver::open_socket(family, type | SOCK_NONBLOCK, protocol);
    if (made) {
        forget(*made);
    }
    return made;
}

void epoll_driver::close(int fd) noexcept {
    epoll_driver::release(fd);
    ::close(fd);
}

void epoll_driver::release(int fd) noexcept {
    if (fd >= 0 && static_cast<std::size_t>(fd) < table_.size()) {
        descriptor& at = table_[static_cast<std::size_t>(fd)];
        RINGLET_REQUIRE(at.operations.empty(),
                        "a descriptor was closed while an operation on it was active");
        // A copy of the descriptor (in a child process) would keep the registration alive, where
        // nothing could end it. In such a child the set is the parent's, and is left alone.
        if (at.registered != 0 && ::getpid() == owner_) {
            set_registration(fd, 0);
        }
        forget(fd);
    }
}

}  // namespace

bool can_be_polled(int fd) noexcept {
    const int probe = ::epoll_create1(EPOLL_CLOEXEC);
    epoll_event event = {};
    const bool refused = probe >= 0 && ::epoll_ctl(probe, EPOLL_CTL_ADD, fd, &event) != 0 &&
                         errno == EPERM;
    if (probe >= 0) {
        ::close(probe);
    }
    return !refused;
}

std::unique_ptr<driver> make_epoll_driver() { return std::make_unique<epoll_driver>(); }

}  // namespace ringlet
