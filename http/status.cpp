#include "http/status.h"

#include <array>
#include <cstddef>

namespace ringlet::http {

namespace {

constexpr std::array<std::string_view, 9> method_texts{
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
static_assert(method_texts.size() == static_cast<std::size_t>(method::patch) + 1);

struct entry {
    int status;
    std::string_view line;
};

constexpr std::size_t phrase_begin = std::string_view("HTTP/1.1 200 ").size();

constexpr std::array entries{
    entry{100, "HTTP/1.1 100 Continue\r\n"},
    entry{101, "HTTP/1.1 101 Switching Protocols\r\n"},
    entry{102, "HTTP/1.1 102 Processing\r\n"},
    entry{103, "HTTP/1.1 103 Early Hints\r\n"},
    entry{200, "HTTP/1.1 200 OK\r\n"},
    entry{201, "HTTP/1.1 201 Created\r\n"},
    entry{202, "HTTP/1.1 202 Accepted\r\n"},
    entry{203, "HTTP/1.1 203 Non-Authoritative Information\r\n"},
    entry{204, "HTTP/1.1 204 No Content\r\n"},
    entry{205, "HTTP/1.1 205 Reset Content\r\n"},
    entry{206, "HTTP/1.1 206 Partial Content\r\n"},
    entry{207, "HTTP/1.1 207 Multi-Status\r\n"},
    entry{208, "HTTP/1.1 208 Already Reported\r\n"},
    entry{226, "HTTP/1.1 226 IM Used\r\n"},
    entry{300, "HTTP/1.1 300 Multiple Choices\r\n"},
    entry{301, "HTTP/1.1 301 Moved Permanently\r\n"},
    entry{302, "HTTP/1.1 302 Found\r\n"},
    entry{303, "HTTP/1.1 303 See Other\r\n"},
    entry{304, "HTTP/1.1 304 Not Modified\r\n"},
    entry{305, "HTTP/1.1 305 Use Proxy\r\n"},
    entry{307, "HTTP/1.1 307 Temporary Redirect\r\n"},
    entry{308, "HTTP/1.1 308 Permanent Redirect\r\n"},
    entry{400, "HTTP/1.1 400 Bad Request\r\n"},
    entry{401, "HTTP/1.1 401 Unauthorized\r\n"},
    entry{402, "HTTP/1.1 402 Payment Required\r\n"},
    entry{403, "HTTP/1.1 403 Forbidden\r\n"},
    entry{404, "HTTP/1.1 404 Not Found\r\n"},
    entry{405, "HTTP/1.1 405 Method Not Allowed\r\n"},
    entry{406, "HTTP/1.1 406 Not Acceptable\r\n"},
    entry{407, "HTTP/1.1 407 Proxy Authentication Required\r\n"},
    entry{408, "HTTP/1.1 408 Request Timeout\r\n"},
    entry{409, "HTTP/1.1 409 Conflict\r\n"},
    entry{410, "HTTP/1.1 410 Gone\r\n"},
    entry{411, "HTTP/1.1 411 Length Required\r\n"},
    entry{412, "HTTP/1.1 412 Precondition Failed\r\n"},
    entry{413, "HTTP/1.1 413 Content Too Large\r\n"},
    entry{414, "HTTP/1.1 414 URI Too Long\r\n"},
    entry{415, "HTTP/1.1 415 Unsupported Media Type\r\n"},
    entry{416, "HTTP/1.1 416 Range Not Satisfiable\r\n"},
    entry{417, "HTTP/1.1 417 Expectation Failed\r\n"},
    entry{421, "HTTP/1.1 421 Misdirected Request\r\n"},
    entry{422, "HTTP/1.1 422 Unprocessable Content\r\n"},
    entry{423, "HTTP/1.1 423 Locked\r\n"},
    entry{424, "HTTP/1.1 424 Failed Dependency\r\n"},
    entry{425, "HTTP/1.1 425 Too Early\r\n"},
    entry{426, "HTTP/1.1 426 Upgrade Required\r\n"},
    entry{428, "HTTP/1.1 428 Precondition Required\r\n"},
    entry{429, "HTTP/1.1 429 Too Many Requests\r\n"},
    entry{431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
    entry{451, "HTTP/1.1 451 Unavailable For Legal Reasons\r\n"},
    entry{500, "HTTP/1.1 500 Internal Server Error\r\n"},
    entry{501, "HTTP/1.1 501 Not Implemented\r\n"},
    entry{502, "HTTP/1.1 502 Bad Gateway\r\n"},
    entry{503, "HTTP/1.1 503 Service Unavailable\r\n"},
    entry{504, "HTTP/1.1 504 Gateway Timeout\r\n"},
    entry{505, "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
    entry{506, "HTTP/1.1 506 Variant Also Negotiates\r\n"},
    entry{507, "HTTP/1.1 507 Insufficient Storage\r\n"},
    entry{508, "HTTP/1.1 508 Loop Detected\r\n"},
    entry{511, "HTTP/1.1 511 Network Authentication Required\r\n"},
};

// The place in `entries` of every status from 0 to 599; entries.size() for none.
constexpr auto places = [] {
    std::array<std::uint8_t, 600> table{};
    table.fill(static_cast<std::uint8_t>(entries.size()));
    for (std::size_t i = 0; i < entries.size(); ++i)
        table[static_cast<std::size_t>(entries[i].status)] = static_cast<std::uint8_t>(i);
    return table;
}();

}  // namespace

std::string_view method_text(method value) noexcept {
    return method_texts[static_cast<std::size_t>(value)];
}

std::optional<method> method_from(std::string_view text) noexcept {
    for (std::size_t i = 0; i < method_texts.size(); ++i)
        if (method_texts[i] == text)
            return static_cast<method>(i);
    return std::nullopt;
}

std::string_view status_line(int status) noexcept {
    if (status < 0 || status >= static_cast<int>(places.size()))
        return {};
    const std::size_t place = places[static_cast<std::size_t>(status)];
    return place < entries.size() ? entries[place].line : std::string_view{};
}

std::string_view reason_phrase(int status) noexcept {
    const std::string_view line = status_line(status);
    return line.empty() ? std::string_view{"Unknown"}
                        : line.substr(phrase_begin, line.size() - phrase_begin - 2);
}

}  // namespace ringlet::http
