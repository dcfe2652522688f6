#include "examples/crawler/robots.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace {

using ringlet::crawler::robots_bytes_max;
using ringlet::crawler::robots_policy;
using ringlet::crawler::robots_policy_for;
using ringlet::crawler::robots_redirects_max;
using ringlet::crawler::robots_rules_max;
using std::string_view;

robots_policy parse(string_view file) {
    return robots_policy::parse(file, "ringlet/0.1 (+http://x/)");
}

bool allowed(string_view file, string_view target) { return parse(file).allows(target); }

bool allowed_by(string_view rules, string_view target) {
    return allowed("User-agent: *\n" + std::string(rules), target);
}

TEST_CASE("the group with the crawler's name applies, else the one for all, else none") {
    const string_view file =
        "User-Agent: *\nDisallow: *.gif$\nDisallow: /example/\nAllow: /publications/\n\n"
        "User-Agent: foobot\nDisallow:/\nAllow:/example/page.html\nAllow:/example/allowed.gif\n\n"
        "User-Agent: barbot\nUser-Agent: bazbot\nDisallow: /example/page.html\n\n"
        "User-Agent: quxbot\n";
    struct row {
        string_view product, target;
        bool allowed;
    };
    const row table[] = {
        {"anybot", "/", true},
        {"anybot", "/pictures/a.gif", false},
        {"anybot", "/pictures/a.gifs", true},
        {"anybot", "/example/page.html", false},
        {"anybot", "/publications/", true},
        {"foobot", "/", false},
        {"foobot", "/example/page.html", true},
        {"FooBot/2.1", "/example/allowed.gif", true},
        {"foobot", "/publications/", false},
        {"barbot", "/example/page.html", false},
        {"barbot", "/example/", true},
        {"bazbot", "/example/page.html", false},
        {"bazbot", "/pictures/a.gif", true},
        {"quxbot", "/example/", true},
        {"foobo", "/pictures/a.gif", false},
        {"foobot-news", "/pictures/a.gif", false},
    };
    for (const row& r : table) {
        CAPTURE(r.product);
        CAPTURE(r.target);
        CHECK(robots_policy::parse(file, r.product).allows(r.target) == r.allowed);
    }
    CHECK(allowed("Disallow: /\n", "/before-any-group"));
}

TEST_CASE("groups of one name count as one, and other fields end no group") {
    const string_view file =
        "user-agent: ringlet\nDisallow: /c\n\nuser-agent: other\nDisallow: /a\n\n"
        "USER-AGENT: Ringlet/2\nSitemap: http://x/s.xml\nCrawl-delay: 1.5\nHost: x\nuser-agent: "
        "q\n\n"
        "disallow: /e\n";
    CHECK_FALSE(allowed(file, "/c"));
    CHECK_FALSE(allowed(file, "/e"));
    CHECK(allowed(file, "/a"));
    CHECK(parse(file).crawl_delay_s() == 1.5);
    CHECK(robots_policy::parse(file, "q").crawl_delay_s() == std::nullopt);
    CHECK_FALSE(robots_policy::parse(file, "q").allows("/e"));
    CHECK(parse(file).malformed_lines() == 0);
}

TEST_CASE("the longest match decides, and of equally long ones the one that allows") {
    CHECK(allowed_by("Allow: /example/page/\nDisallow: /example/page/disallowed.gif\n",
                     "/example/page/x"));
    CHECK_FALSE(allowed_by("Allow: /example/page/\nDisallow: /example/page/disallowed.gif\n",
                           "/example/page/disallowed.gif"));
    CHECK(allowed_by("Disallow: /p\nAllow: /p\n", "/page"));
    CHECK(allowed_by("Disallow: /folder\nAllow: /folder/\n", "/folder/page"));
    CHECK_FALSE(allowed_by("Allow: /page\nDisallow: /*.html\n", "/page.html"));
    CHECK(allowed_by("Allow: /$\nDisallow: /\n", "/"));
    CHECK_FALSE(allowed_by("Allow: /$\nDisallow: /\n", "/page"));
    CHECK(allowed_by("Disallow:\nAllow:\n", "/page"));
    CHECK(allowed_by("Disallow: /\n", "/robots.txt"));
    CHECK_FALSE(allowed_by("Disallow: /\n", "/robots.txt?x"));
}

TEST_CASE("stars stand for anything and a last dollar for the end") {
    struct row {
        string_view pattern, target;
        bool matches;
    };
    const row table[] = {
        {"/fish", "/fish", true},
        {"/fish", "/fishheads/y?x", true},
        {"/fish", "/Fish", false},
        {"/fish", "/catfish", false},
        {"/fish*", "/fish.html", true},
        {"/fish/", "/fish", false},
        {"/fish/", "/fish/?id=1", true},
        {"/*.php", "/a/index.php?x=/", true},
        {"/*.php", "/windows.PHP", false},
        {"/*.php$", "/file.php", true},
        {"/*.php$", "/file.php?x", false},
        {"/*.php$", "/file.php5.php", true},
        {"/fish*.php", "/fish/x.php", true},
        {"/fish*.php", "/x/fish.php", false},
        {"*", "/", true},
        {"$", "/", false},
        {"*$", "/anything", true},
        {"/$", "/", true},
        {"/a$b", "/a$b", false},
        {"/a%24b", "/a$b", true},
        {"/a**b", "/a-b", true},
        {"/*a*b*c$", "/xaybzc", true},
        {"/*a*b*c$", "/xaybzcd", false},
        {"/*ab$", "/ab", true},
        {"/ab*ab$", "/ab", false},
        {"/path/file-with-a-%2A.html", "/path/file-with-a-*.html", true},
        {"/path/foo-%24", "/path/foo-$", true},
        {"/?q=", "/?q=1", true},
        {"fish", "/fish", false},
        {"/a b", "/a%20b", true},
    };
    for (const row& r : table) {
        CAPTURE(r.pattern);
        CAPTURE(r.target);
        CHECK(allowed_by("Disallow: " + std::string(r.pattern), r.target) == !r.matches);
    }
}

TEST_CASE("escapes are compared by what they mean") {
    struct row {
        string_view pattern, target;
        bool matches;
    };
    const row table[] = {
        {"/foo/bar?baz=quz", "/foo/bar?baz=quz", true},
        {"/foo/bar?baz=http://foo.bar", "/foo/bar?baz=http%3A%2F%2Ffoo.bar", false},
        {"/foo/bar/\xe3\x83\x84", "/foo/bar/%E3%83%84", true},
        {"/foo/bar/%e3%83%84", "/foo/bar/\xe3\x83\x84", true},
        {"/foo/bar/%62%61%7A", "/foo/bar/baz", true},
        {"/foo/bar/baz", "/foo/bar/%62%61%7a", true},
        {"/a%2fb", "/a%2Fb", true},
        {"/a%2fb", "/a/b", false},
        {"/a%3cd", "/a%3Cd.html", true},
        {"/100%", "/100%", true},
        {"/100%zz", "/100%zz", true},
    };
    for (const row& r : table) {
        CAPTURE(r.pattern);
        CAPTURE(r.target);
        CHECK(allowed_by("Disallow: " + std::string(r.pattern), r.target) == !r.matches);
    }
}

TEST_CASE("lines may end in any way and hold comments, blanks and nonsense") {
    for (const string_view end : {"\n", "\r\n", "\r"}) {
        const std::string e(end);
        const std::string file = "\xef\xbb\xbf  User-Agent :\t* # all" + e + "#Allow: /a" + e +
                                 "nonsense" + e + " dISALLOW\t:/a #b" + e + "Disallow /c" + e + e +
                                 "Unknown: /d" + e + ": /e" + e + "Disallow: /f";
        const robots_policy policy = parse(file);
        CHECK_FALSE(policy.allows("/a"));
        CHECK(policy.allows("/c"));
        CHECK(policy.allows("/d"));
        CHECK(policy.allows("/e"));
        CHECK_FALSE(policy.allows("/f"));
        CHECK(policy.malformed_lines() == 2);
        CHECK_FALSE(policy.truncated());
    }
    CHECK(allowed(std::string(100, '\0') + "\xff\xfe", "/"));
    CHECK(allowed("<!DOCTYPE html>\n<p>Not found", "/"));
    CHECK(allowed("", "/"));
}

TEST_CASE("a crawl delay is a number of seconds or a malformed line") {
    CHECK(parse("User-agent: *\nCrawl-delay: 10\n").crawl_delay_s() == 10.0);
    for (const string_view bad : {"", "-1", "ten", "1s", "nan", "inf", "1e300"}) {
        CAPTURE(bad);
        const robots_policy policy =
            parse("User-agent: *\nCrawl-delay: " + std::string(bad) + "\n");
        CHECK(policy.crawl_delay_s() == std::nullopt);
        CHECK(policy.malformed_lines() == 1);
    }
}

TEST_CASE("500 KiB are read and what is cut is cut between lines") {
    std::string file = "User-agent: *\n";
    file +=
        std::string(robots_bytes_max - file.size() - 12, '#') + "\nDisallow: /a/b\nDisallow: /c\n";
    const robots_policy policy = parse(file);
    CHECK(policy.truncated());
    CHECK(policy.allows("/a"));
    CHECK(policy.allows("/a/b"));
    CHECK(policy.allows("/c"));
    file.erase(20, 40);
    CHECK_FALSE(parse(file).allows("/a/b"));
    CHECK(parse(std::string(robots_bytes_max + 1, 'x')).truncated());
}

TEST_CASE("the number of rules has an end") {
    std::string file = "User-agent: *\n";
    for (std::size_t i = 0; i <= robots_rules_max; ++i)
        file += "Disallow: /" + std::to_string(i) + "$\n";
    const robots_policy policy = parse(file);
    CHECK(policy.truncated());
    CHECK_FALSE(policy.allows("/" + std::to_string(robots_rules_max - 1)));
    CHECK(policy.allows("/" + std::to_string(robots_rules_max)));
}

TEST_CASE("patterns made to be slow are not") {
    std::string many_stars = "/", half = "/*";
    for (int i = 0; i < 20'000; ++i) many_stars += "*a";
    half += std::string(4000, 'a') + "b";
    const std::string path = "/" + std::string(8000, 'a');
    std::string file = "User-agent: *\nDisallow: " + many_stars + "\n";
    for (int i = 0; i < 100; ++i) file += "Disallow: " + half + "\n";
    const robots_policy policy = parse(file);
    for (int i = 0; i < 100; ++i) CHECK(policy.allows(path));
}

TEST_CASE("the outcome of the fetch decides where there is no file") {
    const string_view file = "User-agent: *\nDisallow: /a\n";
    struct row {
        int status, redirects;
        bool a, b;
    };
    const row table[] = {
        {200, 0, false, true},
        {204, robots_redirects_max, false, true},
        {200, robots_redirects_max + 1, true, true},
        {301, 0, true, true},
        {304, 0, true, true},
        {302, robots_redirects_max + 1, true, true},
        {400, 0, true, true},
        {401, 0, true, true},
        {404, 0, true, true},
        {429, 0, true, true},
        {499, 0, true, true},
        {500, 0, false, false},
        {503, 3, false, false},
        {999, 0, false, false},
        {101, 0, false, false},
        {0, 0, false, false},
    };
    for (const row& r : table) {
        CAPTURE(r.status);
        CAPTURE(r.redirects);
        const robots_policy policy = robots_policy_for(
            {.status = r.status, .body = file, .redirects = r.redirects}, "ringlet");
        CHECK(policy.allows("/a") == r.a);
        CHECK(policy.allows("/b") == r.b);
        CHECK(policy.allows("/robots.txt"));
    }
    CHECK(robots_policy::allow_all().allows("/a"));
}

}  // namespace
