#include "examples/crawler/links.h"

#include "examples/crawler/charset.h"

#include <libxml/HTMLparser.h>
#include <libxml/parserInternals.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <string>
#include <utility>

namespace ringlet::crawler {
namespace {

using std::string_view;

// Input goes to libxml2 in slices of this size, so that the limits are looked at in between.
constexpr std::size_t slice_bytes = 32 * 1024;
// From here on an unfinished tag's attributes are counted.
constexpr std::size_t watched_bytes = 16 * 1024;

constexpr string_view blanks = " \t\n\r\f";

string_view trim(string_view text) {
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool starts_with_lowercase(string_view text, string_view prefix) {
    return text.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), text.begin(),
                                                      [](char a, char b) { return a == lower(b); });
}

bool equals_lowercase(string_view text, string_view word) {
    return text.size() == word.size() && starts_with_lowercase(text, word);
}

// Whether one of the words in `text`, separated by any of `separators`, is `word`.
bool has_word(string_view text, string_view word, string_view separators = blanks) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find_first_of(separators), text.size());
        if (equals_lowercase(text.substr(0, end), word)) return true;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return false;
}

// The value of a meta refresh is "5; url='next.html'", with most of that optional.
string_view refresh_target(string_view content) {
    const std::size_t after_delay = content.find_first_not_of("0123456789. \t\n\r\f");
    if (after_delay == content.npos) return {};
    content.remove_prefix(after_delay);
    if (content.front() == ';' || content.front() == ',') content.remove_prefix(1);
    content = trim(content);
    if (starts_with_lowercase(content, "url")) {
        const string_view rest = trim(content.substr(3));
        if (!rest.empty() && rest.front() == '=') content = trim(rest.substr(1));
    }
    if (!content.empty() && (content.front() == '"' || content.front() == '\'')) {
        const char quote = content.front();
        content.remove_prefix(1);
        content = content.substr(0, content.find(quote));
    }
    return content;
}

// Calls `found` with the URL of every candidate: URLs hold commas, so only a comma at a URL's end
// or after its descriptors separates, and one inside parentheses does not.
template <class Found>
void each_srcset_candidate(string_view text, Found found) {
    constexpr string_view blanks_and_comma = " \t\n\r\f,";
    while (true) {
        const std::size_t start = text.find_first_not_of(blanks_and_comma);
        if (start == text.npos) return;
        text.remove_prefix(start);
        const std::size_t url_end = std::min(text.find_first_of(blanks), text.size());
        string_view url = text.substr(0, url_end);
        text.remove_prefix(url_end);
        if (url.back() == ',') {
            url = url.substr(0, url.find_last_not_of(',') + 1);
        } else {
            std::size_t i = 0;
            for (bool inside = false; i < text.size() && (inside || text[i] != ','); ++i) {
                if (text[i] == '(') inside = true;
                if (text[i] == ')') inside = false;
            }
            text.remove_prefix(i);
        }
        found(url);
    }
}

// Counts the attributes of a tag that is still arriving: what is quoted holds none.
class attribute_counter {
public:
    std::size_t count = 0;
    std::size_t bytes_read = 0;

    void read(string_view tag) {
        for (const char c : tag.substr(bytes_read)) step(c);
        bytes_read = tag.size();
    }

private:
    enum class place { between, name, before_value, unquoted, quoted };

    void step(char c) {
        const bool blank = blanks.find(c) != blanks.npos;
        switch (at_) {
            case place::quoted:
                if (c == quote_) at_ = place::between;
                return;
            case place::before_value:
                if (blank) return;
                quote_ = c;
                at_ = c == '"' || c == '\'' ? place::quoted : place::unquoted;
                return;
            case place::unquoted:
                if (blank) at_ = place::between;
                return;
            case place::between:
            case place::name:
                if (c == '=') at_ = place::before_value;
                else if (blank || c == '/') at_ = place::between;
                else if (at_ == place::between) at_ = (++count, place::name);
        }
    }

    place at_ = place::name;  // of the element
    char quote_ = 0;
};

// The attributes of one tag that matter here, found in one pass. A null view is an absent one.
struct tag_attributes {
    string_view href, xlink_href, src, srcset, rel, data, poster, content, name, http_equiv;
    std::size_t count = 0;

    explicit tag_attributes(const xmlChar** pairs) {
        if (pairs == nullptr) return;
        for (; *pairs != nullptr; pairs += 2, ++count) {
            string_view* const wanted = slot(reinterpret_cast<const char*>(pairs[0]));
            if (wanted != nullptr && pairs[1] != nullptr)
                *wanted = trim(reinterpret_cast<const char*>(pairs[1]));
        }
    }

private:
    string_view* slot(string_view attribute) {
        switch (attribute.front()) {
            case 'h':
                if (attribute == "href") return &href;
                return attribute == "http-equiv" ? &http_equiv : nullptr;
            case 's':
                if (attribute == "src") return &src;
                return attribute == "srcset" ? &srcset : nullptr;
            case 'r': return attribute == "rel" ? &rel : nullptr;
            case 'd': return attribute == "data" ? &data : nullptr;
            case 'p': return attribute == "poster" ? &poster : nullptr;
            case 'c': return attribute == "content" ? &content : nullptr;
            case 'n': return attribute == "name" ? &name : nullptr;
            case 'x': return attribute == "xlink:href" ? &xlink_href : nullptr;
            default: return nullptr;
        }
    }
};

// What to do with a tag. Forms are left out: what a form asks for includes what was typed into it,
// so its bare action is a request nobody makes, and one that may change something.
enum class tag_class { none, page_href, link, base, page_src, media, object, meta };

tag_class classify(string_view element) {
    if (element == "a") return tag_class::page_href;
    switch (element.size()) {
        case 3: return element == "img" ? tag_class::media : tag_class::none;
        case 4:
            if (element == "link") return tag_class::link;
            if (element == "meta") return tag_class::meta;
            if (element == "area") return tag_class::page_href;
            return element == "base" ? tag_class::base : tag_class::none;
        case 5:
            if (element == "frame") return tag_class::page_src;
            if (element == "video" || element == "audio" || element == "embed" ||
                element == "track" || element == "input")
                return tag_class::media;
            return tag_class::none;
        case 6:
            if (element == "script" || element == "source") return tag_class::media;
            if (element == "iframe") return tag_class::page_src;
            return element == "object" ? tag_class::object : tag_class::none;
        default: return tag_class::none;
    }
}

// A link element that names a host to warm up, not a resource to get.
bool names_only_a_host(string_view rel) {
    return has_word(rel, "preconnect") || has_word(rel, "dns-prefetch");
}

}  // namespace

struct link_extractor::state {
    callback on_reference;
    void* context;
    utf8_reader reader;
    htmlParserCtxtPtr parser;
    std::string base;
    bool has_base = false;
    bool nofollow = false;
    std::size_t overlong = 0;
    std::size_t comparisons = 0;
    std::size_t fed = 0;        // bytes of text given to the parser
    std::size_t tag_begin = 0;  // of the unfinished tag whose attributes are counted, in these
    attribute_counter attributes;
    string_view text_element;  // "title" or "textarea", inside which no tag begins
    std::string kept;          // the end of its text so far, that may be the start of its end tag
    string_view stopped;

    state(callback to, void* context_of_it, string_view charset);
    ~state() { htmlFreeParserCtxt(parser); }

    void stop(string_view reason) {
        stopped = reason;
        xmlStopParser(parser);
    }

    void report(string_view url, string_view element, reference_kind kind, string_view rel = {}) {
        if (url.empty()) return;
        // Without a base a bare fragment is this page again, and pages hold thousands of them.
        if (url.front() == '#' && !has_base) return;
        // These are the content itself, however long, and no reference to one.
        if (starts_with_lowercase(url, "data:") || starts_with_lowercase(url, "javascript:"))
            return;
        if (url.size() > reference_bytes_max) {
            ++overlong;
            return;
        }
        on_reference(context, {url, base, element, kind, nofollow || has_word(rel, "nofollow")});
    }

    void on_meta(const tag_attributes& found) {
        if (equals_lowercase(found.http_equiv, "refresh"))
            report(refresh_target(found.content), "meta", reference_kind::page);
        if (equals_lowercase(found.name, "robots") &&
            (has_word(found.content, "nofollow", " ,") || has_word(found.content, "none", " ,")))
            nofollow = true;
    }

    // Only the first base counts, as in browsers.
    void on_base(string_view href) {
        if (has_base || href.empty()) return;
        if (href.size() > reference_bytes_max) {
            ++overlong;
            return;
        }
        base = href;
        has_base = true;
    }

    void on_element(string_view element, const xmlChar** pairs) {
        const tag_class kind = classify(element);
        if (kind == tag_class::none && pairs == nullptr) return;
        const tag_attributes found(pairs);
        comparisons += found.count * found.count / 2;
        if (comparisons > attribute_comparisons_max)
            return stop("its tags have too many attributes");
        switch (kind) {
            case tag_class::none: return;
            case tag_class::page_href:
                return report(
                    found.href.data() == nullptr && in_svg() ? found.xlink_href : found.href,
                    element, reference_kind::page, found.rel);
            case tag_class::link:
                if (names_only_a_host(found.rel)) return;
                return report(found.href, element, reference_kind::asset, found.rel);
            case tag_class::base: return on_base(found.href);
            case tag_class::page_src: return report(found.src, element, reference_kind::page);
            case tag_class::media:
                report(found.src, element, reference_kind::asset);
                report(found.poster, element, reference_kind::asset);
                each_srcset_candidate(found.srcset, [&](string_view url) {
                    report(url, element, reference_kind::asset);
                });
                return;
            case tag_class::object: return report(found.data, element, reference_kind::asset);
            case tag_class::meta: return on_meta(found);
        }
    }

    // Keeps the outermost two elements (html and body) and the innermost. The names belong to the
    // parser's dictionary, so nothing leaks; only the end tags of the forgotten lose their meaning.
    void bound_depth() {
        if (parser->nameNr <= open_elements_max) return;
        parser->nameTab[2] = parser->nameTab[parser->nameNr - 1];
        parser->nameNr = 3;
        parser->name = parser->nameTab[2];
    }

    bool in_svg() const {
        return std::any_of(parser->nameTab, parser->nameTab + parser->nameNr,
                           [](const xmlChar* name) { return xmlStrEqual(name, BAD_CAST "svg"); });
    }

    // The parser knows no elements of mere text but script and style, so their text is given to it
    // without what it would take for a tag. Here it is in the parser's buffer already.
    void on_text_element(string_view element) {
        if ((element != "title" && element != "textarea") || in_svg()) return;
        xmlChar* const begin = const_cast<xmlChar*>(parser->input->cur);
        if (begin[0] == '/') return;
        text_element = element == "title" ? "title" : "textarea";
        char* const text = reinterpret_cast<char*>(begin);
        const auto bytes = static_cast<std::size_t>(parser->input->end - begin);
        const std::size_t known = blank_tags(text, bytes);
        kept.assign(text + known, bytes - known);
        std::fill_n(text + known, bytes - known, ' ');
    }

    std::size_t blank_tags(char* text, std::size_t bytes);

    static void start_element(void* self, const xmlChar* name, const xmlChar** pairs) {
        state& s = *static_cast<state*>(self);
        const string_view element(reinterpret_cast<const char*>(name));
        s.on_element(element, pairs);
        s.on_text_element(element);
        s.bound_depth();
    }

    void feed(string_view text, bool last);
    void parse(string_view text, bool last);
    void watch_unfinished();
};

// Only the one handler is set: with none for text and comments libxml2 copies neither. Naming UTF-8
// makes it parse the text in place and disregard what the page says about its charset.
link_extractor::state::state(callback to, void* context_of_it, string_view charset)
    : on_reference(to), context(context_of_it), reader(charset) {
    htmlSAXHandler handlers = {};
    handlers.startElement = &start_element;
    parser = htmlCreatePushParserCtxt(&handlers, this, nullptr, 0, nullptr, XML_CHAR_ENCODING_UTF8);
    if (parser == nullptr) throw std::bad_alloc();
    htmlCtxtUseOptions(parser, HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NODEFDTD |
                                   HTML_PARSE_NONET | HTML_PARSE_IGNORE_ENC);
}

// Replaces each '<' by a blank up to the end tag of the text element, which ends the replacing.
// Gives how many bytes are decided; what follows them may be the beginning of that end tag.
std::size_t link_extractor::state::blank_tags(char* text, std::size_t bytes) {
    const string_view all(text, bytes);
    const std::size_t tag_bytes = 2 + text_element.size();
    for (std::size_t at = 0; (at = all.find('<', at)) != all.npos; ++at) {
        const string_view here = all.substr(at, tag_bytes + 1);
        const string_view name =
            here.substr(std::min<std::size_t>(2, here.size()), text_element.size());
        const bool may_end = string_view("</").starts_with(here.substr(0, 2)) &&
                             starts_with_lowercase(name, text_element.substr(0, name.size()));
        if (may_end && here.size() <= tag_bytes) return at;
        if (may_end &&
            (blanks.find(here.back()) != blanks.npos || here.back() == '>' || here.back() == '/')) {
            text_element = {};
            break;
        }
        text[at] = ' ';
    }
    return bytes;
}

void link_extractor::state::feed(string_view text, bool last) {
    std::string joined;
    if (!text_element.empty() || !kept.empty()) {
        joined = std::exchange(kept, {}).append(text);
        if (!text_element.empty()) {
            const std::size_t known = blank_tags(joined.data(), joined.size());
            if (!last) {
                kept.assign(joined, known);
                joined.resize(known);
            }
        }
        text = joined;
    }
    parse(text, last);
    if (stopped.empty()) watch_unfinished();
}

void link_extractor::state::parse(string_view text, bool last) {
    fed += text.size();
    htmlParseChunk(parser, text.data(), static_cast<int>(text.size()), last);
    // The end tag of the outermost element ends the parse, but not the page: go on after it, for as
    // long as that gets anywhere.
    for (std::ptrdiff_t before = PTRDIFF_MAX, left;
         parser->instate == XML_PARSER_EOF && stopped.empty() &&
         (left = parser->input->end - parser->input->cur) > 0 && left < before;
         before = left) {
        parser->instate = XML_PARSER_CONTENT;
        htmlParseChunk(parser, nullptr, 0, last);
    }
#if LIBXML_VERSION < 21000
    // When the text ends inside a quoted value, these versions remember that it did but not which
    // quote ends it, and wait for the end of the page. Zero makes them look at the tag afresh.
    if (parser->hasPErefs & 1) parser->checkIndex = 0;
#endif
}

// A tag is parsed when its end is there, so everything since its '<' waits in the parser's buffer.
void link_extractor::state::watch_unfinished() {
    const string_view waiting(reinterpret_cast<const char*>(parser->input->cur),
                              static_cast<std::size_t>(parser->input->end - parser->input->cur));
    if (waiting.size() < watched_bytes) return;
    if (waiting.size() > unfinished_bytes_max)
        return stop("one tag, comment, script or text is too long");
    if (waiting[0] != '<' || lower(waiting[1]) < 'a' || lower(waiting[1]) > 'z') return;
    const std::size_t begin = fed - waiting.size();
    if (begin != std::exchange(tag_begin, begin)) attributes = {};
    attributes.read(waiting);
    if (attributes.count > attributes_max) stop("a tag has too many attributes");
}

link_extractor::link_extractor(callback on_reference, void* context, string_view charset)
    : state_(std::make_unique<state>(on_reference, context, charset)) {}

link_extractor::~link_extractor() = default;

void link_extractor::feed(string_view bytes) {
    while (!bytes.empty() && state_->stopped.empty()) {
        const string_view text = state_->reader.read(bytes.substr(0, slice_bytes));
        bytes.remove_prefix(std::min(slice_bytes, bytes.size()));
        state_->feed(text, false);
    }
}

void link_extractor::finish() {
    if (state_->stopped.empty()) state_->feed(state_->reader.finish(), true);
}

bool link_extractor::nofollow() const { return state_->nofollow; }
std::size_t link_extractor::overlong() const { return state_->overlong; }
string_view link_extractor::stopped_because() const { return state_->stopped; }

}  // namespace ringlet::crawler
