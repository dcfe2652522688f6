// The buffers that the epoll driver lends to receives: made when first needed, and the one given
// back last is lent first, so that a batch of receives goes through one hot buffer. Pages are
// touched only as far as data was written into them. Loop thread only; `take` fails softly, giving
// back what is not lent ends the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "core/operation.h"

namespace ringlet::detail {

class epoll_buffers {
public:
    static constexpr std::size_t bytes = 64 * 1024;  // of each; also the cap of one receive
    static constexpr std::size_t count_max = 1024;

    epoll_buffers() {
        buffers_.reserve(count_max);
        free_.reserve(count_max);
    }

    bool dry() const noexcept { return free_.empty() && buffers_.size() == count_max; }
    std::size_t lent() const noexcept { return buffers_.size() - free_.size(); }

    // A buffer; its data is null when none can be had.
    lent_buffer take() noexcept {
        if (free_.empty() && !grow()) {
            return {};
        }
        const std::uint16_t id = free_.back();
        free_.pop_back();
        buffers_[id].free = false;
        return {buffers_[id].data.get() + lent_buffer::room_before, id, 0};
    }

    // Requires: lent.
    void give_back(std::uint16_t id) noexcept {
        RINGLET_REQUIRE(id < buffers_.size() && !buffers_[id].free,
                        "a buffer was given back that is not lent");
        buffers_[id].free = true;
        free_.push_back(id);
    }

private:
    struct slot {
        std::unique_ptr<std::byte[]> data;
        bool free;
    };

    bool grow() noexcept {
        if (buffers_.size() == count_max) {
            return false;
        }
        std::unique_ptr<std::byte[]> data(
            new (std::nothrow) std::byte[lent_buffer::room_before + bytes]);
        if (!data) {
            return false;
        }
        free_.push_back(static_cast<std::uint16_t>(buffers_.size()));
        buffers_.push_back({std::move(data), true});
        return true;
    }

    std::vector<slot> buffers_;
    std::vector<std::uint16_t> free_;
};

}  // namespace ringlet::detail
