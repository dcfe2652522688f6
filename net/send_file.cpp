#include "net/send_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "coro/on_helper.h"
#include "net/pipe.h"

namespace ringlet {
namespace {

constexpr std::size_t step_bytes_min = 16 * 1024;
constexpr std::size_t step_bytes_max = 1024 * 1024;
constexpr std::size_t copy_bytes = 64 * 1024;

// What a socket that was reported writable takes without making its caller wait: a third of its
// buffer is free then (sk_stream_is_writeable in Linux).
std::size_t step_of(const stream& to) {
    return std::clamp(to.options().send_buffer() / 3, step_bytes_min, step_bytes_max);
}

bool cannot(int result) noexcept {
    return result == -EINVAL || result == -ENOSYS || result == -EOPNOTSUPP;
}

// One file on its way: where it stands, and the two ways to take a step.
struct transfer {
    stream& to;
    file& from;
    std::uint64_t offset;
    std::uint64_t left;
    std::uint64_t* sent;

    void count(int bytes) noexcept {
        offset += static_cast<std::uint64_t>(bytes);
        left -= static_cast<std::uint64_t>(bytes);
        *sent += static_cast<std::uint64_t>(bytes);
    }
    std::size_t at_most(std::size_t step) const noexcept {
        return static_cast<std::size_t>(std::min<std::uint64_t>(step, left));
    }
};

task<void> wait_writable(stream& to) {
    operation_wait ready(to.owner());
    ready.prepare_poll(to.descriptor(), POLLOUT, false);
    if (const int result = co_await ready; result < 0) {
        throw_code(system_code(result), "send a file");
    }
}

task<int> splice(loop& owner, int from, std::uint64_t offset, int to, std::size_t bytes) {
    file_operation_wait moving(owner);
    moving.prepare_splice(from, offset, to, file_operation::current_offset, bytes, SPLICE_F_MOVE);
    co_return co_await moving;
}

// False when the file cannot be spliced. What is in the pipe at a failure is lost, and was not
// counted.
task<bool> splice_through_pipe(transfer& moved) {
    loop& owner = moved.to.owner();
    const pipe_pair way = make_pipe(owner);
    const int out = way.reader.descriptor();
    std::size_t step = step_of(moved.to);
    // A pipe that stays smaller makes the steps smaller, that is all.
    const int room = ::fcntl(out, F_SETPIPE_SZ, static_cast<int>(step));
    step = room > 0 ? std::min(step, static_cast<std::size_t>(room)) : step_bytes_min;
    while (moved.left > 0) {
        const int into = co_await splice(owner, moved.from.descriptor(), moved.offset,
                                         way.writer.descriptor(), moved.at_most(step));
        if (cannot(into)) {
            co_return false;
        }
        if (into < 0) {
            throw_code(system_code(into), "send a file");
        }
        if (into == 0) {
            break;
        }
        for (int rest = into; rest > 0;) {
            co_await wait_writable(moved.to);
            const int bytes = co_await splice(owner, out, file_operation::current_offset,
                                              moved.to.descriptor(),
                                              static_cast<std::size_t>(rest));
            if (bytes < 0) {
                throw_code(system_code(bytes), "send a file");
            }
            if (bytes == 0) {
                throw error(errc::end_of_stream, "send a file");
            }
            rest -= bytes;
            moved.count(bytes);
        }
    }
    co_return true;
}

// False when the file cannot be sent so.
task<bool> send_by_helper(transfer& moved) {
    const std::size_t step = step_of(moved.to);
    const int socket = moved.to.descriptor();
    const int source = moved.from.descriptor();
    while (moved.left > 0) {
        co_await wait_writable(moved.to);
        const auto offset = static_cast<off_t>(moved.offset);
        const std::size_t bytes = moved.at_most(step);
        on_helper sending([socket, source, offset, bytes] {
            off_t at = offset;
            const ssize_t count = ::sendfile(socket, source, &at, bytes);
            return count >= 0 ? static_cast<int>(count) : -errno;
        });
        const int result = co_await sending;
        if (cannot(result)) {
            co_return false;
        }
        if (result < 0 && result != -EAGAIN && result != -EINTR) {
            throw_code(system_code(result), "send a file");
        }
        if (result == 0) {
            break;
        }
        if (result > 0) {
            moved.count(result);
        }
    }
    co_return true;
}

task<void> copy(transfer& moved) {
    const auto memory = std::make_unique<std::byte[]>(copy_bytes);
    while (moved.left > 0) {
        const std::span<std::byte> room(memory.get(), moved.at_most(copy_bytes));
        const std::size_t bytes = co_await moved.from.read_at(moved.offset, room);
        if (bytes == 0) {
            break;
        }
        co_await moved.to.send(std::span<const std::byte>(room.first(bytes)));
        moved.count(static_cast<int>(bytes));
    }
}

}  // namespace

task<std::uint64_t> send_file(stream& to, file& from, std::uint64_t offset, std::uint64_t count,
                              std::uint64_t* sent) {
    std::uint64_t counted = 0;
    transfer moved{to, from, offset, count, sent != nullptr ? sent : &counted};
    *moved.sent = 0;
    bool done = false;
    if (to.owner().driver().has_real_sockets() && !to.encrypted()) {
        const detail::stream_use sending(to, true);
        const owned_descriptor::use reading(from.held());
        if (to.owner().driver().handles(opcode::splice)) {
            done = co_await splice_through_pipe(moved);
        } else {
            done = co_await send_by_helper(moved);
        }
    }
    if (!done) {
        co_await copy(moved);
    }
    co_return *moved.sent;
}

}  // namespace ringlet
