#include "net/tls_error.h"

#include <doctest/doctest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <ostream>
#include <set>
#include <string>

using namespace ringlet;

TEST_CASE("every cause of a TLS failure has a sentence of its own") {
    std::set<std::string> sentences;
    int count = 0;
    for (int code = 1; code <= static_cast<int>(tls_errc::bad_settings); ++code) {
        const std::string sentence = tls_category().message(code);
        CHECK(sentence.find("unknown TLS error") == std::string::npos);
        sentences.insert(sentence);
        ++count;
    }
    CHECK(static_cast<int>(sentences.size()) == count);
    CHECK(tls_category().message(count + 1) == "unknown TLS error " + std::to_string(count + 1));
}

TEST_CASE("an alert of the peer is a code that knows its number and its name") {
    const auto alert =
        detail::tls_failure(ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_REASON_OFFSET + 48), X509_V_OK);
    CHECK(tls_alert(alert) == 48);
    CHECK(alert.message() == "the peer refused with the TLS alert 'unknown CA' (48)");
    for (const int number : {109, 116, 120}) {  // of TLS 1.3
        const auto newer =
            detail::tls_failure(ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_REASON_OFFSET + number), X509_V_OK);
        CHECK(newer.message().find("unknown") == std::string::npos);
    }
    CHECK(tls_alert(tls_errc::expired) == -1);
    CHECK(tls_alert(std::make_error_code(std::errc::io_error)) == -1);
}

TEST_CASE("a handshake that took too long counts as timed out, other causes do not") {
    CHECK(make_error_code(tls_errc::handshake_timed_out) == std::errc::timed_out);
    CHECK(make_error_code(tls_errc::expired) != std::errc::timed_out);
}
