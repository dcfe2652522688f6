#include "net/tls_stream.h"

#include "tests/net/stories.h"
#include "tests/support/certificates.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

struct tls_pair {
    tls_stream client;
    tls_stream server;
};

task<void> accept_into(tls_stream& into, tcp_stream over, tls_context context) {
    into = co_await accept_tls(std::move(over), std::move(context));
}

task<tls_pair> secured_pair(loop& owner, tls_context ours, tls_context theirs,
                            std::string host = "localhost") {
    stream_pair both = co_await connected_pair(owner);
    tls_pair made;
    scope other(owner);
    other.spawn(accept_into(made.server, std::move(both.server), theirs));
    made.client = co_await start_tls(std::move(both.client), ours, host);
    co_await other.join();
    co_return made;
}

tls_context client_context() { return trusting(shared_certificates()); }
tls_context server_context() { return showing(shared_certificates().make("server")); }

task<void> send_and_end(tcp_stream& to, std::string_view text) {
    co_await to.send(text);
    to.shutdown_send();
}

task<void> receive_to(tcp_stream& from, std::string& into) { into = co_await read_all(from); }

}  // namespace

TEST_CASE("plaintext goes both ways at once through TLS and arrives whole and in order") {
    tell([](loop& owner) -> task<void> {
        detail::fake_random random(seed());
        tls_pair both = co_await secured_pair(owner, client_context(), server_context());
        CHECK(both.client.version() == "TLSv1.3");
        CHECK(both.client.protocol() == "http/1.1");
        CHECK(both.server.server_name() == "localhost");
        const std::string up = random_text(random, 1'500'000);
        const std::string down = random_text(random, 700'001);
        std::string got_up;
        std::string got_down;
        scope parts(owner);
        parts.spawn(send_and_end(both.client, up));
        parts.spawn(send_and_end(both.server, down));
        parts.spawn(receive_to(both.server, got_up));
        parts.spawn(receive_to(both.client, got_down));
        co_await parts.join();
        CHECK(got_up == up);
        CHECK(got_down == down);
    }, 6);
}
