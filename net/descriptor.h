// A real descriptor (pipe, file, datagram socket) with one owner, which closes it through the
// loop's driver. Move-only; loop thread only. While a coroutine waits for an operation on it, it
// may be neither closed nor moved nor given away: trying to ends the program with a sentence.
#pragma once

#include <utility>

#include "core/file_operation.h"
#include "core/loop.h"
#include "coro/suspension.h"

namespace ringlet {

using file_operation_wait = basic_operation_wait<file_operation>;

class owned_descriptor {
public:
    owned_descriptor() noexcept = default;
    owned_descriptor(ringlet::loop& owner, int fd) noexcept : loop_(&owner), fd_(fd) {}
    owned_descriptor(owned_descriptor&& other) noexcept
        : loop_(other.loop_), fd_((other.require_idle(), std::exchange(other.fd_, -1))) {}
    owned_descriptor& operator=(owned_descriptor&& other) noexcept {
        require_idle();
        other.require_idle();
        std::swap(loop_, other.loop_);
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~owned_descriptor() { close(); }

    explicit operator bool() const noexcept { return fd_ >= 0; }
    int get() const noexcept { return fd_; }
    // Requires: holds a descriptor.
    ringlet::loop& loop() const noexcept { return *loop_; }

    void close() noexcept {
        if (fd_ >= 0) {
            require_idle();
            loop_->driver().close(std::exchange(fd_, -1));
        }
    }
    // The caller's from here on; the loop forgets it.
    int release() noexcept {
        require_idle();
        if (fd_ >= 0) {
            loop_->driver().release(fd_);
        }
        return std::exchange(fd_, -1);
    }

    // Lives as long as a coroutine uses the descriptor.
    class use {
    public:
        explicit use(owned_descriptor& used) : used_(used) {
            if (!used) {
                throw error(errc::closed);
            }
            ++used.users_;
        }
        use(const use&) = delete;
        use& operator=(const use&) = delete;
        ~use() { --used_.users_; }

    private:
        owned_descriptor& used_;
    };
    bool in_use() const noexcept { return users_ != 0; }

private:
    void require_idle() const noexcept {
        RINGLET_REQUIRE(users_ == 0,
                        "a descriptor was closed or moved while a coroutine waits for it");
    }

    ringlet::loop* loop_ = nullptr;
    int fd_ = -1;
    unsigned users_ = 0;
};

}  // namespace ringlet
