#include "net/address.h"

#include <doctest/doctest.h>

#include <net/if.h>

#include <cstring>

using ringlet::address;

TEST_CASE("an IPv4 literal is parsed and printed") {
    const address parsed = address::parse("192.0.2.7", 8080).value();
    CHECK(parsed.family() == AF_INET);
    CHECK(parsed.length() == sizeof(sockaddr_in));
    CHECK(parsed.port() == 8080);
    CHECK(parsed.host_text() == "192.0.2.7");
    CHECK(parsed.text() == "192.0.2.7:8080");
    CHECK(!parsed.is_loopback());
}

TEST_CASE("an IPv6 literal is parsed and printed in its short form") {
    const address parsed = address::parse("2001:DB8:0:0:0:0:0:1", 443).value();
    CHECK(parsed.is_v6());
    CHECK(parsed.length() == sizeof(sockaddr_in6));
    CHECK(parsed.host_text() == "2001:db8::1");
    CHECK(parsed.text() == "[2001:db8::1]:443");
}

TEST_CASE("a zone is a number or the name of an interface that exists") {
    CHECK(address::parse("fe80::1%3", 1).value().host_text() == "fe80::1%3");
    const std::string loopback = std::to_string(::if_nametoindex("lo"));
    CHECK(address::parse("fe80::1%lo", 1).value().host_text() == "fe80::1%" + loopback);
    for (const char* bad : {"fe80::1%", "fe80::1%0", "fe80::1%nosuchif0", "fe80::1%99999999999",
                            "fe80::1%averyveryverylongname", "127.0.0.1%1", "%1", "fe80::1%1%2"}) {
        CAPTURE(bad);
        CHECK(!address::parse(bad, 1));
    }
}

TEST_CASE("what only looks like an address is refused") {
    using namespace std::string_view_literals;
    for (const auto bad :
         {""sv, " "sv, "127.1"sv, "0x7f.0.0.1"sv, "2130706433"sv, "1.2.3.4.5"sv, "1.2.3.256"sv,
          "127.0.0.1 "sv, " 127.0.0.1"sv, "127.0.0.01"sv, "[::1]"sv, "::1:"sv, ":::"sv, "g::1"sv,
          "1:2:3:4:5:6:7:8:9"sv, "::ffff:1.2.3"sv, "localhost"sv, "127.0.0.1\0"sv,
          "127.0.0.1\0.example"sv, "::1\0"sv,
          "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"sv}) {
        CAPTURE(bad);
        const auto parsed = address::parse(bad, 80);
        CHECK(!parsed);
        CHECK(parsed.error() == ringlet::errc::bad_address);
    }
}

TEST_CASE("every address that is printed can be parsed again") {
    for (const char* text : {"0.0.0.0", "255.255.255.255", "::", "::1", "::ffff:192.0.2.1",
                             "ff02::1", "1:2:3:4:5:6:7:8", "fe80::1%7"}) {
        CAPTURE(text);
        const address once = address::parse(text, 65535).value();
        CHECK(address::parse(once.host_text(), 65535).value() == once);
    }
}

TEST_CASE("loopback is 127/8 and ::1") {
    CHECK(address::loopback_v4(0).is_loopback());
    CHECK(address::loopback_v6(0).is_loopback());
    CHECK(address::parse("127.255.0.9", 0).value().is_loopback());
    CHECK(!address::any_v4(0).is_loopback());
    CHECK(!address::parse("128.0.0.1", 0).value().is_loopback());
    CHECK(!address::parse("::2", 0).value().is_loopback());
}

TEST_CASE("addresses differ by family, host, port and zone") {
    const address one = address::parse("10.0.0.1", 1).value();
    CHECK(one == address::parse("10.0.0.1", 1).value());
    CHECK(!(one == address::parse("10.0.0.1", 2).value()));
    CHECK(!(one == address::parse("10.0.0.2", 1).value()));
    CHECK(!(address::any_v4(1) == address::parse("::", 1).value()));
    CHECK(!(address::parse("fe80::1%1", 1).value() == address::parse("fe80::1%2", 1).value()));
    address moved = one;
    moved.set_port(2);
    CHECK(moved == address::parse("10.0.0.1", 2).value());
}

TEST_CASE("an address is made from a sockaddr, and is empty when that is too short or foreign") {
    const address one = address::parse("2001:db8::5", 99).value();
    CHECK(address(one.data(), one.length()) == one);
    CHECK(address(one.data(), one.length() - 1).family() == AF_UNSPEC);
    sockaddr local = {};
    local.sa_family = AF_UNIX;
    CHECK(address(&local, sizeof local).family() == AF_UNSPEC);
    CHECK(address().family() == AF_UNSPEC);
    CHECK(address() == address());
}
