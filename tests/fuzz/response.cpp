// Responses, to a GET, HEAD or CONNECT as the first byte says: the same however they are cut, never
// over a limit, and printed as understood they are understood the same.
#include "http/response_parser.h"

#include "tests/fuzz/messages.h"

namespace ringlet::fuzz {
namespace {

class response_printer final : public printer<http::test::response_recorder> {
public:
    using printer::printer;

    void on_informational(const http::response_head& head) override {
        printer::on_informational(head);
        CHECK(head.status / 100 == 1);
        CHECK(++informational_ <= sizes_.informational_max);
        print(head);
    }
    void on_head(const http::response_head& head) override {
        printer::on_head(head);
        CHECK((head.status >= 200 || head.status == 101));
        CHECK_FALSE((head.chunked && head.until_close));
        print(head);
    }

private:
    void print(const http::response_head& head) {
        const std::string line = "HTTP/1." + std::to_string(head.version_minor) + " " +
                                 std::to_string(head.status) + " " + std::string(head.reason);
        CHECK(line.size() <= sizes_.request_line_bytes_max + 1);
        std::optional<std::uint64_t> announced;
        if (head.has_body) {
            announced = head.content_length;
        }
        begin(line, head.headers, head.chunked && head.has_body, announced);
    }

    std::uint32_t informational_ = 0;
};

}  // namespace

void fuzz(std::string_view input) {
    constexpr http::method methods[] = {http::method::get, http::method::head,
                                        http::method::connect};
    const http::method asked = methods[take_choice(input, 3)];
    const http::limits sizes = small_limits();
    const auto run = [&](std::string_view bytes, std::vector<std::size_t> cuts, bool pausing) {
        return http::test::run_response(bytes, cuts, asked, sizes, pausing);
    };
    const outcome whole = check_cuts(input, run);

    http::response_parser parser(sizes);
    parser.start(asked);
    response_printer sink(sizes);
    http::test::feed_piece(parser, sink, input);
    parser.finish(sink);
    CHECK(sink.log == whole.log);
    if (whole.error_at_end != http::parse_error::none) {
        return;  // a body cut short by an error would end with the connection when it is printed
    }
    http::limits roomy = sizes;
    roomy.header_bytes_max *= 2;
    roomy.request_line_bytes_max *= 2;
    CHECK(http::test::run_response(sink.text, {}, asked, roomy).log == whole.log);
}

}  // namespace ringlet::fuzz
