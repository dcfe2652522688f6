#include "net/send_file.h"

#include <sys/stat.h>

#include "net/tls_stream.h"
#include "net/unix_socket.h"
#include "tests/net/stories.h"
#include "tests/support/certificates.h"
#include "tests/support/folder.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<file> file_with(loop& owner, std::string path, std::string_view text) {
    file made = co_await file::open(owner, std::move(path),
                                    open_flags::read | open_flags::write | open_flags::create);
    co_await made.write(text);
    co_return made;
}

task<void> receive_to(stream& from, std::string& into) {
    while (const chunk bytes = co_await from.receive()) {
        into += bytes.text();
    }
}

task<void> send_and_end(stream& to, file& from, std::uint64_t offset, std::uint64_t count,
                        std::uint64_t& sent) {
    sent = co_await send_file(to, from, offset, count);
    to.shutdown_send();
}

task<void> accept_into(tls_stream& into, tcp_stream over, tls_context context) {
    into = co_await accept_tls(std::move(over), std::move(context));
}

}  // namespace

TEST_CASE("any part of a file arrives as it is, and bytes around it stay in order") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        detail::fake_random random(seed());
        const std::string text = random_text(random, 2'000'003);
        file from = co_await file_with(owner, here.path("text"), text);
        constexpr std::uint64_t all = ~std::uint64_t{0};
        const std::uint64_t parts[][2] = {
            {0, all}, {1, 4095}, {4096, 1'000'000}, {1'999'999, 100}, {5, 0}, {3'000'000, 10}};
        for (const auto& [offset, count] : parts) {
            stream_pair both = co_await connected_pair(owner);
            std::string got;
            std::uint64_t sent = 0;
            scope going(owner);
            going.spawn(receive_to(both.server, got));
            co_await both.client.send("before ");
            going.spawn(send_and_end(both.client, from, offset, count, sent));
            co_await going.join();
            std::string expected = "before ";
            if (offset < text.size()) {
                expected += text.substr(offset, count);
            }
            CHECK(got == expected);
            CHECK(sent + 7 == expected.size());
        }
    }, 2);
}

TEST_CASE("a peer that does not read holds up nothing, and what was sent is told") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string text(20'000'000, 'x');
        file from = co_await file_with(owner, here.path("text"), text);
        stream_pair both = co_await connected_pair(owner);
        std::uint64_t sent = 0;
        const std::error_code code = co_await failure_of(with_timeout_task(
            std::chrono::milliseconds(100),
            send_file(both.client, from, 0, text.size(), &sent)));
        CHECK(code == errc::timed_out);
        CHECK(sent < text.size());
        std::string got;
        both.client.shutdown_send();
        co_await receive_to(both.server, got);
        CHECK(got.size() >= sent);
        if (real_kernel()) {
            CHECK(got.size() == sent);
        }
    }, 2);
}

TEST_CASE("a peer that goes away is an error, and no signal") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string text(10'000'000, 'x');
        file from = co_await file_with(owner, here.path("text"), text);
        stream_pair both = co_await connected_pair(owner);
        both.server.abort();
        co_await pass_time();
        const std::error_code code =
            co_await failure_of(send_file(both.client, from, 0, text.size()));
        CHECK((code == std::errc::broken_pipe || code == std::errc::connection_reset));
    }, 2);
}

TEST_CASE("receiving goes on while a file is sent") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string text(3'000'000, 'x');
        file from = co_await file_with(owner, here.path("text"), text);
        stream_pair both = co_await connected_pair(owner);
        std::string there;
        std::string back;
        std::uint64_t sent = 0;
        scope going(owner);
        going.spawn(send_and_end(both.client, from, 0, text.size(), sent));
        going.spawn(receive_to(both.server, there));
        going.spawn(receive_to(both.client, back));
        co_await both.server.send("meanwhile");
        both.server.shutdown_send();
        co_await going.join();
        CHECK(there == text);
        CHECK(back == "meanwhile");
    }, 2);
}

TEST_CASE("unix streams take files too, and files of /proc are read and sent") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string text(1'000'000, 'u');
        file from = co_await file_with(owner, here.path("text"), text);
        unix_stream_pair both = make_unix_pair(owner);
        std::string got;
        std::uint64_t sent = 0;
        scope going(owner);
        going.spawn(receive_to(both.second, got));
        going.spawn(send_and_end(both.first, from, 0, text.size(), sent));
        co_await going.join();
        CHECK(got == text);

        file status = co_await file::open(owner, "/proc/self/status");
        unix_stream_pair other = make_unix_pair(owner);
        std::string told;
        scope telling(owner);
        telling.spawn(receive_to(other.second, told));
        telling.spawn(send_and_end(other.first, status, 0, 100'000, sent));
        co_await telling.join();
        CHECK(told.find("Pid:") != std::string::npos);
    });
}

TEST_CASE("over TLS a file goes through the encryption like everything else") {
    static const tls_identity who = shared_certificates().make("server");
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string text(500'000, 't');
        file from = co_await file_with(owner, here.path("text"), text);
        stream_pair both = co_await connected_pair(owner);
        CHECK(!both.client.encrypted());
        tls_stream server;
        scope other(owner);
        other.spawn(accept_into(server, std::move(both.server), showing(who)));
        tls_stream client = co_await start_tls(std::move(both.client),
                                               trusting(shared_certificates()), "localhost");
        co_await other.join();
        CHECK(client.encrypted());
        std::string got;
        std::uint64_t sent = 0;
        scope going(owner);
        going.spawn(receive_to(server, got));
        going.spawn(send_and_end(client, from, 0, text.size(), sent));
        co_await going.join();
        CHECK(got == text);
        CHECK(sent == text.size());
    }, 3);
}
