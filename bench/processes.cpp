// bench_processes N [AT ONCE]: the work of bench_spawn with Ringlet's processes: N times /bin/true,
// so many at once (1). Prints the same two figures.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "coro/fan_out.h"
#include "coro/run.h"
#include "net/process.h"

namespace {

using namespace ringlet;

double now_ns(clockid_t clock) {
    std::timespec time{};
    clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

task<void> spawn_all(loop& owner, long count, std::size_t at_once) {
    process_options what;
    what.arguments = {"/bin/true"};
    auto spawn_one = [&](char) -> task<void> {
        process child(owner, what);
        const process_status how = co_await child.wait();
        if (!how.ok()) {
            throw error(std::make_error_code(std::errc::io_error), "/bin/true: " + how.text());
        }
    };
    const std::vector<char> places(static_cast<std::size_t>(count));
    co_await fan_out(places, at_once, spawn_one);
}

}  // namespace

int main(int count, char** arguments) {
    const long wanted = count > 1 ? std::atol(arguments[1]) : 0;
    const long at_once = count > 2 ? std::atol(arguments[2]) : 1;
    if (wanted <= 0 || at_once <= 0) {
        std::fputs("usage: bench_processes N [AT ONCE]\n", stderr);
        return 2;
    }
    loop owner;
    const double cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    const double wall = now_ns(CLOCK_MONOTONIC);
    run(owner, spawn_all(owner, wanted, static_cast<std::size_t>(at_once)));
    const auto each = static_cast<double>(wanted);
    std::printf("%.0f %.0f\n", (now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / each,
                (now_ns(CLOCK_MONOTONIC) - wall) / each);
}
