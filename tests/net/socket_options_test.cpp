#include "net/socket_options.h"

#include <functional>

#include "net/udp_socket.h"
#include "tests/net/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

std::string refusal(const std::function<void()>& attempt) {
    try {
        attempt();
    } catch (const error& failure) {
        return failure.what();
    }
    return {};
}

}  // namespace

TEST_CASE("options of a stream are set and read by name") {
    tell([](loop& owner) -> task<void> {
        const stream_pair both = co_await connected_pair(owner);
        socket_options options = both.client.options();
        CHECK(options.no_delay());
        options.set_no_delay(false);
        CHECK(!options.no_delay());
        CHECK(!options.keep_alive());
        keep_alive_times times;
        times.idle = std::chrono::seconds(60);
        times.interval = std::chrono::seconds(10);
        times.probes = 3;
        options.set_keep_alive(times);
        CHECK(options.keep_alive());
        options.stop_keep_alive();
        CHECK(!options.keep_alive());
        options.set_user_timeout(std::chrono::milliseconds(5000));
        options.set_send_buffer(40'000);
        options.set_receive_buffer(50'000);
        CHECK(options.send_buffer() >= 40'000);
        CHECK(options.receive_buffer() >= 50'000);
        options.set_type_of_service(0x10);
        CHECK(options.type_of_service() == 0x10);
        options.set_ttl(12);
        CHECK(options.ttl() == 12);
        options.set_reuse_address(true);
        options.set_reset_on_close(true);
        options.set_reset_on_close(false);
        options.set_device("");
    }, 2);
}

TEST_CASE("options of IPv6 sockets are IPv6's") {
    tell([](loop& owner) -> task<void> {
        try {
            udp_socket six(owner, address::loopback_v6(0));
            six.options().set_ttl(33);
            CHECK(six.options().ttl() == 33);
            six.options().set_type_of_service(0x20);
            CHECK(six.options().type_of_service() == 0x20);
            six.options().set_multicast_ttl(0);
            six.options().set_multicast_loop(false);
            six.options().set_multicast_interface(0);
        } catch (const error& failure) {
            MESSAGE("no IPv6 here: ", failure.what());
        }
        co_return;
    }, 1);
}

TEST_CASE("reset_on_close makes an orderly close a reset") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        both.server.options().set_reset_on_close(true);
        both.server.close();
        const std::error_code code = co_await failure_of([](tcp_stream& from) -> task<void> {
            (void)co_await from.receive();
        }(both.client));
        CHECK(code == std::errc::connection_reset);
    });
}

TEST_CASE("values out of range, and what the kernel refuses, are errors that name the option") {
    tell([](loop& owner) -> task<void> {
        tcp_listener door(owner, address::loopback_v4(0));
        socket_options options = door.options();
        CHECK(refusal([&] { options.set_ttl(0); }).find("ttl") != std::string::npos);
        CHECK(refusal([&] { options.set_ttl(256); }).find("255") != std::string::npos);
        CHECK(!refusal([&] { options.set_type_of_service(-1); }).empty());
        CHECK(!refusal([&] { options.set_multicast_ttl(300); }).empty());
        CHECK(!refusal([&] { options.set_send_buffer(std::size_t{1} << 40); }).empty());
        CHECK(!refusal([&] { options.set_user_timeout(std::chrono::milliseconds(-1)); }).empty());
        if (real_kernel()) {
            udp_socket datagrams(owner, address::loopback_v4(0));
            CHECK(refusal([&] { datagrams.options().set_no_delay(true); }).find("no_delay") !=
                  std::string::npos);
            CHECK(refusal([&] { options.set_device("no-such-interface"); }).find("device") !=
                  std::string::npos);
        }
        co_return;
    }, 1);
}

TEST_CASE("two sockets share a port when both ask for it") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        udp_options shared;
        shared.reuse_port = true;
        udp_socket first(owner, address::loopback_v4(0), shared);
        udp_socket second(owner, first.local_address(), shared);
        CHECK(second.local_address() == first.local_address());
        co_return;
    });
}
