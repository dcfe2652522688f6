// What stands behind a tls_context: OpenSSL's settings as the files gave them last, and the
// client's sessions. Only tls_context and tls_engine use it. A connection keeps the snapshot that
// it was begun with, also through a reload. Loop thread only.
#pragma once

#include <openssl/ssl.h>

#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "net/tls_context.h"

namespace ringlet::detail {

template <auto Free>
struct freed_by {
    template <class T>
    void operator()(T* what) const noexcept {
        Free(what);
    }
};
using openssl_bio = std::unique_ptr<BIO, freed_by<BIO_free>>;
using tls_settings = std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>>;
using tls_session = std::unique_ptr<SSL_SESSION, freed_by<SSL_SESSION_free>>;

struct tls_snapshot {
    std::vector<tls_settings> all;  // a server's: one for each identity
    std::string protocols;          // as ALPN writes them
};

class tls_state {
public:
    using any_options = std::variant<tls_client_options, tls_server_options>;

    explicit tls_state(any_options options);

    void reload();
    bool is_server() const noexcept {
        return std::holds_alternative<tls_server_options>(options_);
    }
    const tls_client_options& client() const { return std::get<tls_client_options>(options_); }
    const std::shared_ptr<const tls_snapshot>& current() const noexcept { return current_; }

    // Null when there is none, or it is too old.
    SSL_SESSION* session_of(const std::string& key) noexcept;
    std::size_t sessions() const noexcept { return sessions_.size(); }

private:
    struct remembered {
        std::string key;
        tls_session session;
    };

    std::shared_ptr<const tls_snapshot> load_client() const;
    std::shared_ptr<const tls_snapshot> load_server() const;
    void remember(const std::string& key, tls_session& session);
    void forget(std::list<remembered>::iterator which) noexcept;

    // OpenSSL's callbacks.
    static int keep_session(SSL* ssl, SSL_SESSION* session) noexcept;
    static int note_refusal(int good, X509_STORE_CTX* about) noexcept;
    static int choose_identity(SSL* ssl, int* alert, void* snapshot) noexcept;
    static int choose_protocol(SSL* ssl, const unsigned char** chosen, unsigned char* length,
                               const unsigned char* offered, unsigned offered_length,
                               void* snapshot) noexcept;

    any_options options_;
    std::shared_ptr<const tls_snapshot> current_;
    std::list<remembered> sessions_;  // the newest first
    std::unordered_map<std::string_view, std::list<remembered>::iterator> by_key_;
};

// Settings made from files, for tls_state; each throws `error` with a sentence naming the file.
tls_settings make_tls_settings(const SSL_METHOD* role);
void trust_tls_files(SSL_CTX* to, const std::string& ca_file, const std::string& crl_file);
void ask_tls_clients(SSL_CTX* to, const std::string& ca_file);  // tells them which CAs count
void show_tls_identity(SSL_CTX* to, const tls_identity& who);
std::string tls_protocol_list(const std::vector<std::string>& protocols);
// Whom a certificate is for, and from when to when.
std::string describe_certificate(X509* certificate);
// Its subject, e.g. "CN=example.org".
std::string subject_of(X509* certificate);

}  // namespace ringlet::detail
