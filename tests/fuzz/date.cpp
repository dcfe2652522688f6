// Dates: what is written for a second is read back as that second by the C library.
#include "http/date.h"

#include <ctime>

#include "tests/fuzz/fuzz.h"

namespace ringlet::fuzz {

void fuzz(std::string_view input) {
    constexpr std::uint64_t seconds_max = 253'402'300'800;  // the year 10000
    std::uint64_t any = 0;
    for (const char c : input.substr(0, 8)) {
        any = any << 8 | static_cast<unsigned char>(c);
    }
    const auto seconds = static_cast<std::int64_t>(any % seconds_max);
    http::date_cache cache;
    const std::string text(cache.get(seconds));
    REQUIRE(text.size() == http::date_bytes);
    std::tm parts = {};
    const char* const end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    REQUIRE(end == text.c_str() + text.size());
    const int weekday = parts.tm_wday;
    CHECK(::timegm(&parts) == seconds);
    CHECK(parts.tm_wday == weekday);
}

}  // namespace ringlet::fuzz
