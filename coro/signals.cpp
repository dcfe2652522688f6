#include "coro/signals.h"

#include <cstring>

namespace ringlet {

void signals::next_signal::describe_wait(wait_description& into) const {
    into.kind = "signal";
    for (std::uint64_t left = source_.watched_; left != 0; left &= left - 1) {
        const int number = std::countr_zero(left) + 1;
        const char* const name = ::sigabbrev_np(number);
        into.detail += into.detail.empty() ? "" : ", ";
        into.detail += name != nullptr ? "SIG" + std::string(name) : std::to_string(number);
    }
}

}  // namespace ringlet
