#include "http/date.h"

#include <chrono>
#include <cstring>

namespace ringlet::http {

namespace {

void put_two(char* out, unsigned value) noexcept {
    out[0] = static_cast<char>('0' + value / 10);
    out[1] = static_cast<char>('0' + value % 10);
}

}  // namespace

void format_date(std::int64_t unix_seconds, char* out) noexcept {
    using namespace std::chrono;
    const sys_seconds when{seconds{unix_seconds}};
    const sys_days day = floor<days>(when);
    const year_month_day date{day};
    const hh_mm_ss time{when - day};
    const auto year = static_cast<unsigned>(static_cast<int>(date.year()));

    std::memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", date_bytes);
    std::memcpy(out, &"SunMonTueWedThuFriSat"[weekday{day}.c_encoding() * 3], 3);
    put_two(out + 5, static_cast<unsigned>(date.day()));
    const unsigned month = static_cast<unsigned>(date.month());
    std::memcpy(out + 8, &"JanFebMarAprMayJunJulAugSepOctNovDec"[(month - 1) * 3], 3);
    put_two(out + 12, year / 100);
    put_two(out + 14, year % 100);
    put_two(out + 17, static_cast<unsigned>(time.hours().count()));
    put_two(out + 20, static_cast<unsigned>(time.minutes().count()));
    put_two(out + 23, static_cast<unsigned>(time.seconds().count()));
}

}  // namespace ringlet::http
