#include "net/udp_socket.h"

#include <net/if.h>

#include <set>

#include "tests/net/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

std::span<std::byte> room_in(std::string& text) { return std::as_writable_bytes(std::span(text)); }

task<std::string> next_text(udp_socket& from) {
    std::string room(70'000, '\0');
    const received_datagram found = co_await from.receive(room_in(room));
    CHECK(!found.truncated);
    room.resize(found.bytes);
    co_return room;
}

task<void> receive_one(udp_socket& from) { (void)co_await next_text(from); }

bool has_v6() {
    loop owner;
    try {
        udp_socket(owner, address::loopback_v6(0));
    } catch (const error&) {
        return false;
    }
    return true;
}

}  // namespace

TEST_CASE("datagrams come whole, in order on this machine, with their sender") {
    tell([](loop& owner) -> task<void> {
        for (const address& where : {address::loopback_v4(0), address::loopback_v6(0)}) {
            if (where.is_v6() && !has_v6()) {
                MESSAGE("no IPv6 here");
                continue;
            }
            udp_socket server(owner, where);
            udp_socket client(owner, where);
            const address to = server.local_address();
            co_await client.send_to("one", to);
            co_await client.send_to("", to);
            co_await client.send_to("three", to);
            std::string room(100, '\0');
            for (const std::string_view expected : {"one", "", "three"}) {
                const received_datagram found = co_await server.receive(room_in(room));
                CHECK(room.substr(0, found.bytes) == expected);
                CHECK(found.sender == client.local_address());
                CHECK(!found.truncated);
            }
            co_await server.send_to("back", client.local_address());
            const std::string back = co_await next_text(client);
            CHECK(back == "back");
        }
    });
}

TEST_CASE("a datagram longer than the room for it is cut, and that is told") {
    tell([](loop& owner) -> task<void> {
        udp_socket server(owner, address::loopback_v4(0));
        udp_socket client(owner, address::any_v4(0));
        co_await client.send_to("0123456789", server.local_address());
        co_await client.send_to("next", server.local_address());
        std::string room(4, '\0');
        const received_datagram cut = co_await server.receive(room_in(room));
        CHECK(cut.truncated);
        CHECK(cut.bytes == 4);
        CHECK(room == "0123");
        const received_datagram fits = co_await server.receive(room_in(room));
        CHECK(!fits.truncated);
        CHECK(room == "next");
        const std::string endless(70'000, 'x');
        const std::error_code code =
            co_await failure_of(client.send_to(endless, server.local_address()));
        CHECK(code == std::errc::message_size);
        const std::string longest(65'507, 'y');
        if (real_kernel()) {
            co_await client.send_to(longest, server.local_address());
            const std::string got = co_await next_text(server);
            CHECK(got == longest);
        }
    });
}

TEST_CASE("a connected socket hears its peer only, and of a port where nobody listens") {
    tell([](loop& owner) -> task<void> {
        udp_socket first(owner, address::loopback_v4(0));
        udp_socket second(owner, address::loopback_v4(0));
        udp_socket stranger(owner, address::loopback_v4(0));
        co_await first.connect(second.local_address());
        CHECK(first.peer_address() == second.local_address());
        co_await stranger.send_to("psst", first.local_address());
        co_await second.send_to("hello", first.local_address());
        const std::string heard = co_await next_text(first);
        CHECK(heard == "hello");
        co_await first.send("answer");
        const std::string answer = co_await next_text(second);
        CHECK(answer == "answer");

        second.close();
        co_await pass_time(std::chrono::milliseconds(2));
        co_await first.send("anybody?");
        const std::error_code refused = co_await failure_of(
            with_timeout_task(std::chrono::seconds(5), receive_one(first)));
        CHECK(refused == std::errc::connection_refused);
        udp_socket unconnected(owner, address::loopback_v4(0));
        const std::error_code nobody = co_await failure_of(unconnected.send("to whom?"));
        CHECK(nobody == std::errc::destination_address_required);
        CHECK(unconnected.peer_address().family() == AF_UNSPEC);
    });
}

TEST_CASE("a receive that is cancelled loses nothing") {
    tell([](loop& owner) -> task<void> {
        udp_socket server(owner, address::loopback_v4(0));
        udp_socket client(owner, address::loopback_v4(0));
        for (int round = 0; round < 4; ++round) {
            const std::error_code code = co_await failure_of(
                with_timeout_task(std::chrono::milliseconds(round), receive_one(server)));
            CHECK(code == errc::timed_out);
        }
        co_await client.send_to("still", server.local_address());
        const std::string got = co_await next_text(server);
        CHECK(got == "still");
    });
}

TEST_CASE("queued datagrams go out together, and flush tells what became of them") {
    tell([](loop& owner) -> task<void> {
        udp_socket server(owner, address::loopback_v4(0));
        udp_socket client(owner, address::loopback_v4(0));
        co_await client.flush();
        constexpr int count = 40;
        for (int i = 0; i < count; ++i) {
            client.queue_to(std::to_string(i), server.local_address());
        }
        CHECK(client.queued_bytes() > 0);
        co_await client.flush();
        CHECK(client.queued_bytes() == 0);
        std::set<std::string> got;
        for (int i = 0; i < count; ++i) {
            got.insert(co_await next_text(server));
        }
        CHECK(got.size() == count);

        const std::string endless(70'000, 'x');
        client.queue_to(endless, server.local_address());
        client.queue_to("good", server.local_address());
        const std::error_code code = co_await failure_of(client.flush());
        CHECK(code == std::errc::message_size);
        const std::string good = co_await next_text(server);
        CHECK(good == "good");
        co_await client.flush();

        std::error_code full;
        const std::string block(60'000, 'x');
        try {
            for (int i = 0; i < 100; ++i) {
                client.queue_to(block, server.local_address());
            }
        } catch (const error& failure) {
            full = failure.code();
        }
        CHECK(full == errc::limit_exceeded);
        CHECK(client.queued_bytes() <= datagram_socket::queued_bytes_max);
    });
}

TEST_CASE("a socket closed with datagrams on their way ends in good order") {
    tell([](loop& owner) -> task<void> {
        udp_socket server(owner, address::loopback_v4(0));
        for (int turns = 0; turns < 4; ++turns) {
            udp_socket client(owner, address::loopback_v4(0));
            for (int i = 0; i < 50; ++i) {
                client.queue_to("soon gone", server.local_address());
            }
            for (int turn = 0; turn < turns; ++turn) {
                co_await yield_now();
            }
        }
    });
}

TEST_CASE("an IPv6 socket for both families shows IPv4 addresses as such") {
    if (!real_kernel() || !has_v6()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        udp_options both;
        both.v6_only = false;
        udp_socket server(owner, address::any_v6(0), both);
        udp_socket old(owner, address::loopback_v4(0));
        const std::uint16_t port = server.local_address().port();
        co_await old.send_to("four", address::loopback_v4(port));
        std::string room(10, '\0');
        const received_datagram four = co_await server.receive(room_in(room));
        CHECK(four.sender == old.local_address());
        co_await server.send_to("back", four.sender);
        const std::string back = co_await next_text(old);
        CHECK(back == "back");
        udp_socket young(owner, address::loopback_v6(0));
        co_await young.send_to("six", address::loopback_v6(port));
        const received_datagram six = co_await server.receive(room_in(room));
        CHECK(six.sender == young.local_address());
    });
}

TEST_CASE("multicast reaches who has joined, and nobody who has left") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        const unsigned loopback = ::if_nametoindex("lo");
        const address group = address::parse("239.255.77.7", 0).value();
        udp_options shared;
        shared.reuse_address = true;
        udp_socket server(owner, address::any_v4(0), shared);
        udp_socket client(owner, address::any_v4(0));
        address to = group;
        to.set_port(server.local_address().port());
        try {
            server.options().join(group, loopback);
            client.options().set_multicast_interface(loopback);
            client.options().set_multicast_ttl(1);
            client.options().set_multicast_loop(true);
            co_await client.send_to("all", to);
        } catch (const error& failure) {
            MESSAGE("no multicast here: ", failure.what());
            co_return;
        }
        const std::error_code heard = co_await failure_of(
            with_timeout_task(std::chrono::seconds(2), receive_one(server)));
        CHECK(!heard);
        server.options().leave(group, loopback);
        CHECK_THROWS_AS(server.options().leave(group, loopback), error);
        CHECK_THROWS_AS(server.options().join(address::loopback_v4(0)), error);
    });
}

TEST_CASE("broadcasting has to be allowed") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        udp_socket client(owner, address::loopback_v4(0));
        const address everybody = address::parse("127.255.255.255", 9).value();
        const std::error_code code = co_await failure_of(client.send_to("x", everybody));
        CHECK(code == std::errc::permission_denied);
        client.options().set_broadcast(true);
        co_await client.send_to("x", everybody);
    });
}

TEST_CASE("a port that is taken is an error that names the address") {
    tell([](loop& owner) -> task<void> {
        udp_socket first(owner, address::loopback_v4(0));
        std::string said;
        try {
            udp_socket second(owner, first.local_address());
        } catch (const error& failure) {
            said = failure.what();
        }
        CHECK(said.find(first.local_address().text()) != std::string::npos);
        udp_socket moved = std::move(first);
        CHECK(!first);
        CHECK(moved);
        std::string room(1, '\0');
        const std::error_code code = co_await failure_of(first.receive(room_in(room)));
        CHECK(code == errc::closed);
    });
}

TEST_CASE("closing a datagram socket while a coroutine waits for it ends the program") {
    const std::string said = last_words([] {
        loop owner(options_with_seed(1));
        udp_socket server(owner, address::loopback_v4(0));
        scope parts(owner);
        parts.spawn(receive_one(server));
        server.close();
    });
    CHECK(said.find("while a coroutine waits for it") != std::string::npos);
}
