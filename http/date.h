// The Date header: 29 bytes of IMF-fixdate ("Sun, 06 Nov 1994 08:49:37 GMT", RFC 9110 section
// 5.6.7), rendered again only when the second changes. One cache per loop; no clock is read here:
// the caller passes the seconds since 1970 that it has cached for the turn.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringlet::http {

inline constexpr std::size_t date_bytes = 29;

// Writes exactly date_bytes characters. Requires: a year from 1970 to 9999.
void format_date(std::int64_t unix_seconds, char* out) noexcept;

class date_cache {
public:
    // The view is valid until a call with another second.
    [[nodiscard]] std::string_view get(std::int64_t unix_seconds) noexcept {
        if (unix_seconds != seconds_) {
            format_date(unix_seconds, text_.data());
            seconds_ = unix_seconds;
        }
        return {text_.data(), text_.size()};
    }

private:
    std::int64_t seconds_ = -1;
    std::array<char, date_bytes> text_{};
};

}  // namespace ringlet::http
