#include "net/unix_datagram.h"

#include <string>
#include <utility>

namespace ringlet {
namespace {

constexpr std::size_t sends_max = 1;  // in order, also where the receiver's queue is full

int open_named(loop& owner, const unix_address& local) {
    driver& sockets = owner.driver();
    const std::string context = "bind a unix datagram socket to " + local.text();
    const result<int> fd = sockets.open_socket(AF_UNIX, SOCK_DGRAM, 0);
    if (!fd) {
        throw_code(fd.error(), context.c_str());
    }
    if (!local.is_unnamed()) {
        if (const std::error_code failed = sockets.bind(*fd, local.data(), local.length())) {
            sockets.close(*fd);
            throw_code(failed, context.c_str());
        }
    }
    return *fd;
}

}  // namespace

unix_datagram_socket::unix_datagram_socket(loop& owner)
    : unix_datagram_socket(owner, unix_address()) {}

unix_datagram_socket::unix_datagram_socket(loop& owner, const unix_address& local)
    : datagram_socket(owner, open_named(owner, local), sends_max) {}

unix_address unix_datagram_socket::local_address() const noexcept {
    sockaddr_storage name = {};
    socklen_t length = sizeof name;
    auto* const at = reinterpret_cast<sockaddr*>(&name);
    return owner().driver().local_name(descriptor(), at, &length) ? unix_address()
                                                                  : unix_address(at, length);
}

task<void> unix_datagram_socket::connect(unix_address peer) {
    return connect_raw(raw(peer.data(), peer.length()));
}

task<void> unix_datagram_socket::send_to(std::span<const std::byte> bytes, const unix_address& to,
                                         std::span<const int> descriptors) {
    return send_raw(bytes, raw(to.data(), to.length()), descriptors);
}

task<unix_message> unix_datagram_socket::receive(std::span<std::byte> into) {
    raw_address sender = {};
    unix_message told;
    static_cast<received_message&>(told) = co_await receive_raw(into, &sender, true);
    told.sender = unix_address(reinterpret_cast<const sockaddr*>(&sender.bytes), sender.length);
    co_return told;
}

}  // namespace ringlet
