// The server's parser of HTTP/1.0 and HTTP/1.1 requests: bytes in, events out, no socket. It
// stands on llhttp without any lenient flag and adds the checks and limits llhttp leaves to its
// user. One parser serves one connection and is used by one thread. Nothing is allocated per
// request once the first requests have sized the tables. A request that is refused ends the
// connection: error() says why, the parser consumes nothing more, and the caller answers
// status_of(error()) and closes.
#pragma once

#include "http/headers.h"
#include "http/message_parser.h"
#include "http/status.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ringlet::http {

// All views point into the fed bytes when the whole head came in one feed, else into the parser's
// own buffer. They are valid inside on_head and after it until the next on_head or the next call of
// feed, whichever is first, and only as long as the caller keeps the fed bytes. owned_request_head
// keeps more.
struct request_head {
    http::method method = http::method::get;
    std::string_view target;  // as sent
    std::string_view path;    // never empty: starts with '/', or is "*" (OPTIONS only)
    std::string_view query;   // after '?', without it; empty when there is none
    std::string_view host;  // the authority asked for: of an absolute target, else the Host header
    std::span<const header_view> headers;
    std::uint64_t content_length = 0;  // 0 without a Content-Length header
    std::uint8_t version_minor = 1;    // HTTP/1.0 or HTTP/1.1
    bool keep_alive = true;
    bool chunked = false;
    bool has_body = false;         // chunked, or content_length > 0
    bool expect_continue = false;  // HTTP/1.1 with a body only
    bool upgrade = false;  // offers another protocol; parsing goes on as HTTP/1.1 all the same

    [[nodiscard]] std::string_view method_text() const noexcept {
        return http::method_text(method);
    }
    [[nodiscard]] const header_view* find(std::string_view name) const noexcept {
        return find_header(headers, name);
    }
    // The value of the first field of that name; empty when there is none.
    [[nodiscard]] std::string_view value(std::string_view name) const noexcept {
        const header_view* field = find(name);
        return field ? field->value : std::string_view{};
    }
};

// A copy of a head that outlives the fed bytes. assign() reuses its storage, so that a connection
// which keeps one of these allocates only until it has seen its largest head.
class owned_request_head {
public:
    owned_request_head() = default;
    owned_request_head(const owned_request_head&) = delete;
    owned_request_head& operator=(const owned_request_head&) = delete;

    const request_head& assign(const request_head& head);
    [[nodiscard]] const request_head& head() const noexcept { return head_; }

private:
    request_head head_;
    std::vector<char> text_;
    std::vector<header_view> fields_;
};

class request_events : public message_events {
public:
    // Every accepted request gives one on_head, any number of on_body, and one on_complete.
    virtual void on_head(const request_head& head) = 0;

protected:
    ~request_events() = default;
};

class request_parser : public detail::message_parser {
public:
    // `sizes` is not copied and must outlive the parser.
    explicit request_parser(const limits& sizes) noexcept : message_parser(kind::request, sizes) {}

    // Gives the sink every event in `bytes`, over any number of requests. Returns how many bytes
    // were consumed: fewer than given after pause(), after an error and after the last request of
    // the connection (ended()). Never called from inside an event. Whoever answers an upgrade with
    // 101 pauses in on_complete: the bytes not consumed belong to the other protocol.
    std::size_t feed(std::string_view bytes, request_events& sink);

    // The peer closed its side. Returns false, and error() says so, in the middle of a request.
    bool finish() noexcept;

    // No further request will be parsed: Connection: close, or HTTP/1.0 without keep-alive.
    [[nodiscard]] bool ended() const noexcept { return phase_ == phase::ended; }
    // Between two requests, no byte of the next one seen: the moment to close without harm.
    [[nodiscard]] bool idle() const noexcept { return phase_ == phase::between; }
    // In the middle of a head: the moment for the header timeout.
    [[nodiscard]] bool in_head() const noexcept { return phase_ == phase::head; }

private:
    std::size_t skip_empty_lines(std::string_view bytes) noexcept;
    bool head_complete() override;
    void message_complete() override;
    parse_error read_head(request_head& head) noexcept;
    parse_error read_start_line(request_head& head) noexcept;
    static parse_error read_target(request_head& head) noexcept;
    parse_error read_fields(request_head& head) noexcept;

    std::uint32_t empty_line_bytes_ = 0;
    bool keep_alive_ = true;
};

}  // namespace ringlet::http
