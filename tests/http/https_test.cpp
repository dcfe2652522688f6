// The HTTP client and server through TLS.
#include <doctest/doctest.h>

#include "http/client.h"
#include "http/serve.h"
#include "net/tls_engine.h"
#include "tests/http/hosts.h"
#include "tests/support/certificates.h"

using namespace ringlet;
using namespace ringlet::test;
using http::phase;

namespace {

tls_context server_context() {
    static const tls_identity who = shared_certificates().make("https");
    return showing(who);
}

http::client_options trusting_options() {
    http::client_options options;
    options.tls = trusting(shared_certificates());
    return options;
}

// Answers with the body it got, else with what it knows of the talk.
void answer(http::exchange& at) {
    if (at.request().has_body) {
        auto* const taken = new reader(at);
        taken->on_end = [](reader& whole) {
            whole.at->respond(200, "text/plain", whole.body);
            delete &whole;
        };
        at.want_body();
        return;
    }
    const std::string_view where = at.request().value("To");
    if (at.request().path == "/go") {
        const http::header_view location{"Location", where};
        at.respond(302, std::span(&location, 1), "");
        return;
    }
    const tls_engine* const tls = at.tls();
    const std::string text =
        tls == nullptr ? "in the clear"
                       : std::string(tls->protocol()) + " for " + std::string(tls->server_name());
    at.respond(200, "text/plain", text + " " + std::string(at.request().value("Authorization")));
}

// A site with two doors, one of them secure.
struct two_doors {
    explicit two_doors(loop& owner, const http::limits& sizes = {}) : own(owner, &answer, sizes) {
        plain = "http://localhost:" + std::to_string(own.where.port());
        const address door = own.web->listen(address::loopback_v4(0), server_context());
        secure_at = door;
        secure = "https://localhost:" + std::to_string(door.port());
    }
    site own;
    address secure_at;
    std::string plain;
    std::string secure;
};

}  // namespace

TEST_CASE("https is spoken on kept connections, and sessions are resumed on new ones") {
    tell([](loop& owner) -> task<void> {
        two_doors doors(owner);
        http::client web(owner, trusting_options());
        for (int round = 0; round < 3; ++round) {
            const http::client_response got = co_await web.get(doors.secure + "/");
            CHECK(got.status == 200);
            CHECK(got.body == "http/1.1 for localhost ");
            if (round == 0) {
                CHECK(got.timings.secured >= got.timings.connected);
                CHECK(got.timings.secured <= got.timings.sent);
            }
        }
        CHECK(web.stats().connections == 1);
        const http::client_response clear = co_await web.get(doors.plain + "/");
        CHECK(clear.body == "in the clear ");
        CHECK(clear.timings.secured == 0);
        web.close_idle();
        (void)co_await web.get(doors.secure + "/");
        CHECK(web.stats().connections == 3);
        CHECK(web.stats().resumed == 1);
    });
}

TEST_CASE("large bodies go up and come back through TLS") {
    tell([](loop& owner) -> task<void> {
        http::limits sizes;
        sizes.body_bytes_max = 10'000'000;
        two_doors doors(owner, sizes);
        http::client web(owner, trusting_options());
        detail::fake_random random(seed());
        http::client_request up;
        up.url = doors.secure + "/";
        up.method = http::method::post;
        up.body = random_text(random, 3'000'000);
        const std::string sent = up.body;
        const http::client_response got = co_await web.request(std::move(up));
        CHECK(got.body == sent);
    }, 3);
}

TEST_CASE("a certificate that is refused is an error of the phase tls that names the cause") {
    tell([](loop& owner) -> task<void> {
        two_doors doors(owner);
        http::client_options options = trusting_options();
        const certificates others("Somebody Else");
        options.tls = trusting(others);
        http::client web(owner, options);
        const failure told = co_await failure_told(web.get(doors.secure + "/"));
        CHECK(told.phase == phase::tls);
        CHECK(told.code == tls_errc::unknown_ca);
        CHECK(told.text.starts_with(doors.secure + "/: tls: certificate 'CN=localhost' for "));
        CHECK(told.text.ends_with(": the certificate comes from an unknown CA"));
    });
}

TEST_CASE("redirects lead from http to https and back, and secrets stay at home") {
    tell([](loop& owner) -> task<void> {
        two_doors doors(owner);
        http::client web(owner, trusting_options());
        for (const bool to_secure : {true, false}) {
            http::client_request asked;
            asked.url = (to_secure ? doors.plain : doors.secure) + "/go";
            asked.headers.add("Authorization", "secret");
            asked.headers.add("To", (to_secure ? doors.secure : doors.plain) + "/there");
            const http::client_response got = co_await web.request(std::move(asked));
            CHECK(got.body == (to_secure ? "http/1.1 for localhost " : "in the clear "));
            CHECK(got.redirects == 1);
        }
    });
}

TEST_CASE("a handshake that never comes ends at its limit, on either side") {
    tell([](loop& owner) -> task<void> {
        http::limits sizes;
        sizes.handshake_timeout = std::chrono::milliseconds(50);
        two_doors doors(owner, sizes);
        tcp_stream silent = co_await connect(owner, only(doors.secure_at));
        const std::error_code code = co_await failure_of(
            [](tcp_stream& from) -> task<void> { (void)co_await from.receive(); }(silent));
        CHECK(code == std::errc::connection_reset);
        CHECK(doors.own.web->stats().timeouts == 1);
        CHECK(doors.own.web->idle());

        tcp_listener mute(owner, address::loopback_v4(0));
        http::client_options options = trusting_options();
        options.tls_timeout = std::chrono::milliseconds(50);
        http::client web(owner, options);
        const failure told = co_await failure_told(
            web.get("https://localhost:" + std::to_string(mute.local_address().port()) + "/"));
        CHECK(told.phase == phase::tls);
        CHECK(told.cause == "timed out after 50 ms");
    });
}

TEST_CASE("http at the door for https is hung up on, and the next client is served") {
    tell([](loop& owner) -> task<void> {
        two_doors doors(owner);
        tcp_stream wrong = co_await connect(owner, only(doors.secure_at));
        co_await wrong.send("GET / HTTP/1.1\r\nHost: here\r\n\r\n");
        std::string got;
        try {
            got = co_await read_all(wrong);
        } catch (const error&) {
            // A reset is as good as an end.
        }
        CHECK(got.find("HTTP") == std::string::npos);
        http::client web(owner, trusting_options());
        const http::client_response next = co_await web.get(doors.secure + "/");
        CHECK(next.status == 200);
    });
}

TEST_CASE("a drain ends secure connections, in the middle of a handshake too") {
    tell([](loop& owner) -> task<void> {
        two_doors doors(owner);
        http::client web(owner, trusting_options());
        (void)co_await web.get(doors.secure + "/");
        tcp_stream silent = co_await connect(owner, only(doors.secure_at));
        co_await until([&] { return doors.own.web->stats().open == 2; });
        doors.own.web->drain();
        co_await pass_time();
        web.close_idle();
        co_await until([&] { return doors.own.web->idle(); });
        CHECK(doors.own.web->stats().timeouts == 0);
    });
}
