// What TLS connections have in common: who is trusted, what we show, which protocols are offered,
// and the sessions remembered. A `tls_context` is a handle; copies share one state. Made from files
// (PEM), which are read when it is made and again by `reload`; a file that cannot be used is an
// `error` whose sentence names it. TLS 1.2 and 1.3; keys below 112 bits of strength and SHA-1
// signatures are refused on both sides; renegotiation is refused. Loop thread only.
// docs/tls.md has the traps.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ringlet {

namespace detail {
class tls_state;
}

struct tls_identity {
    std::string chain_file;    // our certificate, then those that lead from it to the CA
    std::string key_file;      // empty: the key is in chain_file, too
    std::string key_password;  // of an encrypted key; nobody is ever asked for one
};

struct tls_client_options {
    // Off: whoever answers is taken for the host that was meant.
    bool verify = true;
    // Instead of the CAs that the system trusts, or SSL_CERT_FILE and SSL_CERT_DIR name.
    std::string ca_file;
    std::string crl_file;   // then each CA involved must have its list in it
    tls_identity identity;  // shown to servers that ask; its chain_file may be empty
    std::vector<std::string> protocols;  // ALPN, the best first
    std::size_t sessions_max = 256;      // remembered, one for each host and port
};

struct tls_server_options {
    std::vector<tls_identity> identities;  // chosen by SNI; the first is for every other name
    std::string client_ca_file;            // clients are asked for a certificate of these CAs
    bool client_required = true;           // and refused when they have none
    std::string crl_file;                  // of client certificates
    std::vector<std::string> protocols;    // ALPN; a client that wants only others is refused
};

class tls_context {
public:
    tls_context() noexcept = default;
    static tls_context client(tls_client_options options = {});
    static tls_context server(tls_server_options options);

    explicit operator bool() const noexcept { return state_ != nullptr; }
    bool is_server() const noexcept;

    // Reads the files anew, for connections begun from now on; those that are open go on as they
    // are. Sessions and tickets are forgotten, so that what is no longer trusted is not resumed.
    // Throws, and leaves everything as it was, when a file cannot be used.
    void reload();

    // Sessions remembered now.
    std::size_t sessions() const noexcept;

private:
    friend class tls_engine;
    friend class detail::tls_state;
    explicit tls_context(std::shared_ptr<detail::tls_state> made) noexcept
        : state_(std::move(made)) {}

    std::shared_ptr<detail::tls_state> state_;
};

}  // namespace ringlet
