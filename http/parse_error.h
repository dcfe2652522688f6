// Why a message was refused, for both parsers. The code is for programs, the sentence for people,
// the status is what a server answers before it closes. A parser that has failed stays failed: the
// framing of what follows cannot be trusted.
#pragma once

#include <cstdint>
#include <string_view>

namespace ringlet::http {

enum class parse_error : std::uint8_t {
    none,
    bad_syntax,
    bad_method,
    unknown_method,
    connect_refused,
    bad_target,
    target_form,
    request_line_too_long,
    bad_version,
    unsupported_version,
    bad_header,
    headers_too_large,
    too_many_headers,
    host_missing,
    host_repeated,
    bad_host,
    bad_content_length,
    conflicting_framing,
    chunked_on_1_0,
    unsupported_transfer_coding,
    bad_chunk,
    chunk_extensions_too_large,
    trailers_too_large,
    body_too_large,
    too_many_empty_lines,
    bad_status_line,
    too_many_informational,
    unexpected_upgrade,
    truncated_head,
    truncated_body,
    out_of_memory,
};

// A whole sentence without a line end, e.g. "The request has no Host header."
[[nodiscard]] std::string_view sentence(parse_error error) noexcept;

// The status a server answers: 400, 413, 414, 431, 501, 503 or 505.
[[nodiscard]] int status_of(parse_error error) noexcept;

}  // namespace ringlet::http
