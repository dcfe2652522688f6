#include "net/tls_context.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <new>
#include <utility>

#include "core/result.h"
#include "net/tls_engine.h"
#include "net/tls_state.h"

namespace ringlet {

using detail::tls_state;

tls_context tls_context::client(tls_client_options options) {
    return tls_context(std::make_shared<tls_state>(std::move(options)));
}

tls_context tls_context::server(tls_server_options options) {
    return tls_context(std::make_shared<tls_state>(std::move(options)));
}

bool tls_context::is_server() const noexcept { return state_->is_server(); }
void tls_context::reload() { state_->reload(); }
std::size_t tls_context::sessions() const noexcept { return state_->sessions(); }

namespace detail {
namespace {

constexpr unsigned char session_domain[] = "ringlet";  // sessions are our own, not another server's

tls_engine& engine_of(SSL* ssl) noexcept {
    return *static_cast<tls_engine*>(SSL_get_app_data(ssl));
}

}  // namespace

tls_state::tls_state(any_options options) : options_(std::move(options)) { reload(); }

void tls_state::reload() {
    current_ = is_server() ? load_server() : load_client();
    by_key_.clear();
    sessions_.clear();
}

std::shared_ptr<const tls_snapshot> tls_state::load_client() const {
    const tls_client_options& options = client();
    auto made = std::make_shared<tls_snapshot>();
    made->protocols = tls_protocol_list(options.protocols);
    SSL_CTX* const ctx = made->all.emplace_back(make_tls_settings(TLS_client_method())).get();
    if (options.verify) {
        trust_tls_files(ctx, options.ca_file, options.crl_file);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, &note_refusal);
    }
    if (!options.identity.chain_file.empty()) {
        show_tls_identity(ctx, options.identity);
    }
    if (!made->protocols.empty()) {
        SSL_CTX_set_alpn_protos(ctx,
                                reinterpret_cast<const unsigned char*>(made->protocols.data()),
                                static_cast<unsigned>(made->protocols.size()));
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, &keep_session);
    return made;
}

std::shared_ptr<const tls_snapshot> tls_state::load_server() const {
    const auto& options = std::get<tls_server_options>(options_);
    if (options.identities.empty()) {
        throw error(tls_errc::bad_settings, "a server needs a certificate to show");
    }
    auto made = std::make_shared<tls_snapshot>();
    made->protocols = tls_protocol_list(options.protocols);
    for (const tls_identity& each : options.identities) {
        SSL_CTX* const ctx = made->all.emplace_back(make_tls_settings(TLS_server_method())).get();
        show_tls_identity(ctx, each);
        if (!options.client_ca_file.empty()) {
            trust_tls_files(ctx, options.client_ca_file, options.crl_file);
            ask_tls_clients(ctx, options.client_ca_file);
            SSL_CTX_set_verify(
                ctx,
                SSL_VERIFY_PEER | (options.client_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                &note_refusal);
        }
        // Sessions are kept by the clients, in tickets.
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_session_id_context(ctx, session_domain, sizeof session_domain - 1);
        SSL_CTX_set_tlsext_servername_callback(ctx, &choose_identity);
        SSL_CTX_set_tlsext_servername_arg(ctx, made.get());
        if (!made->protocols.empty()) {
            SSL_CTX_set_alpn_select_cb(ctx, &choose_protocol, made.get());
        }
    }
    return made;
}

SSL_SESSION* tls_state::session_of(const std::string& key) noexcept {
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) {
        return nullptr;
    }
    SSL_SESSION* const session = found->second->session.get();
    if (SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session) <= std::time(nullptr) ||
        SSL_SESSION_is_resumable(session) != 1) {
        forget(found->second);
        return nullptr;
    }
    return session;
}

// Takes the session only when it comes back without an exception.
void tls_state::remember(const std::string& key, tls_session& session) {
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
        forget(found->second);
    }
    if (sessions_.size() >= client().sessions_max && !sessions_.empty()) {
        forget(std::prev(sessions_.end()));
    }
    if (client().sessions_max > 0) {
        std::list<remembered> fresh;
        fresh.push_front({key, nullptr});
        by_key_.emplace(fresh.front().key, fresh.begin());
        fresh.front().session = std::move(session);
        sessions_.splice(sessions_.begin(), fresh);
    }
}

void tls_state::forget(std::list<remembered>::iterator which) noexcept {
    by_key_.erase(which->key);
    sessions_.erase(which);
}

// A ticket has come. One of a connection begun before a reload is not kept.
int tls_state::keep_session(SSL* ssl, SSL_SESSION* session) noexcept {
    const tls_engine& engine = engine_of(ssl);
    tls_state& state = *engine.context_.state_;
    if (engine.from_ != state.current_) {
        return 0;
    }
    tls_session ours(session);
    try {
        state.remember(engine.key_, ours);
    } catch (const std::bad_alloc&) {
        static_cast<void>(ours.release());  // OpenSSL frees what is not kept
        return 0;
    }
    return 1;
}

// Writes down which certificate of the chain is refused, for the error's text.
int tls_state::note_refusal(int good, X509_STORE_CTX* about) noexcept {
    if (good != 1) {
        auto* const ssl = static_cast<SSL*>(
            X509_STORE_CTX_get_ex_data(about, SSL_get_ex_data_X509_STORE_CTX_idx()));
        if (X509* const refused = X509_STORE_CTX_get_current_cert(about)) {
            try {
                engine_of(ssl).detail_ = describe_certificate(refused);
            } catch (const std::bad_alloc&) {
                engine_of(ssl).detail_.clear();  // the error says less
            }
        }
    }
    return good;
}

int tls_state::choose_identity(SSL* ssl, int*, void* snapshot) noexcept {
    const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name == nullptr) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    for (const tls_settings& each : static_cast<const tls_snapshot*>(snapshot)->all) {
        if (X509_check_host(SSL_CTX_get0_certificate(each.get()), name, 0,
                            X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, nullptr) == 1) {
            SSL_set_SSL_CTX(ssl, each.get());
            break;
        }
    }
    return SSL_TLSEXT_ERR_OK;
}

int tls_state::choose_protocol(SSL*, const unsigned char** chosen, unsigned char* length,
                               const unsigned char* offered, unsigned offered_length,
                               void* snapshot) noexcept {
    const std::string& ours = static_cast<const tls_snapshot*>(snapshot)->protocols;
    unsigned char* found = nullptr;
    const int verdict = SSL_select_next_proto(
        &found, length, reinterpret_cast<const unsigned char*>(ours.data()),
        static_cast<unsigned>(ours.size()), offered, offered_length);
    *chosen = found;
    return verdict == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace detail
}  // namespace ringlet
