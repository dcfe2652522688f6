// A connected stream for coroutines; `tcp_stream` is one over TCP. Move-only; closing is its
// destruction: what is in flight is cancelled, and the descriptor closed once the kernel has let go
// of it. One coroutine may receive while another sends; two of a kind at once end the program with
// a sentence.
// Every wait can be cancelled through its job. A cancelled receive loses nothing: the bytes come
// with the next one. A cancelled send may have sent a part.
#pragma once

#include <coroutine>
#include <cstddef>
#include <memory>
#include <span>
#include <system_error>
#include <string_view>
#include <utility>

#include "core/result.h"
#include "coro/job.h"
#include "coro/task.h"
#include "net/address.h"
#include "net/chunk.h"
#include "net/socket_options.h"

namespace ringlet {

class tls_engine;

namespace detail {

class stream_core;
class stream_use;

// A wait of a stream: a node in the awaiting frame, resumed by the stream's completions.
class stream_wait : public waiter {
public:
    explicit stream_wait(stream_core* core) noexcept : core_(core) {}

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        job_ = job_of(handle);
        handle_ = handle;
        if (job_ != nullptr) {
            if (job_->is_cancelled()) {
                code_ = std::make_error_code(std::errc::operation_canceled);
                return false;
            }
            job_->set_waiting(this);
        }
        waiting_ = true;
        begin();
        return true;
    }

    void resume(std::error_code code) noexcept {
        waiting_ = false;
        code_ = code;
        if (job_ != nullptr) {
            job_->set_waiting(nullptr);
        }
        handle_.resume();
    }

protected:
    void describe_as(const char* kind, wait_description& into) const;
    ~stream_wait() {
        RINGLET_REQUIRE(!waiting_, "a coroutine was destroyed while it waits for a stream");
    }
    virtual void begin() noexcept = 0;
    void check() const {
        if (code_) {
            throw_code(code_);
        }
    }

    stream_core* core_;
    std::coroutine_handle<> handle_;
    job* job_ = nullptr;
    std::error_code code_;
    bool waiting_ = false;
};

class receive_wait final : public stream_wait, private work {
public:
    explicit receive_wait(stream_core* core) noexcept : stream_wait(core), work(&run_cancelled) {}
    // A job that was cancelled still gets what is there.
    bool await_ready();
    chunk await_resume() {
        check();
        return std::move(bytes_);
    }
    void resume_with(chunk bytes) noexcept {
        bytes_ = std::move(bytes);
        resume({});
    }
    void describe(wait_description& into) const override;

private:
    void begin() noexcept override;
    void cancel_wait() noexcept override;
    static void run_cancelled(work& item) noexcept;

    chunk bytes_;
};

class send_wait final : public stream_wait {
public:
    send_wait(stream_core* core, std::span<const std::byte> bytes) noexcept
        : stream_wait(core), bytes_(bytes) {}
    bool await_ready() const noexcept { return bytes_.empty(); }
    void await_resume() const { check(); }
    void describe(wait_description& into) const override;

private:
    void begin() noexcept override;
    void cancel_wait() noexcept override;

    std::span<const std::byte> bytes_;
};

// The TLS handshake.
class secure_wait final : public stream_wait, private work {
public:
    secure_wait(stream_core* core, std::unique_ptr<tls_engine> engine) noexcept;
    ~secure_wait();
    bool await_ready() noexcept;
    void await_resume() const;  // the error's text says more of a certificate that was refused

private:
    void begin() noexcept override;
    void cancel_wait() noexcept override;
    static void run_cancelled(work& item) noexcept;

    std::unique_ptr<tls_engine> engine_;
    std::error_code failed_ = std::make_error_code(std::errc::operation_canceled);
};

}  // namespace detail

class stream {
public:
    stream() noexcept = default;
    // Takes over a connected descriptor, also when this throws std::bad_alloc.
    stream(loop& owner, int fd);
    stream(stream&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
    stream& operator=(stream&& other) noexcept {
        std::swap(core_, other.core_);
        return *this;
    }
    ~stream() { close(); }

    explicit operator bool() const noexcept { return core_ != nullptr; }

    // The next bytes, as they come; an empty chunk at end of stream. Resumed in the dispatch step
    // of the turn that brought them. Throws `error` when the connection fails.
    detail::receive_wait receive() noexcept { return detail::receive_wait(core_); }
    // All of `bytes`, which must stay in place until this ends. Throws `error`.
    detail::send_wait send(std::span<const std::byte> bytes) noexcept {
        return {core_, bytes};
    }
    detail::send_wait send(std::string_view text) noexcept {
        return {core_, std::as_bytes(std::span(text.data(), text.size()))};
    }
    // At least one byte into `into`; 0 at end of stream (or when there is no room in `into`).
    task<std::size_t> read_some(std::span<std::byte> into);
    // All of `into`; throws errc::end_of_stream when the peer ends early.
    task<void> read_exactly(std::span<std::byte> into);

    // The peer sees end of stream; receiving goes on.
    void shutdown_send() noexcept;
    // Now, instead of at destruction. `abort` resets the connection. No wait may be in progress.
    void close() noexcept;
    void abort() noexcept;

    // Bytes wait unread, or the stream has ended: a reused connection would not be clean.
    bool readable() const noexcept;

    loop& owner() const noexcept;
    int descriptor() const noexcept;
    socket_options options() const noexcept;
    // Whether TLS stands between these bytes and the socket's.
    bool encrypted() const noexcept;

protected:
    friend class detail::stream_use;
    void require_not_receiving() const noexcept;

    // What tls_stream is made with.
    detail::secure_wait secure(std::unique_ptr<tls_engine> engine) noexcept;
    const tls_engine& tls() const noexcept;

    detail::stream_core* core_ = nullptr;
};

class tcp_stream : public stream {
public:
    using stream::stream;

    address local_address() const noexcept;
    address peer_address() const noexcept;
};

namespace detail {

// Lives as long as a coroutine has operations of its own on a stream's socket: the stream may not
// be closed then. One that sends has the sending direction for itself.
class stream_use {
public:
    stream_use(stream& used, bool sends);
    stream_use(const stream_use&) = delete;
    stream_use& operator=(const stream_use&) = delete;
    ~stream_use();

private:
    stream_core* core_;
    bool sends_;
};

}  // namespace detail

}  // namespace ringlet
