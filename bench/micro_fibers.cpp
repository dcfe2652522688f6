// What fibers, generators and pipelines cost, without any I/O. micro_context.cpp does the first two
// with Boost.Context alone, under the same names.
#include <string>

#include "bench/micro.h"
#include "core/loop.h"
#include "coro/async_generator.h"
#include "coro/fiber.h"
#include "coro/generator.h"
#include "coro/pipeline.h"
#include "coro/run.h"
#include "coro/suspension.h"

namespace {

using namespace ringlet;

// Switches out of the fiber and back at once.
struct out_and_back {
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) const noexcept { return false; }
    void await_resume() const noexcept {}
};

// So that no loop is computed at compile time.
template <class T>
void use(const T& value) {
    asm volatile("" : : "r"(&value) : "memory");
}

task<std::size_t> child(std::size_t value) { co_return value + 1; }

task<void> run_empty_fibers(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        co_await run_fiber([] {});
    }
}

generator<std::size_t> below(std::size_t end) {
    for (std::size_t i = 0; i < end; ++i) {
        co_yield i;
    }
}

async_generator<std::size_t> async_below(std::size_t end) {
    for (std::size_t i = 0; i < end; ++i) {
        co_yield i;
    }
}

task<void> read_all(std::size_t count) {
    async_generator<std::size_t> source = async_below(count);
    while (const std::size_t* const value = co_await source.next()) {
        use(*value);
    }
}

void measure_fibers(loop& owner) {
    micro::measure("fiber switch, one way", 200'000, [&](std::size_t count) {
        run(owner, run_fiber([count] {
                for (std::size_t i = 0; i < count; i += 2) {
                    await(out_and_back());
                }
            }));
    });
    micro::measure("fiber made, run and ended", 50'000,
                   [&](std::size_t count) { run(owner, run_empty_fibers(count)); });
    micro::measure("fiber awaits a child task", 100'000, [&](std::size_t count) {
        run(owner, run_fiber([count] {
                for (std::size_t sum = 0; sum < count;) {
                    sum = await(child(sum));
                }
            }));
    });
    micro::measure("fiber yields through the ready queue", 100'000, [&](std::size_t count) {
        run(owner, run_fiber([count] {
                for (std::size_t i = 0; i < count; ++i) {
                    await(yield_now());
                }
            }));
    });
}

void measure_generators(loop& owner) {
    micro::measure("generator yield", 500'000, [](std::size_t count) {
        for (const std::size_t each : below(count)) {
            use(each);
        }
    });
    micro::measure("async_generator next", 500'000,
                   [&](std::size_t count) { run(owner, read_all(count)); });
}

// `stages` takes the source's side and gives a pipeline without its sink.
template <class Stages>
void measure_pipeline(const char* name, loop& owner, std::size_t items, Stages stages) {
    micro::measure(name, items, [&](std::size_t count) {
        run(owner, stages(from(below(count))) | for_each([](std::size_t each) { use(each); }));
    });
}

void measure_pipelines(loop& owner) {
    auto plus_one = [](std::size_t value) {
        use(value);
        return value + 1;
    };
    measure_pipeline("pipeline of a source and a sink", owner, 200'000,
                     [](auto source) { return source; });
    measure_pipeline("pipeline with a plain map", owner, 200'000,
                     [&](auto source) { return std::move(source) | map(plus_one); });
    measure_pipeline("pipeline with a map that is awaited", owner, 100'000,
                     [](auto source) { return std::move(source) | map(child); });
    measure_pipeline("pipeline with a buffer", owner, 100'000,
                     [](auto source) { return std::move(source) | buffer(64); });
    measure_pipeline("pipeline with an ordered parallel", owner, 50'000,
                     [](auto source) { return std::move(source) | parallel(8, child, ordered); });
}

}  // namespace

int main() {
    loop owner;
    measure_fibers(owner);
    measure_generators(owner);
    measure_pipelines(owner);
}
