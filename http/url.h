// http and https URLs (RFC 3986). A `url` is always whole, valid and normalised: lower-case scheme
// and host, canonical percent-encoding, no dot segments, no default port, a path that starts with
// '/'. So two equal texts are the same resource, and text() can be sent, stored and compared as it
// is. Input is taken as it is found in real pages (blanks, line ends, non-ASCII bytes,
// backslashes); the host is checked strictly. User information is kept apart: it is in no text and
// in no Host header. On an error the output is left empty. Plain values, one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ringlet::http {

enum class url_error : std::uint8_t {
    none,
    empty,
    too_long,
    relative,
    unsupported_scheme,
    missing_host,
    bad_host,
    non_ascii_host,
    bad_ipv4,
    bad_ipv6,
    bad_port,
};

// A whole sentence, e.g. "The port is not a number from 1 to 65535."
[[nodiscard]] std::string_view sentence(url_error error) noexcept;

// The longest input and the longest normalised text.
inline constexpr std::size_t url_bytes_max = 8 * 1024;

class url {
public:
    // An absolute URL. `out` keeps its capacity, so that reusing one object allocates nothing.
    [[nodiscard]] static url_error parse(std::string_view text, url& out);
    // A reference found in the document `base` (section 5.2). `out` may not be `base`.
    // Requires: base is not empty.
    [[nodiscard]] static url_error resolve(const url& base, std::string_view reference, url& out);

    [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
    // The whole URL, and the whole URL as it is requested: without the fragment.
    [[nodiscard]] std::string_view text() const noexcept { return text_; }
    [[nodiscard]] std::string_view without_fragment() const noexcept { return part(0, query_end_); }

    [[nodiscard]] std::string_view scheme() const noexcept { return secure() ? "https" : "http"; }
    [[nodiscard]] bool secure() const noexcept { return host_begin_ == 8; }
    [[nodiscard]] std::string_view userinfo() const noexcept { return userinfo_; }
    // As in the URL: an IPv6 address is in brackets.
    [[nodiscard]] std::string_view host() const noexcept { return part(host_begin_, host_end_); }
    // For a resolver: an IPv6 address without its brackets.
    [[nodiscard]] std::string_view host_bare() const noexcept;
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    // The Host header: host, or host:port when the port is not the scheme's own.
    [[nodiscard]] std::string_view authority() const noexcept {
        return part(host_begin_, path_begin_);
    }
    // scheme://authority, without the slash that follows: the key of a connection pool.
    [[nodiscard]] std::string_view origin() const noexcept { return part(0, path_begin_); }
    [[nodiscard]] std::string_view path() const noexcept { return part(path_begin_, path_end_); }
    // Path and query as they are sent in a request line.
    [[nodiscard]] std::string_view target() const noexcept { return part(path_begin_, query_end_); }
    // Without '?' and '#'. has_query tells "/a?" from "/a".
    [[nodiscard]] std::string_view query() const noexcept;
    [[nodiscard]] std::string_view fragment() const noexcept;
    [[nodiscard]] bool has_query() const noexcept { return query_end_ > path_end_; }
    [[nodiscard]] bool has_fragment() const noexcept { return text_.size() > query_end_; }

    // The text decides; user information is not compared.
    bool operator==(const url& other) const noexcept { return text_ == other.text_; }

private:
    friend class url_builder;

    [[nodiscard]] std::string_view part(std::uint32_t begin, std::uint32_t end) const noexcept {
        return {text_.data() + begin, end - begin};
    }

    // http://example.org:8080/a/b?query#fragment
    //        |          |    |   |     |
    //        host_begin_|    |   path_end_
    //              host_end_ path_begin_ query_end_
    std::string text_;
    std::string userinfo_;
    std::uint32_t host_begin_ = 0;
    std::uint32_t host_end_ = 0;
    std::uint32_t path_begin_ = 0;
    std::uint32_t path_end_ = 0;
    std::uint32_t query_end_ = 0;
    std::uint16_t port_ = 0;
};

}  // namespace ringlet::http
