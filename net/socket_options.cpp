#include "net/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <climits>
#include <cstring>
#include <string>

namespace ringlet {
namespace {

void require(bool sensible, const char* name, const char* sentence) {
    if (!sensible) {
        throw error(make_error_code(std::errc::invalid_argument),
                    std::string("set ") + name + ": " + sentence);
    }
}

template <class Duration>
int whole(Duration value, const char* name) {
    require(value.count() >= 0 && value.count() <= INT_MAX, name, "no such time");
    return static_cast<int>(value.count());
}

int buffer_bytes(std::size_t bytes, const char* name) {
    require(bytes <= INT_MAX, name, "at most 2147483647 bytes");
    return static_cast<int>(bytes);
}

}  // namespace

void socket_options::set(int level, int option, const void* value, std::size_t bytes,
                         const char* name) {
    if (const std::error_code failed =
            sockets_->set_option(fd_, level, option, value, static_cast<socklen_t>(bytes))) {
        throw error(failed, std::string("set ") + name);
    }
}

void socket_options::set(int level, int option, int value, const char* name) {
    set(level, option, &value, sizeof value, name);
}

int socket_options::get(int level, int option, const char* name) const {
    int value = 0;
    socklen_t length = sizeof value;
    if (const std::error_code failed =
            sockets_->get_option(fd_, level, option, &value, &length)) {
        throw error(failed, std::string("get ") + name);
    }
    return value;
}

bool socket_options::is_v6() const { return get(SOL_SOCKET, SO_DOMAIN, "domain") == AF_INET6; }

void socket_options::set_no_delay(bool on) { set(IPPROTO_TCP, TCP_NODELAY, on, "no_delay"); }
bool socket_options::no_delay() const { return get(IPPROTO_TCP, TCP_NODELAY, "no_delay") != 0; }

void socket_options::set_keep_alive(const keep_alive_times& times) {
    set(IPPROTO_TCP, TCP_KEEPIDLE, whole(times.idle, "keep_alive idle"), "keep_alive idle");
    set(IPPROTO_TCP, TCP_KEEPINTVL, whole(times.interval, "keep_alive interval"),
        "keep_alive interval");
    set(IPPROTO_TCP, TCP_KEEPCNT, times.probes, "keep_alive probes");
    set(SOL_SOCKET, SO_KEEPALIVE, 1, "keep_alive");
}

void socket_options::stop_keep_alive() { set(SOL_SOCKET, SO_KEEPALIVE, 0, "keep_alive"); }
bool socket_options::keep_alive() const {
    return get(SOL_SOCKET, SO_KEEPALIVE, "keep_alive") != 0;
}

void socket_options::set_user_timeout(std::chrono::milliseconds longest) {
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, whole(longest, "user_timeout"), "user_timeout");
}

void socket_options::set_reset_on_close(bool on) {
    const linger at_once{on ? 1 : 0, 0};
    set(SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once, "reset_on_close");
}

void socket_options::set_send_buffer(std::size_t bytes) {
    set(SOL_SOCKET, SO_SNDBUF, buffer_bytes(bytes, "send_buffer"), "send_buffer");
}

void socket_options::set_receive_buffer(std::size_t bytes) {
    set(SOL_SOCKET, SO_RCVBUF, buffer_bytes(bytes, "receive_buffer"), "receive_buffer");
}

std::size_t socket_options::send_buffer() const {
    return static_cast<std::size_t>(get(SOL_SOCKET, SO_SNDBUF, "send_buffer"));
}

std::size_t socket_options::receive_buffer() const {
    return static_cast<std::size_t>(get(SOL_SOCKET, SO_RCVBUF, "receive_buffer"));
}

void socket_options::set_reuse_address(bool on) {
    set(SOL_SOCKET, SO_REUSEADDR, on, "reuse_address");
}

void socket_options::set_reuse_port(bool on) { set(SOL_SOCKET, SO_REUSEPORT, on, "reuse_port"); }

void socket_options::set_device(std::string_view interface_name) {
    const std::string name(interface_name);
    set(SOL_SOCKET, SO_BINDTODEVICE, name.c_str(), name.size() + 1, "device");
}

void socket_options::set_type_of_service(int value) {
    require(value >= 0 && value <= 255, "type_of_service", "from 0 to 255");
    if (is_v6()) {
        set(IPPROTO_IPV6, IPV6_TCLASS, value, "type_of_service");
    } else {
        set(IPPROTO_IP, IP_TOS, value, "type_of_service");
    }
}

int socket_options::type_of_service() const {
    return is_v6() ? get(IPPROTO_IPV6, IPV6_TCLASS, "type_of_service")
                   : get(IPPROTO_IP, IP_TOS, "type_of_service");
}

void socket_options::set_ttl(int hops) {
    require(hops >= 1 && hops <= 255, "ttl", "from 1 to 255");
    if (is_v6()) {
        set(IPPROTO_IPV6, IPV6_UNICAST_HOPS, hops, "ttl");
    } else {
        set(IPPROTO_IP, IP_TTL, hops, "ttl");
    }
}

int socket_options::ttl() const {
    return is_v6() ? get(IPPROTO_IPV6, IPV6_UNICAST_HOPS, "ttl") : get(IPPROTO_IP, IP_TTL, "ttl");
}

void socket_options::set_broadcast(bool on) { set(SOL_SOCKET, SO_BROADCAST, on, "broadcast"); }

void socket_options::join(const address& group, unsigned interface_index) {
    change_membership(group, interface_index, true);
}

void socket_options::leave(const address& group, unsigned interface_index) {
    change_membership(group, interface_index, false);
}

void socket_options::change_membership(const address& group, unsigned interface_index, bool in) {
    const std::string name = (in ? "join " : "leave ") + group.host_text();
    if (group.is_v6()) {
        ipv6_mreq wanted = {};
        std::memcpy(&wanted.ipv6mr_multiaddr,
                    &reinterpret_cast<const sockaddr_in6*>(group.data())->sin6_addr,
                    sizeof wanted.ipv6mr_multiaddr);
        wanted.ipv6mr_interface = interface_index;
        return set(IPPROTO_IPV6, in ? IPV6_ADD_MEMBERSHIP : IPV6_DROP_MEMBERSHIP, &wanted,
                   sizeof wanted, name.c_str());
    }
    ip_mreqn wanted = {};
    wanted.imr_multiaddr = reinterpret_cast<const sockaddr_in*>(group.data())->sin_addr;
    wanted.imr_ifindex = static_cast<int>(interface_index);
    set(IPPROTO_IP, in ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &wanted, sizeof wanted,
        name.c_str());
}

void socket_options::set_multicast_interface(unsigned interface_index) {
    const int index = static_cast<int>(interface_index);
    if (is_v6()) {
        return set(IPPROTO_IPV6, IPV6_MULTICAST_IF, index, "multicast_interface");
    }
    ip_mreqn wanted = {};
    wanted.imr_ifindex = index;
    set(IPPROTO_IP, IP_MULTICAST_IF, &wanted, sizeof wanted, "multicast_interface");
}

void socket_options::set_multicast_ttl(int hops) {
    require(hops >= 0 && hops <= 255, "multicast_ttl", "from 0 to 255");
    if (is_v6()) {
        set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops, "multicast_ttl");
    } else {
        set(IPPROTO_IP, IP_MULTICAST_TTL, hops, "multicast_ttl");
    }
}

void socket_options::set_multicast_loop(bool on) {
    if (is_v6()) {
        set(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, on, "multicast_loop");
    } else {
        set(IPPROTO_IP, IP_MULTICAST_LOOP, on, "multicast_loop");
    }
}

}  // namespace ringlet
