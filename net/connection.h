// The callback floor of every stream: one connected descriptor, at most one receive and one send in
// flight, output collected during a turn and sent by one operation at its end. No coroutine and no
// allocation per message. tcp_stream and the HTTP server stand on it. It may speak TLS: then all
// bytes below are plaintext, and only the few functions that say so differ.
//
// Life: made with `new`; a derived class reacts in on_received / on_end / on_sent; `close` is the
// end: what is in flight is cancelled and waited for, then the descriptor is closed and the object
// deletes itself, from the loop, never inside a call of `close`. No callback comes after `close`.
// Loop thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/loop.h"
#include "net/address.h"
#include "net/chunk.h"

namespace ringlet {

class tls_engine;

class connection {
public:
    // Takes over `fd`, a connected stream socket.
    connection(ringlet::loop& owner, int fd) noexcept;
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;

    ringlet::loop& loop() const noexcept { return loop_; }
    int descriptor() const noexcept { return fd_; }
    address local_address() const noexcept;
    address peer_address() const noexcept;

    // Everything from now on goes through `engine`, `received` first. The handshake begins in this
    // turn and ends with on_secured, or with on_end and its cause. Requires: nothing is being sent.
    void start_tls(std::unique_ptr<tls_engine> engine, std::string received = {});
    // Null when it speaks no TLS.
    tls_engine* tls() const noexcept;
    // The TLS handshake is under way.
    bool securing() const noexcept;

    // Asks for data, until pause_receiving, end of stream or an error. May be called any time.
    void start_receiving() noexcept;
    // Back-pressure. Bytes already on their way may still come.
    void pause_receiving() noexcept;
    bool receiving() const noexcept { return wants_data_; }

    // Bytes appended here are sent at the end of the turn once `flush` was called in it. Requires:
    // no send_from in progress. Throws std::bad_alloc.
    std::string& output();
    void flush() noexcept;
    // Sends straight from the caller's memory, which must stay until on_sent or on_send_failed.
    // Requires: nothing else is being sent.
    void send_from(std::span<const std::byte> bytes) noexcept;
    // Ends what is being sent early. With TLS a record that was begun is still sent.
    void cancel_send() noexcept;
    // True while bytes wait to be taken by the kernel.
    bool sending() const noexcept {
        return send_.active() || !output_.empty() || (tls_ && tls_unsent_bytes() > 0);
    }
    std::size_t unsent_bytes() const noexcept {
        return output_.size() + send_bytes_left_ + (tls_ ? tls_unsent_bytes() : 0);
    }
    // All that the kernel has taken since the connection was made.
    std::uint64_t bytes_sent() const noexcept { return bytes_sent_; }

    // Ends our direction, with TLS by a close_notify; requires that nothing is being sent.
    void shutdown_send() noexcept;
    // See above. The second call does nothing. With TLS the peer gets a close_notify when nothing
    // was left to be sent and the kernel takes it at once; else the peer sees a stream cut short.
    void close() noexcept;
    // The same, but the peer gets a reset instead of an orderly end.
    void abort() noexcept;
    bool closed() const noexcept { return closing_; }

protected:
    virtual ~connection();
    virtual void on_received(chunk bytes) noexcept = 0;
    // Once: the peer ended its direction (no code), or receiving failed. With TLS also: a handshake
    // that failed, and an end without close_notify (tls_errc::truncated).
    virtual void on_end(std::error_code code) noexcept = 0;
    // Everything handed over so far has been taken by the kernel.
    virtual void on_sent() noexcept = 0;
    // Sending failed, or ended early after cancel_send (ECANCELED): a part may have been sent.
    virtual void on_send_failed(std::error_code code) noexcept = 0;
    // The TLS handshake is done.
    virtual void on_secured() noexcept {}

private:
    struct tls_layer;

    struct receive_operation : operation {
        connection& owner;
        explicit receive_operation(connection& c) noexcept;
    };
    struct send_operation : operation {
        connection& owner;
        explicit send_operation(connection& c) noexcept;
    };
    struct deferred_work : work {
        connection& owner;
        explicit deferred_work(connection& c) noexcept;
    };

    void received(const completion& what) noexcept;
    void sent(int result) noexcept;
    void end(std::error_code code) noexcept;
    void start_send(std::span<const std::byte> bytes) noexcept;
    void run_deferred() noexcept;
    void close_after(bool farewell) noexcept;
    void finish_close() noexcept;
    bool idle() const noexcept { return !receive_.active() && !send_.active(); }

    // The same with TLS.
    std::size_t tls_unsent_bytes() const noexcept;
    void tls_begin() noexcept;
    bool tls_handshake() noexcept;
    void tls_received(const completion& what) noexcept;
    std::span<std::byte> tls_decrypt(std::byte* over) noexcept;
    bool tls_encrypt() noexcept;
    bool tls_start_send() noexcept;
    void tls_send() noexcept;
    bool tls_farewell() noexcept;

    ringlet::loop& loop_;
    receive_operation receive_;
    send_operation send_;
    deferred_work deferred_;  // sends what was collected; after the end, deletes
    std::string output_;          // collected in this turn
    std::string sending_;         // the kernel's until the send's completion
    const std::byte* send_at_ = nullptr;
    std::size_t send_bytes_left_ = 0;
    std::uint64_t bytes_sent_ = 0;
    std::unique_ptr<tls_layer> tls_;  // null: none
    int fd_;
    bool wants_data_ = false;
    bool pausing_ = false;  // a cancel of the receive, asked by pause_receiving, is under way
    bool ended_ = false;
    bool closing_ = false;
    bool stop_sending_ = false;
};

}  // namespace ringlet
