#include "net/unix_address.h"

#include <doctest/doctest.h>

#include <ostream>
#include <string>

using namespace ringlet;

TEST_CASE("paths and abstract names are told apart, and read back") {
    const unix_address path = unix_address::at_path("/run/x.sock");
    CHECK(!path.is_abstract());
    CHECK(!path.is_unnamed());
    CHECK(path.name() == "/run/x.sock");
    CHECK(path.text() == "/run/x.sock");
    const unix_address same(path.data(), path.length());
    CHECK(same == path);
    const unix_address name = unix_address::abstract(std::string_view("a\0b", 3));
    CHECK(name.is_abstract());
    CHECK(name.name() == std::string_view("a\0b", 3));
    CHECK(name.text() == std::string("@a\0b", 4));
    CHECK(unix_address(name.data(), name.length()) == name);
    CHECK(!(unix_address::abstract("x") == unix_address::at_path("x")));
    const unix_address none;
    CHECK(none.is_unnamed());
    CHECK(none.text() == "unnamed");
    CHECK(none.name().empty());
}

TEST_CASE("names of every length are taken up to the limit, and longer ones refused in words") {
    for (std::size_t bytes = 1; bytes <= unix_address::path_bytes_max; ++bytes) {
        const std::string name(bytes, 'x');
        CHECK(unix_address::at_path(name).name() == name);
        CHECK(unix_address::abstract(name).name() == name);
    }
    const std::string too_long(unix_address::path_bytes_max + 1, 'x');
    for (int kind = 0; kind < 2; ++kind) {
        std::string said;
        try {
            (void)(kind == 0 ? unix_address::at_path(too_long) : unix_address::abstract(too_long));
        } catch (const error& failure) {
            said = failure.what();
            CHECK(failure.code() == errc::bad_address);
        }
        CHECK(said.find("108 bytes") != std::string::npos);
        CHECK(said.find("107") != std::string::npos);
    }
    CHECK_THROWS_AS(unix_address::at_path(""), error);
    CHECK_THROWS_AS(unix_address::abstract(""), error);
    CHECK_THROWS_AS(unix_address::at_path(std::string_view("a\0b", 3)), error);
    CHECK_THROWS_AS(unix_address::at_path(std::string(100'000, 'x')), error);
}

TEST_CASE("what the kernel gives is taken as it is, cut short or of another family") {
    sockaddr_un raw = {};
    raw.sun_family = AF_INET;
    CHECK(unix_address(reinterpret_cast<sockaddr*>(&raw), sizeof raw).is_unnamed());
    raw.sun_family = AF_UNIX;
    for (char& each : raw.sun_path) {
        each = 'y';  // no closing zero
    }
    const unix_address full(reinterpret_cast<sockaddr*>(&raw), sizeof raw);
    CHECK(full.name().size() == sizeof raw.sun_path);
    CHECK(unix_address(reinterpret_cast<sockaddr*>(&raw), 0).is_unnamed());
    CHECK(unix_address(reinterpret_cast<sockaddr*>(&raw), 2).is_unnamed());
}
