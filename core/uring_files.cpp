#include "core/uring_files.h"

namespace ringlet::detail {
namespace {

struct file_opcode {
    opcode ours;
    io_uring_op kernels;
};

constexpr file_opcode file_opcodes[] = {
    {opcode::open_at, IORING_OP_OPENAT},       {opcode::close_file, IORING_OP_CLOSE},
    {opcode::read_at, IORING_OP_READ},         {opcode::write_at, IORING_OP_WRITE},
    {opcode::sync, IORING_OP_FSYNC},           {opcode::stat_at, IORING_OP_STATX},
    {opcode::rename_at, IORING_OP_RENAMEAT},   {opcode::unlink_at, IORING_OP_UNLINKAT},
    {opcode::make_directory_at, IORING_OP_MKDIRAT}, {opcode::splice, IORING_OP_SPLICE},
};

}  // namespace

std::uint32_t probe_file_opcodes(io_uring& ring) noexcept {
    std::uint32_t found = 0;
    if (io_uring_probe* const probe = io_uring_get_probe_ring(&ring)) {
        for (const file_opcode& each : file_opcodes) {
            if (io_uring_opcode_supported(probe, each.kernels) != 0) {
                found |= std::uint32_t{1} << static_cast<unsigned>(each.ours);
            }
        }
        io_uring_free_probe(probe);
    }
    return found;
}

void prepare_file_entry(io_uring_sqe& sqe, file_operation& op) noexcept {
    const int fd = driver_access::fd(op);
    void* const memory = driver_access::memory(op);
    const std::size_t length = driver_access::length(op);
    switch (driver_access::code(op)) {
        case opcode::open_at:
            io_uring_prep_openat(&sqe, fd, op.path(), op.flags(), op.mode());
            break;
        case opcode::close_file: io_uring_prep_close(&sqe, fd); break;
        case opcode::read_at:
            io_uring_prep_read(&sqe, fd, memory, transfer_bytes(length), op.offset());
            break;
        case opcode::write_at:
            io_uring_prep_write(&sqe, fd, memory, transfer_bytes(length), op.offset());
            break;
        case opcode::sync:
            io_uring_prep_fsync(&sqe, fd, op.flags() != 0 ? IORING_FSYNC_DATASYNC : 0);
            break;
        case opcode::stat_at:
            io_uring_prep_statx(&sqe, fd, op.path(), op.flags(), static_cast<unsigned>(length),
                                static_cast<struct statx*>(op.second()));
            break;
        case opcode::rename_at:
            io_uring_prep_renameat(&sqe, fd, op.path(), op.second_descriptor(),
                                   static_cast<const char*>(op.second()),
                                   static_cast<unsigned>(op.flags()));
            break;
        case opcode::unlink_at: io_uring_prep_unlinkat(&sqe, fd, op.path(), op.flags()); break;
        case opcode::make_directory_at:
            io_uring_prep_mkdirat(&sqe, fd, op.path(), op.mode());
            break;
        case opcode::splice:
            io_uring_prep_splice(&sqe, fd, static_cast<std::int64_t>(op.offset()),
                                 op.second_descriptor(),
                                 static_cast<std::int64_t>(op.second_offset()),
                                 transfer_bytes(length), static_cast<unsigned>(op.flags()));
            break;
        default: RINGLET_REQUIRE(false, "an operation for files has no such opcode");
    }
}

}  // namespace ringlet::detail
