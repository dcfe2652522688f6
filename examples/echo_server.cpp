// echo_server PORT [--host ADDRESS]: sends everything back, until SIGINT or SIGTERM. SIGUSR1 prints
// what every task waits for.
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "coro/dump.h"
#include "coro/run.h"
#include "coro/scope.h"
#include "coro/signals.h"
#include "net/tcp_listener.h"

using namespace ringlet;

namespace {

task<void> echo(tcp_stream peer) {
    try {
        while (const chunk bytes = co_await peer.receive()) {
            co_await peer.send(bytes);
        }
    } catch (const error&) {
        // The peer has gone; the others stay.
    }
}

task<void> accept_all(tcp_listener& listener, scope& connections) {
    for (;;) {
        tcp_stream peer = co_await listener.accept();
        connections.spawn(echo(std::move(peer)));
    }
}

task<void> serve(loop& owner, address where) {
    signals stop(owner, {SIGINT, SIGTERM});
    const dump_on_signal dumps(owner);
    tcp_listener listener(owner, where);
    std::printf("listening on %s\n", listener.local_address().text().c_str());
    std::fflush(stdout);
    scope connections(owner);
    connections.spawn(accept_all(listener, connections));
    co_await stop.next();
    connections.cancel();
    co_await connections.join();
}

}  // namespace

int main(int argc, char** argv) {
    std::uint16_t port = 0;
    const std::string_view number = argc > 1 ? argv[1] : "";
    const auto [end, failed] = std::from_chars(number.begin(), number.end(), port);
    const bool with_host = argc == 4 && std::strcmp(argv[2], "--host") == 0;
    if (failed != std::errc() || end != number.end() || (argc != 2 && !with_host)) {
        std::fputs("usage: echo_server PORT [--host ADDRESS]\n", stderr);
        return 2;
    }
    const char* const host = with_host ? argv[3] : "127.0.0.1";
    result<address> where = address::parse(host, port);
    if (!where) {
        std::fprintf(stderr, "echo_server: '%s' is no IP address\n", host);
        return 2;
    }
    try {
        loop owner;
        run(owner, serve(owner, *where));
    } catch (const error& failure) {
        std::fprintf(stderr, "echo_server: %s\n", failure.what());
        return 1;
    }
}
