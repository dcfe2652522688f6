#include "net/tcp_listener.h"

#include <sys/resource.h>
#include <unistd.h>

#include "tests/net/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

struct descriptors {
    std::vector<int> all;
    tcp_listener* to_close = nullptr;
};

void keep(void* context, int fd) noexcept {
    auto& to = *static_cast<descriptors*>(context);
    to.all.push_back(fd);
    if (to.to_close != nullptr) {
        to.to_close->close();
    }
}

task<void> accept_into(tcp_listener& door, std::vector<tcp_stream>& into, std::error_code& code) {
    try {
        for (;;) {
            tcp_stream next = co_await door.accept();
            into.push_back(std::move(next));
        }
    } catch (const error& failure) {
        code = failure.code();
    }
}

std::string failure_text(loop& owner, const address& where) {
    try {
        tcp_listener(owner, where);
    } catch (const error& failure) {
        return failure.what();
    }
    return {};
}

}  // namespace

TEST_CASE("port 0 takes a free port, each listener its own") {
    tell([](loop& owner) -> task<void> {
        tcp_listener first(owner, address::loopback_v4(0));
        tcp_listener second(owner, address::loopback_v4(0));
        CHECK(first.local_address().port() != 0);
        CHECK(first.local_address().port() != second.local_address().port());
        CHECK(first.local_address().is_loopback());
        co_return;
    });
}

TEST_CASE("IPv6 loopback listens, accepts and tells its addresses") {
    tell([](loop& owner) -> task<void> {
        tcp_listener door(owner, address::loopback_v6(0));
        CHECK(door.local_address().is_v6());
        tcp_stream client = co_await connect(owner, only(door.local_address()));
        tcp_stream server = co_await door.accept();
        CHECK(server.local_address() == door.local_address());
        CHECK(server.peer_address() == client.local_address());
        co_await client.send("six");
        client.close();
        const std::string got = co_await read_all(server);
        CHECK(got == "six");
    });
}

TEST_CASE("an address that is taken is named in the error, and nothing is left open") {
    tell([](loop& owner) -> task<void> {
        tcp_listener door(owner, address::loopback_v4(0));
        const std::string text = failure_text(owner, door.local_address());
        CHECK(text.find("listen on " + door.local_address().text()) == 0);
        CHECK(text.find("Address already in use") != std::string::npos);
        co_return;
    });
}

TEST_CASE("an address this machine does not have, and a closed port, are named in errors") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        const std::string text = failure_text(owner, address::parse("192.0.2.1", 80).value());
        CHECK(text.find("listen on 192.0.2.1:80: ") == 0);
        co_return;
    });
}

TEST_CASE("several listeners share a port when they ask for it") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        listen_options shared;
        shared.reuse_port = true;
        tcp_listener first(owner, address::loopback_v4(0), shared);
        tcp_listener second(owner, first.local_address(), shared);
        CHECK(first.local_address() == second.local_address());
        co_return;
    });
}

TEST_CASE("connections come in to a callback, which may close the listener") {
    tell([](loop& owner) -> task<void> {
        descriptors got;
        tcp_listener door(owner, address::loopback_v4(0));
        const std::vector<address> there = only(door.local_address());
        door.on_accept(&keep, &got);
        std::vector<tcp_stream> clients;
        for (int at = 0; at < 30; ++at) {
            clients.push_back(co_await connect(owner, there));
        }
        while (got.all.size() < 30) {
            co_await yield_now();
        }
        got.to_close = &door;
        clients.push_back(co_await connect(owner, there));
        while (got.all.size() < 31) {
            co_await yield_now();
        }
        co_await pass_time(std::chrono::milliseconds(2));
        const std::error_code refused = co_await failure_of(connect(owner, there));
        CHECK(refused == std::errc::connection_refused);
        for (const int fd : got.all) {
            owner.driver().close(fd);
        }
    });
}

TEST_CASE("a listener that is told to wait leaves connections in the backlog") {
    tell([](loop& owner) -> task<void> {
        descriptors got;
        tcp_listener door(owner, address::loopback_v4(0));
        door.on_accept(&keep, &got);
        door.set_accepting(false);
        co_await pass_time(std::chrono::milliseconds(2));
        tcp_stream client = co_await connect(owner, only(door.local_address()));
        co_await pass_time(std::chrono::milliseconds(10));
        CHECK(got.all.empty());
        door.set_accepting(true);
        door.set_accepting(false);
        door.set_accepting(true);  // while the cancel is under way
        while (got.all.empty()) {
            co_await yield_now();
        }
        tcp_stream server(owner, got.all[0]);
        co_await client.send("x");
        const chunk byte = co_await server.receive();
        CHECK(byte.text() == "x");
    });
}

TEST_CASE("connections that nobody takes are kept in order, few of them here, and none is lost") {
    tell([](loop& owner) -> task<void> {
        constexpr int count = 200;
        tcp_listener door(owner, address::loopback_v4(0));
        const std::vector<address> there = only(door.local_address());
        std::vector<tcp_stream> clients;
        clients.push_back(co_await connect(owner, there));
        std::vector<tcp_stream> servers;
        servers.push_back(co_await door.accept());
        for (int at = 1; at < count; ++at) {  // the accept is armed, nobody waits
            clients.push_back(co_await connect(owner, there));
        }
        while (servers.size() < count) {
            servers.push_back(co_await door.accept());
        }
        for (std::size_t at = 0; at < count; ++at) {
            CHECK(servers[at].peer_address() == clients[at].local_address());
        }
    }, 4);
}

TEST_CASE("closing a listener ends the accept that waits, and drops what was not taken") {
    tell([](loop& owner) -> task<void> {
        std::vector<tcp_stream> servers;
        std::error_code code;
        scope parts(owner);
        auto door = std::make_unique<tcp_listener>(owner, address::loopback_v4(0));
        const std::vector<address> there = only(door->local_address());
        parts.spawn(accept_into(*door, servers, code));
        tcp_stream client = co_await connect(owner, there);
        while (servers.empty()) {
            co_await yield_now();
        }
        door->close();
        co_await parts.join();
        CHECK(code == errc::closed);
        CHECK(servers.size() == 1);
        const std::error_code again = co_await failure_of(door->accept());
        CHECK(again == errc::closed);

        door = std::make_unique<tcp_listener>(owner, address::loopback_v4(0));
        code = {};
        const std::vector<address> other = only(door->local_address());
        tcp_stream early = co_await connect(owner, other);
        tcp_stream taken = co_await door->accept();
        tcp_stream late = co_await connect(owner, other);
        co_await pass_time(std::chrono::milliseconds(5));  // `late` waits here, accepted
        door.reset();
        const std::error_code gone = co_await failure_of(
            [](tcp_stream& from) -> task<void> { (void)co_await from.receive(); }(late));
        CHECK((!gone || gone == std::errc::connection_reset));
    });
}

TEST_CASE("an accept may be destroyed together with its listener while it waits") {
    tell([](loop& owner) -> task<void> {
        std::vector<tcp_stream> servers;
        std::error_code code;
        scope parts(owner);
        {
            tcp_listener door(owner, address::loopback_v4(0));
            parts.spawn(accept_into(door, servers, code));
            co_await yield_now();
        }
        // accept_into goes on with `closed` and does not touch the listener any more.
        co_await parts.join();
        CHECK(code == errc::closed);
    });
}

TEST_CASE("a cancelled accept loses no connection") {
    tell([](loop& owner) -> task<void> {
        tcp_listener door(owner, address::loopback_v4(0));
        const std::vector<address> there = only(door.local_address());
        std::vector<tcp_stream> clients;
        std::vector<tcp_stream> servers;
        detail::fake_random random(seed());
        int cancels = 0;
        while (servers.size() < 20) {
            if (clients.size() < 20 && random.chance(100)) {
                clients.push_back(co_await connect(owner, there));
            }
            try {
                const auto patience = std::chrono::microseconds(random.below(100));
                tcp_stream next = co_await with_timeout(patience, door.accept());
                servers.push_back(std::move(next));
            } catch (const error& failure) {
                REQUIRE(failure.code() == errc::timed_out);
                REQUIRE(++cancels < 10'000);
            }
        }
        for (std::size_t at = 0; at < 20; ++at) {
            CHECK(servers[at].peer_address() == clients[at].local_address());
        }
    });
}

TEST_CASE("a process out of descriptors accepts again as soon as it has some") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        tcp_listener door(owner, address::loopback_v4(0));
        std::vector<tcp_stream> clients;
        for (int at = 0; at < 3; ++at) {
            clients.push_back(co_await connect(owner, only(door.local_address())));
        }
        rlimit before = {};
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
        rlimit low = before;
        low.rlim_cur = static_cast<rlim_t>(lowest_free(owner));
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
        std::vector<tcp_stream> servers;
        std::error_code code;
        scope parts(owner);
        parts.spawn(accept_into(door, servers, code));
        co_await sleep_for(std::chrono::milliseconds(120));
        const std::size_t meanwhile = servers.size();
        const std::uint64_t completions = owner.stats().completions;
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
        CHECK(meanwhile == 0);
        CHECK(completions < 50);  // it did not try without pause
        while (servers.size() < 3) {
            co_await sleep_for(std::chrono::milliseconds(1));
        }
        door.close();
        co_await parts.join();
        CHECK(code == errc::closed);
    });
}

TEST_CASE("a loop may end while its listener accepts") {
    for (int round = 0; round < 4; ++round) {
        const int before = open_descriptors();
        {
            loop owner(options_with_seed(seed() + static_cast<std::uint64_t>(round)));
            tcp_listener door(owner, address::loopback_v4(0));
            descriptors got;
            door.on_accept(&keep, &got);
            for (int turn = 0; turn < round; ++turn) {
                owner.run_once(false);
            }
            door.close();
        }
        CHECK(open_descriptors() == before);
    }
}
