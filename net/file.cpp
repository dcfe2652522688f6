#include "net/file.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "coro/on_helper.h"

namespace ringlet {
namespace {

constexpr std::size_t read_all_step = 64 * 1024;

bool has(open_flags all, open_flags one) noexcept {
    return (static_cast<unsigned>(all) & static_cast<unsigned>(one)) != 0;
}

// The system's flags; throws for what makes no sense.
int system_flags(open_flags how, const std::string& path) {
    using f = open_flags;
    const bool writes = has(how, f::write);
    const char* wrong = nullptr;
    if (!has(how, f::read) && !writes) {
        wrong = "neither reading nor writing was asked for";
    } else if (!writes && (has(how, f::append) || has(how, f::truncate))) {
        wrong = "append and truncate are for writing";
    } else if (has(how, f::exclusive) && !has(how, f::create)) {
        wrong = "exclusive is for making a file";
    }
    if (wrong != nullptr) {
        throw error(make_error_code(std::errc::invalid_argument), "open " + path + ": " + wrong);
    }
    int flags = O_NOCTTY | (!writes ? O_RDONLY : has(how, f::read) ? O_RDWR : O_WRONLY);
    flags |= has(how, f::append) ? O_APPEND : 0;
    flags |= has(how, f::create) ? O_CREAT : 0;
    flags |= has(how, f::exclusive) ? O_EXCL : 0;
    flags |= has(how, f::truncate) ? O_TRUNC : 0;
    flags |= has(how, f::no_follow) ? O_NOFOLLOW : 0;
    flags |= has(how, f::data_sync) ? O_DSYNC : 0;
    return flags;
}

file_kind kind_of(mode_t mode) noexcept {
    switch (mode & S_IFMT) {
        case S_IFREG: return file_kind::regular;
        case S_IFDIR: return file_kind::directory;
        case S_IFLNK: return file_kind::link;
        case S_IFIFO: return file_kind::fifo;
        case S_IFSOCK: return file_kind::socket;
        case S_IFCHR: return file_kind::character_device;
        case S_IFBLK: return file_kind::block_device;
        default: return file_kind::unknown;
    }
}

}  // namespace

void detail::throw_for_path(const char* what, const std::string& path, int result) {
    throw_code(system_code(result), (std::string(what) + ' ' + path).c_str());
}

task<file_status> detail::status_at(loop& owner, int directory, std::string path, int flags) {
    struct statx found = {};
    file_operation_wait asking(owner);
    asking.prepare_stat_at(directory, path.c_str(), flags, STATX_BASIC_STATS, &found);
    if (const int result = co_await asking; result < 0) {
        throw_for_path("status of", path, result);
    }
    file_status status;
    status.kind = kind_of(found.stx_mode);
    status.permissions = found.stx_mode & 07777;
    status.size = found.stx_size;
    status.links = found.stx_nlink;
    status.inode = found.stx_ino;
    status.device = ::makedev(found.stx_dev_major, found.stx_dev_minor);
    status.owner = found.stx_uid;
    status.group = found.stx_gid;
    status.modified = std::chrono::sys_time<std::chrono::nanoseconds>(
        std::chrono::seconds(found.stx_mtime.tv_sec) +
        std::chrono::nanoseconds(found.stx_mtime.tv_nsec));
    co_return status;
}

void file::fail(const char* what, int result) const { detail::throw_for_path(what, path_, result); }

task<file> file::open(loop& owner, std::string path, open_flags how, mode_t permissions) {
    const int flags = system_flags(how, path);
    file_operation_wait opening(owner);
    // Without O_NONBLOCK a FIFO would hold up a helper thread until somebody opens its other end.
    opening.prepare_open_at(AT_FDCWD, path.c_str(), flags | O_NONBLOCK, permissions);
    const int fd = co_await opening;
    if (fd < 0) {
        detail::throw_for_path("open", path, fd);
    }
    if (::lseek(fd, 0, SEEK_CUR) < 0) {
        ::close(fd);
        throw error(make_error_code(std::errc::invalid_seek),
                    "open " + path + ": it is a pipe or a terminal (net/pipe.h)");
    }
    ::fcntl(fd, F_SETFL, flags);
    co_return file(owner, fd, std::move(path));
}

// One step; the kernel's result.
task<int> file::move_some(opcode code, std::byte* memory, std::size_t bytes,
                          std::uint64_t offset) {
    if (offset == file_operation::current_offset) {
        co_return -EINVAL;  // as every other place that no file has
    }
    const std::size_t step = std::min(bytes, step_bytes_max);
    file_operation_wait moving(held_.loop());
    if (code == opcode::read_at) {
        moving.prepare_read_at(held_.get(), memory, step, offset);
    } else {
        moving.prepare_write_at(held_.get(), memory, step, offset);
    }
    co_return co_await moving;
}

task<std::size_t> file::read_at(std::uint64_t offset, std::span<std::byte> into) {
    const owned_descriptor::use used(held_);
    std::size_t done = 0;
    while (done < into.size()) {
        const int bytes = co_await move_some(opcode::read_at, into.data() + done,
                                             into.size() - done, offset + done);
        if (bytes < 0) {
            fail("read", bytes);
        }
        if (bytes == 0) {
            break;
        }
        done += static_cast<std::size_t>(bytes);
    }
    co_return done;
}

task<void> file::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
    const owned_descriptor::use used(held_);
    while (!bytes.empty()) {
        const int taken = co_await move_some(
            opcode::write_at, const_cast<std::byte*>(bytes.data()), bytes.size(), offset);
        if (taken < 0) {
            fail("write", taken);
        }
        bytes = bytes.subspan(static_cast<std::size_t>(taken));
        offset += static_cast<std::uint64_t>(taken);
    }
}

task<std::size_t> file::read(std::span<std::byte> into) {
    const std::size_t bytes = co_await read_at(position_, into);
    position_ += bytes;
    co_return bytes;
}

task<void> file::write(std::span<const std::byte> bytes) {
    co_await write_at(position_, bytes);
    position_ += bytes.size();
}

task<std::string> file::read_all(std::size_t bytes_max) {
    const file_status now = co_await status();
    std::string text;
    // A size is a hint only: it is 0 in /proc, and files grow.
    std::size_t step = read_all_step;
    if (now.size > position_) {
        const std::uint64_t left = now.size - position_;
        step = static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes_max)) + 1;
    }
    for (;;) {
        const std::size_t before = text.size();
        const std::size_t left = bytes_max - before;  // and one more shows that there is more
        text.resize(before + (left < step ? left + 1 : step));
        const std::size_t bytes =
            co_await read(std::as_writable_bytes(std::span(text)).subspan(before));
        const bool ended = before + bytes < text.size();
        text.resize(before + bytes);
        if (text.size() > bytes_max) {
            throw error(errc::limit_exceeded, "read " + path_ + ": more than " +
                                                  std::to_string(bytes_max) + " bytes");
        }
        if (ended) {
            co_return text;
        }
        step = std::max(read_all_step, text.size());
    }
}

task<void> file::sync_as(bool data_only) {
    const owned_descriptor::use used(held_);
    file_operation_wait syncing(held_.loop());
    syncing.prepare_sync(held_.get(), data_only);
    if (const int result = co_await syncing; result < 0) {
        fail("sync", result);
    }
}

task<file_status> file::status() {
    const owned_descriptor::use used(held_);
    file_status found;
    try {
        found = co_await detail::status_at(held_.loop(), held_.get(), std::string(), AT_EMPTY_PATH);
    } catch (const error& failure) {
        throw error(failure.code(), "status of " + path_);
    }
    co_return found;
}

task<void> file::truncate(std::uint64_t size) {
    const owned_descriptor::use used(held_);
    const int fd = held_.get();
    on_helper cutting([fd, size] {
        return ::ftruncate(fd, static_cast<off_t>(size)) == 0 ? 0 : -errno;
    });
    if (const int result = co_await cutting; result < 0) {
        fail("truncate", result);
    }
}

task<void> file::close() {
    if (!held_) {
        co_return;
    }
    loop& owner = held_.loop();
    const int fd = held_.release();
    file_operation_wait closing(owner);
    closing.prepare_close(fd);
    int result = co_await closing;
    if (result == -ECANCELED) {
        // It was called off before it began, and has to be done all the same.
        result = ::close(fd) == 0 ? 0 : -errno;
    }
    if (result < 0 && result != -EINTR) {  // after which it is closed all the same
        fail("close", result);
    }
}

task<std::string> read_file(loop& owner, std::string path, std::size_t bytes_max) {
    file from = co_await file::open(owner, std::move(path));
    std::string text = co_await from.read_all(bytes_max);
    co_await from.close();
    co_return text;
}

}  // namespace ringlet
