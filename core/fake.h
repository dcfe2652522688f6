// The fake driver: a seeded in-memory kernel for tests. Its sockets live in a fake_kernel, its
// time is virtual, and its faults come from the seed: short transfers, delays, reordering between
// descriptors, receives that find no buffer, cancels that come late or lose, wake-ups for nothing.
// The same seed and the same program give the same run, as long as nothing real takes part.
//
// A suspension is the time for surprises: some operations complete on the way, the others begin
// anew with new delays. A loop that changes its thread without one ends the program, as it would on
// io_uring.
//
// Time passes in `wait` and `suspend` only. When nothing can happen by itself, `wait` jumps to its
// timeout at once; but it waits for real while a real descriptor is polled, while another thread is
// expected to wake it, or without a timeout. Real descriptors can be polled, read and written
// (pipes), and nothing else; files are left to helper threads.
//
// Each lent buffer is an allocation of exactly the bytes received, freed when given back, so that
// AddressSanitizer sees whoever reads past it or keeps it.
#pragma once

#include <poll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "core/driver.h"
#include "core/fake_kernel.h"
#include "core/fake_random.h"

namespace ringlet::detail {

// How often each fault strikes, in 256ths, drawn once per driver: so some seeds are calm, some
// wild, and some wild in one way only.
struct fake_faults {
    explicit fake_faults(fake_random& random) noexcept;

    unsigned short_transfer;
    unsigned delay;
    unsigned no_buffer;
    unsigned late_cancel;
    unsigned idle_wakeup;
};

class fake_driver final : public driver {
public:
    static constexpr std::size_t buffers_max = 64;

    explicit fake_driver(std::uint64_t seed);
    ~fake_driver() override;

    const char* name() const noexcept override { return "fake"; }
    instant now() noexcept override { return now_; }
    void start(operation& op) noexcept override;
    void cancel(operation& op) noexcept override;
    void cancel_all() noexcept override;
    void suspend() noexcept override;
    std::error_code resume() noexcept override;
    void wait(nanoseconds timeout) noexcept override;
    bool next(operation*& op, completion& what) noexcept override;
    // Always: time has to pass, also for a loop that never idles.
    bool has_work() noexcept override { return true; }
    void expect_wake(bool expected) noexcept override { wake_expected_ = expected; }
    void give_back(const lent_buffer& buffer) noexcept override;
    bool buffers_scarce() const noexcept override { return lent_ > buffers_max / 2; }
    std::size_t receive_bytes() const noexcept override;
    void wake() noexcept override;
    void add_stats(loop_stats& stats) const noexcept override;

    result<int> open_socket(int family, int type, int protocol) noexcept override;
    std::error_code bind(int fd, const sockaddr* address, socklen_t length) noexcept override;
    std::error_code listen(int fd, int backlog) noexcept override;
    bool has_real_sockets() const noexcept override { return false; }
    std::error_code set_option(int fd, int level, int option, const void* value,
                               socklen_t length) noexcept override;
    std::error_code get_option(int fd, int level, int option, void* value,
                               socklen_t* length) noexcept override;
    std::error_code local_name(int fd, sockaddr* address, socklen_t* length) noexcept override;
    std::error_code peer_name(int fd, sockaddr* address, socklen_t* length) noexcept override;
    std::error_code shutdown(int fd, int how) noexcept override;
    void reset_on_close(int fd) noexcept override { kernel_.reset_on_close(fd); }
    void close(int fd) noexcept override;

private:
    // What waits on one fake descriptor, each direction in its own order.
    struct waiters {
        operation_queue readers;
        operation_queue writers;
        operation_queue polls;
    };
    // An operation whose end is decided and comes in turn `due`.
    struct ending {
        operation* op;
        std::int32_t result;
        std::int32_t due;
    };
    struct report {
        operation* op;
        completion what;
    };

    waiters& waiters_of(int fd) {
        return waiters_[static_cast<std::size_t>(fd - fake_kernel::first_descriptor)];
    }
    operation_queue& queue_of(operation& op);
    void make_room(int fd);
    void end_later(operation& op, std::int32_t result, unsigned turns);
    unsigned some_turns() noexcept;
    void emit(operation& op, std::int32_t result, bool more, lent_buffer buffer = {});
    void require_thread() noexcept;
    void begin_turn() noexcept;
    void step();
    void serve(operation_queue& queue);
    bool serve(operation& op);
    void serve_polls(operation_queue& queue);
    std::int32_t perform(operation& op, lent_buffer& buffer);
    std::int32_t receive(int fd, lent_buffer& buffer);
    std::int32_t send_message(int fd, const msghdr& message);
    std::int32_t receive_message(int fd, msghdr& message);
    std::int32_t send_datagram(int fd, const msghdr& message);
    std::size_t shorten(std::size_t bytes) noexcept;
    void poll_real(nanoseconds timeout);
    bool serve_real(operation& op, std::uint16_t events);
    void block(nanoseconds timeout);

    fake_random random_;
    const fake_faults faults_;
    fake_kernel kernel_;
    instant now_ = 1'000'000'000;
    std::int32_t turn_ = 0;
    bool suspended_ = false;
    std::thread::id thread_;     // that waited last; none since a suspension
    bool more_to_come_ = false;  // something was put off that could have happened
    std::deque<waiters> waiters_;  // by descriptor - first_descriptor; grows while it is walked
    std::vector<operation*> real_;  // waiting on real descriptors
    std::vector<ending> endings_;
    std::vector<report> reports_;  // completions; those before reported_ were handed out
    std::size_t reported_ = 0;
    std::array<std::unique_ptr<std::byte[]>, buffers_max> buffers_;
    std::size_t lent_ = 0;

    int wake_fd_;
    std::atomic<bool> woken_{false};
    bool wake_expected_ = false;
    std::vector<pollfd> poll_set_;

    std::uint64_t enters_ = 0;
    std::uint64_t submitted_ = 0;
    std::uint64_t wakeups_ = 0;
    std::uint64_t buffers_dry_ = 0;
};

}  // namespace ringlet::detail
