// Appends HTTP/1.1 messages to a byte buffer; never sees a socket. The writer alone decides the
// framing: Content-Length, Transfer-Encoding and Connection are derived from the arguments and are
// refused among the given headers. Every name, value and reason is checked, so that no text of an
// application can start a header or a message of its own. A function that returns an error has
// appended nothing.
#pragma once

#include "http/date.h"
#include "http/headers.h"
#include "http/status.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ringlet::http {

enum class write_error : std::uint8_t {
    none,
    bad_status,
    bad_reason,
    bad_name,
    bad_value,
    framing_header,
    bad_method,
    bad_target,
    bad_host,
    bad_framing,
    out_of_memory,  // of a server's answer: the peer gets a reset
};

[[nodiscard]] std::string_view sentence(write_error error) noexcept;

// A header name or a method: at least one character, none of them a separator.
[[nodiscard]] bool is_token(std::string_view text) noexcept;
// No control character but tab, and no blank at either end.
[[nodiscard]] bool is_field_value(std::string_view text) noexcept;

// How the end of the body is marked.
struct body_framing {
    enum class kind : std::uint8_t { none, sized, chunked, until_close };

    kind how = kind::none;
    std::uint64_t bytes = 0;  // of kind sized

    static constexpr body_framing none() noexcept { return {}; }
    static constexpr body_framing sized(std::uint64_t n) noexcept { return {kind::sized, n}; }
    static constexpr body_framing chunked() noexcept { return {kind::chunked, 0}; }
    static constexpr body_framing until_close() noexcept { return {kind::until_close, 0}; }
};

struct response_start {
    int status = 200;
    std::string_view reason = {};  // empty: the registered phrase
    std::span<const header_view> headers = {};
    body_framing body = body_framing::none();  // of a response to HEAD: as it would be for GET
    std::uint8_t request_minor = 1;  // an HTTP/1.0 peer gets no chunks: chunked becomes until_close
    bool keep_alive = true;          // a body until_close ends it in any case
    std::string_view date = {};      // empty: no Date header; a Date among the headers wins
};

struct response_verdict {
    write_error error = write_error::none;
    bool chunks = false;  // the caller must send the body in chunks
    bool closes = false;  // the connection ends after this response
};

// kind::none writes "Content-Length: 0"; 1xx, 204 and 304 get no framing header at all, whatever
// `body` says. A 101 alone may name Connection among its headers.
[[nodiscard]] response_verdict append_response_head(std::string& out, const response_start& start);

// The fast path: status, Date, Content-Type, Content-Length and the body in one go, for HTTP/1.1
// and keep-alive unless `keep_alive` is false or `request_minor` is 0. `head_only` answers a HEAD
// request. Requires: a registered status that may carry a body.
struct short_response {
    int status = 200;
    std::string_view content_type = {};  // empty: no Content-Type header
    std::string_view body = {};
    std::string_view date = {};
    std::uint8_t request_minor = 1;
    bool keep_alive = true;
    bool head_only = false;
};
[[nodiscard]] write_error append_response(std::string& out, const short_response& response);

struct request_start {
    std::string_view method = "GET";
    std::string_view target = "/";
    std::string_view host = {};  // Host header: host or host:port
    std::span<const header_view> headers = {};
    body_framing body = body_framing::none();  // until_close is refused: a request cannot end so
    bool keep_alive = true;
};
[[nodiscard]] write_error append_request_head(std::string& out, const request_start& start);

// One whole chunk. An empty one would end the body, so it appends nothing.
void append_chunk(std::string& out, std::string_view bytes);

// A chunk whose size is not known yet: append the bytes to `out` between the two calls.
// end_chunk takes what begin_chunk returned; a chunk that stayed empty is taken back.
[[nodiscard]] std::size_t begin_chunk(std::string& out);
void end_chunk(std::string& out, std::size_t begun);

// The line before a chunk that is sent from elsewhere; follow the bytes with "\r\n". Requires:
// bytes > 0.
void append_chunk_size(std::string& out, std::uint64_t bytes);

// The end of a chunked body. Framing, Host and other headers of the head are refused as trailers.
[[nodiscard]] write_error append_last_chunk(std::string& out,
                                            std::span<const header_view> trailers = {});

}  // namespace ringlet::http
