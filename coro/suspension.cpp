#include "coro/suspension.h"

#include "core/file_operation.h"

namespace ringlet {
namespace {

const char* name_of(opcode code) noexcept {
    switch (code) {
        case opcode::nop: return "nothing";
        case opcode::accept: return "accept";
        case opcode::connect: return "connect";
        case opcode::receive:
        case opcode::receive_into:
        case opcode::receive_message: return "receive";
        case opcode::send:
        case opcode::send_message: return "send";
        case opcode::poll: return "poll";
        case opcode::read: return "read";
        case opcode::write: return "write";
        case opcode::open_at: return "open";
        case opcode::close_file: return "close";
        case opcode::read_at: return "file read";
        case opcode::write_at: return "file write";
        case opcode::sync: return "fsync";
        case opcode::stat_at: return "stat";
        case opcode::rename_at: return "rename";
        case opcode::unlink_at: return "unlink";
        case opcode::make_directory_at: return "mkdir";
        case opcode::splice: return "splice";
    }
    return "operation";
}

bool has_path(opcode code) noexcept {
    switch (code) {
        case opcode::open_at:
        case opcode::stat_at:
        case opcode::rename_at:
        case opcode::unlink_at:
        case opcode::make_directory_at: return true;
        default: return false;
    }
}

}  // namespace

void describe_operation(loop& owner, const operation& op, wait_description& into) {
    const opcode code = driver_access::code(op);
    into.kind = name_of(code);
    into.descriptor = op.descriptor();
    if (has_path(code)) {
        into.detail = static_cast<const file_operation&>(op).path();
    }
    if (is_for_files(code) && !owner.driver().handles(code)) {
        into.detail += into.detail.empty() ? "on a helper thread" : ", on a helper thread";
    }
}

}  // namespace ringlet
