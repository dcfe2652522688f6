#include "net/tls_error.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <string>

namespace ringlet {
namespace {

constexpr int alert_base = 1000;  // a code above it is the alert of that number

const char* sentence(tls_errc code) noexcept {
    switch (code) {
        case tls_errc::expired: return "the certificate has expired";
        case tls_errc::not_yet_valid: return "the certificate is not valid yet";
        case tls_errc::wrong_host: return "the certificate is for another host";
        case tls_errc::wrong_address: return "the certificate is for another IP address";
        case tls_errc::self_signed: return "the certificate is self-signed and not trusted";
        case tls_errc::unknown_ca: return "the certificate comes from an unknown CA";
        case tls_errc::revoked: return "the certificate has been revoked";
        case tls_errc::crl_missing: return "the CRL file has no list of the CA";
        case tls_errc::crl_expired: return "the CRL file's list of the CA is out of date";
        case tls_errc::weak_key: return "the certificate's key, or a CA's, is too weak";
        case tls_errc::weak_signature: return "the certificate is signed with a weak hash";
        case tls_errc::bad_signature: return "the certificate's signature is not by its CA";
        case tls_errc::wrong_purpose: return "the certificate is not meant for this use";
        case tls_errc::bad_certificate: return "the certificate is not acceptable";
        case tls_errc::no_certificate: return "the client showed no certificate";
        case tls_errc::no_shared_version: return "the peer speaks no version of TLS from 1.2 on";
        case tls_errc::no_shared_cipher: return "no cipher in common with the peer";
        case tls_errc::no_shared_protocol: return "no protocol (ALPN) in common with the peer";
        case tls_errc::not_tls: return "the peer does not speak TLS here";
        case tls_errc::bad_record: return "a TLS record is garbage or was changed on its way";
        case tls_errc::protocol_error: return "the peer broke the TLS protocol";
        case tls_errc::flooded: return "the peer asks for TLS answers and does not read them";
        case tls_errc::handshake_cut: return "the peer hung up during the TLS handshake";
        case tls_errc::handshake_timed_out: return "the TLS handshake took too long";
        case tls_errc::truncated: return "the connection was cut: it ended without a close_notify";
        case tls_errc::bad_settings: return "TLS cannot be set up so";
    }
    return nullptr;
}

// OpenSSL 3.0 has no names for some of those that TLS 1.3 uses.
const char* name_of_alert(int number) noexcept {
    switch (number) {
        case SSL_AD_MISSING_EXTENSION: return "missing extension";
        case SSL_AD_CERTIFICATE_REQUIRED: return "certificate required";
        case SSL_AD_NO_APPLICATION_PROTOCOL: return "no application protocol";
        default: return SSL_alert_desc_string_long(number);
    }
}

class tls_error_category final : public std::error_category {
public:
    const char* name() const noexcept override { return "ringlet.tls"; }

    std::string message(int code) const override {
        if (code >= alert_base) {
            const int number = code - alert_base;
            return std::string("the peer refused with the TLS alert '") + name_of_alert(number) +
                   "' (" + std::to_string(number) + ")";
        }
        const char* const text = sentence(static_cast<tls_errc>(code));
        return text != nullptr ? text : "unknown TLS error " + std::to_string(code);
    }

    std::error_condition default_error_condition(int code) const noexcept override {
        return static_cast<tls_errc>(code) == tls_errc::handshake_timed_out
                   ? std::error_condition(std::errc::timed_out)
                   : std::error_condition(code, *this);
    }
};

tls_errc certificate_failure(long verified) noexcept {
    switch (verified) {
        case X509_V_ERR_CERT_HAS_EXPIRED: return tls_errc::expired;
        case X509_V_ERR_CERT_NOT_YET_VALID: return tls_errc::not_yet_valid;
        case X509_V_ERR_HOSTNAME_MISMATCH: return tls_errc::wrong_host;
        case X509_V_ERR_IP_ADDRESS_MISMATCH: return tls_errc::wrong_address;
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: return tls_errc::self_signed;
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_CERT_UNTRUSTED: return tls_errc::unknown_ca;
        case X509_V_ERR_CERT_REVOKED: return tls_errc::revoked;
        case X509_V_ERR_UNABLE_TO_GET_CRL:
        case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER: return tls_errc::crl_missing;
        case X509_V_ERR_CRL_HAS_EXPIRED:
        case X509_V_ERR_CRL_NOT_YET_VALID: return tls_errc::crl_expired;
        case X509_V_ERR_EE_KEY_TOO_SMALL:
        case X509_V_ERR_CA_KEY_TOO_SMALL: return tls_errc::weak_key;
        case X509_V_ERR_CA_MD_TOO_WEAK: return tls_errc::weak_signature;
        case X509_V_ERR_CERT_SIGNATURE_FAILURE: return tls_errc::bad_signature;
        case X509_V_ERR_INVALID_PURPOSE: return tls_errc::wrong_purpose;
        default: return tls_errc::bad_certificate;
    }
}

}  // namespace

const std::error_category& tls_category() noexcept {
    static const tls_error_category instance;
    return instance;
}

int tls_alert(std::error_code code) noexcept {
    return code.category() == tls_category() && code.value() >= alert_base
               ? code.value() - alert_base
               : -1;
}

std::error_code detail::tls_failure(unsigned long openssl_error, long verified) noexcept {
    const int reason = ERR_GET_REASON(openssl_error);
    if (ERR_GET_LIB(openssl_error) != ERR_LIB_SSL) {
        return tls_errc::protocol_error;
    }
    if (reason >= SSL_AD_REASON_OFFSET) {
        return {alert_base + reason - SSL_AD_REASON_OFFSET, tls_category()};
    }
    switch (reason) {
        case SSL_R_CERTIFICATE_VERIFY_FAILED: return certificate_failure(verified);
        case SSL_R_EE_KEY_TOO_SMALL:
        case SSL_R_CA_KEY_TOO_SMALL:
        case SSL_R_DH_KEY_TOO_SMALL: return tls_errc::weak_key;
        case SSL_R_CA_MD_TOO_WEAK: return tls_errc::weak_signature;
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return tls_errc::no_certificate;
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_NO_PROTOCOLS_AVAILABLE:
        case SSL_R_VERSION_TOO_LOW:
        case SSL_R_WRONG_SSL_VERSION: return tls_errc::no_shared_version;
        case SSL_R_NO_SHARED_CIPHER:
        case SSL_R_NO_SUITABLE_KEY_SHARE:
        case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS: return tls_errc::no_shared_cipher;
        case SSL_R_NO_APPLICATION_PROTOCOL: return tls_errc::no_shared_protocol;
        case SSL_R_HTTP_REQUEST:
        case SSL_R_HTTPS_PROXY_REQUEST:
        case SSL_R_WRONG_VERSION_NUMBER: return tls_errc::not_tls;
        case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
        case SSL_R_BAD_RECORD_TYPE:
        case SSL_R_PACKET_LENGTH_TOO_LONG:
        case SSL_R_DATA_LENGTH_TOO_LONG:
        case SSL_R_ENCRYPTED_LENGTH_TOO_LONG: return tls_errc::bad_record;
        default: return tls_errc::protocol_error;
    }
}

}  // namespace ringlet
