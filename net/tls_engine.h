// TLS without a socket: ciphertext and plaintext go in and out as bytes, and whoever owns the
// engine moves them. What is given is read where it lies, and what is to be sent is appended to
// `output`; records are the only buffers in between. tls_stream and the HTTP server stand on it.
//
// A failure is kept in `failure` and is final; the alert that tells the peer is in `output` then.
// Not movable: OpenSSL knows its address. Loop thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "net/tls_context.h"
#include "net/tls_error.h"

struct ssl_st;
struct bio_st;

namespace ringlet {

namespace detail {
struct tls_snapshot;
}

class tls_engine {
public:
    // The server's side.
    explicit tls_engine(const tls_context& context);
    // The client's side. The certificate has to be for `host`, a name or an IP address; a session
    // remembered for it and the port is offered.
    tls_engine(const tls_context& context, std::string_view host, std::uint16_t port);
    tls_engine(const tls_engine&) = delete;
    tls_engine& operator=(const tls_engine&) = delete;
    ~tls_engine();

    // The next ciphertext. It must stay in place until it is taken or other is given; one that was
    // not wholly taken is lost then.
    void give(std::span<const std::byte> ciphertext) noexcept;
    // How much of it has been read. Never less than the plaintext that came of it, which may
    // therefore be written over it, but for a record that began in what was given before: with
    // 16 KiB of room before the input, it may begin there, and all that follows behind it.
    std::size_t taken() const noexcept { return taken_; }

    // Goes on with the handshake as far as the input reaches; true once it is done.
    bool handshake() noexcept;
    bool secured() const noexcept { return secured_; }

    // Decrypts up to the next record with data: how many bytes it holds, 0 when there is none
    // (more input is needed, the peer closed, or it failed).
    std::size_t ready() noexcept;
    // Requires: no more than `ready` said.
    void read(std::span<std::byte> into) noexcept;
    // Encrypts to `output`; false when it has failed. Requires: secured, not closed by us.
    bool write(std::span<const std::byte> plaintext) noexcept;
    // The peer's end of stream. Does nothing before the handshake is done or a second time.
    void close() noexcept;
    bool closed() const noexcept { return closed_; }

    std::string& output() noexcept { return output_; }
    std::error_code failure() const noexcept { return failure_; }
    // The peer said close_notify.
    bool peer_closed() const noexcept { return peer_closed_; }

    // Of a handshake that is done. Views live as long as the engine.
    std::string_view protocol() const noexcept;  // ALPN; empty: none agreed on
    std::string_view version() const noexcept;   // "TLSv1.3"
    std::string_view cipher() const noexcept;
    bool resumed() const noexcept;
    // The name that the client asked for by SNI; empty: none.
    std::string_view server_name() const noexcept;
    // Whom the peer's certificate names, e.g. "CN=example.org"; empty: it showed none.
    std::string peer_subject() const;
    // About a certificate that was refused: whom it names, from when to when. Else empty.
    const std::string& detail() const noexcept { return detail_; }
    // For what is not wrapped here.
    ssl_st* native() const noexcept { return ssl_; }

private:
    friend class detail::tls_state;

    void attach();
    void settle(int result) noexcept;
    static int read_input(bio_st* bio, char* into, std::size_t room, std::size_t* bytes) noexcept;
    static int write_output(bio_st* bio, const char* from, std::size_t bytes,
                            std::size_t* taken) noexcept;

    tls_context context_;
    std::shared_ptr<const detail::tls_snapshot> from_;  // stays through a reload
    ssl_st* ssl_ = nullptr;
    const std::byte* input_ = nullptr;
    std::size_t input_left_ = 0;
    std::size_t taken_ = 0;
    std::string output_;
    std::string key_;  // of the session: host and port
    std::string detail_;
    std::error_code failure_;
    bool secured_ = false;
    bool peer_closed_ = false;
    bool closed_ = false;
};

}  // namespace ringlet
