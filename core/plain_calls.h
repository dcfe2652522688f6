// System calls as completions' results: what drivers do for an operation on a real descriptor, none
// of which blocks. -EAGAIN means that the descriptor has to become ready first. Loop thread only,
// but for `call_result`.
#pragma once

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>

#include "core/operation.h"

namespace ringlet::detail {

// A system call's result as a completion's, after as many tries as signals demanded.
template <class Call>
std::int32_t call_result(Call call) noexcept {
    for (;;) {
        const auto value = call();
        if (value >= 0) {
            return static_cast<std::int32_t>(value);
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

constexpr std::size_t transfer_bytes_max = 0x7fff'f000;  // of one read or write, as in the kernel

// Does a `read` or `write` of at most `bytes`. O_NONBLOCK is left as it is, since it belongs to
// everybody who shares the open file (a shell and its terminal). A blocking descriptor is asked not
// to block this once; where the kernel cannot (pipes before Linux 6.4, terminals), it is used only
// when `ready`, for no more than a ready pipe surely takes.
inline std::int32_t try_transfer(const operation& op, std::size_t bytes, bool ready) noexcept {
    const bool reads = driver_access::code(op) == opcode::read;
    const int fd = driver_access::fd(op);
    iovec part{driver_access::memory(op), std::min(bytes, transfer_bytes_max)};
    const std::int32_t result = call_result([&] {
        return reads ? ::preadv2(fd, &part, 1, -1, RWF_NOWAIT)
                     : ::pwritev2(fd, &part, 1, -1, RWF_NOWAIT);
    });
    if (result != -EOPNOTSUPP && result != -ENOSYS) {
        return result;
    }
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0) {
        if (!ready) {
            return -EAGAIN;
        }
        part.iov_len = std::min<std::size_t>(part.iov_len, PIPE_BUF);
    }
    return call_result([&] {
        return reads ? ::read(fd, part.iov_base, part.iov_len)
                     : ::write(fd, part.iov_base, part.iov_len);
    });
}

}  // namespace ringlet::detail
