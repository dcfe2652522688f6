// Reads a file from beginning to end, as `cat FILE >/dev/null` does, and says how many bytes it
// has: bench_read_file FILE. RINGLET_DRIVER chooses the driver.
#include <cstdio>
#include <memory>

#include "core/loop.h"
#include "coro/run.h"
#include "coro/task.h"
#include "net/file.h"

namespace {

// As cat has it: 128 KiB that begin with a page, as copying to odd places takes longer.
struct alignas(4096) block {
    std::byte bytes[128 * 1024];
};

ringlet::task<std::uint64_t> read_through(ringlet::loop& owner, const char* path) {
    ringlet::file from = co_await ringlet::file::open(owner, path);
    const auto room = std::make_unique<block>();
    for (;;) {
        if (co_await from.read(room->bytes) == 0) {
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
