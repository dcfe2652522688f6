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

task<chunk> receive_task(tcp_stream& from) { co_return co_await from.receive(); }

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
tls_context server_context() {
    static const tls_identity who = shared_certificates().make("server");
    return showing(who);
}

task<void> connect_into(tls_stream& into, tcp_stream over, tls_context context) {
    into = co_await start_tls(std::move(over), std::move(context), "localhost");
}

task<void> refused_to(std::error_code& code, tcp_stream over, tls_context context) {
    tls_stream none;
    code = co_await failure_of(accept_into(none, std::move(over), std::move(context)));
    if (!code) {  // TLS 1.3: the server is done before the client has looked at the certificate
        code = co_await failure_of(receive_task(none));
    }
}

task<void> send_all_of(tcp_stream& to, std::string_view text, std::error_code& code) {
    try {
        co_await to.send(text);
    } catch (const error& failure) {
        code = failure.code();
    } catch (const cancelled&) {
        code = std::make_error_code(std::errc::operation_canceled);
    }
}

task<void> echo_secured(tcp_stream over, tls_context context) {
    tls_stream peer = co_await accept_tls(std::move(over), std::move(context));
    co_await echo_until_end(std::move(peer));
}

task<void> serve_echo(tcp_listener& door, tls_context context, scope& served) {
    for (;;) {
        tcp_stream peer = co_await door.accept();
        served.spawn(echo_secured(std::move(peer), context));
    }
}

task<void> echo_one(loop& owner, address where, tls_context context, int& good, int& resumed) {
    tcp_stream plain = co_await connect(owner, only(where));
    tls_stream client = co_await start_tls(std::move(plain), context, "localhost");
    resumed += client.resumed();
    const std::string text(50'000, 'e');
    co_await client.send(text);
    std::string got(text.size(), '\0');
    co_await client.read_exactly(std::as_writable_bytes(std::span(got)));
    good += got == text;
    client.shutdown_send();
    (void)co_await failure_of(receive_task(client));
}

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

TEST_CASE("what a client says in the turn of its handshake's end follows the handshake") {
    tell([](loop& owner) -> task<void> {
        tls_pair both = co_await secured_pair(owner, client_context(), server_context());
        co_await both.client.send("at once");
        std::byte into[7];
        co_await both.server.read_exactly(into);
        CHECK(std::string(reinterpret_cast<char*>(into), 7) == "at once");
        co_await both.server.send("answer");
        both.server.shutdown_send();
        const std::string answer = co_await read_all(both.client);
        CHECK(answer == "answer");
        const chunk again = co_await both.client.receive();
        CHECK(!again);
    });
}

TEST_CASE("a stream that ends without close_notify was cut, and says so") {
    tell([](loop& owner) -> task<void> {
        stream_pair raw = co_await connected_pair(owner);
        tls_pair both;
        scope other(owner);
        other.spawn(accept_into(both.server, std::move(raw.server), server_context()));
        both.client = co_await start_tls(std::move(raw.client), client_context(), "localhost");
        co_await other.join();
        co_await both.server.send("half of it");
        std::byte into[10];
        co_await both.client.read_exactly(into);
        owner.driver().shutdown(both.server.descriptor(), SHUT_WR);
        const std::error_code code = co_await failure_of(receive_task(both.client));
        CHECK(code == tls_errc::truncated);
        const std::error_code same = co_await failure_of(receive_task(both.client));
        CHECK(same == tls_errc::truncated);
        CHECK(both.client.readable());
    });
}

TEST_CASE("a close says good-bye when everything was sent, and an abort does not") {
    if (!real_kernel()) {
        return;  // the fake kernel may not take the last words at once
    }
    tell([](loop& owner) -> task<void> {
        tls_pair both = co_await secured_pair(owner, client_context(), server_context());
        co_await both.server.send("all of it");
        both.server.close();
        const std::string got = co_await read_all(both.client);
        CHECK(got == "all of it");
        tls_pair rude = co_await secured_pair(owner, client_context(), server_context());
        rude.server.abort();
        const std::error_code code = co_await failure_of(receive_task(rude.client));
        CHECK(code == std::errc::connection_reset);
    });
}

TEST_CASE("a bad certificate fails on both sides, and the client's error describes it") {
    tell([](loop& owner) -> task<void> {
        stream_pair raw = co_await connected_pair(owner);
        std::error_code theirs;
        scope other(owner);
        other.spawn(refused_to(theirs, std::move(raw.server), server_context()));
        std::string told;
        try {
            const tls_stream none =
                co_await start_tls(std::move(raw.client), client_context(), "example.org");
        } catch (const error& failure) {
            told = failure.what();
            CHECK(failure.code() == tls_errc::wrong_host);
        }
        co_await other.join();
        CHECK(told.starts_with("certificate 'CN=localhost' for localhost 127.0.0.1 ::1, valid "));
        CHECK(told.ends_with(": the certificate is for another host"));
        CHECK((tls_alert(theirs) > 0 || theirs == tls_errc::handshake_cut ||
               theirs == std::errc::connection_reset));
    });
}

TEST_CASE("a handshake ends at its time limit, when cut, and when it is cancelled") {
    tell([](loop& owner) -> task<void> {
        stream_pair silent = co_await connected_pair(owner);
        std::error_code code = co_await failure_of(accept_tls(
            std::move(silent.server), server_context(), std::chrono::milliseconds(20)));
        CHECK(code == tls_errc::handshake_timed_out);
        CHECK(code == std::errc::timed_out);

        stream_pair hung_up = co_await connected_pair(owner);
        hung_up.client.close();
        code = co_await failure_of(accept_tls(std::move(hung_up.server), server_context()));
        CHECK(code == tls_errc::handshake_cut);

        stream_pair cancelled_one = co_await connected_pair(owner);
        code = co_await failure_of(with_timeout_task(
            std::chrono::milliseconds(5),
            start_tls(std::move(cancelled_one.client), client_context(), "localhost")));
        CHECK(code == errc::timed_out);

        stream_pair plain = co_await connected_pair(owner);
        co_await plain.client.send("GET / HTTP/1.1\r\n\r\n");
        code = co_await failure_of(accept_tls(std::move(plain.server), server_context()));
        CHECK(code == tls_errc::not_tls);
    });
}

TEST_CASE("TLS begins behind a talk in the clear, also when its first bytes came early") {
    tell([](loop& owner) -> task<void> {
        stream_pair raw = co_await connected_pair(owner);
        co_await raw.client.send("STARTTLS\n");
        std::byte word[9];
        co_await raw.server.read_exactly(word);
        tls_pair both;
        scope other(owner);
        other.spawn(connect_into(both.client, std::move(raw.client), client_context()));
        co_await pass_time();
        CHECK(raw.server.readable());  // the client's first flight, unread
        both.server = co_await accept_tls(std::move(raw.server), server_context());
        co_await other.join();
        co_await both.client.send("secret");
        std::byte into[6];
        co_await both.server.read_exactly(into);
        CHECK(std::string(reinterpret_cast<char*>(into), 6) == "secret");
    });
}

TEST_CASE("a cancelled send ends at once, and the records that were begun arrive whole") {
    tell([](loop& owner) -> task<void> {
        tls_pair both = co_await secured_pair(owner, client_context(), server_context());
        std::error_code code;
        {
            const std::string text(30'000'000, 's');
            scope sender(owner);
            sender.spawn(send_all_of(both.client, text, code));
            co_await pass_time();
            CHECK(sender.size() == 1);
            sender.cancel();
            (void)co_await failure_of([](scope& of) -> task<void> { co_await of.join(); }(sender));
            CHECK(code == std::errc::operation_canceled);
        }
        scope rest(owner);
        std::string got;
        rest.spawn(receive_to(both.server, got));
        co_await both.client.send("and on");
        both.client.shutdown_send();
        co_await rest.join();
        CHECK(got.size() < 30'000'000);
        CHECK(got.ends_with("and on"));
        CHECK(got.substr(0, got.size() - 6) == std::string(got.size() - 6, 's'));
    }, 4);
}

TEST_CASE("a cancelled receive loses nothing of the plaintext") {
    tell([](loop& owner) -> task<void> {
        detail::fake_random random(seed());
        tls_pair both = co_await secured_pair(owner, client_context(), server_context());
        const std::string text = random_text(random, 300'000);
        scope sender(owner);
        sender.spawn(send_and_end(both.client, text));
        std::string got;
        for (int cancels = 0;;) {
            const auto patience = std::chrono::microseconds(random.below(200));
            try {
                const chunk next = co_await with_timeout(patience, receive_task(both.server));
                if (!next) {
                    break;
                }
                got += next.text();
            } catch (const error& failure) {
                REQUIRE(failure.code() == errc::timed_out);
                REQUIRE(++cancels < 10'000);
            }
        }
        co_await sender.join();
        CHECK(got == text);
    });
}

TEST_CASE("many streams of one context talk at once, and later ones resume its sessions") {
    tell([](loop& owner) -> task<void> {
        const tls_context ours = client_context();
        const tls_context theirs = server_context();
        tcp_listener door(owner, address::loopback_v4(0));
        scope served(owner);
        served.spawn(serve_echo(door, theirs, served));
        int good = 0;
        int resumed = 0;
        for (int round = 0; round < 2; ++round) {
            scope clients(owner);
            for (int at = 0; at < 20; ++at) {
                clients.spawn(echo_one(owner, door.local_address(), ours, good, resumed));
            }
            co_await clients.join();
        }
        CHECK(good == 40);
        resumed = 0;
        co_await echo_one(owner, door.local_address(), ours, good, resumed);
        CHECK(resumed == 1);
        served.cancel();
        (void)co_await failure_of([](scope& of) -> task<void> { co_await of.join(); }(served));
    }, 3);
}
