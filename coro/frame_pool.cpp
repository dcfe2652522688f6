#include "coro/frame_pool.h"

#include <new>

namespace ringlet::detail {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool frames_pooled = false;
#elif defined(__has_feature)
constexpr bool frames_pooled = !__has_feature(address_sanitizer);
#else
constexpr bool frames_pooled = true;
#endif

constexpr std::size_t class_bytes = 64;
constexpr std::size_t class_count = 32;          // up to 2 KiB
constexpr unsigned free_blocks_max = 16 * 1024;  // kept per class

struct free_block {
    free_block* next;
};

// Has no destructor: frames are freed also while a thread's other objects are destroyed, and an
// object that needs no destruction is reached without a check. `blocks_max` is 0 until something
// has been freed in this thread, and again when the thread ends.
struct pool {
    free_block* free[class_count];
    unsigned count[class_count];
    unsigned blocks_max;
    bool emptied_at_end;
};

constinit thread_local pool local_pool = {};

struct emptying_at_end {
    ~emptying_at_end() {
        local_pool.blocks_max = 0;
        for (free_block*& list : local_pool.free) {
            while (list != nullptr) {
                free_block* const block = list;
                list = block->next;
                ::operator delete(block);
            }
        }
    }
};

std::size_t class_of(std::size_t bytes) noexcept { return (bytes - 1) / class_bytes; }

// The first block freed in a thread, or one too many.
void free_unkept(void* frame) noexcept {
    if (!local_pool.emptied_at_end) {
        thread_local emptying_at_end at_end;
        static_cast<void>(&at_end);
        local_pool.emptied_at_end = true;
        local_pool.blocks_max = free_blocks_max;
    }
    ::operator delete(frame);
}

}  // namespace

void* allocate_frame(std::size_t bytes) {
    const std::size_t index = class_of(bytes);
    if (!frames_pooled || index >= class_count) {
        return ::operator new(bytes);
    }
    pool& mine = local_pool;
    if (free_block* const block = mine.free[index]) {
        mine.free[index] = block->next;
        --mine.count[index];
        return block;
    }
    return ::operator new((index + 1) * class_bytes);
}

void free_frame(void* frame, std::size_t bytes) noexcept {
    const std::size_t index = class_of(bytes);
    if (!frames_pooled || index >= class_count) {
        ::operator delete(frame);
        return;
    }
    pool& mine = local_pool;
    if (mine.count[index] >= mine.blocks_max) {
        free_unkept(frame);
        return;
    }
    auto* const block = static_cast<free_block*>(frame);
    block->next = mine.free[index];
    mine.free[index] = block;
    ++mine.count[index];
}

}  // namespace ringlet::detail
