// An IP address with a port: IPv4, IPv6 with zone. A plain value; any thread.
// Text forms: "127.0.0.1", "::1", "fe80::1%eth0"; with a port "127.0.0.1:80", "[::1]:80".
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace ringlet {

class address {
public:
    address() noexcept : storage_{} {}
    address(const sockaddr* from, socklen_t length) noexcept;

    // An IP literal without port or brackets; errc::bad_address for anything else, also for the
    // old forms of inet_aton ("127.1", "0x7f.1", "2130706433").
    static result<address> parse(std::string_view literal, std::uint16_t port) noexcept;
    static address any_v4(std::uint16_t port) noexcept;
    static address any_v6(std::uint16_t port) noexcept;
    static address loopback_v4(std::uint16_t port) noexcept;
    static address loopback_v6(std::uint16_t port) noexcept;

    int family() const noexcept { return storage_.any.sa_family; }
    bool is_v6() const noexcept { return family() == AF_INET6; }
    bool is_loopback() const noexcept;
    std::uint16_t port() const noexcept;
    void set_port(std::uint16_t port) noexcept;

    // Between an IPv4 address and its IPv6 form (::ffff:1.2.3.4), as IPv6 sockets show it; others
    // stay as they are.
    address mapped_to_v6() const noexcept;
    address unmapped() const noexcept;

    const sockaddr* data() const noexcept { return &storage_.any; }
    socklen_t length() const noexcept {
        return is_v6() ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
    }

    // Without and with the port.
    std::string host_text() const;
    std::string text() const;

    friend bool operator==(const address& a, const address& b) noexcept;

private:
    union {
        sockaddr any;
        sockaddr_in v4;
        sockaddr_in6 v6;
    } storage_;
};

}  // namespace ringlet
