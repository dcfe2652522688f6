#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include "core/result.h"
#include "net/tls_error.h"
#include "net/tls_state.h"

namespace ringlet::detail {
namespace {

constexpr int strength_bits_112 = 2;  // OpenSSL's security level: RSA from 2048 bits, no SHA-1
constexpr int names_shown_max = 8;
constexpr std::size_t name_bytes_max = 200;

// What OpenSSL complained of first, which tells most; empties its list of errors.
std::string openssl_sentence() {
    const char* const reason = ERR_reason_error_string(ERR_peek_error());
    const std::string text = reason != nullptr ? reason : "OpenSSL gives no reason";
    ERR_clear_error();
    return " (" + text + ")";
}

[[noreturn]] void refuse(const std::string& sentence) {
    throw error(tls_errc::bad_settings, sentence);
}

// A file that is not there gets the system's own cause.
void require_readable(const std::string& path, const std::string& what) {
    std::FILE* const file = std::fopen(path.c_str(), "re");
    if (file == nullptr) {
        throw error(system_code(errno), what + path);
    }
    std::fclose(file);
}

void load_trust(SSL_CTX* to, const std::string& path, const std::string& what) {
    require_readable(path, what);
    if (SSL_CTX_load_verify_file(to, path.c_str()) != 1) {
        refuse(what + path + " cannot be used" + openssl_sentence());
    }
}

struct password_request {
    const std::string& password;
    bool made = false;
};

int give_password(char* into, int room, int, void* request) noexcept {
    static_cast<password_request*>(request)->made = true;
    const std::string& password = static_cast<password_request*>(request)->password;
    const int bytes = static_cast<int>(password.size());
    if (bytes > room) {
        return 0;
    }
    std::memcpy(into, password.data(), password.size());
    return bytes;
}

std::string text_of(const ASN1_TIME* when) {
    char text[40] = {};
    if (BIO* const memory = BIO_new(BIO_s_mem())) {
        ASN1_TIME_print(memory, when);
        BIO_gets(memory, text, sizeof text);
        BIO_free(memory);
    }
    return text;
}

// What a certificate says is the peer's choice, and ends up in logs and on terminals.
std::string printable(std::string_view text) {
    std::string shown(text.substr(0, name_bytes_max));
    std::replace_if(shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return shown;
}

// A host name, or an IP address, that a certificate is for; empty for names of other kinds.
std::string text_of(const GENERAL_NAME& name) {
    const bool dns = name.type == GEN_DNS;
    if (!dns && name.type != GEN_IPADD) {
        return {};
    }
    const ASN1_STRING* const value = dns ? name.d.dNSName : name.d.iPAddress;
    const unsigned char* const bytes = ASN1_STRING_get0_data(value);
    const int length = ASN1_STRING_length(value);
    if (dns) {
        return printable({reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(length)});
    }
    char text[INET6_ADDRSTRLEN] = {};
    if (length == 4 || length == 16) {
        ::inet_ntop(length == 4 ? AF_INET : AF_INET6, bytes, text, sizeof text);
    }
    return text;
}

std::string names_of(X509* certificate) {
    const std::unique_ptr<GENERAL_NAMES, freed_by<GENERAL_NAMES_free>> names(
        static_cast<GENERAL_NAMES*>(
            X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    std::string text;
    const int count = names == nullptr ? 0 : sk_GENERAL_NAME_num(names.get());
    for (int at = 0; at < std::min(count, names_shown_max); ++at) {
        const std::string name = text_of(*sk_GENERAL_NAME_value(names.get(), at));
        if (!name.empty()) {
            text += (text.empty() ? "" : " ") + name;
        }
    }
    return text;
}

}  // namespace

tls_settings make_tls_settings(const SSL_METHOD* role) {
    ERR_clear_error();  // of whoever else uses OpenSSL on this thread
    tls_settings made(SSL_CTX_new(role));
    if (!made) {
        refuse("OpenSSL makes no context" + openssl_sentence());
    }
    SSL_CTX_set_min_proto_version(made.get(), TLS1_2_VERSION);
    SSL_CTX_set_security_level(made.get(), strength_bits_112);
    SSL_CTX_set_options(made.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    // An idle connection keeps no buffers for records.
    SSL_CTX_set_mode(made.get(), SSL_MODE_RELEASE_BUFFERS);
    return made;
}

void trust_tls_files(SSL_CTX* to, const std::string& ca_file, const std::string& crl_file) {
    if (!ca_file.empty()) {
        load_trust(to, ca_file, "CA file ");
    } else {
        const char* const named = std::getenv("SSL_CERT_FILE");
        if (named != nullptr && *named != '\0') {
            load_trust(to, named, "SSL_CERT_FILE ");
        }
        SSL_CTX_set_default_verify_paths(to);
        ERR_clear_error();  // a system without CAs trusts nobody, which is no error yet
    }
    X509_STORE* const store = SSL_CTX_get_cert_store(to);
    if (crl_file.empty()) {
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);  // a CA given need not be a root
        return;
    }
    require_readable(crl_file, "CRL file ");
    X509_LOOKUP* const lists = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (lists == nullptr || X509_load_crl_file(lists, crl_file.c_str(), X509_FILETYPE_PEM) < 1) {
        refuse("CRL file " + crl_file + " cannot be used" + openssl_sentence());
    }
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

void ask_tls_clients(SSL_CTX* to, const std::string& ca_file) {
    SSL_CTX_set_client_CA_list(to, SSL_load_client_CA_file(ca_file.c_str()));
    ERR_clear_error();
}

void show_tls_identity(SSL_CTX* to, const tls_identity& who) {
    require_readable(who.chain_file, "certificate file ");
    if (SSL_CTX_use_certificate_chain_file(to, who.chain_file.c_str()) != 1) {
        refuse("certificate file " + who.chain_file + " cannot be used" + openssl_sentence());
    }
    const std::string& key = who.key_file.empty() ? who.chain_file : who.key_file;
    require_readable(key, "key file ");
    SSL_CTX_set_default_passwd_cb(to, &give_password);
    password_request request{who.key_password};
    SSL_CTX_set_default_passwd_cb_userdata(to, &request);
    const bool good = SSL_CTX_use_PrivateKey_file(to, key.c_str(), SSL_FILETYPE_PEM) == 1 &&
                      SSL_CTX_check_private_key(to) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(to, nullptr);
    if (!good) {
        // A wrong password may decrypt it to nonsense, of which OpenSSL says one thing or another.
        const std::string with = request.made ? " cannot be decrypted with its password, or used"
                                              : " cannot be used";
        refuse("key file " + key + with + " with the certificate of " + who.chain_file +
               openssl_sentence());
    }
}

std::string tls_protocol_list(const std::vector<std::string>& protocols) {
    constexpr std::size_t protocol_bytes_max = 255;
    std::string list;
    for (const std::string& each : protocols) {
        if (each.empty() || each.size() > protocol_bytes_max) {
            refuse("'" + each.substr(0, 40) + "' is no ALPN name, which has 1 to 255 bytes");
        }
        list += static_cast<char>(each.size());
        list += each;
    }
    return list;
}

std::string subject_of(X509* certificate) {
    std::string text;
    if (const openssl_bio memory(BIO_new(BIO_s_mem())); memory) {
        X509_NAME_print_ex(memory.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
        char* data = nullptr;
        const long bytes = BIO_get_mem_data(memory.get(), &data);
        text.assign(data, static_cast<std::size_t>(std::max(bytes, 0L)));
    }
    return text;
}

std::string describe_certificate(X509* certificate) {
    std::string text = "certificate '" + printable(subject_of(certificate)) + "'";
    if (const std::string names = names_of(certificate); !names.empty()) {
        text += " for " + names;
    }
    return text + ", valid " + text_of(X509_get0_notBefore(certificate)) + " to " +
           text_of(X509_get0_notAfter(certificate));
}

}  // namespace ringlet::detail
