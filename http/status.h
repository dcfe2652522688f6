// The status codes and methods of RFC 9110 as tables: the ready status line of a response, the
// text of a method, and what a status says about the body. Pure look-ups, callable from anywhere,
// never failing.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ringlet::http {

enum class method : std::uint8_t { get, head, post, put, delete_, connect, options, trace, patch };

[[nodiscard]] std::string_view method_text(method value) noexcept;
// Methods are case-sensitive: "get" is none of them.
[[nodiscard]] std::optional<method> method_from(std::string_view text) noexcept;

// "Not Found" for 404; "Unknown" for a number without a registered phrase.
[[nodiscard]] std::string_view reason_phrase(int status) noexcept;

// "HTTP/1.1 404 Not Found\r\n"; empty for a number that is not registered.
[[nodiscard]] std::string_view status_line(int status) noexcept;

// 1xx, 204 and 304 never carry a body.
[[nodiscard]] constexpr bool status_forbids_body(int status) noexcept {
    return status < 200 || status == 204 || status == 304;
}

}  // namespace ringlet::http
