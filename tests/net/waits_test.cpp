// What the waits of net say of themselves in a dump.
#include <netdb.h>

#include <thread>

#include "coro/dump.h"
#include "net/resolver.h"
#include "tests/net/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

// What the only job of `waits` says, after a few turns; then it is cancelled.
task<wait_description> told_by(loop& owner, task<void> story) {
    scope waits(owner);
    waits.spawn(std::move(story));
    for (int turn = 0; turn < 3; ++turn) {
        co_await yield_now();
    }
    wait_description told;
    for (const live_job& each : live_jobs(owner)) {
        if (std::string(each.which->spawned().file).find("waits_test") != std::string::npos &&
            each.waits) {
            told = each.wait;
        }
    }
    waits.cancel();
    try {
        co_await waits.join();
    } catch (const cancelled&) {
    }
    co_return told;
}

task<void> receive_one(tcp_stream& from) { (void)co_await from.receive(); }

task<void> send_much(tcp_stream& to) {
    const std::string much(32 * 1024 * 1024, 'x');
    co_await to.send(much);
}

task<void> accept_one(tcp_listener& from) { (void)co_await from.accept(); }

task<void> resolve_one(resolver& names) { (void)co_await names.resolve("slow.example", 1); }

int look_up_slowly(const char*, std::vector<address>&) {
    std::this_thread::sleep_for(100ms);
    return EAI_NONAME;
}

task<void> connect_to(loop& owner, std::vector<address> to) {
    (void)co_await connect(owner, std::move(to));
}

}  // namespace

TEST_CASE("a dump says from whom a stream receives and how much it has to send to whom") {
    tell([](loop& owner) -> task<void> {
        stream_pair pair = co_await connected_pair(owner);
        const std::string peer = pair.client.peer_address().text();
        const wait_description receives = co_await told_by(owner, receive_one(pair.client));
        CHECK(std::string(receives.kind) == "receive");
        CHECK(receives.detail == peer);
        CHECK(receives.descriptor == pair.client.descriptor());
        const wait_description sends = co_await told_by(owner, send_much(pair.client));
        CHECK(std::string(sends.kind) == "send");
        CHECK(sends.detail.find(" bytes to " + peer) != std::string::npos);
        CHECK(sends.descriptor == pair.client.descriptor());
    }, 3);
}

TEST_CASE("a dump does not make an address up for a Unix socket") {
    tell([](loop& owner) -> task<void> {
        int ends[2] = {-1, -1};
        CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        if (!real_kernel()) {  // whose sockets are its own
            ::close(ends[0]);
            ::close(ends[1]);
            co_return;
        }
        tcp_stream one(owner, ends[0]);
        tcp_stream other(owner, ends[1]);
        const wait_description receives = co_await told_by(owner, receive_one(one));
        CHECK(receives.detail == "a Unix socket");
    });
}

TEST_CASE("a dump says where a listener waits") {
    tell([](loop& owner) -> task<void> {
        tcp_listener door(owner, address::loopback_v4(0));
        const wait_description accepts = co_await told_by(owner, accept_one(door));
        CHECK(std::string(accepts.kind) == "accept");
        CHECK(accepts.detail == door.local_address().text());
        CHECK(accepts.descriptor >= 0);
    }, 3);
}

TEST_CASE("a dump says which name is looked up") {
    if (!real_kernel()) {
        return;  // its time would not wait for the helper
    }
    tell([](loop& owner) -> task<void> {
        resolver_options options;
        options.look_up = &look_up_slowly;
        resolver names(owner, options);
        const wait_description looks = co_await told_by(owner, resolve_one(names));
        CHECK(std::string(looks.kind) == "name look-up");
        CHECK(looks.detail == "slow.example");
        while (names.look_ups_in_flight() > 0) {
            co_await sleep_for(5ms);
        }
    });
}

TEST_CASE("a dump says whereto a connection is made, with one address and with several") {
    if (!real_kernel()) {
        return;  // its connects do not hang
    }
    tell([](loop& owner) -> task<void> {
        // A listener whose backlog is full does not answer.
        driver& sockets = owner.driver();
        const int door = sockets.open_socket(AF_INET, SOCK_STREAM, 0).value();
        address where = address::loopback_v4(0);
        CHECK_FALSE(sockets.bind(door, where.data(), where.length()));
        CHECK_FALSE(sockets.listen(door, 0));
        sockaddr_storage name = {};
        socklen_t length = sizeof name;
        auto* const at = reinterpret_cast<sockaddr*>(&name);
        CHECK_FALSE(sockets.local_name(door, at, &length));
        where = address(at, length);
        {
            std::vector<tcp_stream> fill;
            for (int i = 0; i < 2; ++i) {
                try {
                    fill.push_back(co_await with_timeout(50ms, connect(owner, only(where))));
                } catch (const error&) {
                }
            }
            const wait_description one = co_await told_by(owner, connect_to(owner, only(where)));
            CHECK(std::string(one.kind) == "connect");
            CHECK(one.detail == where.text());
            CHECK(one.descriptor >= 0);
            const std::vector<address> both(2, where);
            const wait_description two = co_await told_by(owner, connect_to(owner, both));
            CHECK(std::string(two.kind) == "connect");
            CHECK(two.detail == where.text());
        }
        co_await pass_time();
        sockets.close(door);
    });
}
