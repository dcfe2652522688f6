// Reads a file from beginning to end, as `cat FILE >/dev/null` does, and says how many bytes it
// has: bench_read_file FILE. RINGLET_DRIVER chooses the driver.
#include <cstdio>
#include <memory>
#include <span>

#include "core/loop.h"
#include "coro/run.h"
#include "coro/task.h"
#include "net/file.h"

namespace {

constexpr std::size_t block_bytes = 128 * 1024;  // cat's

ringlet::task<std::uint64_t> read_through(ringlet::loop& owner, const char* path) {
    ringlet::file from = co_await ringlet::file::open(owner, path);
    const auto block = std::make_unique<std::byte[]>(block_bytes);
    for (;;) {
        if (co_await from.read(std::span(block.get(), block_bytes)) == 0) {
            co_return from.position();
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: bench_read_file FILE\n");
        return 2;
    }
    try {
        ringlet::loop owner;
        const std::uint64_t bytes = ringlet::run(owner, read_through(owner, argv[1]));
        std::printf("%llu\n", static_cast<unsigned long long>(bytes));
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "bench_read_file: %s\n", failure.what());
        return 1;
    }
}
