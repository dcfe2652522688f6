// A ring of receive buffers shared with the kernel (IORING_REGISTER_PBUF_RING). The kernel takes a
// buffer when data arrives and names it in the completion; give_back returns it. Small and hot:
// pages are touched only as far as data was written into them or into the room before it. Loop
// thread only.
#pragma once

#include <liburing.h>

#include <cstddef>
#include <cstdint>

#include "core/operation.h"

namespace ringlet::detail {

class uring_buffers {
public:
    uring_buffers() = default;
    uring_buffers(const uring_buffers&) = delete;
    uring_buffers& operator=(const uring_buffers&) = delete;
    ~uring_buffers();

    // Registers `count` (a power of two) buffers of `bytes` each as group `group`.
    // Returns 0 or -errno. The memory is freed after the ring has been closed, never before.
    int set_up(io_uring& ring, std::uint16_t group, unsigned count, std::size_t bytes) noexcept;
    // The same for another ring that is to go on with these buffers. Nothing has changed until
    // `restock`, which offers it all buffers but those lent and `named` more: those that
    // completions not yet taken name. Requires: the earlier ring has nothing in flight.
    int register_with(io_uring& ring, std::uint16_t group) noexcept;
    void restock(unsigned named) noexcept;
    bool ready() const noexcept { return ring_ != nullptr; }

    std::byte* take(std::uint16_t id) noexcept {
        ++lent_;
        return at(id);
    }
    void give_back(std::uint16_t id) noexcept;

    std::size_t bytes() const noexcept { return bytes_; }
    unsigned count() const noexcept { return count_; }
    unsigned lent() const noexcept { return lent_; }

private:
    std::byte* at(std::uint16_t id) const noexcept {
        return memory_ + id * stride() + lent_buffer::room_before;
    }
    std::size_t stride() const noexcept { return lent_buffer::room_before + bytes_; }

    io_uring_buf_ring* ring_ = nullptr;
    std::byte* memory_ = nullptr;
    std::size_t bytes_ = 0;
    unsigned count_ = 0;
    unsigned lent_ = 0;
};

}  // namespace ringlet::detail
