// Received bytes: lent by the driver when there are buffers enough, else a copy of their own. The
// memory goes back when the chunk dies. Move-only; loop thread only; must die before the loop.
// An empty chunk (false) means end of stream.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <utility>

#include "core/loop.h"

namespace ringlet {

namespace detail {
std::byte* allocate_piece(std::size_t bytes) noexcept;  // null: no memory
void free_piece(std::byte* piece, std::size_t bytes) noexcept;
}  // namespace detail

class chunk {
public:
    chunk() noexcept = default;
    // Takes over a lent buffer holding `bytes` bytes; copies and gives it back while buffers are
    // scarce, so that a slow consumer cannot starve the others.
    chunk(loop& owner, const lent_buffer& buffer, std::size_t bytes) noexcept
        : chunk(owner, buffer, {buffer.data, bytes}) {}
    // The same of bytes that lie elsewhere in the buffer.
    chunk(loop& owner, const lent_buffer& buffer, std::span<std::byte> bytes) noexcept
        : data_(bytes.data()), bytes_(bytes.size()), loop_(&owner), buffer_(buffer) {
        if (owner.driver().buffers_scarce()) {
            own();
        }
    }
    // Memory of its own, to be filled through `data`.
    explicit chunk(std::size_t bytes) : data_(detail::allocate_piece(bytes)), bytes_(bytes) {
        if (data_ == nullptr) {
            throw std::bad_alloc();
        }
    }
    // A copy of `bytes`.
    explicit chunk(std::span<const std::byte> bytes) : chunk(bytes.size()) {
        std::copy(bytes.begin(), bytes.end(), data_);
    }
    chunk(chunk&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)),
          bytes_(std::exchange(other.bytes_, 0)),
          loop_(std::exchange(other.loop_, nullptr)),
          buffer_(other.buffer_) {}
    chunk& operator=(chunk&& other) noexcept {
        if (this != &other) {
            release();
            new (this) chunk(std::move(other));
        }
        return *this;
    }
    ~chunk() { release(); }

    explicit operator bool() const noexcept { return bytes_ != 0; }
    std::size_t size() const noexcept { return bytes_; }
    std::byte* data() noexcept { return data_; }
    std::span<const std::byte> bytes() const noexcept { return {data_, bytes_}; }
    std::string_view text() const noexcept {
        return {reinterpret_cast<const char*>(data_), bytes_};
    }
    operator std::span<const std::byte>() const noexcept { return bytes(); }

private:
    // Without memory for a copy the buffer stays lent: nothing may get lost.
    void own() noexcept {
        auto* const copy = detail::allocate_piece(bytes_);
        if (copy == nullptr) {
            return;
        }
        std::memcpy(copy, data_, bytes_);
        release();
        data_ = copy;
    }
    void release() noexcept {
        if (loop_ != nullptr) {
            loop_->give_back(buffer_);
            loop_ = nullptr;
        } else {
            detail::free_piece(data_, bytes_);
        }
        data_ = nullptr;
    }

    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
    loop* loop_ = nullptr;  // null: data_ is our own
    lent_buffer buffer_;
};

}  // namespace ringlet
