// The floor of micro_fibers.cpp: the same switches with Boost.Context alone. No loop, no waits, no
// guard; one stack, used again.
#include <boost/context/detail/fcontext.hpp>
#include <vector>

#include "bench/micro.h"

namespace {

namespace context = boost::context::detail;

constexpr std::size_t stack_bytes = 64 * 1024;

std::vector<char>& stack() {
    static std::vector<char> memory(stack_bytes);
    return memory;
}

context::fcontext_t made(void (*entry)(context::transfer_t)) {
    return context::make_fcontext(stack().data() + stack_bytes, stack_bytes, entry);
}

void back_and_back(context::transfer_t from) {
    for (;;) {
        from = context::jump_fcontext(from.fctx, nullptr);
    }
}

void back_once(context::transfer_t from) { context::jump_fcontext(from.fctx, nullptr); }

}  // namespace

int main() {
    micro::measure("fiber switch, one way", 200'000, [](std::size_t count) {
        context::fcontext_t other = made(&back_and_back);
        for (std::size_t i = 0; i < count; i += 2) {
            other = context::jump_fcontext(other, nullptr).fctx;
        }
    });
    micro::measure("fiber made, run and ended", 50'000, [](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            context::jump_fcontext(made(&back_once), nullptr);
        }
    });
}
