// Files for coroutines: on the ring where the driver can, else by plain calls on the loop's helper
// threads; never does the loop's thread wait for a disk. A file is move-only; several coroutines
// may read and write it at places at the same time. docs/files.md says what cancelling means here:
// a read or write that has begun cannot be stopped by anyone, so a cancel waits for its end.
//
// Destruction closes in place, which can take a moment for a big file that was removed, and tells
// no error; `close` does it properly. Everything throws `error` naming the path. Loop thread only.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/loop.h"
#include "core/result.h"
#include "coro/task.h"
#include "net/descriptor.h"

namespace ringlet {

enum class open_flags : unsigned {
    read = 1,
    write = 2,
    append = 4,      // with write: every write goes to the end, wherever it was aimed
    create = 8,      // make it when there is none
    exclusive = 16,  // with create: there must be none, nor a link
    truncate = 32,   // with write: begin empty
    no_follow = 64,  // refuse a symbolic link
    data_sync = 128  // each write ends when it is on the disk
};
constexpr open_flags operator|(open_flags a, open_flags b) noexcept {
    return static_cast<open_flags>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
// What a program that writes a file usually wants.
constexpr open_flags open_to_replace =
    open_flags::write | open_flags::create | open_flags::truncate;

enum class file_kind : unsigned char {
    unknown,
    regular,
    directory,
    link,
    fifo,
    socket,
    character_device,
    block_device
};

struct file_status {
    file_kind kind = file_kind::unknown;
    mode_t permissions = 0;  // the lower twelve bits
    std::uint64_t size = 0;
    std::uint64_t links = 0;
    std::uint64_t inode = 0;
    dev_t device = 0;
    uid_t owner = 0;
    gid_t group = 0;
    std::chrono::sys_time<std::chrono::nanoseconds> modified{};
};

class file {
public:
    // The most that one call of the kernel is asked for: it may be done inside a turn of the loop.
    static constexpr std::size_t step_bytes_max = 1024 * 1024;

    // `permissions` (less the umask) are those of a file that is made. Pipes and terminals, which
    // have no places to read at, are refused, and keep nobody waiting.
    static task<file> open(loop& owner, std::string path, open_flags how = open_flags::read,
                           mode_t permissions = 0666);
    file() noexcept = default;
    // Takes over `fd`; `name` is for error texts.
    file(loop& owner, int fd, std::string name) noexcept
        : path_(std::move(name)), held_(owner, fd) {}

    explicit operator bool() const noexcept { return static_cast<bool>(held_); }
    int descriptor() const noexcept { return held_.get(); }
    loop& owner() const noexcept { return held_.loop(); }
    const std::string& path() const noexcept { return path_; }
    // For operations of one's own on it (net/descriptor.h).
    owned_descriptor& held() noexcept { return held_; }

    // Fills `into` from that place on; fewer bytes only at the end of the file. Large memory should
    // begin at a multiple of 64 (docs/files.md).
    task<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into);
    // All of `bytes`, which must stay in place until this ends. Cancelled or failed, a part may
    // have been written.
    task<void> write_at(std::uint64_t offset, std::span<const std::byte> bytes);

    // The same at a position that moves along, beginning at 0; one coroutine at a time.
    task<std::size_t> read(std::span<std::byte> into);
    task<void> write(std::span<const std::byte> bytes);
    task<void> write(std::string_view text) {
        return write(std::as_bytes(std::span(text.data(), text.size())));
    }
    std::uint64_t position() const noexcept { return position_; }
    void seek(std::uint64_t to) noexcept { position_ = to; }

    // From the position to the end. Throws errc::limit_exceeded when that is more than `bytes_max`.
    task<std::string> read_all(std::size_t bytes_max);

    // Until it is on the disk; `sync_data` without times and the like.
    task<void> sync() { return sync_as(false); }
    task<void> sync_data() { return sync_as(true); }
    task<file_status> status();
    task<void> truncate(std::uint64_t size);
    // Once it has begun the file is closed, whatever comes of it.
    task<void> close();

private:
    task<int> move_some(opcode code, std::byte* memory, std::size_t bytes, std::uint64_t offset);
    task<void> sync_as(bool data_only);
    [[noreturn]] void fail(const char* what, int result) const;

    std::string path_;
    owned_descriptor held_;
    std::uint64_t position_ = 0;
};

// All of a file. Throws errc::limit_exceeded when it has more than `bytes_max` bytes.
task<std::string> read_file(loop& owner, std::string path, std::size_t bytes_max);

namespace detail {

// What statx(2) tells of `path`, relative to `directory`.
task<file_status> status_at(loop& owner, int directory, std::string path, int flags);

[[noreturn]] void throw_for_path(const char* what, const std::string& path, int result);

}  // namespace detail

}  // namespace ringlet
