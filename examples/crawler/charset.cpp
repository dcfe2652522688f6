#include "examples/crawler/charset.h"

#include <iconv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace ringlet::crawler {
namespace {

using std::string_view;

constexpr string_view replacement = "\xef\xbf\xbd";
const iconv_t no_converter = reinterpret_cast<iconv_t>(-1);

struct web_charset {
    string_view label;
    const char* name;  // for iconv; null for UTF-8
};

// Only these are asked of iconv, which knows hundreds more. Latin-1 and ASCII mean windows-1252 on
// the web, and the older Chinese and Korean sets mean their supersets.
constexpr web_charset web_charsets[] = {
    {"utf-8", nullptr},
    {"utf8", nullptr},
    {"us-ascii", "CP1252"},
    {"ascii", "CP1252"},
    {"iso-8859-1", "CP1252"},
    {"iso8859-1", "CP1252"},
    {"latin1", "CP1252"},
    {"windows-1252", "CP1252"},
    {"cp1252", "CP1252"},
    {"windows-1250", "CP1250"},
    {"windows-1251", "CP1251"},
    {"cp1251", "CP1251"},
    {"windows-1253", "CP1253"},
    {"windows-1254", "CP1254"},
    {"iso-8859-9", "CP1254"},
    {"windows-1255", "CP1255"},
    {"windows-1256", "CP1256"},
    {"windows-1257", "CP1257"},
    {"windows-1258", "CP1258"},
    {"windows-874", "CP874"},
    {"tis-620", "CP874"},
    {"iso-8859-2", "ISO-8859-2"},
    {"iso-8859-3", "ISO-8859-3"},
    {"iso-8859-4", "ISO-8859-4"},
    {"iso-8859-5", "ISO-8859-5"},
    {"iso-8859-6", "ISO-8859-6"},
    {"iso-8859-7", "ISO-8859-7"},
    {"iso-8859-8", "ISO-8859-8"},
    {"iso-8859-10", "ISO-8859-10"},
    {"iso-8859-13", "ISO-8859-13"},
    {"iso-8859-14", "ISO-8859-14"},
    {"iso-8859-15", "ISO-8859-15"},
    {"iso-8859-16", "ISO-8859-16"},
    {"koi8-r", "KOI8-R"},
    {"koi8-u", "KOI8-U"},
    {"ibm866", "CP866"},
    {"macintosh", "MACINTOSH"},
    {"gb2312", "GB18030"},
    {"gbk", "GB18030"},
    {"gb18030", "GB18030"},
    {"big5", "BIG5-HKSCS"},
    {"big5-hkscs", "BIG5-HKSCS"},
    {"euc-jp", "EUC-JP"},
    {"shift_jis", "CP932"},
    {"shift-jis", "CP932"},
    {"sjis", "CP932"},
    {"windows-31j", "CP932"},
    {"iso-2022-jp", "ISO-2022-JP"},
    {"euc-kr", "UHC"},
    {"ks_c_5601-1987", "UHC"},
    {"utf-16", "UTF-16LE"},
    {"utf-16le", "UTF-16LE"},
    {"utf-16be", "UTF-16BE"},
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool same_letters(char a, char b) { return lower(a) == lower(b); }

std::size_t find_ignoring_case(string_view text, string_view word) {
    const auto at = std::search(text.begin(), text.end(), word.begin(), word.end(), same_letters);
    return at == text.end() ? text.npos : static_cast<std::size_t>(at - text.begin());
}

const web_charset* lookup(string_view label) {
    const auto* const found = std::find_if(
        std::begin(web_charsets), std::end(web_charsets), [label](const web_charset& known) {
            return std::equal(label.begin(), label.end(), known.label.begin(), known.label.end(),
                              same_letters);
        });
    return found == std::end(web_charsets) ? nullptr : found;
}

// The charset that the first meta element with one names, either by its own attribute or within its
// content.
string_view named_by_meta(string_view page) {
    page = page.substr(0, charset_search_bytes);
    for (std::size_t at; (at = find_ignoring_case(page, "<meta")) != page.npos;) {
        page.remove_prefix(at + 5);
        string_view tag = page.substr(0, page.find('>'));
        const std::size_t name = find_ignoring_case(tag, "charset");
        if (name == tag.npos) continue;
        tag.remove_prefix(name + 7);
        const std::size_t value = tag.find_first_not_of(" \t\n\r\f=\"'");
        if (value == tag.npos) continue;
        tag.remove_prefix(value);
        return tag.substr(0, tag.find_first_of(" \t\n\r\f\"';/"));
    }
    return {};
}

// The length of the character at the front, 0 if that is none, and -1 if it may become one.
// A NUL counts as none: libxml2 ends a value there.
int character_length(string_view text) {
    const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = byte(0);
    if (lead < 0x80) return lead != 0;
    const int length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4) return 0;
    // Overlong forms, surrogates and what is above U+10FFFF show in the second byte.
    const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (int i = 1; i < length; ++i) {
        if (static_cast<std::size_t>(i) == text.size()) return -1;
        const unsigned next = byte(static_cast<std::size_t>(i));
        if (next < (i == 1 ? low : 0x80) || next > (i == 1 ? high : 0xbf)) return 0;
    }
    return length;
}

// How much of `text` is valid UTF-8 without NUL. Most pages are mostly ASCII: eight bytes at a
// time.
std::size_t valid_prefix(string_view text) {
    constexpr std::uint64_t tops = 0x8080808080808080, ones = 0x0101010101010101;
    std::size_t i = 0;
    while (i < text.size()) {
        std::uint64_t eight;
        if (i + sizeof eight <= text.size()) {
            std::memcpy(&eight, text.data() + i, sizeof eight);
            if (((eight | (eight - ones)) & tops) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        const int length = character_length(text.substr(i));
        if (length <= 0) break;
        i += static_cast<std::size_t>(length);
    }
    return i;
}

}  // namespace

utf8_reader::utf8_reader(string_view charset) : charset_(charset), converter_(no_converter) {}

utf8_reader::~utf8_reader() {
    if (converter_ != no_converter) iconv_close(converter_);
}

void utf8_reader::choose(string_view first_bytes) {
    chosen_ = true;
    const web_charset* found = lookup(charset_);
    if (found == nullptr) {
        found = lookup(named_by_meta(first_bytes));
        // A page whose meta element could be read is not in UTF-16, whatever that says.
        if (found != nullptr && found->label.starts_with("utf-16")) found = lookup("utf-8");
    }
    if (first_bytes.starts_with("\xef\xbb\xbf")) found = lookup("utf-8");
    if (first_bytes.starts_with("\xff\xfe")) found = lookup("utf-16le");
    if (first_bytes.starts_with("\xfe\xff")) found = lookup("utf-16be");
    declared_ = found != nullptr;
    if (declared_ && found->name != nullptr) converter_ = iconv_open("UTF-8", found->name);
}

// Leaves the text in converted_, and in kept_ what may be the beginning of a character.
void utf8_reader::convert(string_view bytes, bool last) {
    converted_.clear();
    char* in = const_cast<char*>(bytes.data());  // iconv does not write there
    std::size_t in_left = bytes.size();
    std::array<char, 4096> piece;
    while (in_left > 0) {
        char* out = piece.data();
        std::size_t out_left = piece.size();
        const std::size_t done = iconv(converter_, &in, &in_left, &out, &out_left);
        const int error = done == static_cast<std::size_t>(-1) ? errno : 0;
        converted_.append(piece.data(), piece.size() - out_left);
        if (error == EINVAL && !last) break;
        if (error == EILSEQ || error == EINVAL) {
            converted_ += replacement;
            ++in;
            --in_left;
        }
    }
    kept_.assign(in, in_left);
}

string_view utf8_reader::decode(string_view bytes, bool last) {
    if (converter_ != no_converter) {
        convert(bytes, last);
        bytes = converted_;
        last = true;
    }
    std::size_t good = valid_prefix(bytes);
    if (good == bytes.size()) return bytes;
    repaired_.clear();
    while (good < bytes.size()) {
        const string_view rest = bytes.substr(good);
        if (!last && character_length(rest) < 0) {
            kept_ = rest;
            if (repaired_.empty()) return bytes.substr(0, good);
            break;
        }
        repaired_ += bytes.substr(0, good);
        if (!declared_ && rest.front() != '\0') {
            declared_ = true;
            converter_ = iconv_open("UTF-8", "CP1252");
            if (converter_ != no_converter) {
                convert(rest, last);
                bytes = converted_;
                last = true;
                good = valid_prefix(bytes);
                continue;
            }
        }
        repaired_ += replacement;
        bytes.remove_prefix(good + 1);
        good = valid_prefix(bytes);
    }
    return repaired_ += bytes.substr(0, good);
}

string_view utf8_reader::read(string_view bytes) {
    if (bytes.empty()) return {};
    if (!kept_.empty()) {
        joined_ = kept_;
        joined_ += bytes;
        kept_.clear();
        bytes = joined_;
    }
    if (!chosen_) {
        // However small the first pieces are, the choice is made from the same bytes.
        if (bytes.size() < charset_search_bytes) {
            kept_ = bytes;
            return {};
        }
        choose(bytes);
    }
    return decode(bytes, false);
}

string_view utf8_reader::finish() {
    joined_ = kept_;
    kept_.clear();
    if (!chosen_) choose(joined_);
    return decode(joined_, true);
}

}  // namespace ringlet::crawler
