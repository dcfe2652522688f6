// The calls in which a loop waits, and the one by which it reads the clock; the linker leads them
// here. Those that count as requests are in system_calls.cpp.
#include "tests/faults/waits.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <ctime>

#include "tests/faults/injector.h"

namespace {

std::atomic<std::int64_t> passed_ns{0};  // by which the clock is ahead

}  // namespace

namespace ringlet::faults {

std::chrono::nanoseconds shorten(std::chrono::nanoseconds wanted) noexcept {
    return has_struck() ? std::min(wanted, longest_quiet) : wanted;
}

void pass_rest(std::chrono::nanoseconds wanted) noexcept {
    const std::chrono::nanoseconds rest = wanted - shorten(wanted);
    passed_ns += rest.count();
}

}  // namespace ringlet::faults

using std::chrono::nanoseconds;

extern "C" {
int __real_clock_gettime(clockid_t which, timespec* to);
int __wrap_clock_gettime(clockid_t which, timespec* to) {
    const int status = __real_clock_gettime(which, to);
    if (which == CLOCK_MONOTONIC) {
        constexpr std::int64_t second = 1'000'000'000;
        const std::int64_t part = to->tv_nsec + passed_ns;
        to->tv_sec += part / second;
        to->tv_nsec = part % second;
    }
    return status;
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
    constexpr int words_max = 6;
    long words[words_max];
    va_list all;
    va_start(all, number);
    for (long& each : words) {
        each = va_arg(all, long);
    }
    va_end(all);
    nanoseconds wanted{};
    timespec limit{};
    if (number == SYS_epoll_pwait2 && words[3] != 0) {
        const auto& asked = *reinterpret_cast<const timespec*>(words[3]);
        wanted = std::chrono::seconds(asked.tv_sec) + nanoseconds(asked.tv_nsec);
        const nanoseconds now = ringlet::faults::shorten(wanted);
        limit.tv_sec = now.count() / 1'000'000'000;
        limit.tv_nsec = now.count() % 1'000'000'000;
        words[3] = reinterpret_cast<long>(&limit);
    }
    const long result = __real_syscall(number, words[0], words[1], words[2], words[3], words[4],
                                       words[5]);
    if (number == SYS_epoll_pwait2 && result == 0) {
        ringlet::faults::pass_rest(wanted);
    }
    return result;
}
}
