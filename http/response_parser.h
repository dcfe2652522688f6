// The client's parser of HTTP/1.0 and HTTP/1.1 responses: bytes in, events out, no socket; strict,
// like the server's. One parser serves one connection and one thread. start() names the request
// that the next response answers, because HEAD and CONNECT decide whether a body follows. A
// response that is refused ends the connection: error() says why and nothing more is consumed.
#pragma once

#include "http/headers.h"
#include "http/message_parser.h"
#include "http/status.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace ringlet::http {

// Views live as those of request_head: until the next event with a head or the next feed.
struct response_head {
    int status = 0;
    std::string_view reason;
    std::span<const header_view> headers;
    std::optional<std::uint64_t>
        content_length;  // as announced; a HEAD response has one and no body
    std::uint8_t version_minor = 1;
    bool chunked = false;
    bool until_close = false;  // the body ends where the connection ends
    bool has_body = false;     // a body may follow: neither HEAD, 1xx, 204, 304 nor length 0

    [[nodiscard]] const header_view* find(std::string_view name) const noexcept {
        return find_header(headers, name);
    }
    // The value of the first field of that name; empty when there is none.
    [[nodiscard]] std::string_view value(std::string_view name) const noexcept {
        const header_view* field = find(name);
        return field ? field->value : std::string_view{};
    }
};

class response_events : public message_events {
public:
    // A 1xx response; any number of them may precede the final one.
    virtual void on_informational(const response_head&) {}
    virtual void on_head(const response_head& head) = 0;

protected:
    ~response_events() = default;
};

class response_parser : public detail::message_parser {
public:
    // `sizes` is not copied and must outlive the parser.
    explicit response_parser(const limits& sizes) noexcept
        : message_parser(kind::response, sizes) {}

    // The next response answers a request of this method; GET when never called.
    // Requires: nothing was fed yet, or complete() and keep_alive().
    void start(method request_method) noexcept;

    // Returns the bytes consumed. It stops after on_complete: bytes left over are either the next
    // response of a pipeline (call start, feed again) or rubbish, which means: do not reuse.
    std::size_t feed(std::string_view bytes, response_events& sink);

    // The peer closed. Completes a body that ends with the connection (may call the sink); returns
    // false, and error() says so, when a head or a body was cut.
    bool finish(response_events& sink);

    // on_complete was called.
    [[nodiscard]] bool complete() const noexcept { return phase_ == phase::ended; }
    // At least one byte of the answer has come: the request must not be repeated blindly.
    [[nodiscard]] bool started() const noexcept {
        return phase_ != phase::between || informational_count_ > 0;
    }
    // After on_complete: the connection may carry another request.
    [[nodiscard]] bool keep_alive() const noexcept { return keep_alive_; }
    // A CONNECT was answered with 2xx: every further byte belongs to the tunnel.
    [[nodiscard]] bool tunnel() const noexcept { return tunnel_; }

private:
    bool head_complete() override;
    void message_complete() override;
    parse_error read_head(response_head& head) noexcept;

    std::uint32_t informational_count_ = 0;
    method request_method_ = method::get;
    bool informational_ = false;
    bool keep_alive_ = false;
    bool tunnel_ = false;
};

}  // namespace ringlet::http
