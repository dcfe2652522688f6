// Links of a page: the same references however the page arrives, none over its limit.
#include "examples/crawler/links.h"

#include "tests/fuzz/fuzz.h"

namespace ringlet::fuzz {
namespace {

std::string references(std::string_view page, std::string_view charset,
                       const std::vector<std::size_t>& ends) {
    std::string text;
    auto sink = [&](const crawler::reference& found) {
        CHECK(found.url.size() <= crawler::reference_bytes_max);
        CHECK_FALSE(found.element.empty());
        text.append(found.element).append(found.kind == crawler::reference_kind::page ? " " : "! ");
        text.append(found.url).append(" of ").append(found.base);
        text.append(found.nofollow ? " nofollow\n" : "\n");
    };
    crawler::link_extractor extractor(sink, charset);
    feed_cut(page, ends, [&](std::string_view piece) { extractor.feed(piece); });
    extractor.finish();
    text.append(extractor.nofollow() ? "nofollow " : "").append(extractor.stopped_because());
    return text + std::to_string(extractor.overlong());
}

}  // namespace

void fuzz(std::string_view input) {
    constexpr std::string_view charsets[] = {"", "utf-8", "iso-8859-1", "utf-16le", "shift_jis"};
    const std::string_view charset = charsets[take_choice(input, std::size(charsets))];
    const std::string whole = references(input, charset, {input.size()});
    for (const std::vector<std::size_t>& ends : ways_to_cut(input.size())) {
        CHECK(references(input, charset, ends) == whole);
    }
}

}  // namespace ringlet::fuzz
