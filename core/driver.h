// What the loop asks of the system beneath it. Three siblings implement it: `uring` (io_uring),
// `epoll` (the same operations emulated on readiness) and `fake` (a seeded in-memory kernel for
// tests). All calls come from the loop's thread, except `wake`, which any thread may call. Which
// thread that is may change while the driver is suspended.
//
// A driver keeps the lifetime contract of operation.h: it hands out exactly one final completion
// per started operation, also after `cancel`, also for multishot operations; it re-arms by itself
// what the kernel ended for reasons of its own (ENOBUFS, an overflowed queue), so that above it a
// `receive` or `accept` only ends by end of stream, error or cancel.
//
// To add a driver: implement the pure virtual functions, keep the contract, add it to
// make_driver and to the list of drivers in scripts/test; the whole suite then runs on it.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/operation.h"
#include "core/result.h"
#include "core/stats.h"

namespace ringlet {

using nanoseconds = std::chrono::nanoseconds;

// Nanoseconds since an arbitrary start that never goes back (CLOCK_MONOTONIC, or virtual time).
using instant = std::int64_t;

constexpr nanoseconds wait_forever = nanoseconds::max();

class driver {
public:
    virtual ~driver() = default;
    virtual const char* name() const noexcept = 0;
    virtual instant now() noexcept;

    // Whether operations of this kind may be started here. Those for files may be beyond a driver;
    // the loop then makes their calls on a helper thread.
    virtual bool handles(opcode code) const noexcept { return !is_for_files(code); }
    // Takes the operation over. Never runs a handler. Whatever goes wrong is a completion.
    virtual void start(operation& op) noexcept = 0;
    // Asks for an early end of an active operation. The final completion still comes.
    virtual void cancel(operation& op) noexcept = 0;
    // Asks the same for every active operation, and arms nothing again; called, maybe more than
    // once, before the driver is destroyed.
    virtual void cancel_all() noexcept = 0;
    // After it a descriptor whose operations have all been cancelled may be closed, though their
    // final completions are still to come: nothing beneath uses it. May cost a system call. In
    // another thread than the one that waits, that is left to the next wait.
    virtual void let_go() noexcept {}

    // Whether a multishot poll goes on telling of what is left, turn after turn, not only of what
    // comes anew.
    virtual bool polls_by_level() const noexcept { return false; }

    // Hands everything started to the kernel and waits until something has completed, `timeout`
    // has passed (zero: does not wait) or `wake` was called.
    virtual void wait(nanoseconds timeout) noexcept = 0;
    // Copies the next completion of this turn out; false when the turn's batch is used up.
    // What arrives after `wait` belongs to the next turn, but for a write that a handler of this
    // one got done at once.
    virtual bool next(operation*& op, completion& what) noexcept = 0;
    // True when `wait(0)` would have something to do; costs no system call.
    virtual bool has_work() noexcept = 0;

    virtual void give_back(const lent_buffer& buffer) noexcept = 0;
    // True while so many buffers are lent that a keeper should copy its bytes and give back.
    virtual bool buffers_scarce() const noexcept = 0;
    // Most bytes that a completion of `receive` brings as long as its traffic is not known.
    virtual std::size_t receive_bytes() const noexcept = 0;

    // Makes a waiting (or the next) `wait` return. Any thread, also in a signal handler.
    virtual void wake() noexcept = 0;
    // Whether another thread has work under way that ends in `wake`. For a driver with a time of
    // its own, which must not run ahead of that thread.
    virtual void expect_wake(bool) noexcept {}

    // Leaves the thread: brings everything active to rest, so that nothing beneath holds a buffer
    // or a descriptor, while for its owners it stays active. What comes in meanwhile is kept
    // for the first turn afterwards, in their order; whatever ended only because of this is begun
    // anew by `resume`. Called in the thread that waited last, outside a turn. Until `resume`, any
    // one thread at a time may call start, cancel, cancel_all, give_back, has_work and add_stats,
    // and destroy the driver; `wait` is called only after cancel_all, and then does not sleep.
    virtual void suspend() noexcept {}
    // Goes on, in the calling thread. After a failure everything still rests.
    virtual std::error_code resume() noexcept { return {}; }

    // Adds what only the driver counts.
    virtual void add_stats(loop_stats& stats) const noexcept = 0;

    // Whether the sockets are the system's, so that its other calls know them.
    virtual bool has_real_sockets() const noexcept { return true; }
    // Sockets. The defaults are the system's calls; the fake driver has its own.
    virtual result<int> open_socket(int family, int type, int protocol) noexcept;
    virtual std::error_code bind(int fd, const sockaddr* address, socklen_t length) noexcept;
    virtual std::error_code listen(int fd, int backlog) noexcept;
    std::error_code set_option(int fd, int level, int option, int value) noexcept {
        return set_option(fd, level, option, &value, sizeof value);
    }
    virtual std::error_code set_option(int fd, int level, int option, const void* value,
                                       socklen_t length) noexcept;
    virtual std::error_code get_option(int fd, int level, int option, void* value,
                                       socklen_t* length) noexcept;
    virtual std::error_code local_name(int fd, sockaddr* address, socklen_t* length) noexcept;
    virtual std::error_code peer_name(int fd, sockaddr* address, socklen_t* length) noexcept;
    virtual std::error_code shutdown(int fd, int how) noexcept;
    // Makes the coming close send a reset instead of an orderly end.
    virtual void reset_on_close(int fd) noexcept;
    // Requires: no operation on `fd` is active.
    virtual void close(int fd) noexcept;
    // `fd` goes on living without the loop. Requires: the same.
    virtual void release(int) noexcept {}
};

// Whether the file can be waited for at all: regular files, folders and devices like /dev/null
// cannot (EPERM in epoll_ctl(2)). Makes system calls.
bool can_be_polled(int fd) noexcept;

// How to make a loop's driver.
struct driver_options {
    // "uring", "epoll" or "fake"; empty: RINGLET_DRIVER, else uring with a fall back to epoll.
    std::string_view name;
    std::uint64_t seed = 0;  // fake only; 0: RINGLET_SEED, else a fixed seed
};

// Throws `error` when a driver that was asked for by name cannot be had. When uring was not asked
// for but is refused, says why in one line on stderr (once per process) and gives epoll.
std::unique_ptr<driver> make_driver(const driver_options& options);

// Why io_uring_setup failed with `error_number`, as a sentence that says what to do.
std::string explain_uring_refusal(int error_number);

result<std::unique_ptr<driver>> make_uring_driver();
std::unique_ptr<driver> make_epoll_driver();
std::unique_ptr<driver> make_fake_driver(std::uint64_t seed);

}  // namespace ringlet
