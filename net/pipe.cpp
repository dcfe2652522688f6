#include "net/pipe.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <mutex>

namespace ringlet {
namespace {

constexpr std::size_t read_all_step = 64 * 1024;
constexpr nanoseconds fifo_retry_pause = std::chrono::milliseconds(5);

// Writing to a pipe has no flag like MSG_NOSIGNAL.
void ignore_sigpipe() noexcept {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction now = {};
        if (::sigaction(SIGPIPE, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 &&
            now.sa_handler == SIG_DFL) {
            std::signal(SIGPIPE, SIG_IGN);
        }
    });
}

// Regular files and block devices are never waited for: they count as ready, and reading them may
// take as long as a disk does.
bool never_ready(int fd) noexcept {
    struct stat what = {};
    return ::fstat(fd, &what) == 0 && (S_ISREG(what.st_mode) || S_ISBLK(what.st_mode));
}

int copy_descriptor(int fd) {
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) {
        throw error(system_code(errno), "copy of descriptor " + std::to_string(fd));
    }
    return copy;
}

// The descriptor, or -ENXIO while nobody reads.
task<int> open_fifo(loop& owner, const std::string& path, int flags) {
    file_operation_wait opening(owner);
    opening.prepare_open_at(AT_FDCWD, path.c_str(), flags | O_NONBLOCK, 0);
    const int fd = co_await opening;
    if (fd < 0) {
        if (fd == -ENXIO) {
            co_return fd;
        }
        throw_code(system_code(fd), ("open " + path).c_str());
    }
    struct stat what = {};
    if (::fstat(fd, &what) != 0 || !S_ISFIFO(what.st_mode)) {
        ::close(fd);
        throw error(make_error_code(std::errc::invalid_argument), "open " + path + ": no FIFO");
    }
    co_return fd;
}

}  // namespace

// Makes the ends that differ from what the public constructors make.
struct pipe_maker {
    static pipe_reader reader(loop& owner, int fd) noexcept { return {owner, fd, true}; }
    static pipe_writer writer(loop& owner, int fd) noexcept { return {owner, fd, true}; }
    static pipe_reader fifo_reader(loop& owner, int fd) noexcept {
        pipe_reader made(owner, fd, true);
        made.no_writer_yet_ = true;
        return made;
    }
};

namespace detail {

pipe_end::pipe_end(loop& owner, int fd, bool made_here) noexcept
    : end_(owner, fd), made_here_(made_here), is_file_(!made_here && never_ready(fd)) {}

int pipe_end::release() noexcept {
    const int fd = end_.release();
    if (fd >= 0 && made_here_) {
        ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    }
    return fd;
}

task<int> pipe_end::transfer(opcode code, std::byte* memory, std::size_t bytes) {
    RINGLET_REQUIRE(!end_.in_use(), "two coroutines use one end of a pipe at once");
    const owned_descriptor::use used(end_);
    const bool reads = code == opcode::read;
    const int fd = end_.get();
    int outcome = 0;
    if (is_file_) {
        file_operation_wait moved(end_.loop());
        if (reads) {
            moved.prepare_read_at(fd, memory, bytes, file_operation::current_offset);
        } else {
            moved.prepare_write_at(fd, memory, bytes, file_operation::current_offset);
        }
        outcome = co_await moved;
    } else {
        operation_wait moved(end_.loop());
        if (reads) {
            moved.prepare_read(fd, memory, bytes);
        } else {
            moved.prepare_write(fd, memory, bytes);
        }
        outcome = co_await moved;
    }
    if (outcome < 0) {
        throw_code(system_code(outcome), reads ? "read" : "write");
    }
    co_return outcome;
}

task<void> pipe_end::wait_ready(unsigned events) {
    RINGLET_REQUIRE(!end_.in_use(), "two coroutines use one end of a pipe at once");
    const owned_descriptor::use used(end_);
    if (!is_file_) {
        operation_wait ready(end_.loop());
        ready.prepare_poll(end_.get(), events, false);
        if (const int outcome = co_await ready; outcome < 0) {
            throw_code(system_code(outcome), "poll");
        }
    }
    no_writer_yet_ = false;
}

}  // namespace detail

pipe_reader pipe_reader::copy_of(loop& owner, int fd) {
    return pipe_reader(owner, copy_descriptor(fd));
}

task<std::size_t> pipe_reader::read_some(std::span<std::byte> into) {
    if (into.empty()) {
        co_return 0;
    }
    if (no_writer_yet_) {
        // Before its first writer has come a FIFO would say that it has ended.
        co_await wait_readable();
    }
    const int bytes = co_await transfer(opcode::read, into.data(), into.size());
    co_return static_cast<std::size_t>(bytes);
}

task<std::string> pipe_reader::read_all(std::size_t bytes_max) {
    std::string text;
    for (;;) {
        const std::size_t before = text.size();
        const std::size_t left = bytes_max - before;  // and one more shows that there is more
        text.resize(before + (left < read_all_step ? left + 1 : read_all_step));
        const auto room = std::as_writable_bytes(std::span(text)).subspan(before);
        const std::size_t bytes = co_await read_some(room);
        text.resize(before + bytes);
        if (bytes == 0) {
            co_return text;
        }
        if (text.size() > bytes_max) {
            throw error(errc::limit_exceeded,
                        "read: more than " + std::to_string(bytes_max) + " bytes");
        }
    }
}

task<void> pipe_reader::wait_readable() { return wait_ready(POLLIN); }

pipe_writer::pipe_writer(loop& owner, int fd, bool made_here) noexcept
    : pipe_end(owner, fd, made_here) {
    ignore_sigpipe();
}

pipe_writer pipe_writer::copy_of(loop& owner, int fd) {
    return pipe_writer(owner, copy_descriptor(fd));
}

task<std::size_t> pipe_writer::write_some(std::span<const std::byte> bytes) {
    if (bytes.empty()) {
        co_return 0;
    }
    const int taken =
        co_await transfer(opcode::write, const_cast<std::byte*>(bytes.data()), bytes.size());
    co_return static_cast<std::size_t>(taken);
}

task<void> pipe_writer::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const std::size_t taken = co_await write_some(bytes);
        bytes = bytes.subspan(taken);
    }
}

task<void> pipe_writer::wait_writable() { return wait_ready(POLLOUT); }

pipe_pair make_pipe(loop& owner) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        throw error(system_code(errno), "pipe");
    }
    return {pipe_maker::reader(owner, ends[0]), pipe_maker::writer(owner, ends[1])};
}

task<pipe_reader> open_fifo_reader(loop& owner, std::string path) {
    const int fd = co_await open_fifo(owner, path, O_RDONLY);
    co_return pipe_maker::fifo_reader(owner, fd);
}

task<pipe_writer> open_fifo_writer(loop& owner, std::string path) {
    int fd = co_await open_fifo(owner, path, O_WRONLY);
    while (fd == -ENXIO) {
        co_await sleep_for(fifo_retry_pause);
        fd = co_await open_fifo(owner, path, O_WRONLY);
    }
    co_return pipe_maker::writer(owner, fd);
}

}  // namespace ringlet
