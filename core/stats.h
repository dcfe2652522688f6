// Counters of one loop since it was made, a plain value: loop::stats gives a copy (loop thread).
// Counts only grow, except the three that say what is so now: timers_pending, operations_live and
// buffers_lent.
#pragma once

#include <cstdint>

namespace ringlet {

struct loop_stats {
    std::uint64_t turns = 0;            // turns of the loop
    std::uint64_t waits = 0;            // turns that may have slept
    std::uint64_t enters = 0;           // system calls that submit, wait or collect
    std::uint64_t submitted = 0;        // submission entries given to the kernel
    std::uint64_t completions = 0;      // completions dispatched
    std::uint64_t wakeups = 0;          // wake calls that reached a sleeping loop
    std::uint64_t buffers_dry = 0;      // receives that found no buffer (ENOBUFS) and were re-armed
    std::uint64_t overflows = 0;        // times the completion queue overflowed
    std::uint64_t timers_expired = 0;   // timers run
    std::uint64_t timers_pending = 0;   // timers waiting now
    std::uint64_t operations_live = 0;  // operations the kernel owns now
    std::uint64_t buffers_lent = 0;     // receive buffers not given back now

    double completions_per_enter() const noexcept {
        return enters == 0 ? 0.0
                           : static_cast<double>(completions) / static_cast<double>(enters);
    }
};

}  // namespace ringlet
