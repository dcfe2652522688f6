// The ends of pipes and FIFOs for coroutines, and anything else that can be read or written as it
// becomes ready: a terminal, an inherited standard input. Regular files are taken as well; their
// bytes come by a helper thread where the driver cannot fetch them (docs/files.md).
//
// An end is move-only and closes its descriptor when it dies. One coroutine at a time; every wait
// can be cancelled. A cancelled read loses nothing, a cancelled write may have written a part.
// O_NONBLOCK of a descriptor taken over is left as it is: it belongs to all who share the file.
// The first writer of a process sets SIGPIPE to be ignored, unless the program has a handler: then
// writing to a pipe nobody reads is the error EPIPE. A program started by exec inherits that.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "core/loop.h"
#include "core/result.h"
#include "coro/task.h"
#include "net/descriptor.h"

namespace ringlet {

namespace detail {

class pipe_end {
public:
    explicit operator bool() const noexcept { return static_cast<bool>(end_); }
    int descriptor() const noexcept { return end_.get(); }
    // Now, instead of at destruction. No wait may be in progress.
    void close() noexcept { end_.close(); }
    // The descriptor, the caller's from here on; blocking, if it was made here.
    int release() noexcept;

protected:
    pipe_end() noexcept = default;
    pipe_end(loop& owner, int fd, bool made_here) noexcept;

    task<int> transfer(opcode code, std::byte* memory, std::size_t bytes);
    task<void> wait_ready(unsigned events);

    owned_descriptor end_;
    bool made_here_ = false;  // nobody else has it: it was set not to block
    bool is_file_ = false;    // never becomes ready
    bool no_writer_yet_ = false;
};

}  // namespace detail

class pipe_reader : public detail::pipe_end {
public:
    pipe_reader() noexcept = default;
    // Takes over `fd`, a descriptor open for reading.
    pipe_reader(loop& owner, int fd) noexcept : pipe_end(owner, fd, false) {}
    // Reads from a copy of `fd`, which stays the caller's: standard input. Throws `error`.
    static pipe_reader copy_of(loop& owner, int fd);

    // At least one byte; 0 when all writers have closed (or there is no room in `into`).
    task<std::size_t> read_some(std::span<std::byte> into);
    // Everything up to the end. Throws errc::limit_exceeded when that is more than `bytes_max`.
    task<std::string> read_all(std::size_t bytes_max);
    // Until read_some will not have to wait.
    task<void> wait_readable();

private:
    friend struct pipe_maker;
    using pipe_end::pipe_end;
};

class pipe_writer : public detail::pipe_end {
public:
    pipe_writer() noexcept = default;
    // Takes over `fd`, a descriptor open for writing.
    pipe_writer(loop& owner, int fd) noexcept : pipe_writer(owner, fd, false) {}
    // Writes to a copy of `fd`, which stays the caller's: standard output. Throws `error`.
    static pipe_writer copy_of(loop& owner, int fd);

    // All of `bytes`, which must stay in place until this ends. Throws `error`: EPIPE when nobody
    // reads any more.
    task<void> write(std::span<const std::byte> bytes);
    task<void> write(std::string_view text) {
        return write(std::as_bytes(std::span(text.data(), text.size())));
    }
    // As much as goes at once, at least one byte.
    task<std::size_t> write_some(std::span<const std::byte> bytes);
    // Until at least a little can be written, or nobody reads any more.
    task<void> wait_writable();

private:
    friend struct pipe_maker;
    pipe_writer(loop& owner, int fd, bool made_here) noexcept;
};

struct pipe_pair {
    pipe_reader reader;
    pipe_writer writer;
};

// Both ends are close-on-exec. Throws `error`.
pipe_pair make_pipe(loop& owner);

// A FIFO of the file system. Opening for reading does not wait for a writer; the first read does.
// Opening for writing waits until somebody reads: it asks again every few milliseconds, as Linux
// tells nobody. Both throw `error` that names the path, also when that is no FIFO.
task<pipe_reader> open_fifo_reader(loop& owner, std::string path);
task<pipe_writer> open_fifo_writer(loop& owner, std::string path);

}  // namespace ringlet
