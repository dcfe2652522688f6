// Turns the bytes of a page into UTF-8 that can be parsed as it is: always valid, never holding a
// NUL. libxml2 could convert by itself, but gives a page up at the first byte that does not fit.
// Here such bytes become U+FFFD, as in browsers. One reader reads one page, on one thread. The
// charset is taken from the first of: a byte order mark, Content-Type, a meta element in the first
// kilobyte, and what the bytes look like (UTF-8, or windows-1252 from the first byte on that is
// not).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ringlet::crawler {

// How far into a page a meta element may name its charset.
inline constexpr std::size_t charset_search_bytes = 1024;

class utf8_reader {
public:
    // `charset` is the one from Content-Type, if any; one that is not of the web is ignored.
    explicit utf8_reader(std::string_view charset);
    ~utf8_reader();
    utf8_reader(const utf8_reader&) = delete;
    utf8_reader& operator=(const utf8_reader&) = delete;

    // The next bytes as text; a character cut at their end is kept for the next call, and so are
    // the first bytes until there are charset_search_bytes to choose from. The view lives until
    // then, or as long as `bytes`: valid UTF-8 is not copied.
    std::string_view read(std::string_view bytes);
    // What was kept, when no bytes follow.
    std::string_view finish();

private:
    void choose(std::string_view first_bytes);
    void convert(std::string_view bytes, bool last);
    std::string_view decode(std::string_view bytes, bool last);

    std::string charset_;
    std::string kept_;       // the beginning of a character or of the page
    std::string joined_;     // kept_ and what follows it
    std::string converted_;  // UTF-8 out of another charset
    std::string repaired_;   // UTF-8 without what was wrong with it
    void* converter_;        // an iconv_t
    bool chosen_ = false;
    bool declared_ = false;
};

}  // namespace ringlet::crawler
