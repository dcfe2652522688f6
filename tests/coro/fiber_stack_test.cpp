#include "coro/fiber_stack.h"

#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "core/result.h"
#include "coro/fiber.h"
#include "coro/gather.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using detail::fiber_stack;
using detail::fiber_stacks;

namespace {

// What the kernel says about the access to an address, as "rw-p"; "none" when nothing is there.
std::string access_of(const void* address) {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        std::istringstream words(line);
        std::uintptr_t first = 0;
        std::uintptr_t end = 0;
        char dash = 0;
        std::string access;
        words >> std::hex >> first >> dash >> end >> access;
        if (first <= at && at < end) {
            return access;
        }
    }
    return "none";
}

// Bytes of this process's mappings at and above `lowest` that are in memory.
std::size_t resident_bytes(const fiber_stack& stack) {
    std::ifstream maps("/proc/self/smaps");
    bool inside = false;
    for (std::string line; std::getline(maps, line);) {
        std::istringstream words(line);
        std::uintptr_t first = 0;
        std::uintptr_t end = 0;
        char dash = 0;
        if (words >> std::hex >> first >> dash >> end && dash == '-') {
            const auto at = reinterpret_cast<std::uintptr_t>(stack.lowest);
            inside = first <= at && at < end;
        } else if (inside && line.rfind("Rss:", 0) == 0) {
            return std::stoul(line.substr(4)) * 1024;
        }
    }
    return 0;
}

// Uses stack until there is none.
int fall(int depth) {
    volatile char local[256];
    local[0] = static_cast<char>(depth);
    return depth < 0 ? local[0] : fall(depth + 1) + local[0];
}

void report_fault(int, siginfo_t* what, void*) {
    const std::string access = access_of(what->si_addr);
    static_cast<void>(!::write(2, access.data(), access.size()));
    std::abort();
}

// Each thread has pools of its own, so a thread of its own starts with empty ones.
template <class Story>
void in_new_thread(Story story) {
    std::thread(story).join();
}

}  // namespace

TEST_SUITE_BEGIN("coro fiber_stack");

TEST_CASE("a stack has at least the size asked for, is aligned, and can be written to its ends") {
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{16 * 1024},
                                    std::size_t{16 * 1024 + 1}, std::size_t{3'000'000}}) {
        const fiber_stack stack = fiber_stacks::take(bytes);
        CHECK(stack.bytes >= bytes);
        CHECK(stack.bytes >= fiber_stacks::stack_bytes_min);
        CHECK(reinterpret_cast<std::uintptr_t>(stack.top()) % 64 == 0);
        std::memset(stack.lowest, 1, 64);
        std::memset(stack.top() - 64, 1, 64);
        fiber_stacks::give_back(stack);
    }
}

TEST_CASE("below a stack lies a guard without access") {
    const fiber_stack stack = fiber_stacks::take(64 * 1024);
    CHECK(access_of(stack.lowest).substr(0, 3) == "rw-");
    CHECK(access_of(stack.lowest - 1).substr(0, 3) == "---");
    CHECK(access_of(stack.lowest - fiber_stacks::guard_bytes).substr(0, 3) == "---");
    fiber_stacks::give_back(stack);
}

TEST_CASE("a size beyond the maximum is refused, the maximum itself can be had") {
    CHECK_THROWS_AS(fiber_stacks::take(fiber_stacks::stack_bytes_max + 1), error);
    CHECK_THROWS_AS(fiber_stacks::take(SIZE_MAX), error);
    in_new_thread([] {
        const fiber_stack stack = fiber_stacks::take(fiber_stacks::stack_bytes_max);
        CHECK(stack.bytes == fiber_stacks::stack_bytes_max);
        fiber_stacks::give_back(stack);
    });
}

TEST_CASE("a stack is used again, by size, and another thread has its own") {
    in_new_thread([] {
        const fiber_stack first = fiber_stacks::take(64 * 1024);
        fiber_stacks::give_back(first);
        CHECK(fiber_stacks::kept(64 * 1024) == 1);
        CHECK(fiber_stacks::kept(128 * 1024) == 0);
        in_new_thread([] { CHECK(fiber_stacks::kept(64 * 1024) == 0); });
        const fiber_stack other = fiber_stacks::take(128 * 1024);
        CHECK(other.lowest != first.lowest);
        const fiber_stack again = fiber_stacks::take(64 * 1024);
        CHECK(again.lowest == first.lowest);
        CHECK(fiber_stacks::kept(64 * 1024) == 0);
        fiber_stacks::give_back(other);
        fiber_stacks::give_back(again);
    });
}

TEST_CASE("no more stacks are kept than the limit, and most of them without their memory") {
    in_new_thread([] {
        std::vector<fiber_stack> all;
        for (std::size_t i = 0; i < fiber_stacks::kept_max + 10; ++i) {
            all.push_back(fiber_stacks::take(256 * 1024));
            std::memset(all.back().lowest, 1, all.back().bytes);
        }
        for (const fiber_stack& each : all) {
            fiber_stacks::give_back(each);
        }
        CHECK(fiber_stacks::kept(256 * 1024) == fiber_stacks::kept_max);
        CHECK(resident_bytes(all.front()) == all.front().bytes);
        CHECK(resident_bytes(all[fiber_stacks::warm_max]) <= fiber_stacks::cold_bytes);
        CHECK(access_of(all.back().lowest) == "none");
        // Cold ones are whole again when they are used.
        std::vector<fiber_stack> again;
        while (fiber_stacks::kept(256 * 1024) > 0) {
            again.push_back(fiber_stacks::take(256 * 1024));
            std::memset(again.back().lowest, 2, again.back().bytes);
        }
        for (const fiber_stack& each : again) {
            fiber_stacks::give_back(each);
        }
    });
}

TEST_CASE("a thread that ends gives its stacks back") {
    fiber_stack seen;
    in_new_thread([&] {
        seen = fiber_stacks::take(1024 * 1024);
        fiber_stacks::give_back(seen);
        CHECK(access_of(seen.lowest).substr(0, 3) == "rw-");
    });
    CHECK(access_of(seen.lowest) == "none");
}

TEST_CASE("stacks that the kernel refuses are an error that names the limit") {
    if (detail::address_sanitizer || detail::thread_sanitizer) {
        return;  // they map terabytes of their own
    }
    const std::string words = test::last_words([] {
        const rlimit little{rlim_t{256} * 1024 * 1024, rlim_t{256} * 1024 * 1024};
        ::setrlimit(RLIMIT_AS, &little);
        try {
            fiber_stacks::take(fiber_stacks::stack_bytes_max);
        } catch (const error& failure) {
            ::dprintf(2, "%s", failure.what());
            std::abort();
        }
    });
    CHECK(contains(words, "a fiber's stack of 1073741824 bytes cannot be had"));
    CHECK(contains(words, "vm.max_map_count"));
}

TEST_CASE("each thread has its own fibers and stacks") {
    auto story = []() -> task<int> {
        std::vector<task<int>> all;
        for (int i = 0; i < 50; ++i) {
            all.push_back(run_fiber([] {
                await(yield_now());
                return 1;
            }));
        }
        const std::vector<int> ones = co_await gather(std::move(all));
        co_return static_cast<int>(ones.size());
    };
    std::vector<std::thread> threads;
    std::atomic<int> sum{0};
    for (int i = 0; i < 3; ++i) {
        if (detail::thread_sanitizer && driver_name() == "uring" && !threads.empty()) {
            // It does not see the kernel map a ring where one of another thread was.
            threads.back().join();
            threads.pop_back();
        }
        threads.emplace_back([&] {
            for (int round = 0; round < 3; ++round) {
                sum += play(story());
            }
            CHECK(fiber_stacks::kept(fiber_options().stack_bytes) == 50);
        });
    }
    for (std::thread& each : threads) {
        each.join();
    }
    CHECK(sum == 450);
}

TEST_CASE("a fiber that overflows its stack hits the guard, and nothing else") {
    if (detail::address_sanitizer || detail::thread_sanitizer) {
        return;  // their own handlers come first
    }
    const std::string words = test::last_words([] {
        static char handler_stack[64 * 1024];
        const stack_t elsewhere{handler_stack, 0, sizeof handler_stack};
        ::sigaltstack(&elsewhere, nullptr);
        struct sigaction handle {};
        handle.sa_sigaction = &report_fault;
        handle.sa_flags = SA_SIGINFO | SA_ONSTACK;
        ::sigaction(SIGSEGV, &handle, nullptr);
        auto story = []() -> task<int> { co_return co_await run_fiber([] { return fall(0); }); };
        play(story());
    });
    CHECK(words.substr(0, 3) == "---");
}

TEST_SUITE_END();
