// UDP for coroutines: bound to an address, connected to a peer or not, over IPv4, IPv6 or both (an
// IPv6 socket with v6_only false; IPv4 addresses go in and come out as such). Any number of
// coroutines may send, one or more receive. Every wait can be cancelled; a cancelled receive loses
// nothing. Datagrams come whole or cut short, which is told, or not at all. Loop thread only.
//
// On a connected socket the network's refusals (ICMP) are errors of the next receive or send:
// ECONNREFUSED says that nobody listened when an earlier datagram arrived. Broadcast and multicast
// are among options().
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "core/loop.h"
#include "coro/task.h"
#include "net/address.h"
#include "net/datagram.h"

namespace ringlet {

struct udp_options {
    bool reuse_address = false;  // several sockets may bind it; each gets multicasts
    bool reuse_port = false;     // several sockets share what comes in
    bool v6_only = true;
};

struct received_datagram {
    std::size_t bytes = 0;
    address sender;
    bool truncated = false;  // it was longer than the room for it; the rest is gone
};

class udp_socket : public datagram_socket {
public:
    // Throws `error` naming the address. A client binds address::any_v4(0) or any_v6(0).
    udp_socket(loop& owner, const address& local, const udp_options& options = {});

    address local_address() const noexcept;
    address peer_address() const noexcept;  // none unless connected

    // Only with this peer from now on. May be done again, with another.
    task<void> connect(address peer);

    // One datagram, empty ones included; `bytes` must stay in place until this ends. Throws
    // `error`: EMSGSIZE when it is too long.
    task<void> send(std::span<const std::byte> bytes) { return send_raw(bytes, {}, {}); }
    task<void> send(std::string_view text) { return send(bytes_of(text)); }
    task<void> send_to(std::span<const std::byte> bytes, const address& to);
    task<void> send_to(std::string_view text, const address& to) {
        return send_to(bytes_of(text), to);
    }

    // Copies it, and has it sent at the end of the turn together with the others; `flush` tells
    // what became of them. Throws errc::limit_exceeded when too much is queued.
    void queue(std::span<const std::byte> bytes) { queue_raw(bytes, {}); }
    void queue(std::string_view text) { queue(bytes_of(text)); }
    void queue_to(std::span<const std::byte> bytes, const address& to);
    void queue_to(std::string_view text, const address& to) { queue_to(bytes_of(text), to); }

    // The next datagram, as much of it as fits.
    task<received_datagram> receive(std::span<std::byte> into);

private:
    static std::span<const std::byte> bytes_of(std::string_view text) noexcept {
        return std::as_bytes(std::span(text.data(), text.size()));
    }
    raw_address raw_of(const address& to) const noexcept;

    bool is_v6_;
};

}  // namespace ringlet
