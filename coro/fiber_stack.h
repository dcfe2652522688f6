// Where the stacks of fibers come from: mapped memory, of which only the pages that are used cost
// anything, above a guard that ends the program with SIGSEGV when a stack overflows. Ended fibers'
// stacks are kept per thread for the next ones: some with the memory they used, more of them with
// little else than their addresses, and no more than that. Each thread gives back what it took.
//
// Each stack is two mappings to the kernel, and a process may have 65530 of them (the sysctl
// vm.max_map_count): about 32,000 fibers at a time.
#pragma once

#include <cstddef>

namespace ringlet::detail {

struct fiber_stack {
    std::byte* lowest = nullptr;  // the guard lies right below
    std::size_t bytes = 0;        // used from the highest address down

    std::byte* top() const noexcept { return lowest + bytes; }
};

struct fiber_stacks {
    // Wide, because a function with large local variables can jump over a narrow one.
    static constexpr std::size_t guard_bytes = 64 * 1024;
    static constexpr std::size_t stack_bytes_min = 16 * 1024;
    static constexpr std::size_t stack_bytes_max = 1024 * 1024 * 1024;
    // Of each size and in each thread:
    static constexpr std::size_t warm_max = 16;           // kept with their memory
    static constexpr std::size_t kept_max = 256;          // kept at all
    static constexpr std::size_t cold_bytes = 16 * 1024;  // of memory left to the other ones

    // At least `bytes`: sizes are powers of two. Throws `error` for a size beyond the maximum or
    // when the kernel has no more.
    static fiber_stack take(std::size_t bytes);
    static void give_back(const fiber_stack& stack) noexcept;
    // Kept in this thread now, of that size.
    static std::size_t kept(std::size_t bytes) noexcept;
};

}  // namespace ringlet::detail
