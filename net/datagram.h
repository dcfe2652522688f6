// What udp_socket and unix_datagram_socket have in common: a datagram socket whose messages are
// received and sent by coroutines, and a queue that sends what was collected during a turn at its
// end, many at once. Move-only; closing is its destruction: what is queued is dropped, what is in
// flight is cancelled and waited for, then the descriptor is closed, from the loop. Closing it
// while a coroutine waits for it ends the program with a sentence. Loop thread only.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <span>

#include "core/loop.h"
#include "coro/task.h"
#include "net/descriptor_passing.h"
#include "net/socket_options.h"

namespace ringlet {

class datagram_socket {
public:
    // Queued by `queue` and not taken by the kernel yet; more is refused.
    static constexpr std::size_t queued_bytes_max = 4 * 1024 * 1024;

    datagram_socket(datagram_socket&& other) noexcept;
    datagram_socket& operator=(datagram_socket&& other) noexcept;
    ~datagram_socket() { close(); }

    explicit operator bool() const noexcept { return core_ != nullptr; }
    void close() noexcept;
    // Requires, as all below: not closed.
    int descriptor() const noexcept;
    loop& owner() const noexcept;
    socket_options options() const noexcept;

    std::size_t queued_bytes() const noexcept;
    // Until the kernel has taken all that was queued. Throws the first failure since the last
    // flush; the other datagrams were sent all the same.
    task<void> flush();

protected:
    // Takes over `fd`, also when this throws std::bad_alloc. So many queued datagrams are handed to
    // the kernel at a time; with more than one, those that have to wait may overtake each other.
    datagram_socket(loop& owner, int fd, std::size_t sends_max);

    struct raw_address {
        sockaddr_storage bytes;
        socklen_t length = 0;  // 0: none
    };
    static raw_address raw(const sockaddr* from, socklen_t length) noexcept;

    task<void> connect_raw(raw_address to);
    task<void> send_raw(std::span<const std::byte> bytes, raw_address to,
                        std::span<const int> descriptors);
    // `sender` may be null; the control data's descriptors are taken when `with_descriptors`.
    task<received_message> receive_raw(std::span<std::byte> into, raw_address* sender,
                                       bool with_descriptors);
    // Throws errc::limit_exceeded when too much is queued already.
    void queue_raw(std::span<const std::byte> bytes, const raw_address& to);

private:
    class core;
    class flush_wait;
    class use;
    core& open_core() const;

    core* core_;
};

}  // namespace ringlet
