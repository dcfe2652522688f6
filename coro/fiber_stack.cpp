#include "coro/fiber_stack.h"

#include <sys/mman.h>

#include <bit>
#include <cerrno>
#include <new>
#include <string>
#include <utility>

#include "core/config.h"
#include "core/result.h"

extern "C" void __asan_unpoison_memory_region(const volatile void* address, std::size_t bytes);

namespace ringlet::detail {
namespace {

// The power of two that is at least `bytes`.
constexpr int power_of(std::size_t bytes) noexcept {
    return static_cast<int>(std::bit_width(bytes - 1));
}

constexpr int class_first = power_of(fiber_stacks::stack_bytes_min);
constexpr int class_count = power_of(fiber_stacks::stack_bytes_max) - class_first + 1;

// At the top of a kept stack.
struct kept_stack {
    kept_stack* next;
    std::size_t depth;  // of the list from here
};

// Has no destructor, as the pool of frames: fibers may end while a thread does.
struct stack_pool {
    kept_stack* free[class_count];  // by size
    bool watched;                   // somebody empties it when the thread ends
    bool ended;                     // the thread ends: nothing is kept any more
};

constinit thread_local stack_pool pool = {};

std::size_t class_bytes(int index) noexcept { return std::size_t{1} << (class_first + index); }

int class_of(std::size_t bytes) noexcept {
    return bytes <= fiber_stacks::stack_bytes_min ? 0 : power_of(bytes) - class_first;
}

void unmap(const fiber_stack& stack) noexcept {
    ::munmap(stack.lowest - fiber_stacks::guard_bytes, stack.bytes + fiber_stacks::guard_bytes);
}

struct pool_end {
    ~pool_end() {
        pool.ended = true;
        for (int index = 0; index < class_count; ++index) {
            while (kept_stack* const top = pool.free[index]) {
                pool.free[index] = top->next;
                const std::size_t bytes = class_bytes(index);
                unmap({reinterpret_cast<std::byte*>(top + 1) - bytes, bytes});
            }
        }
    }
};

fiber_stack map(std::size_t bytes) {
    const std::size_t all = bytes + fiber_stacks::guard_bytes;
    // The guard is what is left without access.
    void* const memory = ::mmap(nullptr, all, PROT_NONE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory != MAP_FAILED) {
        auto* const lowest = static_cast<std::byte*>(memory) + fiber_stacks::guard_bytes;
        if (::mprotect(lowest, bytes, PROT_READ | PROT_WRITE) == 0) {
            return {lowest, bytes};
        }
        const int number = errno;
        ::munmap(memory, all);
        errno = number;
    }
    const std::error_code cause = system_code(errno);
    throw error(cause, "a fiber's stack of " + std::to_string(bytes) +
                           " bytes cannot be had (see vm.max_map_count)");
}

}  // namespace

fiber_stack fiber_stacks::take(std::size_t bytes) {
    if (bytes > stack_bytes_max) {
        throw error(std::make_error_code(std::errc::invalid_argument),
                    "a fiber's stack has at most " + std::to_string(stack_bytes_max) +
                        " bytes, and " + std::to_string(bytes) + " were asked for");
    }
    const int index = class_of(bytes);
    const std::size_t size = class_bytes(index);
    kept_stack* const top = pool.free[index];
    if (top == nullptr) {
        return map(size);
    }
    pool.free[index] = top->next;
    return {reinterpret_cast<std::byte*>(top + 1) - size, size};
}

void fiber_stacks::give_back(const fiber_stack& stack) noexcept {
    if constexpr (address_sanitizer) {
        // The frames that were never left have marked their surroundings.
        __asan_unpoison_memory_region(stack.lowest, stack.bytes);
    }
    if (!pool.watched) {
        pool.watched = true;
        thread_local pool_end end;
        static_cast<void>(&end);
    }
    const std::size_t others = kept(stack.bytes);
    if (pool.ended || others >= kept_max) {
        unmap(stack);
        return;
    }
    if (others >= warm_max && stack.bytes > cold_bytes) {
        // Not MADV_FREE: that leaves the memory on this process's account until others need it.
        ::madvise(stack.lowest, stack.bytes - cold_bytes, MADV_DONTNEED);
    }
    kept_stack*& head = pool.free[class_of(stack.bytes)];
    head = new (stack.top() - sizeof(kept_stack)) kept_stack{head, others + 1};
}

std::size_t fiber_stacks::kept(std::size_t bytes) noexcept {
    const kept_stack* const top = pool.free[class_of(bytes)];
    return top == nullptr ? 0 : top->depth;
}

}  // namespace ringlet::detail
