// An operation on files: an `operation` with the words that such calls need besides. Started,
// cancelled and completed through the loop like any other, with the same contract. Where the driver
// cannot do it (driver::handles), the loop makes the plain system call on a helper thread; then a
// cancel ends only what has not begun, as no one can stop a blocking call, and the operation goes
// on to its end. Loop thread only.
//
// Paths, memory and result structures are the caller's and must live until the final completion.
// Results are those of the system call: >= 0, or -errno. A path is taken relative to `directory`
// (AT_FDCWD: the working directory).
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>

#include "core/helper_pool.h"
#include "core/operation.h"

namespace ringlet {

class file_operation : public operation {
public:
    // As an offset: where the descriptor stands, for those that have no place to choose.
    static constexpr std::uint64_t current_offset = ~std::uint64_t{0};

    explicit file_operation(handler on_complete) noexcept
        : operation(on_complete), job_(*this) {}

    // Result: the descriptor; O_CLOEXEC is added to `flags`.
    void prepare_open_at(int directory, const char* path, int flags, mode_t mode) noexcept {
        prepare_path(opcode::open_at, directory, path, flags | O_CLOEXEC);
        mode_ = mode;
    }
    // Only for descriptors that the driver does not know from operations of other kinds.
    void prepare_close(int fd) noexcept { prepare(opcode::close_file, fd); }
    // Result: bytes, possibly fewer than asked; 0 = end of file.
    void prepare_read_at(int fd, void* memory, std::size_t bytes, std::uint64_t offset) noexcept {
        prepare(opcode::read_at, fd);
        memory_ = memory;
        length_ = bytes;
        offset_ = offset;
    }
    void prepare_write_at(int fd, const void* memory, std::size_t bytes,
                          std::uint64_t offset) noexcept {
        prepare(opcode::write_at, fd);
        memory_ = const_cast<void*>(memory);
        length_ = bytes;
        offset_ = offset;
    }
    void prepare_sync(int fd, bool data_only) noexcept {
        prepare(opcode::sync, fd);
        flags_ = data_only ? 1 : 0;
    }
    // statx(2); an empty path with AT_EMPTY_PATH means `directory` itself, of whatever kind.
    void prepare_stat_at(int directory, const char* path, int flags, unsigned mask,
                         struct statx* into) noexcept {
        prepare_path(opcode::stat_at, directory, path, flags);
        length_ = mask;
        second_ = into;
    }
    // `flags`: RENAME_NOREPLACE and its like.
    void prepare_rename_at(int directory, const char* from, int to_directory, const char* to,
                           int flags) noexcept {
        prepare_path(opcode::rename_at, directory, from, flags);
        second_ = const_cast<char*>(to);
        second_fd_ = to_directory;
    }
    // `flags`: AT_REMOVEDIR for a directory, else 0.
    void prepare_unlink_at(int directory, const char* path, int flags) noexcept {
        prepare_path(opcode::unlink_at, directory, path, flags);
    }
    void prepare_make_directory_at(int directory, const char* path, mode_t mode) noexcept {
        prepare_path(opcode::make_directory_at, directory, path, 0);
        mode_ = mode;
    }
    // One of the two is a pipe, and its offset `current_offset`. Result: bytes moved, 0 = end.
    void prepare_splice(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset,
                        std::size_t bytes, unsigned flags) noexcept {
        prepare(opcode::splice, from);
        offset_ = from_offset;
        second_fd_ = to;
        second_offset_ = to_offset;
        length_ = bytes;
        flags_ = static_cast<int>(flags);
    }

    // The words, for who carries it out.
    const char* path() const noexcept { return static_cast<const char*>(memory_); }
    std::uint64_t offset() const noexcept { return offset_; }
    void* second() const noexcept { return second_; }
    int second_descriptor() const noexcept { return second_fd_; }
    std::uint64_t second_offset() const noexcept { return second_offset_; }
    int flags() const noexcept { return flags_; }
    mode_t mode() const noexcept { return mode_; }

    // Makes the plain system call, however long that takes, and gives its result. Any thread.
    static int perform(file_operation& op) noexcept;

private:
    friend class loop;

    struct call_job final : helper_job {
        explicit call_job(file_operation& of) noexcept
            : helper_job(&call_job::block, &call_job::done), op(of) {}
        static void block(helper_job& job) noexcept;
        static void done(work& item) noexcept;

        file_operation& op;
        loop* owner = nullptr;
        int result = 0;
    };

    void prepare_path(opcode code, int directory, const char* path, int flags) noexcept {
        prepare(code, directory);
        memory_ = const_cast<char*>(path);
        flags_ = flags;
    }

    void* second_ = nullptr;
    std::uint64_t offset_ = 0;
    std::uint64_t second_offset_ = 0;
    int second_fd_ = -1;
    int flags_ = 0;
    mode_t mode_ = 0;
    call_job job_;
};

}  // namespace ringlet
