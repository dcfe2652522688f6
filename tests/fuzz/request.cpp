// Requests: the same however they are cut, never over a limit, and printed as understood they are
// understood the same.
#include "http/request_parser.h"

#include "tests/fuzz/messages.h"

namespace ringlet::fuzz {
namespace {

class request_printer final : public printer<http::test::request_recorder> {
public:
    using printer::printer;

    void on_head(const http::request_head& head) override {
        printer::on_head(head);
        CHECK(head.method != http::method::connect);
        CHECK((head.path == "*" || head.path.front() == '/'));
        CHECK(head.has_body == (head.chunked || head.content_length > 0));
        CHECK(head.content_length <= sizes_.body_bytes_max);
        CHECK_FALSE((head.chunked && head.find("content-length") != nullptr));
        const std::string line = std::string(head.method_text()) + " " + std::string(head.target) +
                                 " HTTP/1." + std::to_string(head.version_minor);
        CHECK(line.size() <= sizes_.request_line_bytes_max);
        std::optional<std::uint64_t> announced;
        if (!head.chunked) {
            announced = head.content_length;
        }
        begin(line, head.headers, head.chunked, announced);
    }
};

}  // namespace

void fuzz(std::string_view input) {
    const http::limits sizes = small_limits();
    const auto run = [&](std::string_view bytes, std::vector<std::size_t> cuts, bool pausing) {
        return http::test::run_request(bytes, cuts, sizes, pausing);
    };
    const outcome whole = check_cuts(input, run);
    CHECK(http::status_of(whole.error) >= (whole.error == http::parse_error::none ? 200 : 400));

    http::request_parser parser(sizes);
    request_printer sink(sizes);
    http::test::feed_piece(parser, sink, input);
    CHECK(sink.log == whole.log);
    // A blank more than there was after each colon may break a limit that was just kept.
    http::limits roomy = sizes;
    roomy.header_bytes_max *= 2;
    roomy.request_line_bytes_max *= 2;
    CHECK(http::test::run_request(sink.text, {}, roomy).log == whole.log);
}

}  // namespace ringlet::fuzz
