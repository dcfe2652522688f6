// Why TLS failed, one code for each cause, each with a sentence of its own. An alert of the peer is
// a code too: `tls_alert` says which (RFC 8446 section 6). A handshake that took too long compares
// equal to std::errc::timed_out. Any thread.
#pragma once

#include <system_error>

namespace ringlet {

enum class tls_errc {
    // The peer's certificate, or one that leads to it.
    expired = 1,
    not_yet_valid,
    wrong_host,
    wrong_address,
    self_signed,     // the certificate vouches for itself, and is not among those trusted
    unknown_ca,      // whoever vouches for it is not among those trusted
    revoked,
    crl_missing,     // a CRL file was given, and has no list of the CA in question
    crl_expired,
    weak_key,
    weak_signature,
    bad_signature,   // not by the CA that it names
    wrong_purpose,   // of a server, shown by a client, or the other way round
    bad_certificate,  // anything else
    no_certificate,  // a client that has to show one did not
    // The talk.
    no_shared_version,
    no_shared_cipher,
    no_shared_protocol,  // ALPN
    not_tls,             // what the peer said is something else, HTTP without TLS perhaps
    bad_record,          // garbage, or changed on its way
    protocol_error,
    flooded,             // the peer makes us answer and reads no answer
    handshake_cut,       // the peer hung up in the middle of it
    handshake_timed_out,
    truncated,           // the stream ended without the peer's close_notify
    // Our side.
    bad_settings
};

const std::error_category& tls_category() noexcept;

inline std::error_code make_error_code(tls_errc code) noexcept {
    return {static_cast<int>(code), tls_category()};
}

// The number of the alert that the peer ended the connection with; -1 when `code` is something
// else.
int tls_alert(std::error_code code) noexcept;

namespace detail {

// What OpenSSL's error code says; `verified` is the result of the certificate's verification.
std::error_code tls_failure(unsigned long openssl_error, long verified) noexcept;

}  // namespace detail
}  // namespace ringlet

template <>
struct std::is_error_code_enum<ringlet::tls_errc> : std::true_type {};
