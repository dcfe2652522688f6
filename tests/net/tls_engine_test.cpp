#include "net/tls_engine.h"

#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/fake_random.h"
#include "core/result.h"
#include "tests/support/certificates.h"
#include "tests/support/support.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

// One end: what it decrypts is collected; ciphertext is read where it lies, in a copy that ends
// where the piece ends, so that a sanitizer sees a read behind it.
struct peer {
    template <class... Arguments>
    explicit peer(const Arguments&... arguments) : engine(arguments...) {}

    tls_engine engine;
    std::string plain;

    void take(std::string_view piece) {
        const std::string own(piece);
        engine.give(bytes_of(own));
        if (!engine.handshake()) {
            return;
        }
        while (const std::size_t more = engine.ready()) {
            std::string text(more, '\0');
            engine.read(std::as_writable_bytes(std::span(text)));
            plain += text;
        }
        engine.give({});
    }
};

// Everything that waits in `from` goes to `to`, in pieces of that size.
bool carry(peer& from, peer& to, std::size_t piece_bytes) {
    const std::string sent = std::exchange(from.engine.output(), {});
    for (std::string_view left = sent; !left.empty();) {
        const std::string_view piece = left.substr(0, piece_bytes);
        to.take(piece);
        left.remove_prefix(piece.size());
    }
    return !sent.empty();
}

// Both ends talk until neither has anything to say.
void talk(peer& client, peer& server, std::size_t piece_bytes = std::string::npos) {
    client.engine.handshake();
    bool carried = true;
    while (carried) {
        carried = carry(client, server, piece_bytes);
        carried = carry(server, client, piece_bytes) || carried;
    }
}

tls_context client_of(const std::string& protocol = "http/1.1") {
    tls_client_options options;
    options.ca_file = shared_certificates().ca_file();
    options.protocols.push_back(protocol);
    return tls_context::client(std::move(options));
}

const tls_context& server_context() {
    static const tls_context made = showing(shared_certificates().make("engine"));
    return made;
}

void only_tls_1_2(peer& which) {
    SSL_set_max_proto_version(which.engine.native(), TLS1_2_VERSION);
}

// How the client's handshake ends with a server that shows a certificate so made.
std::error_code verdict_on(const certificate_wish& wish, std::string_view host = "localhost",
                           std::string* detail = nullptr) {
    const tls_context showing_it = showing(shared_certificates().make("wished", wish));
    peer client(client_of(), host, std::uint16_t{443});
    peer server(showing_it);
    talk(client, server);
    CHECK(client.engine.secured() == !client.engine.failure());
    if (client.engine.failure()) {
        CHECK(tls_alert(server.engine.failure()) > 0);
    }
    if (detail != nullptr) {
        *detail = client.engine.detail();
    }
    return client.engine.failure();
}

}  // namespace

TEST_CASE("handshake, data and close pass in pieces of any size, in TLS 1.2 and 1.3") {
    detail::fake_random random(seed());
    std::string text(70'000, '\0');
    for (char& each : text) {
        each = static_cast<char>(random.below(256));
    }
    for (const bool old : {false, true}) {
        for (const std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{5},
                                        std::size_t{333}, std::size_t{16'384}, std::string::npos}) {
            CAPTURE(old);
            CAPTURE(piece);
            peer client(client_of(), "localhost", std::uint16_t{1});
            peer server(server_context());
            if (old) {
                only_tls_1_2(client);
            }
            talk(client, server, piece);
            REQUIRE(client.engine.secured());
            REQUIRE(server.engine.secured());
            CHECK(client.engine.version() == (old ? "TLSv1.2" : "TLSv1.3"));
            CHECK(client.engine.protocol() == "http/1.1");
            CHECK(server.engine.protocol() == "http/1.1");
            CHECK(server.engine.server_name() == "localhost");
            CHECK(client.engine.peer_subject() == "CN=localhost");
            CHECK(server.engine.peer_subject().empty());
            CHECK(client.engine.write(bytes_of(text)));
            CHECK(server.engine.write(bytes_of("short")));
            talk(client, server, piece);
            CHECK(server.plain == text);
            CHECK(client.plain == "short");
            client.engine.close();
            talk(client, server, piece);
            CHECK(server.engine.peer_closed());
            CHECK_FALSE(client.engine.failure());
            CHECK_FALSE(server.engine.failure());
        }
    }
}

TEST_CASE("a handshake split in two at every byte succeeds") {
    for (const bool old : {false, true}) {
        for (std::size_t at = 1; at < 2000; at += 1 + at / 8) {
            peer client(client_of(), "localhost", std::uint16_t{1});
            peer server(server_context());
            if (old) {
                only_tls_1_2(client);
            }
            client.engine.handshake();
            std::size_t passed = 0;
            while (!client.engine.output().empty() || !server.engine.output().empty()) {
                for (peer* from : {&client, &server}) {
                    peer& to = from == &client ? server : client;
                    const std::string sent = std::exchange(from->engine.output(), {});
                    const std::size_t cut =
                        std::min(sent.size(), at > passed ? at - passed : sent.size());
                    to.take(std::string_view(sent).substr(0, cut));
                    to.take(std::string_view(sent).substr(cut));
                    passed += sent.size();
                }
            }
            CAPTURE(at);
            CHECK(client.engine.secured());
            CHECK(server.engine.secured());
        }
    }
}

TEST_CASE("each record is read where it lies, and its plaintext is no longer than what was taken") {
    peer client(client_of(), "localhost", std::uint16_t{1});
    peer server(server_context());
    talk(client, server);
    std::string sent;
    for (int record = 0; record < 30; ++record) {
        const auto letter = static_cast<char>('a' + record % 26);
        CHECK(client.engine.write(bytes_of(std::string(1 + record * 37, letter))));
    }
    std::string wire = std::exchange(client.engine.output(), {});
    server.engine.give(bytes_of(wire));
    std::size_t plain = 0;
    for (int record = 0; record < 30; ++record) {
        const std::size_t more = server.engine.ready();
        REQUIRE(more == static_cast<std::size_t>(1 + record * 37));
        REQUIRE(plain + more <= server.engine.taken());
        server.engine.read(std::as_writable_bytes(std::span(wire)).subspan(plain, more));
        CHECK(wire.substr(plain, more) == std::string(more, static_cast<char>('a' + record % 26)));
        plain += more;
    }
    CHECK(server.engine.ready() == 0);
    CHECK(server.engine.taken() == wire.size());
}

TEST_CASE("a bad certificate fails with an error that names the cause, and tells the peer") {
    CHECK_FALSE(verdict_on({}));
    CHECK_FALSE(verdict_on({}, "127.0.0.1"));
    CHECK_FALSE(verdict_on({}, "[::1]"));
    CHECK_FALSE(verdict_on({}, "LOCALHOST."));
    certificate_wish wish;
    wish.from_s = -7200;
    wish.to_s = -3600;
    std::string detail;
    CHECK(verdict_on(wish, "localhost", &detail) == tls_errc::expired);
    CHECK(detail.starts_with("certificate 'CN=localhost' for localhost 127.0.0.1 ::1, valid "));
    wish.from_s = 3600;
    wish.to_s = 7200;
    CHECK(verdict_on(wish) == tls_errc::not_yet_valid);
    CHECK(verdict_on({}, "example.org") == tls_errc::wrong_host);
    CHECK(verdict_on({}, "127.0.0.2") == tls_errc::wrong_address);
    CHECK(verdict_on({}, "::2") == tls_errc::wrong_address);
    wish = {};
    wish.self_signed = true;
    CHECK(verdict_on(wish) == tls_errc::self_signed);
    wish = {};
    wish.names = "DNS:*.example.org";
    CHECK_FALSE(verdict_on(wish, "www.example.org"));
    CHECK(verdict_on(wish, "a.b.example.org") == tls_errc::wrong_host);
    CHECK(verdict_on(wish, "example.org") == tls_errc::wrong_host);
    wish.names = "DNS:w*.example.org";
    CHECK(verdict_on(wish, "www.example.org") == tls_errc::wrong_host);
    wish.names.clear();  // a common name alone is no host name
    CHECK(verdict_on(wish) == tls_errc::wrong_host);
}

TEST_CASE("a CA that is not trusted, a revoked certificate and a missing list have their errors") {
    const certificates impostor;  // a CA of the same name, with another key
    certificates others("Other CA");
    const tls_context unknown = showing(others.make("unknown"));
    peer client(client_of(), "localhost", std::uint16_t{443});
    peer server(unknown);
    talk(client, server);
    CHECK(client.engine.failure() == tls_errc::unknown_ca);
    CHECK(tls_alert(server.engine.failure()) == 48);  // unknown_ca

    tls_client_options fooled;
    fooled.ca_file = impostor.ca_file();
    peer wary(tls_context::client(fooled), "localhost", std::uint16_t{443});
    peer genuine(server_context());
    talk(wary, genuine);
    CHECK(wary.engine.failure() == tls_errc::bad_signature);

    const tls_context server_side = showing(others.make("listed"));
    for (const bool revoked : {false, true}) {
        tls_client_options options;
        options.ca_file = others.ca_file();
        options.crl_file = others.crl(revoked);
        const tls_context checking = tls_context::client(options);
        peer careful(checking, "localhost", std::uint16_t{443});
        peer shown(server_side);
        talk(careful, shown);
        CHECK(careful.engine.secured() == !revoked);
        CHECK(careful.engine.failure() ==
              (revoked ? make_error_code(tls_errc::revoked) : std::error_code()));
    }
    tls_client_options options;
    options.ca_file = others.ca_file();
    options.crl_file = shared_certificates().crl(false);  // another CA's
    peer careful(tls_context::client(options), "localhost", std::uint16_t{443});
    peer shown(server_side);
    talk(careful, shown);
    CHECK(careful.engine.failure() == tls_errc::crl_missing);
}

TEST_CASE("a host without a name is refused, for nothing could be verified") {
    const tls_context ours = client_of();
    for (const std::string_view host :
         {std::string_view(""), std::string_view("."), std::string_view("[]"),
          std::string_view("local\0host", 10)}) {
        CHECK_THROWS_AS(tls_engine(ours, host, 443), error);
    }
}

TEST_CASE("what a hostile certificate says of itself is shown harmless and short") {
    certificate_wish wish;
    wish.common_name = "evil\x1b[2J\nname" + std::string(50, 'x');
    wish.names = "DNS:" + std::string(5000, 'y') + ",DNS:a\x1b]0;b";
    std::string detail;
    CHECK(verdict_on(wish, "localhost", &detail) == tls_errc::wrong_host);
    CHECK(detail.size() < 700);
    CHECK(detail.find('\x1b') == std::string::npos);
    CHECK(detail.find('\n') == std::string::npos);
}

TEST_CASE("without verification anything is accepted") {
    tls_client_options options;
    options.verify = false;
    certificate_wish wish;
    wish.self_signed = true;
    wish.to_s = -1;
    const tls_context bad = showing(shared_certificates().make("bad", wish));
    peer client(tls_context::client(options), "example.org", std::uint16_t{443});
    peer server(bad);
    talk(client, server);
    CHECK(client.engine.secured());
}

TEST_CASE("a session is taken up again, in TLS 1.2 and 1.3, for the same host and port only") {
    for (const bool old : {false, true}) {
        CAPTURE(old);
        const tls_context ours = client_of();
        for (int round = 0; round < 4; ++round) {
            peer client(ours, round == 3 ? "127.0.0.1" : "localhost", std::uint16_t{443});
            peer server(server_context());
            if (old) {
                only_tls_1_2(client);
            }
            talk(client, server);
            REQUIRE(client.engine.secured());
            CHECK(client.engine.resumed() == (round == 1 || round == 2));
            CHECK(server.engine.resumed() == client.engine.resumed());
            CHECK(client.engine.peer_subject() == "CN=localhost");
        }
        CHECK(ours.sessions() == 2);
    }
}

TEST_CASE("a server with no protocol, version or TLS in common is told apart") {
    {
        peer client(client_of("other/1"), "localhost", std::uint16_t{1});
        peer server(server_context());
        talk(client, server);
        CHECK(server.engine.failure() == tls_errc::no_shared_protocol);
        CHECK(tls_alert(client.engine.failure()) == 120);  // no_application_protocol
    }
    {
        peer client(client_of(), "localhost", std::uint16_t{1});
        peer server(server_context());
        SSL_set_max_proto_version(server.engine.native(), TLS1_2_VERSION);
        SSL_set_min_proto_version(client.engine.native(), TLS1_3_VERSION);
        talk(client, server);
        CHECK(server.engine.failure() == tls_errc::no_shared_version);
        CHECK(tls_alert(client.engine.failure()) == 70);  // protocol_version
    }
    {
        peer client(client_of(), "localhost", std::uint16_t{1});
        client.engine.handshake();
        client.take("HTTP/1.1 400 Bad Request\r\n\r\n");
        CHECK(client.engine.failure() == tls_errc::not_tls);
        peer server(server_context());
        server.take("GET / HTTP/1.1\r\n\r\n");
        CHECK(server.engine.failure() == tls_errc::not_tls);
    }
}

TEST_CASE("garbage and changed records fail, and nothing of them is given out") {
    detail::fake_random random(seed());
    for (int round = 0; round < 60; ++round) {
        peer client(client_of(), "localhost", std::uint16_t{1});
        peer server(server_context());
        talk(client, server);
        REQUIRE(server.engine.secured());
        REQUIRE(client.engine.write(bytes_of("the first message")));
        std::string wire = std::exchange(client.engine.output(), {});
        const std::size_t at = random.below(static_cast<std::uint32_t>(wire.size()));
        wire[at] = static_cast<char>(wire[at] ^ (1 + random.below(255)));
        server.take(wire);
        server.take(std::string(20'000, 'g'));
        CAPTURE(at);
        CHECK(server.plain.empty());
        CHECK(server.engine.failure());
        CHECK_FALSE(server.engine.write(bytes_of("x")));
    }
    for (int round = 0; round < 60; ++round) {
        peer server(server_context());
        std::string noise(1 + random.below(500), '\0');
        for (char& each : noise) {
            each = static_cast<char>(random.below(256));
        }
        if (round % 2 == 0 && noise.size() > 5) {
            std::memcpy(noise.data(), "\x16\x03\x01\x00\x40", 5);
        }
        server.take(noise);
        server.take(std::string(20'000, '\0'));
        CHECK(server.engine.failure());
    }
}

TEST_CASE("renegotiation is refused, and the connection goes on") {
    peer client(client_of(), "localhost", std::uint16_t{1});
    peer server(server_context());
    only_tls_1_2(client);
    talk(client, server);
    REQUIRE(client.engine.secured());
    SSL_clear_options(client.engine.native(), SSL_OP_NO_RENEGOTIATION);
    REQUIRE(SSL_renegotiate(client.engine.native()) == 1);
    SSL_do_handshake(client.engine.native());
    const std::string asked = std::exchange(client.engine.output(), {});
    server.take(asked);
    CHECK_FALSE(server.engine.failure());
    CHECK(server.engine.output().size() > 0);  // a warning, "no renegotiation"
    CHECK(server.engine.write(bytes_of("still here")));
    client.take(server.engine.output());
    CHECK(client.engine.failure() == tls_errc::protocol_error);  // OpenSSL's clients give up then
}

TEST_CASE("keys may be changed in the middle of the talk") {
    peer client(client_of(), "localhost", std::uint16_t{1});
    peer server(server_context());
    talk(client, server);
    CHECK(SSL_key_update(client.engine.native(), SSL_KEY_UPDATE_REQUESTED) == 1);
    CHECK(client.engine.write(bytes_of("with new keys")));
    talk(client, server);
    CHECK(server.plain == "with new keys");
    CHECK(server.engine.write(bytes_of("and back")));
    talk(client, server);
    CHECK(client.plain == "and back");
}
