// Finds the references in an HTML page while the page is still arriving, over libxml2's push
// parser. One extractor reads one page; it belongs to whoever reads the body and is used on that
// thread only. The sink is borrowed and called from inside feed() and finish(); the views it gets
// die with the call. References are handed over as written (entities decoded, blanks trimmed), not
// resolved: the page's own URL is the caller's. What a title or textarea holds is text. No input is
// an error: what is not HTML has no links. A page built to burn time or memory is abandoned, and
// stopped_because() says so.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

namespace ringlet::crawler {

// What a reference is for: a page to visit, or something a page is made of.
enum class reference_kind { page, asset };

struct reference {
    std::string_view url;      // as written: may be relative, may be nonsense
    std::string_view base;     // the page's <base href> in force here, as written; empty if none
    std::string_view element;  // "a", "img", ...
    reference_kind kind = reference_kind::page;
    bool nofollow = false;  // by rel="nofollow" here, or by a robots meta element seen so far
};

// One tag's references longer than this are dropped and counted.
inline constexpr std::size_t reference_bytes_max = 16 * 1024;
// Bytes of one tag, comment, script or run of text that are kept while waiting for its end.
inline constexpr std::size_t unfinished_bytes_max = 4 * 1024 * 1024;
// libxml2 compares every attribute of a tag with all earlier ones: of one tag that is so long that
// it can be counted before it is parsed, and of all tags of a page together.
inline constexpr std::size_t attributes_max = 8 * 1024;
inline constexpr std::size_t attribute_comparisons_max = std::size_t{1} << 27;
// libxml2 searches all open elements at every end tag; older ones than this are forgotten.
inline constexpr int open_elements_max = 256;

class link_extractor {
public:
    // `sink` is called as sink(const reference&). `charset` is the one from Content-Type, if any.
    template <class Sink>
    explicit link_extractor(Sink& sink, std::string_view charset = {})
        : link_extractor([](void* to, const reference& found) { (*static_cast<Sink*>(to))(found); },
                         &sink, charset) {}
    ~link_extractor();
    link_extractor(const link_extractor&) = delete;
    link_extractor& operator=(const link_extractor&) = delete;

    void feed(std::string_view bytes);
    // Parses what was held back for want of more. Nothing may be fed afterwards.
    void finish();

    // The page said, in a robots meta element, that its links are not to be followed.
    bool nofollow() const;
    // References left out for their length.
    std::size_t overlong() const;
    // Empty, or the sentence saying why the rest of the page was not looked at.
    std::string_view stopped_because() const;

private:
    using callback = void (*)(void*, const reference&);
    link_extractor(callback on_reference, void* context, std::string_view charset);

    struct state;
    std::unique_ptr<state> state_;
};

}  // namespace ringlet::crawler
