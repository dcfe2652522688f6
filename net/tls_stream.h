// A TCP stream that speaks TLS: everything a tcp_stream does, on plaintext. It differs in its end:
// an empty chunk says that the peer closed properly; a stream that was cut throws
// tls_errc::truncated. Made by `start_tls` (client) or `accept_tls` (server) from a connected
// stream, also one that has talked before (STARTTLS). One that fails or is cancelled during the
// handshake is closed. It may be handed on as a plain tcp_stream.
//
//     tls_stream web = co_await start_tls(co_await connect(...), context, "example.org");
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "core/driver.h"
#include "coro/task.h"
#include "net/tcp_stream.h"
#include "net/tls_context.h"
#include "net/tls_error.h"

namespace ringlet {

constexpr nanoseconds tls_handshake_timeout = std::chrono::seconds(10);

class tls_stream : public tcp_stream {
public:
    tls_stream() noexcept = default;

    // What was agreed on. Views live as long as the stream.
    std::string_view protocol() const noexcept;     // ALPN; empty: none
    std::string_view version() const noexcept;      // "TLSv1.3"
    std::string_view cipher() const noexcept;
    bool resumed() const noexcept;                  // a session was taken up again
    std::string_view server_name() const noexcept;  // that the client asked for; empty: none
    std::string peer_subject() const;               // "CN=..."; empty: it showed no certificate

private:
    friend task<tls_stream> start_tls(tcp_stream over, tls_context context, std::string host,
                                      nanoseconds timeout);
    friend task<tls_stream> accept_tls(tcp_stream over, tls_context context, nanoseconds timeout);

    explicit tls_stream(tcp_stream over) noexcept : tcp_stream(std::move(over)) {}
    task<void> shake_hands(std::unique_ptr<tls_engine> engine, nanoseconds timeout);
    task<void> wait_until_secure(std::unique_ptr<tls_engine> engine);
};

// `host` is whom the certificate must be for: a name, also asked for by SNI, or an IP address.
// Throws `error` with a tls_errc that names the cause, and what is known of a bad certificate.
task<tls_stream> start_tls(tcp_stream over, tls_context context, std::string host,
                           nanoseconds timeout = tls_handshake_timeout);
task<tls_stream> accept_tls(tcp_stream over, tls_context context,
                            nanoseconds timeout = tls_handshake_timeout);

}  // namespace ringlet
