// Where coroutine frames come from: per thread, one list of free blocks per size class, so that a
// task costs no malloc in the steady state. Blocks larger than the largest class, and every block
// under AddressSanitizer (which must see each frame die), go to operator new.
// A frame may be freed by another thread than the one that made it, also while a thread ends.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

#include "core/config.h"

namespace ringlet::detail {

constexpr bool frames_pooled = !address_sanitizer;

// Has no destructor: an object that needs none is reached without a check, and frames are freed
// also while the other objects of a thread are destroyed.
struct frame_pool {
    static constexpr std::size_t class_bytes = 64;
    static constexpr std::size_t class_count = 32;              // up to 2 KiB
    static constexpr std::size_t free_blocks_max = 16 * 1024;  // kept per class

    struct free_block {
        free_block* next;
        std::size_t depth;  // of the list from here; a counter of its own would cost more
    };
    enum class phase : unsigned char {
        unused,  // nothing was freed in this thread yet
        used,
        ended  // the thread ends: nothing is kept any more
    };

    free_block* free[class_count];
    phase state;
};

extern constinit thread_local frame_pool local_frame_pool;

void* allocate_block(std::size_t bytes);
void free_block(void* block) noexcept;

inline void* allocate_frame(std::size_t bytes) {
    const std::size_t index = (bytes - 1) / frame_pool::class_bytes;
    if (!frames_pooled || index >= frame_pool::class_count) [[unlikely]] {
        return allocate_block(bytes);
    }
    frame_pool::free_block*& head = local_frame_pool.free[index];
    if (head == nullptr) [[unlikely]] {
        return allocate_block((index + 1) * frame_pool::class_bytes);
    }
    return std::exchange(head, head->next);
}

inline void free_frame(void* frame, std::size_t bytes) noexcept {
    const std::size_t index = (bytes - 1) / frame_pool::class_bytes;
    if (!frames_pooled || index >= frame_pool::class_count) [[unlikely]] {
        free_block(frame);
        return;
    }
    frame_pool& mine = local_frame_pool;
    frame_pool::free_block* const head = mine.free[index];
    if (head == nullptr ? mine.state != frame_pool::phase::used
                        : head->depth == frame_pool::free_blocks_max) [[unlikely]] {
        free_block(frame);
        return;
    }
    mine.free[index] = new (frame)
        frame_pool::free_block{head, head == nullptr ? 1 : head->depth + 1};
}

// Base of small objects that come and go as often as frames do.
struct pooled {
    static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept {
        free_frame(memory, bytes);
    }
};

}  // namespace ringlet::detail
