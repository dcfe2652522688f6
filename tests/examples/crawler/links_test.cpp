#include "examples/crawler/links.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace ringlet::crawler;
using std::string_literals::operator""s;

struct outcome {
    std::vector<std::string>
        references;  // "page a next.html" with " nofollow" and " base=..." after
    bool nofollow = false;
    std::size_t overlong = 0;
    std::string stopped;
    bool operator==(const outcome&) const = default;
};

outcome extract(std::string_view html, std::size_t piece = 1 << 20, std::string_view charset = {}) {
    outcome result;
    auto sink = [&](const reference& found) {
        std::string line = found.kind == reference_kind::page ? "page " : "asset ";
        line.append(found.element).append(" ").append(found.url);
        if (found.nofollow) line += " nofollow";
        if (!found.base.empty()) line.append(" base=").append(found.base);
        result.references.push_back(std::move(line));
    };
    link_extractor extractor(sink, charset);
    for (; !html.empty(); html.remove_prefix(std::min(piece, html.size())))
        extractor.feed(html.substr(0, piece));
    extractor.finish();
    result.nofollow = extractor.nofollow();
    result.overlong = extractor.overlong();
    result.stopped = extractor.stopped_because();
    return result;
}

using lines = std::vector<std::string>;

lines references(std::string_view html, std::string_view charset = {}) {
    return extract(html, 1 << 20, charset).references;
}

std::string repeated(std::string_view text, std::size_t times) {
    std::string all;
    all.reserve(text.size() * times);
    while (times-- > 0) all += text;
    return all;
}

TEST_CASE("every element that refers to something is reported with its kind") {
    struct row {
        std::string_view html, expected;
    };
    const row table[] = {
        {"<a href=x>", "page a x"},
        {"<A HREF=\"x\">", "page a x"},
        {"<a href='  x \n'>", "page a x"},
        {"<a href=\"?a=1&amp;b=2\">", "page a ?a=1&b=2"},
        {"<area href=x>", "page area x"},
        {"<frame src=x>", "page frame x"},
        {"<iframe src=x></iframe>", "page iframe x"},
        {"<link rel=stylesheet href=x>", "asset link x"},
        {"<img src=x>", "asset img x"},
        {"<script src=x></script>", "asset script x"},
        {"<video poster=x></video>", "asset video x"},
        {"<audio src=x></audio>", "asset audio x"},
        {"<embed src=x>", "asset embed x"},
        {"<track src=x>", "asset track x"},
        {"<source src=x>", "asset source x"},
        {"<input type=image src=x>", "asset input x"},
        {"<object data=x></object>", "asset object x"},
        {"<meta http-equiv=Refresh content='5; url=x'>", "page meta x"},
        {"<meta http-equiv=refresh content='0;URL = \"x\" junk'>", "page meta x"},
        {"<meta http-equiv=refresh content='0, x'>", "page meta x"},
    };
    for (const row& r : table) {
        CAPTURE(r.html);
        CHECK(references(r.html) == lines{std::string(r.expected)});
    }
}

TEST_CASE("what names no resource is left out") {
    for (const std::string_view html : {"<a>",
                                        "<a href>",
                                        "<a href=''>",
                                        "<a href='#top'>",
                                        "<a name=x>",
                                        "<p href=x>",
                                        "<a href=' DATA:text/html,x'>",
                                        "<a href='JavaScript:go()'>",
                                        "<link href=//h rel=preconnect>",
                                        "<link href=//h rel='x DNS-Prefetch'>",
                                        "<form action=x></form>",
                                        "<button formaction=x>",
                                        "<!-- <a href=x> -->",
                                        "<script>'<a href=x>'</script>",
                                        "<style><a href=x></style>",
                                        "<meta http-equiv=refresh content=30>",
                                        "<meta http-equiv=refresh content='3;url='>",
                                        "<meta name=refresh content='0;url=x'>",
                                        "<meta http-equiv=refresh>",
                                        "<img srcset=' , ,'>"}) {
        CAPTURE(html);
        CHECK(references(html).empty());
    }
}

TEST_CASE("the candidates of a srcset are told apart by its own rules") {
    struct row {
        std::string_view srcset;
        lines urls;
    };
    const row table[] = {
        {"a.png", {"a.png"}},
        {"a.png 1x, b.png 2x", {"a.png", "b.png"}},
        {"a.png,b.png 2x", {"a.png,b.png"}},
        {"a.png, b.png", {"a.png", "b.png"}},
        {"a.png,, b.png 2x,", {"a.png", "b.png"}},
        {" ,a,b.png 100w 50h ,\n c.png\t2x", {"a,b.png", "c.png"}},
        {"a.png (x, y) 2x, b.png", {"a.png", "b.png"}},
        {"data:image/png;base64,AA== 1x, b.png 2x", {"b.png"}},
    };
    for (const row& r : table) {
        CAPTURE(r.srcset);
        lines expected;
        for (const std::string& url : r.urls) expected.push_back("asset img " + url);
        CHECK(references("<img srcset=\"" + std::string(r.srcset) + "\">") == expected);
    }
}

TEST_CASE("only the first base is in force, from where it stands on") {
    CHECK(references(
              "<a href=1><base target=x><base href=/b/><a href=2><base href=/c/><a href=#3>") ==
          lines{"page a 1", "page a 2 base=/b/", "page a #3 base=/b/"});
}

TEST_CASE("nofollow is told for one link by rel and for all that follow by a robots element") {
    const outcome one = extract("<a rel='noopener NoFollow' href=1><a rel=nofollower href=2>");
    CHECK(one.references == lines{"page a 1 nofollow", "page a 2"});
    CHECK_FALSE(one.nofollow);
    for (const std::string_view content : {"noindex,NOFOLLOW", "none", "noarchive , nofollow"}) {
        const outcome all =
            extract("<meta name=Robots content='" + std::string(content) + "'><a href=1>");
        CHECK(all.references == lines{"page a 1 nofollow"});
        CHECK(all.nofollow);
    }
    CHECK_FALSE(extract("<meta name=robots content='index, follow'>").nofollow);
}

TEST_CASE("links after the end of the document and in pages without html or body are found") {
    CHECK(references("<html><body><a href=1></a></body></html><a href=2></html>\n<p><a href=3>") ==
          lines{"page a 1", "page a 2", "page a 3"});
    CHECK(references("<p>x</p></p></div><a href=1>y</a><!-- z --><a href=2>") ==
          lines{"page a 1", "page a 2"});
}

TEST_CASE("the page may be cut anywhere") {
    const std::string page =
        "\xef\xbb\xbf<!DOCTYPE html><html><head><meta charset=utf-8><title>\xe6\xbc\xa2</title>"
        "<base href=\"/b/\"><meta name=robots content=nofollow><script>if (a<b) '</a>'</script>"
        "<!-- a > b --></head><body><a href=\"/caf\xc3\xa9?x='1'&amp;y=2\" title='a > \"b\"'>1</a>"
        "<p>\xf0\x9f\x98\x80 text &lt;<img alt='\xe6\xbc\xa2' srcset='a.png 1x, b.png 2x'>"
        "</body></html><a href=last>";
    const outcome whole = extract(page);
    CHECK(whole.references.size() == 4);
    for (std::size_t piece = 1; piece < page.size(); ++piece) {
        CAPTURE(piece);
        CHECK(extract(page, piece) == whole);
    }
}

TEST_CASE("a reference in another charset becomes UTF-8") {
    const lines expected = {"page a caf\xc3\xa9"};
    CHECK(references("<a href=caf\xc3\xa9>") == expected);
    CHECK(references("<a href=caf\xe9>") == expected);
    CHECK(references("<a href=caf\xe9>", "ISO-8859-1") == expected);
    CHECK(references("<a href='caf&eacute;'>", "no-such-charset") == expected);
    CHECK(references("\xff\xfe<\0a\0 \0h\0r\0e\0f\0=\0c\0a\0f\0\xe9\0>\0"s) == expected);
}

TEST_CASE("a wrong byte or a NUL costs no link") {
    CHECK(references("<meta charset=utf-8><p>\xff\x80<a href=1>\xc3<a href=\xc3\xa9>") ==
          lines{"page a 1", "page a \xc3\xa9"});
    CHECK(references("\0\0<p>\0<a href=1 \0>\0</a><a href=\"x\0y\">"s) ==
          lines{"page a 1", "page a x\xef\xbf\xbdy"});
    CHECK(references("<a href=1>\x9d<a href=2>", "windows-1252") == lines{"page a 1", "page a 2"});
}

TEST_CASE("a reference too long to be a URL is counted, and the page goes on") {
    const std::string longest(reference_bytes_max, 'x');
    const outcome result = extract("<a href=" + longest + "><img src=" + longest + "y><a href=1>");
    CHECK(result.references == lines{"page a " + longest, "page a 1"});
    CHECK(result.overlong == 1);
    CHECK(extract("<base href=" + longest + "y><a href=1>").overlong == 1);
}

TEST_CASE("megabyte attributes are survived") {
    const std::string data(2 << 20, 'A');
    const outcome result = extract("<img src=\"data:image/png;base64," + data + "\"><p title='" +
                                       data + "'><a href=1 data-x=\"" + data + "\"><a href=2>",
                                   16384);
    CHECK(result.references == lines{"page a 1", "page a 2"});
    CHECK(result.stopped.empty());
}

TEST_CASE("a page that never ends a tag, a comment or a script is abandoned with a sentence") {
    const std::string filler(unfinished_bytes_max + (1 << 20), 'x');
    for (const std::string_view start : {"<a href=\"", "<!--", "<script>", "text"}) {
        CAPTURE(start);
        const outcome result = extract("<a href=1>" + std::string(start) + filler, 16384);
        CHECK(result.references == lines{"page a 1"});
        CHECK(result.stopped == "one tag, comment, script or text is too long");
    }
}

TEST_CASE("a tag with absurdly many attributes ends the page, in short time") {
    std::string tag = "<a href=1><p";
    for (int i = 0; i < 400'000; ++i) tag += " a" + std::to_string(i);
    const outcome result = extract(tag + "><a href=2>", 4096);
    CHECK(result.references == lines{"page a 1"});
    CHECK(result.stopped == "a tag has too many attributes");

    std::string many = "<p";
    for (int i = 0; i < 300; ++i) many += " a" + std::to_string(i) + "=x";
    CHECK(extract(many + "><a href=2>").references == lines{"page a 2"});
    CHECK(extract(repeated(many + ">", 1000) + "<a href=2>").references == lines{"page a 2"});
    CHECK(extract(repeated(many + ">", 4000) + "<a href=2>").stopped ==
          "its tags have too many attributes");
}

TEST_CASE("what stands inside quotes is no attribute, however much it looks like some") {
    for (const std::string& start :
         {"<path d=\""s, "<p x = \t\""s, "<p a=1 b='c' x=\""s, "<p/x=\""s, "<p a'=1 b=c'd x=\""s}) {
        for (const std::size_t piece :
             {std::size_t{1460}, std::size_t{32768}, std::size_t{1} << 20}) {
            CAPTURE(start);
            CAPTURE(piece);
            const outcome result = extract(
                "<a href=1>" + start + repeated("M1 2 L=3 'a' =b ", 20'000) + "\"/><a href=2>",
                piece);
            CHECK(result.references == lines{"page a 1", "page a 2"});
            CHECK(result.stopped.empty());
        }
    }
    // A quote outside a value opens nothing.
    std::string hidden = "<p x'y a'";
    for (int i = 0; i < 400'000; ++i) hidden += " a" + std::to_string(i);
    CHECK(extract(hidden + "'><a href=2>", 4096).stopped == "a tag has too many attributes");
}

TEST_CASE("what a title or a textarea holds is text, wherever the page is cut") {
    const std::string page =
        "<title><a href=no></titl><a href=no></titlex></TITLE\n><a href=1>"
        "<textarea rows=2><a href=no></p></title><!-- <script></textareas></textarea/><a href=2>"
        "<title></title><a href=3><textarea></textarea><a href=4></textarea><a href=5>";
    const outcome whole = extract(page);
    CHECK(whole.references == lines{"page a 1", "page a 2", "page a 3", "page a 4", "page a 5"});
    for (std::size_t piece = 1; piece < page.size(); ++piece) {
        CAPTURE(piece);
        CHECK(extract(page, piece) == whole);
    }
    CHECK(references("<title>" + repeated("<a href=no>", 50'000) + "</title><a href=1>") ==
          lines{"page a 1"});
    CHECK(references("<title>never ended<a href=no></tit").empty());
    CHECK(references("<textarea/><a href=1>") == lines{"page a 1"});
}

TEST_CASE("an svg element's title is no text, and its links are links") {
    CHECK(references("<svg><title/><a xlink:href=1></a><a href=2 xlink:href=no></a></svg>"
                     "<a xlink:href=no><a href=3>") == lines{"page a 1", "page a 2", "page a 3"});
    CHECK(references("<svg><title>a<a href=1></a></title></svg><a href=2>") ==
          lines{"page a 1", "page a 2"});
}

TEST_CASE("deep nesting costs neither stack nor time nor links") {
    const std::size_t depth = 300'000;
    const outcome result = extract(repeated("<b><div>", depth) + "<a href=1>" +
                                   repeated("</p></div>", depth) + "<a href=2>");
    CHECK(result.references == lines{"page a 1", "page a 2"});
    CHECK(result.stopped.empty());
}

TEST_CASE("no bytes, however mixed up, crash the extractor or depend on how they were cut") {
    const std::string_view parts[] = {"<a href=\"x\">",
                                      "<a href='",
                                      "\"",
                                      "'",
                                      "<",
                                      ">",
                                      "</",
                                      "<!--",
                                      "-->",
                                      "<!",
                                      "<![CDATA[",
                                      "]]>",
                                      "<?",
                                      "<script>",
                                      "</script",
                                      "&",
                                      "&#",
                                      "&#x0;",
                                      "&amp;",
                                      "\0",
                                      "\xc3",
                                      "\xa9",
                                      "\xf4\x90",
                                      "=",
                                      "/",
                                      " ",
                                      "\r\n",
                                      "<base href=b>",
                                      "<html>",
                                      "</html>",
                                      "<body>",
                                      "</body>",
                                      "<img srcset='a 1x, b",
                                      "<meta charset=utf-16>",
                                      "<title>",
                                      "<frameset>",
                                      "<p>",
                                      "</p>",
                                      "<table><tr><td>",
                                      "<a href=y",
                                      "<style>",
                                      "text",
                                      "\xef\xbb\xbf"};
    const std::uint32_t seed = 20240607;
    CAPTURE(seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 3000; ++round) {
        std::string page;
        for (std::size_t n = random() % 60; n > 0; --n) {
            if (random() % 16 == 0) page += static_cast<char>(random());
            else page += parts[random() % std::size(parts)];
        }
        const outcome whole = extract(page);
        extract(page, 1 + random() % 7);
        CHECK(whole.stopped.empty());
    }
    std::string binary(1 << 20, '\0');
    for (char& c : binary) c = static_cast<char>(random());
    CHECK(extract(binary, 8192) == extract(binary));
}

TEST_CASE("nothing fed is nothing found") { CHECK(extract("") == outcome{}); }

}  // namespace
