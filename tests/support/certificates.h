// Certificates made on the spot, in a folder that goes away with the object: a CA, and what it
// vouches for, good and bad. Keys are P-256 (quick to make) unless asked otherwise.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "net/tls_context.h"

namespace ringlet::test {

struct certificate_wish {
    std::string common_name = "localhost";
    std::string names = "DNS:localhost,IP:127.0.0.1,IP:::1";
    long from_s = -3600;
    long to_s = 3600;
    bool self_signed = false;
    bool is_ca = false;
    int rsa_bits = 0;  // 0: P-256
};

class certificates {
public:
    explicit certificates(const std::string& ca_name = "Test CA") {
        std::string pattern = (std::filesystem::temp_directory_path() / "ringlet-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) {
            std::abort();
        }
        folder_ = pattern;
        certificate_wish authority;
        authority.common_name = ca_name;
        authority.names.clear();
        authority.self_signed = authority.is_ca = true;
        make("ca", authority);
    }
    certificates(const certificates&) = delete;
    ~certificates() { std::filesystem::remove_all(folder_); }

    std::string path(const std::string& name) const { return folder_ + "/" + name; }
    std::string ca_file() const { return path("ca.pem"); }

    // NAME.pem and NAME.key, by the CA; what was there before is replaced.
    tls_identity make(const std::string& name, const certificate_wish& wish = {}) {
        const key own(wish.rsa_bits > 0
                          ? EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA",
                                              static_cast<std::size_t>(wish.rsa_bits))
                          : EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
        const std::unique_ptr<X509, freed> made(X509_new());
        X509_set_version(made.get(), 2);
        ASN1_INTEGER_set(X509_get_serialNumber(made.get()), ++serial_);
        X509_gmtime_adj(X509_getm_notBefore(made.get()), wish.from_s);
        X509_gmtime_adj(X509_getm_notAfter(made.get()), wish.to_s);
        X509_set_pubkey(made.get(), own.get());
        X509_NAME_add_entry_by_txt(
            X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
            reinterpret_cast<const unsigned char*>(wish.common_name.c_str()), -1, -1, 0);
        const bool alone = wish.self_signed;
        X509* const issuer = alone ? made.get() : ca_.get();
        X509_set_issuer_name(made.get(), X509_get_subject_name(issuer));
        extend(made.get(), issuer, NID_basic_constraints,
               wish.is_ca ? "critical,CA:TRUE" : "CA:FALSE");
        extend(made.get(), issuer, NID_subject_key_identifier, "hash");
        if (!wish.names.empty()) {
            extend(made.get(), issuer, NID_subject_alt_name, wish.names.c_str());
        }
        X509_sign(made.get(), alone ? own.get() : ca_key_.get(), EVP_sha256());
        write(path(name + ".pem"), [&](std::FILE* to) { PEM_write_X509(to, made.get()); });
        write(path(name + ".key"), [&](std::FILE* to) {
            PEM_write_PrivateKey(to, own.get(), nullptr, nullptr, 0, nullptr, nullptr);
        });
        if (wish.is_ca && !ca_) {
            X509_up_ref(made.get());
            EVP_PKEY_up_ref(own.get());
            ca_.reset(made.get());
            ca_key_.reset(own.get());
        }
        return {path(name + ".pem"), path(name + ".key"), {}};
    }

    // The same key, encrypted.
    std::string lock_key(const std::string& key_file, const std::string& password) {
        std::FILE* const from = std::fopen(key_file.c_str(), "r");
        const key own(PEM_read_PrivateKey(from, nullptr, nullptr, nullptr));
        std::fclose(from);
        write(key_file + ".locked", [&](std::FILE* to) {
            PEM_write_PKCS8PrivateKey(to, own.get(), EVP_aes_128_cbc(), password.data(),
                                      static_cast<int>(password.size()), nullptr, nullptr);
        });
        return key_file + ".locked";
    }

    // What the CA says to be revoked: nothing, or the certificate made last.
    std::string crl(bool last_one) {
        const std::unique_ptr<X509_CRL, freed> made(X509_CRL_new());
        X509_CRL_set_version(made.get(), 1);
        X509_CRL_set_issuer_name(made.get(), X509_get_subject_name(ca_.get()));
        const std::unique_ptr<ASN1_TIME, freed> time(X509_gmtime_adj(nullptr, -60));
        X509_CRL_set1_lastUpdate(made.get(), time.get());
        X509_gmtime_adj(time.get(), 3600);
        X509_CRL_set1_nextUpdate(made.get(), time.get());
        if (last_one) {
            X509_REVOKED* const entry = X509_REVOKED_new();
            const std::unique_ptr<ASN1_INTEGER, freed> number(ASN1_INTEGER_new());
            ASN1_INTEGER_set(number.get(), serial_);
            X509_REVOKED_set_serialNumber(entry, number.get());
            X509_gmtime_adj(time.get(), -30);
            X509_REVOKED_set_revocationDate(entry, time.get());
            X509_CRL_add0_revoked(made.get(), entry);
        }
        X509_CRL_sign(made.get(), ca_key_.get(), EVP_sha256());
        write(path("crl.pem"), [&](std::FILE* to) { PEM_write_X509_CRL(to, made.get()); });
        return path("crl.pem");
    }

private:
    struct freed {
        void operator()(X509* what) const { X509_free(what); }
        void operator()(EVP_PKEY* what) const { EVP_PKEY_free(what); }
        void operator()(X509_CRL* what) const { X509_CRL_free(what); }
        void operator()(ASN1_STRING* what) const { ASN1_STRING_free(what); }
    };
    using key = std::unique_ptr<EVP_PKEY, freed>;

    static void extend(X509* to, X509* issuer, int which, const char* value) {
        X509V3_CTX context;
        X509V3_set_ctx_nodb(&context);
        X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
        X509_EXTENSION* const made = X509V3_EXT_conf_nid(nullptr, &context, which, value);
        X509_add_ext(to, made, -1);
        X509_EXTENSION_free(made);
    }
    template <class Writer>
    static void write(const std::string& to, Writer writer) {
        std::FILE* const file = std::fopen(to.c_str(), "w");
        writer(file);
        std::fclose(file);
    }

    std::string folder_;
    long serial_ = 0;
    std::unique_ptr<X509, freed> ca_;
    key ca_key_;
};

// Made once for all the suites of a process.
inline certificates& shared_certificates() {
    static certificates made;
    return made;
}

inline tls_context trusting(const certificates& by) {
    tls_client_options options;
    options.ca_file = by.ca_file();
    options.protocols = {"http/1.1"};
    return tls_context::client(std::move(options));
}

inline tls_context showing(const tls_identity& who) {
    tls_server_options options;
    options.identities.push_back(who);
    options.protocols = {"http/1.1"};
    return tls_context::server(std::move(options));
}

}  // namespace ringlet::test
