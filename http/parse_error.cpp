#include "http/parse_error.h"

#include <array>
#include <cstddef>

namespace ringlet::http {

namespace {

struct entry {
    parse_error code;
    int status;
    std::string_view text;
};

constexpr std::array entries{
    entry{parse_error::none, 200, "There is no error."},
    entry{parse_error::bad_syntax, 400, "The message is not HTTP/1.1."},
    entry{parse_error::bad_method, 400, "The request does not start with a method."},
    entry{parse_error::unknown_method, 501, "The request method is not supported."},
    entry{parse_error::connect_refused, 501, "CONNECT is not supported: this is no proxy."},
    entry{parse_error::bad_target, 400,
          "The request target holds a character that must be escaped."},
    entry{parse_error::target_form, 400,
          "The form of the request target does not suit the method."},
    entry{parse_error::request_line_too_long, 414, "The start line is longer than the limit."},
    entry{parse_error::bad_version, 400, "The HTTP version is malformed."},
    entry{parse_error::unsupported_version, 505, "Only HTTP/1.0 and HTTP/1.1 are supported."},
    entry{parse_error::bad_header, 400, "A header line is malformed."},
    entry{parse_error::headers_too_large, 431, "The headers are larger than the limit."},
    entry{parse_error::too_many_headers, 431, "There are more header lines than the limit."},
    entry{parse_error::host_missing, 400, "The request has no Host header."},
    entry{parse_error::host_repeated, 400, "The request has more than one Host header."},
    entry{parse_error::bad_host, 400, "The Host header is not a host with an optional port."},
    entry{parse_error::bad_content_length, 400, "The Content-Length is malformed or repeated."},
    entry{parse_error::conflicting_framing, 400,
          "Content-Length and Transfer-Encoding contradict each other."},
    entry{parse_error::chunked_on_1_0, 400, "HTTP/1.0 has no Transfer-Encoding."},
    entry{parse_error::unsupported_transfer_coding, 501,
          "The only transfer coding supported is a single chunked."},
    entry{parse_error::bad_chunk, 400, "The chunk framing is malformed."},
    entry{parse_error::chunk_extensions_too_large, 413,
          "The chunk extensions are larger than the limit."},
    entry{parse_error::trailers_too_large, 431, "The trailers are larger than the limit."},
    entry{parse_error::body_too_large, 413, "The body is larger than the limit."},
    entry{parse_error::too_many_empty_lines, 400,
          "There are too many empty lines before the request."},
    entry{parse_error::bad_status_line, 400,
          "The answer does not start with an HTTP/1.1 status line."},
    entry{parse_error::too_many_informational, 400, "There are too many 1xx responses."},
    entry{parse_error::unexpected_upgrade, 400,
          "The answer switches to a protocol nobody asked for."},
    entry{parse_error::truncated_head, 400,
          "The connection ended before the headers were complete."},
    entry{parse_error::truncated_body, 400, "The connection ended before the body was complete."},
    entry{parse_error::out_of_memory, 503, "There is no memory for the message."},
};

constexpr bool in_order() {
    for (std::size_t i = 0; i < entries.size(); ++i)
        if (static_cast<std::size_t>(entries[i].code) != i)
            return false;
    return true;
}
static_assert(in_order(), "the table is indexed by the code");
static_assert(entries.size() == static_cast<std::size_t>(parse_error::out_of_memory) + 1);

}  // namespace

std::string_view sentence(parse_error error) noexcept {
    return entries[static_cast<std::size_t>(error)].text;
}

int status_of(parse_error error) noexcept {
    return entries[static_cast<std::size_t>(error)].status;
}

}  // namespace ringlet::http
