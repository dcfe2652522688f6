// The system calls that the epoll driver makes for an operation, none of which blocks: each gives a
// completion's result, a count or -errno, -EAGAIN (for a connect -EINPROGRESS) meaning that the
// descriptor has to become ready first. Loop thread only.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>

#include "core/operation.h"
#include "core/plain_calls.h"

namespace ringlet::detail {

inline void set_nonblocking(int fd) noexcept {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0) {
        ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
}

// `ready`: the descriptor has just been reported to be.
inline std::int32_t try_write(operation& op, bool ready) noexcept {
    constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const int fd = driver_access::fd(op);
    if (driver_access::code(op) == opcode::write) {
        return try_transfer(op, driver_access::length(op), ready);
    }
    if (driver_access::code(op) == opcode::send) {
        return call_result([&] {
            return ::send(fd, driver_access::memory(op), driver_access::length(op), flags);
        });
    }
    const auto* message = static_cast<const msghdr*>(driver_access::memory(op));
    return call_result([&] { return ::sendmsg(fd, message, flags); });
}

// Begins to connect; -EINPROGRESS means: wait for EPOLLOUT.
inline std::int32_t begin_connect(operation& op) noexcept {
    const int fd = driver_access::fd(op);
    set_nonblocking(fd);
    const auto* address = static_cast<const sockaddr*>(driver_access::memory(op));
    if (::connect(fd, address, static_cast<socklen_t>(driver_access::length(op))) == 0) {
        return 0;
    }
    return errno == EINTR ? -EINPROGRESS : -errno;
}

inline std::int32_t end_connect(int fd) noexcept {
    int error_number = 0;
    socklen_t length = sizeof error_number;
    const int status = ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error_number, &length);
    return status < 0 ? -errno : -error_number;
}

}  // namespace ringlet::detail
