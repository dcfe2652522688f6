#include "coro/frame_pool.h"

namespace ringlet::detail {

constinit thread_local frame_pool local_frame_pool = {};

namespace {

struct pool_end {
    ~pool_end() {
        local_frame_pool.state = frame_pool::phase::ended;
        for (frame_pool::free_block*& list : local_frame_pool.free) {
            while (list != nullptr) {
                ::operator delete(std::exchange(list, list->next));
            }
        }
    }
};

}  // namespace

void* allocate_block(std::size_t bytes) { return ::operator new(bytes); }

void free_block(void* block) noexcept {
    if (local_frame_pool.state == frame_pool::phase::unused) {
        thread_local pool_end end;
        static_cast<void>(&end);
        local_frame_pool.state = frame_pool::phase::used;
    }
    ::operator delete(block);
}

}  // namespace ringlet::detail
