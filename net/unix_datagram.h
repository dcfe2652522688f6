// Unix datagram sockets for coroutines: messages between programs of one machine, whole, in order
// and never dropped (a send waits while the receiver's queue is full), with descriptors beside the
// bytes. Waits and closing are as with udp_socket. Loop thread only; throws `error`.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "core/loop.h"
#include "coro/task.h"
#include "net/datagram.h"
#include "net/unix_address.h"

namespace ringlet {

struct unix_message : received_message {
    unix_address sender;  // unnamed when its socket has no name, and then it cannot be answered
};

class unix_datagram_socket : public datagram_socket {
public:
    // Unnamed: it can send. The path of a named one stays when the socket is closed.
    explicit unix_datagram_socket(loop& owner);
    unix_datagram_socket(loop& owner, const unix_address& local);

    unix_address local_address() const noexcept;

    task<void> connect(unix_address peer);

    // `descriptors` are copied to the receiver, and stay the caller's.
    task<void> send(std::span<const std::byte> bytes, std::span<const int> descriptors = {}) {
        return send_raw(bytes, {}, descriptors);
    }
    task<void> send_to(std::span<const std::byte> bytes, const unix_address& to,
                       std::span<const int> descriptors = {});
    // To the peer it is connected to, as udp_socket's.
    void queue(std::span<const std::byte> bytes) { queue_raw(bytes, {}); }

    task<unix_message> receive(std::span<std::byte> into);
};

}  // namespace ringlet
