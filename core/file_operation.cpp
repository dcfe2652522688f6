#include "core/file_operation.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "core/loop.h"
#include "core/plain_calls.h"

namespace ringlet {
namespace {

using access = driver_access;

long read_or_write(const file_operation& op) noexcept {
    void* const memory = access::memory(op);
    const std::size_t bytes = access::length(op);
    const auto offset = static_cast<off_t>(op.offset());
    const bool placed = op.offset() != file_operation::current_offset;
    if (access::code(op) == opcode::read_at) {
        return placed ? ::pread(access::fd(op), memory, bytes, offset)
                      : ::read(access::fd(op), memory, bytes);
    }
    return placed ? ::pwrite(access::fd(op), memory, bytes, offset)
                  : ::write(access::fd(op), memory, bytes);
}

long call_splice(const file_operation& op) noexcept {
    auto from = static_cast<loff_t>(op.offset());
    auto to = static_cast<loff_t>(op.second_offset());
    return ::splice(access::fd(op), op.offset() != file_operation::current_offset ? &from : nullptr,
                    op.second_descriptor(),
                    op.second_offset() != file_operation::current_offset ? &to : nullptr,
                    access::length(op), static_cast<unsigned>(op.flags()));
}

long call(file_operation& op) noexcept {
    const int fd = access::fd(op);
    switch (access::code(op)) {
        case opcode::open_at: return ::openat(fd, op.path(), op.flags(), op.mode());
        case opcode::read_at:
        case opcode::write_at: return read_or_write(op);
        case opcode::sync: return op.flags() != 0 ? ::fdatasync(fd) : ::fsync(fd);
        case opcode::stat_at:
            return ::statx(fd, op.path(), op.flags(), static_cast<unsigned>(access::length(op)),
                           static_cast<struct statx*>(op.second()));
        case opcode::rename_at:
            return ::syscall(SYS_renameat2, fd, op.path(), op.second_descriptor(), op.second(),
                             op.flags());
        case opcode::unlink_at: return ::unlinkat(fd, op.path(), op.flags());
        case opcode::make_directory_at: return ::mkdirat(fd, op.path(), op.mode());
        case opcode::splice: return call_splice(op);
        default: errno = EINVAL; return -1;
    }
}

}  // namespace

int file_operation::perform(file_operation& op) noexcept {
    if (access::code(op) == opcode::close_file) {
        // After EINTR the descriptor is closed all the same: another try would close a stranger's.
        return ::close(access::fd(op)) == 0 || errno == EINTR ? 0 : -errno;
    }
    return detail::call_result([&] { return call(op); });
}

void file_operation::call_job::block(helper_job& job) noexcept {
    auto& self = static_cast<call_job&>(job);
    self.result = perform(self.op);
}

void file_operation::call_job::done(work& item) noexcept {
    auto& self = static_cast<call_job&>(item);
    self.owner->end_on_helper(self.op, self.result);
}

}  // namespace ringlet
