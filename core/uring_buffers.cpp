#include "core/uring_buffers.h"

#include <sys/mman.h>

#include <cerrno>

#include "core/config.h"

namespace ringlet::detail {
namespace {

constexpr unsigned count_max = 256;

void* map(std::size_t bytes) noexcept {
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? nullptr : at;
}

int offer(io_uring& ring, std::uint16_t group, void* entries, unsigned count) noexcept {
    io_uring_buf_reg request = {};
    request.ring_addr = reinterpret_cast<std::uintptr_t>(entries);
    request.ring_entries = count;
    request.bgid = group;
    return io_uring_register_buf_ring(&ring, &request, 0);
}

}  // namespace

uring_buffers::~uring_buffers() {
    if (ring_ != nullptr) {
        ::munmap(ring_, count_ * sizeof(io_uring_buf));
        ::munmap(memory_, count_ * stride());
    }
}

int uring_buffers::set_up(io_uring& ring, std::uint16_t group, unsigned count,
                          std::size_t bytes) noexcept {
    RINGLET_REQUIRE(count <= count_max, "a ring of buffers was asked for that is too long");
    void* const entries = map(count * sizeof(io_uring_buf));
    const std::size_t memory_bytes = count * (lent_buffer::room_before + bytes);
    void* const memory = map(memory_bytes);
    const int status = entries == nullptr || memory == nullptr
                           ? -ENOMEM
                           : offer(ring, group, entries, count);
    if (status != 0) {
        if (entries != nullptr) {
            ::munmap(entries, count * sizeof(io_uring_buf));
        }
        if (memory != nullptr) {
            ::munmap(memory, memory_bytes);
        }
        return status;
    }
    ring_ = static_cast<io_uring_buf_ring*>(entries);
    memory_ = static_cast<std::byte*>(memory);
    bytes_ = bytes;
    count_ = count;
    lent_ = count;
    for (unsigned id = 0; id < count; ++id) {
        give_back(static_cast<std::uint16_t>(id));
    }
    return 0;
}

int uring_buffers::register_with(io_uring& ring, std::uint16_t group) noexcept {
    return offer(ring, group, ring_, count_);
}

// The kernel takes buffers in the order of the ring, so those it has not taken are the last ones
// before the tail. A new ring begins to read at place 0.
void uring_buffers::restock(unsigned named) noexcept {
    const unsigned left = count_ - lent_ - named;
    const unsigned mask = count_ - 1;
    std::uint16_t ids[count_max];
    for (unsigned i = 0; i < left; ++i) {
        ids[i] = ring_->bufs[(ring_->tail - left + i) & mask].bid;
    }
    ring_->tail = 0;
    for (unsigned i = 0; i < left; ++i) {
        io_uring_buf_ring_add(ring_, at(ids[i]), static_cast<unsigned>(bytes_), ids[i],
                              static_cast<int>(mask), static_cast<int>(i));
    }
    io_uring_buf_ring_advance(ring_, static_cast<int>(left));
}

void uring_buffers::give_back(std::uint16_t id) noexcept {
    io_uring_buf_ring_add(ring_, at(id), static_cast<unsigned>(bytes_), id,
                          static_cast<int>(count_ - 1), 0);
    io_uring_buf_ring_advance(ring_, 1);
    --lent_;
}

}  // namespace ringlet::detail
