#include "core/fake_kernel.h"

#include <netinet/in.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace ringlet::detail {
namespace {

// The bytes of an address that count, so that equal addresses are equal strings; empty when the
// address is none that the fake kernel knows.
std::string name_of(const sockaddr* address, socklen_t length) {
    if (address == nullptr || length < sizeof(sa_family_t)) {
        return {};
    }
    const auto bytes = [](const auto& clean) {
        return std::string(reinterpret_cast<const char*>(&clean), sizeof clean);
    };
    if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
        sockaddr_in given{};
        std::memcpy(&given, address, sizeof given);
        sockaddr_in clean{};
        clean.sin_family = AF_INET;
        clean.sin_port = given.sin_port;
        clean.sin_addr = given.sin_addr;
        return bytes(clean);
    }
    if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
        sockaddr_in6 given{};
        std::memcpy(&given, address, sizeof given);
        sockaddr_in6 clean{};
        clean.sin6_family = AF_INET6;
        clean.sin6_port = given.sin6_port;
        clean.sin6_addr = given.sin6_addr;
        return bytes(clean);
    }
    if (address->sa_family == AF_UNIX && length > sizeof(sa_family_t)) {
        return std::string(reinterpret_cast<const char*>(address), length);
    }
    return {};
}

// sockaddr_in and sockaddr_in6 have the port in the same place: bytes 2 and 3, high byte first.
constexpr std::size_t port_at = 2;

std::uint16_t port_of(const std::string& name) noexcept {
    return static_cast<std::uint16_t>(static_cast<unsigned char>(name[port_at]) << 8 |
                                      static_cast<unsigned char>(name[port_at + 1]));
}

void set_port(std::string& name, std::uint16_t port) noexcept {
    name[port_at] = static_cast<char>(port >> 8);
    name[port_at + 1] = static_cast<char>(port & 0xff);
}

// The same port at the unspecified address of the family.
std::string any_address(const std::string& name, int family) {
    std::string any(name.size(), '\0');
    std::memcpy(any.data(), name.data(), sizeof(sa_family_t));
    if (family != AF_UNIX) {
        set_port(any, port_of(name));
    }
    return any;
}

int copy_name(const std::string& name, int family, sockaddr* address, socklen_t* length) noexcept {
    sockaddr unnamed{};
    unnamed.sa_family = static_cast<sa_family_t>(family);
    const void* from = name.empty() ? static_cast<const void*>(&unnamed) : name.data();
    const std::size_t bytes = name.empty() ? sizeof unnamed.sa_family : name.size();
    std::memcpy(address, from, std::min<std::size_t>(bytes, *length));
    *length = static_cast<socklen_t>(bytes);
    return 0;
}

}  // namespace

fake_kernel::endpoint* fake_kernel::find(int fd) const noexcept {
    const auto index = static_cast<std::size_t>(fd - first_descriptor);
    return owns(fd) && index < sockets_.size() ? sockets_[index].get() : nullptr;
}

int fake_kernel::install(std::unique_ptr<endpoint> socket) {
    auto slot = std::find(sockets_.begin(), sockets_.end(), nullptr);
    if (slot == sockets_.end()) {
        if (sockets_.size() == sockets_max) {
            return -EMFILE;
        }
        sockets_.emplace_back();
        slot = sockets_.end() - 1;
    }
    *slot = std::move(socket);
    return first_descriptor + static_cast<int>(slot - sockets_.begin());
}

int fake_kernel::open(int family, int type) {
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX) {
        return -EAFNOSUPPORT;
    }
    const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (kind != SOCK_STREAM && kind != SOCK_DGRAM) {
        return -EPROTONOSUPPORT;
    }
    auto socket = std::make_unique<endpoint>();
    socket->family = family;
    socket->datagrams = kind == SOCK_DGRAM;
    return install(std::move(socket));
}

int fake_kernel::bind(int fd, const sockaddr* address, socklen_t length) {
    endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    std::string name = name_of(address, length);
    if (name.empty() || !socket->local.empty()) {
        return -EINVAL;
    }
    if (address->sa_family != socket->family) {
        return -EAFNOSUPPORT;
    }
    return bind_name(*socket, std::move(name));
}

// Port 0 asks for a free one.
int fake_kernel::bind_name(endpoint& socket, std::string name) {
    const bool any_port = socket.family != AF_UNIX && port_of(name) == 0;
    names& taken = socket.datagrams ? bound_datagrams_ : bound_;
    do {
        if (any_port) {
            set_port(name, next_port_);
            next_port_ = next_port_ == UINT16_MAX ? 40'000 : next_port_ + 1;
        }
    } while (any_port && taken.contains(name));
    if (!taken.emplace(name, &socket).second) {
        return -EADDRINUSE;
    }
    socket.local = std::move(name);
    return 0;
}

// Gives a socket a free port at the address of `like`.
void fake_kernel::bind_any(endpoint& socket, const std::string& like) {
    if (socket.local.empty() && socket.family != AF_UNIX) {
        std::string local = like;
        set_port(local, 0);
        bind_name(socket, std::move(local));
    }
}

int fake_kernel::listen(int fd, int backlog) {
    endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    if (socket->datagrams) {
        return -EOPNOTSUPP;
    }
    if (socket->is == role::connected || (socket->local.empty() && socket->family == AF_UNIX)) {
        return -EINVAL;
    }
    if (socket->local.empty()) {
        std::string any(socket->family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6),
                        '\0');
        const auto family = static_cast<sa_family_t>(socket->family);
        std::memcpy(any.data(), &family, sizeof family);
        bind_name(*socket, std::move(any));
    }
    socket->is = role::listening;
    socket->backlog_size = std::clamp<std::size_t>(static_cast<std::size_t>(std::max(backlog, 1)),
                                                   1, backlog_max);
    return 0;
}

fake_kernel::endpoint* fake_kernel::bound_at(const names& among, const std::string& name) const {
    auto found = among.find(name);
    if (found == among.end()) {
        found = among.find(any_address(name, reinterpret_cast<const sockaddr*>(name.data())
                                                 ->sa_family));
    }
    return found != among.end() ? found->second : nullptr;
}

fake_kernel::endpoint* fake_kernel::listener_at(const std::string& name) const {
    endpoint* const found = bound_at(bound_, name);
    return found != nullptr && found->is == role::listening ? found : nullptr;
}

int fake_kernel::connect_datagrams(endpoint& socket, std::string name) {
    if (socket.family == AF_UNIX && bound_at(bound_datagrams_, name) == nullptr) {
        return -ECONNREFUSED;
    }
    bind_any(socket, name);
    socket.is = role::connected;
    socket.remote = std::move(name);
    return 0;
}

int fake_kernel::connect(int fd, const sockaddr* address, socklen_t length) {
    endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    std::string name = name_of(address, length);
    if (name.empty() || socket->is == role::listening) {
        return -EINVAL;
    }
    if (socket->is == role::connected && !socket->datagrams) {
        return -EISCONN;
    }
    if (address->sa_family != socket->family) {
        return -EAFNOSUPPORT;
    }
    if (socket->datagrams) {
        return connect_datagrams(*socket, std::move(name));
    }
    endpoint* listener = listener_at(name);
    if (listener == nullptr) {
        return -ECONNREFUSED;
    }
    if (listener->backlog.size() >= listener->backlog_size) {
        return -EAGAIN;
    }
    bind_any(*socket, name);
    auto other = std::make_unique<endpoint>();
    other->is = socket->is = role::connected;
    other->family = socket->family;
    other->local = name;
    other->remote = socket->local;
    other->peer = socket;
    socket->remote = std::move(name);
    socket->peer = other.get();
    listener->backlog.push_back(std::move(other));
    return 0;
}

int fake_kernel::accept(int fd) {
    endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    if (socket->is != role::listening) {
        return -EINVAL;
    }
    if (socket->backlog.empty()) {
        return -EAGAIN;
    }
    std::unique_ptr<endpoint> taken = std::move(socket->backlog.front());
    socket->backlog.pop_front();
    endpoint* const peer = taken->peer;
    const int made = install(std::move(taken));
    if (made < 0 && peer != nullptr) {
        reset(*peer);
    }
    return made;
}

int fake_kernel::shutdown(int fd, int how) noexcept {
    endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    if (socket->is != role::connected) {
        return -ENOTCONN;
    }
    if (socket->datagrams) {
        return 0;
    }
    if (how != SHUT_WR) {
        socket->end_of_stream = true;
    }
    if (how != SHUT_RD) {
        socket->write_shut = true;
        if (socket->peer != nullptr) {
            socket->peer->end_of_stream = true;
        }
    }
    return 0;
}

// The other end is gone in a way that loses data.
void fake_kernel::reset(endpoint& socket) noexcept {
    socket.peer = nullptr;
    socket.pending_error = ECONNRESET;
    socket.end_of_stream = true;
    socket.told_peer_gone = true;
}

// What closing one end means to the other: an orderly end, or a reset when bytes are lost.
void fake_kernel::leave_peer(endpoint& socket) noexcept {
    if (socket.peer == nullptr) {
        return;
    }
    if (socket.waiting() > 0 || socket.resets) {
        reset(*socket.peer);
    } else {
        socket.peer->end_of_stream = true;
        socket.peer->peer = nullptr;
    }
}

void fake_kernel::reset_on_close(int fd) noexcept {
    if (endpoint* socket = find(fd)) {
        socket->resets = true;
    }
}

void fake_kernel::close(int fd) {
    endpoint* socket = find(fd);
    if (socket == nullptr) {
        return;
    }
    leave_peer(*socket);
    for (const std::unique_ptr<endpoint>& unaccepted : socket->backlog) {
        if (unaccepted->peer != nullptr) {
            reset(*unaccepted->peer);
        }
    }
    names& named = socket->datagrams ? bound_datagrams_ : bound_;
    const auto name = named.find(socket->local);
    if (name != named.end() && name->second == socket) {
        named.erase(name);
    }
    sockets_[static_cast<std::size_t>(fd - first_descriptor)].reset();
}

bool fake_kernel::is_datagram(int fd) const noexcept {
    const endpoint* socket = find(fd);
    return socket != nullptr && socket->datagrams;
}

int fake_kernel::send_datagram(int fd, std::string data, const sockaddr* to, socklen_t length) {
    endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    if (socket->pending_error != 0) {
        return -std::exchange(socket->pending_error, 0);
    }
    if (to != nullptr && to->sa_family != socket->family) {
        return -EAFNOSUPPORT;
    }
    const std::string name = to != nullptr ? name_of(to, length) : socket->remote;
    if (name.empty()) {
        return to != nullptr ? -EINVAL : socket->family == AF_UNIX ? -ENOTCONN : -EDESTADDRREQ;
    }
    if (data.size() > datagram_bytes_max) {
        return -EMSGSIZE;
    }
    bind_any(*socket, name);
    endpoint* const target = bound_at(bound_datagrams_, name);
    const bool strangers = target != nullptr && target->is == role::connected &&
                           target->remote != socket->local;
    const auto bytes = static_cast<int>(data.size());
    if (target == nullptr || strangers) {
        if (socket->family == AF_UNIX) {
            return target == nullptr ? -ECONNREFUSED : -EPERM;
        }
        socket->pending_error = socket->is == role::connected ? ECONNREFUSED : 0;
        return bytes;
    }
    if (target->queued_bytes + data.size() > buffer_bytes_ && !target->queue.empty()) {
        return socket->family == AF_UNIX ? -EAGAIN : bytes;
    }
    target->queued_bytes += data.size();
    target->queue.push_back({socket->local, std::move(data)});
    return bytes;
}

int fake_kernel::receive_datagram(int fd, msghdr& message) {
    endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    if (socket->queue.empty()) {
        return socket->pending_error != 0 ? -std::exchange(socket->pending_error, 0) : -EAGAIN;
    }
    const datagram first = std::move(socket->queue.front());
    socket->queue.pop_front();
    socket->queued_bytes -= first.data.size();
    std::size_t taken = 0;
    for (std::size_t i = 0; i < message.msg_iovlen && taken < first.data.size(); ++i) {
        const iovec& part = message.msg_iov[i];
        const std::size_t bytes = std::min(part.iov_len, first.data.size() - taken);
        std::memcpy(part.iov_base, first.data.data() + taken, bytes);
        taken += bytes;
    }
    message.msg_flags = taken < first.data.size() ? MSG_TRUNC : 0;
    if (message.msg_name != nullptr) {
        copy_name(first.from, socket->family, static_cast<sockaddr*>(message.msg_name),
                  &message.msg_namelen);
    }
    return static_cast<int>(taken);
}

int fake_kernel::set_option(int fd, int level, int option, const void* value, socklen_t length) {
    endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    socket->options[{level, option}].assign(static_cast<const char*>(value), length);
    return 0;
}

int fake_kernel::get_option(int fd, int level, int option, void* value, socklen_t* length) const {
    const endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    const auto kept = socket->options.find({level, option});
    std::memset(value, 0, *length);
    if (level == SOL_SOCKET && option == SO_DOMAIN) {
        std::memcpy(value, &socket->family, std::min<std::size_t>(sizeof(int), *length));
        return 0;
    }
    if (kept != socket->options.end()) {
        std::memcpy(value, kept->second.data(),
                    std::min<std::size_t>(kept->second.size(), *length));
    }
    return 0;
}

int fake_kernel::send(int fd, const std::byte* data, std::size_t bytes) {
    endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    if (socket->datagrams) {
        return send_datagram(fd, std::string(reinterpret_cast<const char*>(data), bytes), nullptr,
                             0);
    }
    if (socket->pending_error != 0) {
        return -std::exchange(socket->pending_error, 0);
    }
    if (socket->is != role::connected || socket->write_shut) {
        return -EPIPE;
    }
    if (socket->peer == nullptr) {
        // The first send to a closed peer succeeds, and is answered by a reset.
        return std::exchange(socket->told_peer_gone, true) ? -EPIPE : static_cast<int>(bytes);
    }
    endpoint& to = *socket->peer;
    const std::size_t moved = std::min(bytes, buffer_bytes_ - to.waiting());
    if (moved == 0 && bytes > 0) {
        return -EAGAIN;
    }
    if (to.received > buffer_bytes_) {
        to.arrived.erase(0, std::exchange(to.received, 0));
    }
    to.arrived.append(reinterpret_cast<const char*>(data), moved);
    return static_cast<int>(moved);
}

int fake_kernel::receive(int fd, std::byte* data, std::size_t bytes) {
    endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    if (socket->datagrams) {
        return -EOPNOTSUPP;  // only messages tell where one ends
    }
    if (socket->is != role::connected) {
        return -ENOTCONN;
    }
    const std::size_t moved = std::min(bytes, socket->waiting());
    if (moved > 0) {
        std::memcpy(data, socket->arrived.data() + socket->received, moved);
        socket->received += moved;
        if (socket->waiting() == 0) {
            socket->arrived.clear();
            socket->received = 0;
        }
        return static_cast<int>(moved);
    }
    if (socket->pending_error != 0) {
        return -std::exchange(socket->pending_error, 0);
    }
    return socket->end_of_stream || bytes == 0 ? 0 : -EAGAIN;
}

std::size_t fake_kernel::readable(int fd) const noexcept {
    const endpoint* socket = find(fd);
    return socket != nullptr ? socket->waiting() : 0;
}

std::uint32_t fake_kernel::readiness(int fd) const noexcept {
    const endpoint* socket = find(fd);
    if (socket == nullptr) {
        return POLLNVAL;
    }
    if (socket->is == role::listening) {
        return socket->backlog.empty() ? 0 : POLLIN;
    }
    if (socket->datagrams) {
        return socket->pending_error != 0 ? POLLOUT | POLLIN | POLLERR
               : socket->queue.empty()    ? POLLOUT
                                          : POLLOUT | POLLIN;
    }
    if (socket->is == role::fresh) {
        return POLLOUT | POLLHUP;
    }
    std::uint32_t mask = 0;
    if (socket->waiting() > 0 || socket->end_of_stream || socket->pending_error != 0) {
        mask |= POLLIN;
    }
    if (socket->end_of_stream) {
        mask |= POLLRDHUP;
    }
    if (socket->peer == nullptr || socket->write_shut || socket->peer->waiting() < buffer_bytes_) {
        mask |= POLLOUT;
    }
    if (socket->end_of_stream && (socket->write_shut || socket->told_peer_gone)) {
        mask |= POLLHUP;
    }
    return socket->pending_error != 0 ? mask | POLLERR : mask;
}

int fake_kernel::local_name(int fd, sockaddr* address, socklen_t* length) const noexcept {
    const endpoint* socket = find(fd);
    return socket == nullptr ? -EBADF : copy_name(socket->local, socket->family, address, length);
}

int fake_kernel::peer_name(int fd, sockaddr* address, socklen_t* length) const noexcept {
    const endpoint* socket = find(fd);
    if (socket == nullptr) {
        return -EBADF;
    }
    return socket->is != role::connected
               ? -ENOTCONN
               : copy_name(socket->remote, socket->family, address, length);
}

}  // namespace ringlet::detail
