// Where coroutine frames come from: per thread, one list of free blocks per size class, so that a
// task costs no malloc in the steady state. Blocks larger than the largest class, and every block
// under AddressSanitizer (which must see each frame die), go to operator new.
// A frame may be freed by another thread than the one that made it, also while a thread ends.
#pragma once

#include <cstddef>

namespace ringlet::detail {

void* allocate_frame(std::size_t bytes);
void free_frame(void* frame, std::size_t bytes) noexcept;

// Base of small objects that come and go as often as frames do.
struct pooled {
    static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept {
        free_frame(memory, bytes);
    }
};

}  // namespace ringlet::detail
