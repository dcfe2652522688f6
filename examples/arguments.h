// What the small servers share: `NAME PORT [--host ADDRESS] [--cert FILE --key FILE]`, listening
// (with a certificate: for https), and an orderly stop on SIGINT or SIGTERM; SIGUSR1 prints what
// every task waits for on stderr. Bad arguments: a sentence on stderr and exit code 2.
#pragma once

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <string>

#include "core/loop.h"
#include "core/signals.h"
#include "coro/dump.h"
#include "coro/run.h"
#include "net/address.h"
#include "net/tls_context.h"

namespace ringlet::examples {

struct serve_arguments {
    std::uint16_t port = 0;
    std::string host = "127.0.0.1";
    tls_identity identity;
    int exit_code = 0;
    bool leave = false;  // help was printed, or the arguments are wrong
    address where;
};

// `add_options(app)` may add some of the program's own.
template <class AddOptions>
serve_arguments parse_serve_arguments(int count, char** arguments, const char* name,
                                      AddOptions add_options) {
    serve_arguments parsed;
    CLI::App app{std::string(name) + ": see the README", name};
    app.add_option("port", parsed.port, "the TCP port; 0 takes a free one")->required();
    app.add_option("--host", parsed.host, "the address to listen on (127.0.0.1)");
    auto* const cert = app.add_option("--cert", parsed.identity.chain_file,
                                      "PEM FILE of the certificates to show: speaks https");
    app.add_option("--key", parsed.identity.key_file, "PEM FILE of its key")->needs(cert);
    add_options(app);
    try {
        app.parse(count, arguments);
    } catch (const CLI::ParseError& wrong) {
        parsed.leave = true;
        parsed.exit_code = app.exit(wrong) == 0 ? 0 : 2;
        return parsed;
    }
    const result<address> where = address::parse(parsed.host, parsed.port);
    if (!where) {
        std::fprintf(stderr, "%s: --host %s is not an IP address\n", name, parsed.host.c_str());
        parsed.leave = true;
        parsed.exit_code = 2;
        return parsed;
    }
    parsed.where = *where;
    return parsed;
}

// Serves with what `make(loop)` gives (a pointer to an http::server) until a signal comes; then
// answers in progress end, at most for `grace`.
template <class Make, class AddOptions>
int serve_main(int count, char** arguments, const char* name, Make make, AddOptions add_options) {
    const serve_arguments parsed = parse_serve_arguments(count, arguments, name, add_options);
    if (parsed.leave) {
        return parsed.exit_code;
    }
    try {
        loop events;
        const signal_watch stop(
            events, {SIGINT, SIGTERM},
            [](void* to, int) noexcept { static_cast<loop*>(to)->stop(); }, &events);
        const dump_on_signal dumps(events);
        const auto service = make(events);
        const bool secure = !parsed.identity.chain_file.empty();
        tls_context tls;
        if (secure) {
            tls_server_options shown;
            shown.identities.push_back(parsed.identity);
            shown.protocols = {"http/1.1"};
            tls = tls_context::server(std::move(shown));
        }
        const address at = service->listen(parsed.where, tls);
        std::printf("%s on http%s://%s/ (%s)\n", name, secure ? "s" : "", at.text().c_str(),
                    events.driver().name());
        std::fflush(stdout);
        events.run();
        constexpr nanoseconds grace = std::chrono::seconds(2);
        const instant end = events.read_clock() + grace.count();
        service->drain();
        while (!service->idle() && events.read_clock() < end) {
            timer wake([](timer&) noexcept {});
            events.start_timer(wake, end);
            events.run_once();
            events.cancel_timer(wake);
        }
        finish_detached(events);
    } catch (const error& failure) {
        std::fprintf(stderr, "%s: %s\n", name, failure.what());
        return 2;
    }
    return 0;
}

template <class Make>
int serve_main(int count, char** arguments, const char* name, Make make) {
    return serve_main(count, arguments, name, make, [](CLI::App&) {});
}

}  // namespace ringlet::examples
