// The library's system calls, which the linker leads here (--wrap=NAME for each): the real call is
// made unless it is this one's turn to fail. What goes through the ring has no call of its own;
// its entries are spoilt just before the ring is entered: an entry by a descriptor that is none, a
// receive's buffer by a group of buffers that is none.
#include <dirent.h>
#include <liburing.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>

#include "tests/faults/injector.h"
#include "tests/faults/waits.h"

namespace {

using ringlet::faults::kind;
using ringlet::faults::strikes;

bool fails(const char* name, int error_number) noexcept {
    if (!strikes(kind::call, name)) {
        return false;
    }
    errno = error_number;
    return true;
}

// The rings that are alive, to find the one that is entered. Whoever made one may move it, but not
// what it shares with the kernel.
struct known_ring {
    static constexpr int none = -1, being_made = -2;
    std::atomic<int> fd{none};
    std::atomic<int> registered{none};  // the number that a thread has given it, for itself only
    std::atomic<pthread_t> thread{};
    io_uring_sq entries{};
};
std::array<known_ring, 32> rings{};

void add_ring(const io_uring& made) noexcept {
    for (known_ring& each : rings) {
        int expected = known_ring::none;
        if (each.fd.compare_exchange_strong(expected, known_ring::being_made)) {
            each.entries = made.sq;
            each.registered = known_ring::none;
            each.fd = made.ring_fd;
            return;
        }
    }
}

known_ring* find_ring(int fd) noexcept {
    for (known_ring& each : rings) {
        if (each.fd == fd) {
            return &each;
        }
    }
    return nullptr;
}

const io_uring_sq* entered_entries(int fd, bool by_registration) noexcept {
    for (const known_ring& each : rings) {
        if (by_registration ? each.registered == fd && each.thread == ::pthread_self()
                            : each.fd == fd) {
            return &each.entries;
        }
    }
    return nullptr;
}

void spoil(io_uring_sqe& entry) noexcept {
    constexpr std::uint64_t tag_mask = 7;  // of user_data; an operation's own entry has none
    if (entry.opcode == IORING_OP_NOP || (entry.user_data & tag_mask) != 0) {
        return;
    }
    const bool lent = (entry.flags & IOSQE_BUFFER_SELECT) != 0;
    if (lent && strikes(kind::buffer, "a buffer", entry.buf_group)) {
        entry.buf_group = 999;
    } else if (strikes(kind::entry, "a submission entry", entry.opcode)) {
        entry.fd = -1;
    }
}

}  // namespace

// What a call gives when it fails, and how: RINGLET_WRAP(result type, name, failure, errno,
// (parameters), (arguments)).
#define RINGLET_WRAP(type, name, failure, error_number, parameters, arguments) \
    type __real_##name parameters;                                            \
    type __wrap_##name parameters {                                           \
        return fails(#name, error_number) ? failure : __real_##name arguments; \
    }

extern "C" {
RINGLET_WRAP(int, socket, -1, EMFILE, (int a, int b, int c), (a, b, c))
RINGLET_WRAP(int, bind, -1, EADDRINUSE, (int a, const sockaddr* b, socklen_t c), (a, b, c))
RINGLET_WRAP(int, listen, -1, EADDRINUSE, (int a, int b), (a, b))
RINGLET_WRAP(int, connect, -1, ENETUNREACH, (int a, const sockaddr* b, socklen_t c), (a, b, c))
RINGLET_WRAP(int, accept4, -1, EMFILE, (int a, sockaddr* b, socklen_t* c, int d), (a, b, c, d))
RINGLET_WRAP(int, setsockopt, -1, ENOBUFS, (int a, int b, int c, const void* d, socklen_t e),
             (a, b, c, d, e))
RINGLET_WRAP(int, getsockopt, -1, ENOBUFS, (int a, int b, int c, void* d, socklen_t* e),
             (a, b, c, d, e))
RINGLET_WRAP(int, getsockname, -1, ENOBUFS, (int a, sockaddr* b, socklen_t* c), (a, b, c))
RINGLET_WRAP(int, getpeername, -1, ENOTCONN, (int a, sockaddr* b, socklen_t* c), (a, b, c))
RINGLET_WRAP(ssize_t, send, -1, ECONNRESET, (int a, const void* b, size_t c, int d), (a, b, c, d))
RINGLET_WRAP(ssize_t, sendmsg, -1, ENOBUFS, (int a, const msghdr* b, int c), (a, b, c))
RINGLET_WRAP(ssize_t, recv, -1, ECONNRESET, (int a, void* b, size_t c, int d), (a, b, c, d))
RINGLET_WRAP(ssize_t, read, -1, EIO, (int a, void* b, size_t c), (a, b, c))
RINGLET_WRAP(int, stat, -1, ENOENT, (const char* a, struct stat* b), (a, b))
RINGLET_WRAP(int, epoll_create1, -1, EMFILE, (int a), (a))
RINGLET_WRAP(int, epoll_ctl, -1, ENOSPC, (int a, int b, int c, epoll_event* d), (a, b, c, d))
RINGLET_WRAP(int, epoll_wait, -1, EINTR, (int a, epoll_event* b, int c, int d), (a, b, c, d))
RINGLET_WRAP(int, eventfd, -1, EMFILE, (unsigned a, int b), (a, b))
RINGLET_WRAP(int, signalfd, -1, EMFILE, (int a, const sigset_t* b, int c), (a, b, c))
RINGLET_WRAP(void*, mmap, MAP_FAILED, ENOMEM, (void* a, size_t b, int c, int d, int e, off_t f),
             (a, b, c, d, e, f))
RINGLET_WRAP(int, getaddrinfo, EAI_AGAIN, EAGAIN,
             (const char* a, const char* b, const addrinfo* c, addrinfo** d), (a, b, c, d))
RINGLET_WRAP(int, io_uring_register_buf_ring, -ENOMEM, ENOMEM,
             (io_uring * a, io_uring_buf_reg* b, unsigned c), (a, b, c))

// A socket says that it is not connected when the peer has gone, and then it does not come back.
int __real_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how) {
    if (!fails("shutdown", ENOTCONN)) {
        return __real_shutdown(fd, how);
    }
    __real_shutdown(fd, SHUT_RDWR);
    errno = ENOTCONN;
    return -1;
}

int __real_open(const char* path, int flags, ...);
int __wrap_open(const char* path, int flags, ...) {
    return fails("open", EMFILE) ? -1 : __real_open(path, flags);
}

int __real_io_uring_queue_init_params(unsigned entries, io_uring* ring, io_uring_params* how);
int __wrap_io_uring_queue_init_params(unsigned entries, io_uring* ring, io_uring_params* how) {
    if (fails("io_uring_queue_init_params", ENOMEM)) {
        return -ENOMEM;
    }
    const int status = __real_io_uring_queue_init_params(entries, ring, how);
    if (status == 0) {
        add_ring(*ring);
    }
    return status;
}

void __real_io_uring_queue_exit(io_uring* ring);
void __wrap_io_uring_queue_exit(io_uring* ring) {
    if (known_ring* const known = find_ring(ring->ring_fd)) {
        known->registered = known_ring::none;
        known->fd = known_ring::none;
    }
    __real_io_uring_queue_exit(ring);
}

int __real_io_uring_register_ring_fd(io_uring* ring);
int __wrap_io_uring_register_ring_fd(io_uring* ring) {
    if (fails("io_uring_register_ring_fd", ENOMEM)) {
        return -ENOMEM;
    }
    const int status = __real_io_uring_register_ring_fd(ring);
    if (known_ring* const known = status == 1 ? find_ring(ring->ring_fd) : nullptr) {
        known->thread = ::pthread_self();
        known->registered = ring->enter_ring_fd;
    }
    return status;
}

int __real_io_uring_unregister_ring_fd(io_uring* ring);
int __wrap_io_uring_unregister_ring_fd(io_uring* ring) {
    if (known_ring* const known = find_ring(ring->ring_fd)) {
        known->registered = known_ring::none;
    }
    return __real_io_uring_unregister_ring_fd(ring);
}

int __real_io_uring_enter2(unsigned fd, unsigned count, unsigned wait_for, unsigned flags,
                           sigset_t* extra, size_t bytes);
int __wrap_io_uring_enter2(unsigned fd, unsigned count, unsigned wait_for, unsigned flags,
                           sigset_t* extra, size_t bytes) {
    if (fails("io_uring_enter2", EBUSY)) {
        return -EBUSY;
    }
    const bool by_registration = (flags & IORING_ENTER_REGISTERED_RING) != 0;
    if (const io_uring_sq* const entries =
            count != 0 ? entered_entries(static_cast<int>(fd), by_registration) : nullptr) {
        const unsigned head = io_uring_smp_load_acquire(entries->khead);
        for (unsigned at = 0; at < count; ++at) {
            spoil(entries->sqes[(head + at) & *entries->kring_mask]);
        }
    }
    if ((flags & IORING_ENTER_EXT_ARG) == 0) {
        return __real_io_uring_enter2(fd, count, wait_for, flags, extra, bytes);
    }
    auto argument = *reinterpret_cast<const io_uring_getevents_arg*>(extra);
    const auto& asked = *reinterpret_cast<const __kernel_timespec*>(argument.ts);
    const std::chrono::nanoseconds wanted =
        std::chrono::seconds(asked.tv_sec) + std::chrono::nanoseconds(asked.tv_nsec);
    const auto shorter = ringlet::faults::shorten(wanted).count();
    __kernel_timespec limit = {};
    limit.tv_sec = shorter / 1'000'000'000;
    limit.tv_nsec = shorter % 1'000'000'000;
    argument.ts = reinterpret_cast<std::uintptr_t>(&limit);
    const int taken = __real_io_uring_enter2(fd, count, wait_for, flags,
                                             reinterpret_cast<sigset_t*>(&argument), bytes);
    if (taken == -ETIME) {
        ringlet::faults::pass_rest(wanted);
    }
    return taken;
}
}
