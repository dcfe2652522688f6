// tls_echo PORT --cert FILE --key FILE: sends everything back through TLS, until SIGINT or SIGTERM.
// SIGHUP reads the files anew; connections stay. --verbose writes a line for each handshake.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <string>

#include "coro/dump.h"
#include "coro/run.h"
#include "coro/scope.h"
#include "coro/signals.h"
#include "net/tcp_listener.h"
#include "net/tls_stream.h"

using namespace ringlet;

namespace {

struct settings {
    std::uint16_t port = 0;
    std::vector<std::string> chains;
    std::vector<std::string> keys;
    tls_server_options tls;
    double handshake_s = 10;
    bool optional = false;
    bool verbose = false;
};

void say(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

task<void> echo(tcp_stream peer, tls_context tls, const settings& how) {
    try {
        const nanoseconds patience(static_cast<std::int64_t>(how.handshake_s * 1e9));
        tls_stream secured = co_await accept_tls(std::move(peer), tls, patience);
        if (how.verbose) {
            say("secured " + std::string(secured.version()) + " protocol=" +
                std::string(secured.protocol()) + " name=" + std::string(secured.server_name()) +
                " peer=" + secured.peer_subject() + (secured.resumed() ? " resumed" : ""));
        }
        while (const chunk bytes = co_await secured.receive()) {
            co_await secured.send(bytes);
        }
        secured.shutdown_send();
    } catch (const error& failure) {
        if (how.verbose) {
            say(std::string("failed ") + failure.what());
        }
    }
}

task<void> accept_all(tcp_listener& listener, scope& connections, tls_context tls,
                      const settings& how) {
    for (;;) {
        tcp_stream peer = co_await listener.accept();
        connections.spawn(echo(std::move(peer), tls, how));
    }
}

task<void> reload_on_hangup(loop& owner, tls_context tls) {
    signals hangup(owner, {SIGHUP});
    for (;;) {
        co_await hangup.next();
        try {
            tls.reload();
            say("reloaded");
        } catch (const error& failure) {
            say(std::string("not reloaded: ") + failure.what());
        }
    }
}

task<void> serve(loop& owner, const settings& how) {
    signals stop(owner, {SIGINT, SIGTERM});
    const tls_context tls = tls_context::server(how.tls);
    tcp_listener listener(owner, address::loopback_v4(how.port));
    say("listening on " + listener.local_address().text());
    scope connections(owner);
    connections.spawn(accept_all(listener, connections, tls, how));
    connections.spawn(reload_on_hangup(owner, tls));
    co_await stop.next();
    connections.cancel();
    co_await connections.join();
}

}  // namespace

int main(int argc, char** argv) {
    settings how;
    CLI::App app{"tls_echo: see the README", "tls_echo"};
    app.add_option("port", how.port, "the TCP port; 0 takes a free one")->required();
    app.add_option("--cert", how.chains, "PEM FILE of certificates; several are chosen by SNI")
        ->required();
    app.add_option("--key", how.keys, "PEM FILE of the key, in the same order");
    app.add_option("--client-ca", how.tls.client_ca_file, "ask clients for a certificate of these");
    app.add_flag("--client-optional", how.optional, "but take those that have none, too");
    app.add_option("--crl", how.tls.crl_file, "PEM FILE of revoked client certificates");
    app.add_option("--alpn", how.tls.protocols, "protocols to agree on");
    app.add_option("--handshake-timeout", how.handshake_s, "SECONDS")->capture_default_str();
    app.add_flag("--verbose", how.verbose, "a line for each connection");
    CLI11_PARSE(app, argc, argv);
    for (std::size_t at = 0; at < how.chains.size(); ++at) {
        how.tls.identities.push_back(
            {how.chains[at], at < how.keys.size() ? how.keys[at] : std::string(), {}});
    }
    how.tls.client_required = !how.optional;
    try {
        loop owner;
        const dump_on_signal dumps(owner);
        run(owner, serve(owner, how));
    } catch (const error& failure) {
        std::fprintf(stderr, "tls_echo: %s\n", failure.what());
        return 2;
    }
}
