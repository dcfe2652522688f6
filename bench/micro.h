// How the microbenchmarks take a figure: CPU time of the process over many short rounds, the
// minimum and the lower quartile, as one line `name <tab> minimum ns <tab> lower quartile ns`.
// CPU time, since it does not count what a busy machine takes away; minimum, since noise only adds.
// Header only: the same code times Ringlet and its peer, which live in two programs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>
#include <vector>

namespace micro {

constexpr std::size_t rounds_default = 40;

// BENCH_ROUNDS overrides the number of rounds, so that a quick run can be asked for.
inline std::size_t round_count() {
    const char* asked = std::getenv("BENCH_ROUNDS");
    const long rounds = asked != nullptr ? std::atol(asked) : 0;
    return rounds > 0 ? static_cast<std::size_t>(rounds) : rounds_default;
}

inline double process_cpu_ns() {
    std::timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

// Runs `round(iterations)` again and again and prints ns per iteration.
template <typename Round>
void measure(const char* name, std::size_t iterations, Round&& round) {
    round(iterations / 10 + 1);
    std::vector<double> samples(round_count());
    for (double& sample : samples) {
        const double begin = process_cpu_ns();
        round(iterations);
        sample = (process_cpu_ns() - begin) / static_cast<double>(iterations);
    }
    std::sort(samples.begin(), samples.end());
    std::printf("%s\t%.1f\t%.1f\n", name, samples.front(), samples[(samples.size() - 1) / 4]);
    std::fflush(stdout);
}

}  // namespace micro
