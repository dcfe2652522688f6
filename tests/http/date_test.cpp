#include <doctest/doctest.h>

#include <ctime>
#include <string>

#include "http/date.h"

using namespace ringlet::http;

namespace {

std::string formatted(std::int64_t seconds) {
    char text[date_bytes];
    format_date(seconds, text);
    return {text, date_bytes};
}

}  // namespace

TEST_CASE("dates have the one form of RFC 9110") {
    CHECK(formatted(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(formatted(0) == "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK(formatted(951782400) == "Tue, 29 Feb 2000 00:00:00 GMT");
    CHECK(formatted(253402300799) == "Fri, 31 Dec 9999 23:59:59 GMT");
}

TEST_CASE("dates agree with the C library over sixty years") {
    for (std::int64_t seconds = 0; seconds < 1'900'000'000; seconds += 7'654'321) {
        const std::time_t when = seconds;
        std::tm parts;
        gmtime_r(&when, &parts);
        char text[64];
        std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        REQUIRE(formatted(seconds) == text);
    }
}

TEST_CASE("the cache renders when the second changes") {
    date_cache cache;
    const std::string_view first = cache.get(784111777);
    CHECK(first == "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(cache.get(784111777).data() == first.data());
    CHECK(cache.get(784111778) == "Sun, 06 Nov 1994 08:49:38 GMT");
    CHECK(cache.get(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
}
