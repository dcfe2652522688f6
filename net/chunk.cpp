#include "net/chunk.h"

#include <new>

#include "coro/frame_pool.h"

namespace ringlet::detail {
namespace {

// Blocks in use move between chunks. Taken from the heap each time, they would make its end rise
// and fall, and each rise is new pages for the kernel to clear.
constexpr std::size_t block_bytes = 16 * 1024;  // a TLS record, a small buffer of the driver's
constexpr std::size_t block_bytes_min = 2 * 1024;
constexpr std::size_t spare_blocks_max = 64;

struct spare_list {
    ~spare_list() {
        while (count > 0) {
            delete[] blocks[--count];
        }
    }
    std::byte* blocks[spare_blocks_max];
    std::size_t count = 0;
};
thread_local spare_list spare_blocks;

bool in_block(std::size_t bytes) noexcept {
    return frames_pooled && bytes >= block_bytes_min && bytes <= block_bytes;
}

}  // namespace

std::byte* allocate_piece(std::size_t bytes) noexcept {
    if (in_block(bytes) && spare_blocks.count > 0) {
        return spare_blocks.blocks[--spare_blocks.count];
    }
    return new (std::nothrow) std::byte[in_block(bytes) ? block_bytes : bytes];
}

void free_piece(std::byte* piece, std::size_t bytes) noexcept {
    if (in_block(bytes) && spare_blocks.count < spare_blocks_max) {
        spare_blocks.blocks[spare_blocks.count++] = piece;
    } else {
        delete[] piece;
    }
}

}  // namespace ringlet::detail
