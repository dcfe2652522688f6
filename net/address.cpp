#include "net/address.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <charconv>
#include <cstring>

namespace ringlet {

address::address(const sockaddr* from, socklen_t length) noexcept : storage_{} {
    const bool v6 = from->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6);
    const bool v4 = from->sa_family == AF_INET && length >= sizeof(sockaddr_in);
    if (v4 || v6) {
        std::memcpy(&storage_, from, v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
    }
}

result<address> address::parse(std::string_view literal, std::uint16_t port) noexcept {
    char text[INET6_ADDRSTRLEN + 1] = {};
    const std::size_t percent = literal.find('%');
    const std::string_view digits = literal.substr(0, percent);
    if (digits.size() >= sizeof text || digits.find('\0') != std::string_view::npos) {
        return errc::bad_address;
    }
    std::memcpy(text, digits.data(), digits.size());
    address parsed;
    if (percent == std::string_view::npos &&
        ::inet_pton(AF_INET, text, &parsed.storage_.v4.sin_addr) == 1) {
        parsed.storage_.v4.sin_family = AF_INET;
    } else if (::inet_pton(AF_INET6, text, &parsed.storage_.v6.sin6_addr) == 1) {
        parsed.storage_.v6.sin6_family = AF_INET6;
    } else {
        return errc::bad_address;
    }
    if (percent != std::string_view::npos) {
        const std::string_view zone = literal.substr(percent + 1);
        unsigned index = 0;
        const auto [end, failure] =
            std::from_chars(zone.data(), zone.data() + zone.size(), index);
        if (failure != std::errc() || end != zone.data() + zone.size()) {
            char name[IF_NAMESIZE] = {};
            if (zone.empty() || zone.size() >= sizeof name) {
                return errc::bad_address;
            }
            std::memcpy(name, zone.data(), zone.size());
            index = ::if_nametoindex(name);
        }
        if (index == 0) {
            return errc::bad_address;
        }
        parsed.storage_.v6.sin6_scope_id = index;
    }
    parsed.set_port(port);
    return parsed;
}

address address::any_v4(std::uint16_t port) noexcept {
    address made;
    made.storage_.v4.sin_family = AF_INET;
    made.set_port(port);
    return made;
}

address address::any_v6(std::uint16_t port) noexcept {
    address made;
    made.storage_.v6.sin6_family = AF_INET6;
    made.set_port(port);
    return made;
}

address address::loopback_v4(std::uint16_t port) noexcept {
    address made = any_v4(port);
    made.storage_.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return made;
}

address address::loopback_v6(std::uint16_t port) noexcept {
    address made;
    made.storage_.v6.sin6_family = AF_INET6;
    made.storage_.v6.sin6_addr = in6addr_loopback;
    made.set_port(port);
    return made;
}

bool address::is_loopback() const noexcept {
    return is_v6() ? IN6_IS_ADDR_LOOPBACK(&storage_.v6.sin6_addr)
                   : (ntohl(storage_.v4.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
}

std::uint16_t address::port() const noexcept {
    return ntohs(is_v6() ? storage_.v6.sin6_port : storage_.v4.sin_port);
}

void address::set_port(std::uint16_t port) noexcept {
    (is_v6() ? storage_.v6.sin6_port : storage_.v4.sin_port) = htons(port);
}

address address::mapped_to_v6() const noexcept {
    if (family() != AF_INET) {
        return *this;
    }
    address made = any_v6(port());
    std::uint8_t* const bytes = made.storage_.v6.sin6_addr.s6_addr;
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(bytes + 12, &storage_.v4.sin_addr, 4);
    return made;
}

address address::unmapped() const noexcept {
    if (!is_v6() || !IN6_IS_ADDR_V4MAPPED(&storage_.v6.sin6_addr)) {
        return *this;
    }
    address made = any_v4(port());
    std::memcpy(&made.storage_.v4.sin_addr, storage_.v6.sin6_addr.s6_addr + 12, 4);
    return made;
}

std::string address::host_text() const {
    char text[INET6_ADDRSTRLEN] = {};
    if (is_v6()) {
        ::inet_ntop(AF_INET6, &storage_.v6.sin6_addr, text, sizeof text);
        std::string zoned = text;
        if (storage_.v6.sin6_scope_id != 0) {
            zoned += '%' + std::to_string(storage_.v6.sin6_scope_id);
        }
        return zoned;
    }
    ::inet_ntop(AF_INET, &storage_.v4.sin_addr, text, sizeof text);
    return text;
}

std::string address::text() const {
    const std::string port_text = ':' + std::to_string(port());
    return is_v6() ? '[' + host_text() + ']' + port_text : host_text() + port_text;
}

bool operator==(const address& a, const address& b) noexcept {
    if (a.family() != b.family() || a.port() != b.port()) {
        return false;
    }
    if (a.is_v6()) {
        return a.storage_.v6.sin6_scope_id == b.storage_.v6.sin6_scope_id &&
               std::memcmp(&a.storage_.v6.sin6_addr, &b.storage_.v6.sin6_addr, 16) == 0;
    }
    return a.storage_.v4.sin_addr.s_addr == b.storage_.v4.sin_addr.s_addr;
}

}  // namespace ringlet
