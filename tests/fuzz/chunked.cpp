// Chunked bodies: the parser hears what a second, plain reader of the same bytes hears, however
// they are cut, and refuses whatever that reader refuses.
#include "http/request_parser.h"

#include <charconv>

#include "tests/fuzz/messages.h"

namespace ringlet::fuzz {
namespace {

constexpr std::string_view head =
    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

// The body as RFC 9112 section 7.1 has it, up to the last chunk's line; nothing when the bytes
// depart from it. Trailers are not looked at.
std::optional<std::string> plain_reader(std::string_view bytes) {
    std::string body;
    for (;;) {
        const std::size_t line_end = bytes.find("\r\n");
        const std::string_view line = bytes.substr(0, line_end);
        std::uint64_t size = 0;
        const auto [end, failed] =
            std::from_chars(line.data(), line.data() + line.size(), size, 16);
        if (line_end == bytes.npos || failed != std::errc() ||
            (end != line.data() + line.size() && *end != ';')) {
            return std::nullopt;
        }
        bytes.remove_prefix(line_end + 2);
        if (size == 0) {
            return body;
        }
        if (bytes.size() < 2 || size > bytes.size() - 2 || bytes.substr(size, 2) != "\r\n") {
            return std::nullopt;
        }
        body.append(bytes.substr(0, size));
        bytes.remove_prefix(size + 2);
    }
}

// The body of the first request; what follows it is another one's.
class first_body final : public http::request_events {
public:
    std::string body;
    bool complete = false;

    void on_head(const http::request_head&) override {}
    void on_body(std::string_view piece) override {
        if (!complete) {
            body.append(piece);
        }
    }
    void on_complete(std::span<const http::header_view>) override { complete = true; }
};

}  // namespace

void fuzz(std::string_view input) {
    const http::limits sizes = small_limits();
    const std::string bytes = std::string(head).append(input);
    const outcome whole = check_cuts(
        bytes, [&](std::string_view each, std::vector<std::size_t> cuts, bool pausing) {
            return http::test::run_request(each, cuts, sizes, pausing);
        });

    first_body sink;
    http::request_parser(sizes).feed(bytes, sink);
    if (sink.complete) {
        const std::optional<std::string> expected = plain_reader(input);
        REQUIRE(expected);
        CHECK(sink.body == *expected);
    }
}

}  // namespace ringlet::fuzz
