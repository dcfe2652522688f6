#include "coro/suspension.h"

namespace ringlet {
namespace {

const char* name_of(opcode code) noexcept {
    switch (code) {
        case opcode::accept: return "accept";
        case opcode::connect: return "connect";
        case opcode::receive:
        case opcode::receive_into: return "receive";
        case opcode::send:
        case opcode::send_message: return "send";
        case opcode::poll: return "poll";
        default: return "operation";
    }
}

}  // namespace

void describe_operation(const operation& op, wait_description& into) {
    into.kind = name_of(driver_access::code(op));
    into.descriptor = op.descriptor();
}

}  // namespace ringlet
