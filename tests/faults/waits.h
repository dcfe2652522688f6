// Time that nobody has to wait for. Once the fault has struck, a case may well wait for what will
// not come, up to a time limit of its own. So from then on a wait in which nothing happens ends
// after a moment, and the clock that the library reads goes on by the rest of it: every timer comes
// due in its order, only sooner. A wait without end has none. Any thread.
#pragma once

#include <chrono>

namespace ringlet::faults {

constexpr std::chrono::nanoseconds longest_quiet = std::chrono::milliseconds(100);

// How long to wait really when `wanted` is asked for.
std::chrono::nanoseconds shorten(std::chrono::nanoseconds wanted) noexcept;
// After nothing has happened in it.
void pass_rest(std::chrono::nanoseconds wanted) noexcept;

}  // namespace ringlet::faults
