#include "examples/crawler/charset.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace {

using ringlet::crawler::utf8_reader;
using std::string_view;
using std::string_literals::operator""s;

std::string read(string_view bytes, string_view charset = {}, std::size_t piece = 1 << 20) {
    utf8_reader reader(charset);
    std::string text;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size())))
        text += reader.read(bytes.substr(0, piece));
    return text += reader.finish();
}

TEST_CASE("valid UTF-8 is handed through without a copy") {
    const std::string page = "<p>caf\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\x98\x80</p>" +
                             std::string(ringlet::crawler::charset_search_bytes, 'x');
    utf8_reader reader("UTF-8");
    CHECK(static_cast<const void*>(reader.read(page).data()) == page.data());
    CHECK(reader.finish().empty());
}

TEST_CASE("a known charset is converted, in any letter case") {
    CHECK(read("caf\xe9 \x80", "ISO-8859-1") == "caf\xc3\xa9 \xe2\x82\xac");
    CHECK(read("\x8a\xbf", "Shift_JIS") == "\xe6\xbc\xa2");
    CHECK(read("\xba\xba", "gb2312") == "\xe6\xb1\x89");
    CHECK(read("\xcf\xd2", "windows-1251") == "\xd0\x9f\xd0\xa2");
    CHECK(read("\x1b$B4A\x1b(B", "iso-2022-jp") == "\xe6\xbc\xa2");
    CHECK(read("\0A\xd8\x3d\xde\0"s, "utf-16be") == "A\xf0\x9f\x98\x80");
}

TEST_CASE("every name in the table is one that iconv knows") {
    for (const string_view name :
         {"cp1252",       "windows-1250", "windows-1251", "windows-1253", "iso-8859-9",
          "windows-1255", "windows-1256", "windows-1257", "windows-1258", "tis-620",
          "iso-8859-2",   "iso-8859-3",   "iso-8859-4",   "iso-8859-5",   "iso-8859-6",
          "iso-8859-7",   "iso-8859-8",   "iso-8859-10",  "iso-8859-13",  "iso-8859-14",
          "iso-8859-15",  "iso-8859-16",  "koi8-r",       "koi8-u",       "ibm866",
          "macintosh",    "gbk",          "gb18030",      "big5",         "euc-jp",
          "sjis",         "euc-kr"}) {
        CAPTURE(name);
        const std::string text = read("plain \xa4\xa2", name);
        CHECK(text.starts_with("plain "));
        // Unconverted bytes would have been taken for wrong UTF-8: one mark for each.
        CHECK(text != "plain \xef\xbf\xbd\xef\xbf\xbd");
    }
}

TEST_CASE("the charset comes from a mark, the header, a meta element, or the bytes themselves") {
    const std::string sign = "\xc3\xa9";
    CHECK(read("\xff\xfe\xe9\0"s, "utf-8").ends_with(sign));
    CHECK(read("\xfe\xff\0\xe9"s).ends_with(sign));
    CHECK(read("\xef\xbb\xbf" + sign, "latin1").ends_with(sign));
    CHECK(read("<meta charset=windows-1251>" + sign, "utf-8").ends_with(sign));
    CHECK(read("<META x=y><meta Charset = 'windows-1251'>\xcf").ends_with("\xd0\x9f"));
    CHECK(read("<meta content='text/html; charset=koi8-r'>\xf0").ends_with("\xd0\x9f"));
    CHECK(read("<meta charset=utf-16>" + sign).ends_with(sign));
    CHECK(read("<meta charset>\xe9").ends_with(sign));
    CHECK(read("<p charset=koi8-r>\xe9").ends_with(sign));
    CHECK(
        read(std::string(ringlet::crawler::charset_search_bytes, ' ') + "<meta charset=koi8-r>\xe9")
            .ends_with(sign));
    CHECK(read("\xe9", "../../etc/passwd").ends_with(sign));
    CHECK(read("\xe9", "UTF-7//TRANSLIT").ends_with(sign));
}

TEST_CASE("what is wrong becomes a replacement character and the rest stays") {
    const std::string mark = "\xef\xbf\xbd";
    struct row {
        std::string bytes, text;
    };
    const row table[] = {
        {"a\xff"
         "b",
         "a" + mark + "b"},
        {"a\xc3", "a" + mark},
        {"\xc3(", mark + "("},
        {"\xc0\xaf", mark + mark},
        {"\xe0\x80\x80", mark + mark + mark},
        {"\xed\xa0\x80", mark + mark + mark},
        {"\xf4\x90\x80\x80", mark + mark + mark + mark},
        {"x\0y\0"s, "x" + mark + "y" + mark},
        {"12345678\0", "12345678"},
        {"\x80\xc3\xa9\x80", mark + "\xc3\xa9" + mark},
    };
    for (const row& r : table) {
        CAPTURE(r.bytes);
        CHECK(read(r.bytes, "utf-8") == r.text);
        CHECK(read(r.bytes, "utf-8", 1) == r.text);
    }
    CHECK(read("a\x9d"
               "b",
               "windows-1252") == "a" + mark + "b");
    CHECK(read("a\x8a", "shift_jis") == "a" + mark);
    CHECK(read("a\0b"s) == "a" + mark + "b");
}

TEST_CASE("the charset does not depend on the pieces that a page comes in") {
    const std::string pages[] = {
        "\xff\xfe" "a\0<\0"s, "\xef\xbb\xbf\xc3\xa9", "<meta charset=windows-1251>\xcf",
        "\2\0\xbd"s, "\xc3\xa9 and \xe9", std::string(2000, 'x') + "\xc3\xa9\0\xe9\xc3"s};
    for (const std::string& page : pages) {
        CAPTURE(page);
        for (std::size_t piece = 1; piece < std::min<std::size_t>(page.size(), 9); ++piece)
            CHECK(read(page, {}, piece) == read(page));
    }
    CHECK(read("\xc3\xa9 and \xe9") == "\xc3\xa9 and \xc3\xa9");
    CHECK(read("\2\0\xbd"s) == "\2\xef\xbf\xbd\xc2\xbd");
}

TEST_CASE("a character may be cut anywhere") {
    const std::string text = "caf\xc3\xa9 \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x80.";
    const std::string japanese = "\x8a\xbf\x8e\x9a \xb6 end";
    for (std::size_t piece = 1; piece < 12; ++piece) {
        CAPTURE(piece);
        CHECK(read(text, {}, piece) == text);
        CHECK(read(japanese, "shift_jis", piece) == read(japanese, "shift_jis"));
    }
}

}  // namespace
