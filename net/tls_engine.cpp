#include "net/tls_engine.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "core/result.h"
#include "net/address.h"
#include "net/tls_state.h"

namespace ringlet {
namespace {

long control(BIO*, int command, long, void*) noexcept {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* bytes_in_memory(decltype(&control) answer_control,
                            int (*read)(BIO*, char*, std::size_t, std::size_t*),
                            int (*write)(BIO*, const char*, std::size_t, std::size_t*)) {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ringlet");
    if (made == nullptr || BIO_meth_set_ctrl(made, answer_control) != 1 ||
        BIO_meth_set_read_ex(made, read) != 1 || BIO_meth_set_write_ex(made, write) != 1) {
        throw std::bad_alloc();
    }
    return made;
}

// The name without brackets and without the dot at its end.
std::string bare_host(std::string_view host) {
    if (host.starts_with('[') && host.ends_with(']')) {
        host = host.substr(1, host.size() - 2);
    }
    if (host.ends_with('.')) {
        host.remove_suffix(1);
    }
    return std::string(host);
}

}  // namespace

// OpenSSL reads from the input where it lies, and what it writes is appended to the output.
int tls_engine::read_input(BIO* bio, char* into, std::size_t room, std::size_t* bytes) noexcept {
    auto& engine = *static_cast<tls_engine*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    *bytes = std::min(room, engine.input_left_);
    if (*bytes == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    std::memcpy(into, engine.input_, *bytes);
    engine.input_ += *bytes;
    engine.input_left_ -= *bytes;
    engine.taken_ += *bytes;
    return 1;
}

int tls_engine::write_output(BIO* bio, const char* from, std::size_t bytes,
                             std::size_t* taken) noexcept {
    auto& engine = *static_cast<tls_engine*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    try {
        engine.output_.append(from, bytes);
    } catch (const std::bad_alloc&) {
        engine.failure_ = std::make_error_code(std::errc::not_enough_memory);
        return 0;
    }
    *taken = bytes;
    return 1;
}

tls_engine::tls_engine(const tls_context& context)
    : context_(context), from_(context.state_->current()) {
    RINGLET_REQUIRE(context.is_server(), "a TLS server needs a server's context");
    attach();
    SSL_set_accept_state(ssl_);
}

tls_engine::tls_engine(const tls_context& context, std::string_view host, std::uint16_t port)
    : context_(context), from_(context.state_->current()) {
    RINGLET_REQUIRE(!context.is_server(), "a TLS client needs a client's context");
    const std::string name = bare_host(host);
    // An empty name would be no name to check, and OpenSSL reads to the first NUL.
    if (name.empty() || name.find('\0') != std::string::npos) {
        throw error(tls_errc::bad_settings, "'" + name + "' is no host name");
    }
    key_ = name + ':' + std::to_string(port);
    attach();
    SSL_set_connect_state(ssl_);
    X509_VERIFY_PARAM* const wanted = SSL_get0_param(ssl_);
    X509_VERIFY_PARAM_set_hostflags(
        wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (address::parse(name, 0)) {
        const std::string without_zone = name.substr(0, name.find('%'));
        if (X509_VERIFY_PARAM_set1_ip_asc(wanted, without_zone.c_str()) != 1) {
            ERR_clear_error();
            SSL_free(ssl_);
            throw error(tls_errc::bad_settings, "'" + name + "' is no address to verify");
        }
    } else if (SSL_set1_host(ssl_, name.c_str()) != 1 ||
               SSL_set_tlsext_host_name(ssl_, name.c_str()) != 1) {
        ERR_clear_error();
        SSL_free(ssl_);
        throw error(tls_errc::bad_settings, "'" + name + "' is no host name");
    }
    if (SSL_SESSION* const session = context_.state_->session_of(key_)) {
        SSL_set_session(ssl_, session);
    }
}

void tls_engine::attach() {
    static BIO_METHOD* const method = bytes_in_memory(&control, &read_input, &write_output);
    ssl_ = SSL_new(from_->all.front().get());
    BIO* const bio = ssl_ != nullptr ? BIO_new(method) : nullptr;
    if (bio == nullptr) {
        SSL_free(ssl_);
        ERR_clear_error();
        throw std::bad_alloc();
    }
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_, bio, bio);
    SSL_set_app_data(ssl_, this);
}

tls_engine::~tls_engine() {
    // A stream that was cut makes its session no worse (RFC 4346 section 7.2.1).
    SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl_);
}

void tls_engine::give(std::span<const std::byte> ciphertext) noexcept {
    input_ = ciphertext.data();
    input_left_ = ciphertext.size();
    taken_ = 0;
}

// Why OpenSSL went no further.
void tls_engine::settle(int result) noexcept {
    switch (SSL_get_error(ssl_, result)) {
        case SSL_ERROR_WANT_READ: return;
        case SSL_ERROR_ZERO_RETURN: peer_closed_ = true; return;
        default: break;
    }
    // What the inner libraries complain of stands before what it means for TLS.
    unsigned long cause = 0;
    while (const unsigned long each = ERR_get_error()) {
        cause = cause == 0 || ERR_GET_LIB(cause) != ERR_LIB_SSL ? each : cause;
    }
    if (!failure_) {
        failure_ = detail::tls_failure(cause, SSL_get_verify_result(ssl_));
    }
}

bool tls_engine::handshake() noexcept {
    if (!secured_ && !failure_) {
        ERR_clear_error();  // of whoever else uses OpenSSL on this thread
        const int result = SSL_do_handshake(ssl_);
        secured_ = result == 1;
        if (!secured_) {
            settle(result);
        }
    }
    return secured_;
}

std::size_t tls_engine::ready() noexcept {
    if (failure_ || peer_closed_ || (input_left_ == 0 && SSL_pending(ssl_) == 0)) {
        return 0;
    }
    char first = 0;
    std::size_t one = 0;
    ERR_clear_error();
    if (const int result = SSL_peek_ex(ssl_, &first, 1, &one); result != 1) {
        settle(result);
        return 0;
    }
    return static_cast<std::size_t>(SSL_pending(ssl_));
}

void tls_engine::read(std::span<std::byte> into) noexcept {
    std::size_t bytes = 0;
    SSL_read_ex(ssl_, into.data(), into.size(), &bytes);
    RINGLET_REQUIRE(bytes == into.size(), "more was read of a TLS record than was ready");
}

bool tls_engine::write(std::span<const std::byte> plaintext) noexcept {
    std::size_t bytes = 0;
    ERR_clear_error();
    const int result = failure_ || plaintext.empty()
                           ? !failure_
                           : SSL_write_ex(ssl_, plaintext.data(), plaintext.size(), &bytes);
    if (result != 1) {
        settle(result);
    }
    return result == 1;
}

void tls_engine::close() noexcept {
    if (secured_ && !failure_ && !std::exchange(closed_, true)) {
        SSL_shutdown(ssl_);
        ERR_clear_error();
    }
}

std::string_view tls_engine::protocol() const noexcept {
    const unsigned char* name = nullptr;
    unsigned length = 0;
    SSL_get0_alpn_selected(ssl_, &name, &length);
    return {reinterpret_cast<const char*>(name), length};
}

std::string_view tls_engine::version() const noexcept { return SSL_get_version(ssl_); }
std::string_view tls_engine::cipher() const noexcept { return SSL_get_cipher_name(ssl_); }
bool tls_engine::resumed() const noexcept { return SSL_session_reused(ssl_) == 1; }

std::string_view tls_engine::server_name() const noexcept {
    const char* const name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
    return name != nullptr ? name : "";
}

std::string tls_engine::peer_subject() const {
    X509* const certificate = SSL_get0_peer_certificate(ssl_);
    return certificate != nullptr ? detail::subject_of(certificate) : std::string();
}

}  // namespace ringlet
