#include "net/tls_context.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/result.h"
#include "net/tls_engine.h"
#include "tests/support/certificates.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

// What making a context failed with, and the code; nothing when it did not fail.
template <class Make>
std::string refusal(Make make, std::error_code& code) {
    try {
        make();
    } catch (const error& failure) {
        code = failure.code();
        return failure.what();
    }
    return {};
}

void copy_file(const std::string& from, const std::string& to) {
    std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
}

// The subject that a server so set up shows to a client that asks for `name`.
std::string shown_to(const tls_context& server, const std::string& name,
                     std::error_code* failure = nullptr) {
    tls_client_options anyone;
    anyone.verify = false;
    tls_engine client(tls_context::client(anyone), name, std::uint16_t{1});
    tls_engine host(server);
    for (int round = 0; round < 6; ++round) {
        for (const bool up : {true, false}) {
            tls_engine& from = up ? client : host;
            tls_engine& to = up ? host : client;
            from.handshake();
            const std::string sent = std::exchange(from.output(), {});
            to.give(std::as_bytes(std::span(sent)));
            to.handshake();
            (void)to.ready();
            to.give({});
        }
    }
    if (failure != nullptr) {
        *failure = host.failure();
    }
    return client.peer_subject();
}

tls_server_options one(const tls_identity& who) {
    tls_server_options options;
    options.identities.push_back(who);
    return options;
}

}  // namespace

TEST_CASE("a file that cannot be used is a sentence that names it") {
    certificates& files = shared_certificates();
    const tls_identity good = files.make("good");
    const tls_identity other = files.make("other");
    std::ofstream(files.path("junk.pem")) << "junk\n";
    std::error_code code;
    std::string told = refusal([&] { tls_context::server({}); }, code);
    CHECK(told == "a server needs a certificate to show: TLS cannot be set up so");
    told = refusal([&] { tls_context::server(one({files.path("none.pem"), {}, {}})); }, code);
    CHECK(told == "certificate file " + files.path("none.pem") + ": No such file or directory");
    CHECK(code == std::errc::no_such_file_or_directory);
    told = refusal([&] { tls_context::server(one({files.path("junk.pem"), {}, {}})); }, code);
    CHECK(told.starts_with("certificate file " + files.path("junk.pem") + " cannot be used ("));
    CHECK(code == tls_errc::bad_settings);
    told = refusal([&] { tls_context::server(one({good.chain_file, other.key_file, {}})); }, code);
    CHECK(told.starts_with("key file " + other.key_file + " cannot be used with the certificate"));
    told = refusal([&] { tls_context::server(one({good.chain_file, {}, {}})); }, code);
    CHECK(told.starts_with("key file " + good.chain_file));
    tls_identity locked = good;
    locked.key_file = files.lock_key(good.key_file, "secret");
    locked.key_password = "guess";
    told = refusal([&] { tls_context::server(one(locked)); }, code);
    CHECK(told.starts_with("key file " + locked.key_file +
                           " cannot be decrypted with its password"));
    locked.key_password = "secret";
    told = refusal([&] { tls_context::server(one(locked)); }, code);
    CHECK(told.empty());
    certificate_wish weak;
    weak.rsa_bits = 1024;
    told = refusal([&] { tls_context::server(one(files.make("weak", weak))); }, code);
    CHECK(told.find("key too small") != std::string::npos);
    for (const std::string& path : {files.path("none.pem"), files.path("junk.pem")}) {
        tls_client_options options;
        options.ca_file = path;
        told = refusal([&] { tls_context::client(options); }, code);
        CHECK(told.starts_with("CA file " + path));
        options.ca_file = files.ca_file();
        options.crl_file = path;
        told = refusal([&] { tls_context::client(options); }, code);
        CHECK(told.starts_with("CRL file " + path));
    }
    tls_client_options nameless;
    nameless.protocols.push_back("");
    told = refusal([&] { tls_context::client(nameless); }, code);
    CHECK(told.starts_with("'' is no ALPN name"));
}

TEST_CASE("SSL_CERT_FILE is read in place of the system's CAs, and named when it cannot be") {
    certificates& files = shared_certificates();
    ::setenv("SSL_CERT_FILE", files.path("missing.pem").c_str(), 1);
    std::error_code code;
    std::string told = refusal([&] { tls_context::client(); }, code);
    CHECK(told.starts_with("SSL_CERT_FILE " + files.path("missing.pem")));
    ::setenv("SSL_CERT_FILE", files.ca_file().c_str(), 1);
    told = refusal([&] { tls_context::client(); }, code);
    CHECK(told.empty());
    ::unsetenv("SSL_CERT_FILE");
}

TEST_CASE("the certificate is chosen by the name that the client asks for") {
    certificates& files = shared_certificates();
    tls_server_options options;
    certificate_wish wish;
    for (const std::string name : {"first.example", "second.example", "*.third.example"}) {
        wish.common_name = name;
        wish.names = "DNS:" + name;
        options.identities.push_back(files.make("sni" + name.substr(2, 3), wish));
    }
    const tls_context server = tls_context::server(options);
    CHECK(shown_to(server, "second.example") == "CN=second.example");
    CHECK(shown_to(server, "Second.Example") == "CN=second.example");
    CHECK(shown_to(server, "www.third.example") == "CN=*.third.example");
    CHECK(shown_to(server, "third.example") == "CN=first.example");
    CHECK(shown_to(server, "unknown.example") == "CN=first.example");
    CHECK(shown_to(server, "127.0.0.1") == "CN=first.example");  // asks for no name
}

TEST_CASE("a reload takes new files up whole or not at all, and copies see it") {
    certificates& files = shared_certificates();
    certificate_wish wish;
    wish.common_name = "before";
    const tls_identity live = files.make("live", wish);
    tls_context server = tls_context::server(one(live));
    const tls_context copy = server;
    CHECK(shown_to(copy, "localhost") == "CN=before");
    wish.common_name = "after";
    const tls_identity next = files.make("next", wish);
    copy_file(next.chain_file, live.chain_file);
    std::error_code code;
    std::string told = refusal([&] { server.reload(); }, code);  // the key is still the old one
    CHECK(told.starts_with("key file "));
    CHECK(shown_to(copy, "localhost") == "CN=before");
    copy_file(next.key_file, live.key_file);
    tls_engine begun(server);
    server.reload();
    CHECK(shown_to(copy, "localhost") == "CN=after");
}

TEST_CASE("sessions are bounded in number, and forgotten by a reload") {
    tls_client_options options;
    options.ca_file = shared_certificates().ca_file();
    options.sessions_max = 2;
    tls_context ours = tls_context::client(options);
    const tls_context server = showing(shared_certificates().make("bounded"));
    for (std::uint16_t port = 1; port <= 5; ++port) {
        tls_engine client(ours, "localhost", port);
        tls_engine host(server);
        for (int round = 0; round < 4; ++round) {
            client.handshake();
            host.give(std::as_bytes(std::span(client.output())));
            host.handshake();
            client.output().clear();
            client.give(std::as_bytes(std::span(host.output())));
            client.handshake();
            (void)client.ready();
            host.output().clear();
        }
        CHECK(client.secured());
        CHECK(ours.sessions() == std::min<std::size_t>(port, 2));
    }
    ours.reload();
    CHECK(ours.sessions() == 0);
}

TEST_CASE("a server may ask for a certificate, and insist on it") {
    tls_server_options options = one(shared_certificates().make("asking"));
    options.client_ca_file = shared_certificates().ca_file();
    options.client_required = false;
    std::error_code failure;
    (void)shown_to(tls_context::server(options), "localhost", &failure);
    CHECK_FALSE(failure);
    options.client_required = true;
    (void)shown_to(tls_context::server(options), "localhost", &failure);
    CHECK(failure == tls_errc::no_certificate);
}
