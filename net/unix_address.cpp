#include "net/unix_address.h"

#include <algorithm>
#include <cstring>

namespace ringlet {
namespace {

[[noreturn]] void refuse(std::string_view name, const std::string& why) {
    constexpr std::size_t shown_max = 200;
    throw error(errc::bad_address,
                "unix socket '" + std::string(name.substr(0, shown_max)) + "': " + why);
}

}  // namespace

unix_address::unix_address() noexcept
    : storage_{}, length_(offsetof(sockaddr_un, sun_path)) {
    storage_.sun_family = AF_UNIX;
}

unix_address::unix_address(const sockaddr* from, socklen_t length) noexcept : unix_address() {
    if (length > length_ && from->sa_family == AF_UNIX) {
        length_ = std::min<socklen_t>(length, sizeof storage_);
        std::memcpy(&storage_, from, length_);
    }
}

unix_address unix_address::at_path(std::string_view path) {
    if (path.empty() || path.find('\0') != std::string_view::npos) {
        refuse(path, path.empty() ? "the path is empty" : "the path holds a zero byte");
    }
    if (path.size() > path_bytes_max) {
        refuse(path, "the path has " + std::to_string(path.size()) +
                         " bytes, and the system takes " + std::to_string(path_bytes_max));
    }
    unix_address made;
    std::memcpy(made.storage_.sun_path, path.data(), path.size());
    made.length_ += static_cast<socklen_t>(path.size() + 1);
    return made;
}

unix_address unix_address::abstract(std::string_view name) {
    if (name.empty() || name.size() > abstract_bytes_max) {
        refuse(name, name.empty() ? "the abstract name is empty"
                                  : "the abstract name has " + std::to_string(name.size()) +
                                        " bytes, and the system takes " +
                                        std::to_string(abstract_bytes_max));
    }
    unix_address made;
    std::memcpy(made.storage_.sun_path + 1, name.data(), name.size());
    made.length_ += static_cast<socklen_t>(name.size() + 1);
    return made;
}

std::string_view unix_address::name() const noexcept {
    if (is_unnamed()) {
        return {};
    }
    const std::string_view all(storage_.sun_path, length_ - offsetof(sockaddr_un, sun_path));
    return is_abstract() ? all.substr(1) : all.substr(0, all.find('\0'));
}

std::string unix_address::text() const {
    return is_unnamed() ? "unnamed" : (is_abstract() ? "@" : "") + std::string(name());
}

}  // namespace ringlet
