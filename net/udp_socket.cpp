#include "net/udp_socket.h"

#include <netinet/in.h>

#include <string>

#include "net/socket_names.h"

namespace ringlet {
namespace {

constexpr std::size_t sends_max = 16;  // at once

int open_bound(loop& owner, const address& local, const udp_options& options) {
    driver& sockets = owner.driver();
    const std::string context = "bind UDP to " + local.text();
    const result<int> fd = sockets.open_socket(local.family(), SOCK_DGRAM, 0);
    if (!fd) {
        throw_code(fd.error(), context.c_str());
    }
    std::error_code failed;
    if (options.reuse_address) {
        failed = sockets.set_option(*fd, SOL_SOCKET, SO_REUSEADDR, 1);
    }
    if (!failed && options.reuse_port) {
        failed = sockets.set_option(*fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (!failed && local.is_v6()) {
        failed = sockets.set_option(*fd, IPPROTO_IPV6, IPV6_V6ONLY, options.v6_only ? 1 : 0);
    }
    if (!failed) {
        failed = sockets.bind(*fd, local.data(), local.length());
    }
    if (failed) {
        sockets.close(*fd);
        throw_code(failed, context.c_str());
    }
    return *fd;
}

}  // namespace

udp_socket::udp_socket(loop& owner, const address& local, const udp_options& options)
    : datagram_socket(owner, open_bound(owner, local, options), sends_max),
      is_v6_(local.is_v6()) {}

address udp_socket::local_address() const noexcept {
    return detail::socket_name(owner().driver(), descriptor(), &driver::local_name);
}

address udp_socket::peer_address() const noexcept {
    sockaddr_storage name = {};
    socklen_t length = sizeof name;
    auto* const at = reinterpret_cast<sockaddr*>(&name);
    return owner().driver().peer_name(descriptor(), at, &length)
               ? address()
               : address(at, length).unmapped();
}

datagram_socket::raw_address udp_socket::raw_of(const address& to) const noexcept {
    const address shown = is_v6_ ? to.mapped_to_v6() : to;
    return raw(shown.data(), shown.length());
}

task<void> udp_socket::connect(address peer) { return connect_raw(raw_of(peer)); }

task<void> udp_socket::send_to(std::span<const std::byte> bytes, const address& to) {
    return send_raw(bytes, raw_of(to), {});
}

void udp_socket::queue_to(std::span<const std::byte> bytes, const address& to) {
    queue_raw(bytes, raw_of(to));
}

task<received_datagram> udp_socket::receive(std::span<std::byte> into) {
    raw_address sender = {};
    const received_message found = co_await receive_raw(into, &sender, false);
    received_datagram told;
    told.bytes = found.bytes;
    told.truncated = found.truncated;
    told.sender =
        address(reinterpret_cast<const sockaddr*>(&sender.bytes), sender.length).unmapped();
    co_return told;
}

}  // namespace ringlet
