#include <doctest/doctest.h>

#include <string>

#include "http/status.h"

using namespace ringlet::http;

TEST_CASE("every status line is whole and agrees with its phrase") {
    int known = 0;
    for (int status = -1; status < 1100; ++status) {
        const std::string_view line = status_line(status);
        if (line.empty()) {
            CHECK(reason_phrase(status) == "Unknown");
            continue;
        }
        ++known;
        const std::string expected = "HTTP/1.1 " + std::to_string(status) + " " +
                                     std::string(reason_phrase(status)) + "\r\n";
        CHECK(line == expected);
    }
    CHECK(known == 60);
    CHECK(reason_phrase(404) == "Not Found");
}

TEST_CASE("methods and their texts belong together, in upper case only") {
    for (int i = 0; i <= static_cast<int>(method::patch); ++i) {
        const auto value = static_cast<method>(i);
        CHECK(method_from(method_text(value)) == value);
    }
    CHECK(method_text(method::delete_) == "DELETE");
    CHECK_FALSE(method_from("get").has_value());
    CHECK_FALSE(method_from("").has_value());
    CHECK_FALSE(method_from("GETX").has_value());
}

TEST_CASE("1xx, 204 and 304 forbid a body") {
    for (const int status : {100, 101, 199, 204, 304})
        CHECK(status_forbids_body(status));
    for (const int status : {200, 205, 206, 301, 404, 500})
        CHECK_FALSE(status_forbids_body(status));
}
