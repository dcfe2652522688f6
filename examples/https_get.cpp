// https_get [options] URL...: fetches one after the other with one client, and says of each how it
// went: the status and the body's length, or the cause. The last line counts handshakes.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "coro/dump.h"
#include "coro/run.h"
#include "http/client.h"

using namespace ringlet;

namespace {

struct settings {
    std::vector<std::string> urls;
    tls_client_options tls;
    double handshake_s = 10;
    bool insecure = false;
    bool fresh = false;
};

task<int> fetch_all(loop& owner, const settings& how) {
    http::client_options options;
    options.tls = tls_context::client(how.tls);
    options.tls_timeout = nanoseconds(static_cast<std::int64_t>(how.handshake_s * 1e9));
    options.idle_connections_max = how.fresh ? 0 : options.idle_connections_max;
    http::client web(owner, std::move(options));
    int failed = 0;
    for (const std::string& url : how.urls) {
        try {
            const http::client_response page = co_await web.get(url);
            std::printf("%d %zu %s\n", page.status, page.body.size(),
                        std::string(page.final_url.text()).c_str());
        } catch (const http::client_error& failure) {
            ++failed;
            std::printf("failed %s\n", failure.what());
        }
    }
    std::printf("%llu connections, %llu of them resumed a TLS session\n",
                static_cast<unsigned long long>(web.stats().connections),
                static_cast<unsigned long long>(web.stats().resumed));
    co_return failed > 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
    settings how;
    how.tls.protocols = {"http/1.1"};
    CLI::App app{"https_get: see the README", "https_get"};
    app.add_option("URL", how.urls, "what to fetch")->required();
    app.add_option("--cacert", how.tls.ca_file, "PEM FILE of the CAs to trust");
    app.add_option("--crl", how.tls.crl_file, "PEM FILE of revoked certificates");
    app.add_option("--cert", how.tls.identity.chain_file, "PEM FILE to show to the server");
    app.add_option("--key", how.tls.identity.key_file, "PEM FILE of its key");
    app.add_option("--pass", how.tls.identity.key_password, "of the key, when it is encrypted");
    app.add_option("--alpn", how.tls.protocols, "protocols to offer")->capture_default_str();
    app.add_option("--handshake-timeout", how.handshake_s, "SECONDS")->capture_default_str();
    app.add_flag("--insecure", how.insecure, "take any server for the one that was meant");
    app.add_flag("--fresh", how.fresh, "a new connection for each URL");
    CLI11_PARSE(app, argc, argv);
    how.tls.verify = !how.insecure;
    try {
        loop owner;
        const dump_on_signal dumps(owner);
        return run(owner, fetch_all(owner, how));
    } catch (const error& failure) {
        std::fprintf(stderr, "https_get: %s\n", failure.what());
        return 2;
    }
}
