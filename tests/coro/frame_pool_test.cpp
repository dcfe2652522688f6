#include "coro/frame_pool.h"

#include <cstdint>
#include <cstring>
#include <thread>

#include "tests/coro/stories.h"

using namespace ringlet;
using detail::allocate_frame;
using detail::frame_pool;
using detail::free_frame;

TEST_SUITE_BEGIN("coro frame_pool");

TEST_CASE("blocks of every size are apart from each other and can be written whole") {
    std::vector<std::pair<char*, std::size_t>> blocks;
    for (std::size_t bytes = 1; bytes < 3000; bytes += 37) {
        auto* const block = static_cast<char*>(allocate_frame(bytes));
        CHECK(reinterpret_cast<std::uintptr_t>(block) % __STDCPP_DEFAULT_NEW_ALIGNMENT__ == 0);
        std::memset(block, static_cast<int>(bytes & 0x7f), bytes);
        blocks.emplace_back(block, bytes);
    }
    for (const auto& [block, bytes] : blocks) {
        CHECK(block[0] == static_cast<char>(bytes & 0x7f));
        CHECK(block[bytes - 1] == static_cast<char>(bytes & 0x7f));
        free_frame(block, bytes);
    }
}

TEST_CASE("a freed block is the next one given for its size class") {
    if (!detail::frames_pooled) {
        return;
    }
    free_frame(allocate_frame(100), 100);  // the first one freed in a thread is not kept
    void* const first = allocate_frame(100);
    free_frame(first, 100);
    void* const again = allocate_frame(128);
    CHECK(again == first);
    void* const other_class = allocate_frame(129);
    CHECK(other_class != first);
    free_frame(again, 128);
    free_frame(other_class, 129);
}

TEST_CASE("no more free blocks are kept per class than the limit") {
    if (!detail::frames_pooled) {
        return;
    }
    constexpr std::size_t over = frame_pool::free_blocks_max + 100;
    std::vector<void*> blocks;
    for (std::size_t i = 0; i < over; ++i) {
        blocks.push_back(allocate_frame(1900));
    }
    for (void* const block : blocks) {
        free_frame(block, 1900);
    }
    const std::size_t index = 1899 / frame_pool::class_bytes;
    CHECK(detail::local_frame_pool.free[index]->depth == frame_pool::free_blocks_max);
}

TEST_CASE("a block may be freed in another thread, also while that thread ends") {
    void* const block = allocate_frame(200);
    void* const late = allocate_frame(200);
    struct frees_late {
        void* frame = nullptr;
        ~frees_late() {
            if (frame != nullptr) {
                free_frame(frame, 200);
            }
        }
    };
    std::thread other([&] {
        thread_local frees_late at_the_end;  // made before the pool's own end, so destroyed after
        at_the_end.frame = late;
        free_frame(block, 200);
        for (int i = 0; i < 10; ++i) {
            free_frame(allocate_frame(200), 200);
        }
    });
    other.join();
}

TEST_SUITE_END();
