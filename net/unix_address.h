// The address of a unix socket (unix(7)): a path in the file system, an abstract name, which is
// gone when its last socket is, or none, as clients have. A plain value; any thread.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "core/result.h"

namespace ringlet {

class unix_address {
public:
    // The system's limit, for paths without their closing zero: longer ones have to be shortened,
    // say by changing into their directory.
    static constexpr std::size_t path_bytes_max = sizeof(sockaddr_un::sun_path) - 1;
    static constexpr std::size_t abstract_bytes_max = sizeof(sockaddr_un::sun_path) - 1;

    unix_address() noexcept;  // unnamed
    unix_address(const sockaddr* from, socklen_t length) noexcept;
    // Both throw `error` saying what is wrong with the name: its length, or a zero in a path.
    static unix_address at_path(std::string_view path);
    static unix_address abstract(std::string_view name);

    bool is_unnamed() const noexcept { return length_ <= offsetof(sockaddr_un, sun_path); }
    bool is_abstract() const noexcept { return !is_unnamed() && storage_.sun_path[0] == '\0'; }
    // The path or the abstract name; empty for an unnamed one.
    std::string_view name() const noexcept;
    // For people: the path, "@name" or "unnamed".
    std::string text() const;

    const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
    socklen_t length() const noexcept { return length_; }

    friend bool operator==(const unix_address& a, const unix_address& b) noexcept {
        return a.is_abstract() == b.is_abstract() && a.name() == b.name();
    }

private:
    sockaddr_un storage_;
    socklen_t length_;
};

}  // namespace ringlet
