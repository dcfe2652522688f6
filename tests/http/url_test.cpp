#include "tests/http/recorder.h"

#include <cctype>
#include <random>
#include <string>

#include "http/url.h"

using namespace ringlet::http;
using namespace ringlet::http::test;

namespace {

constexpr std::string_view error_names[] = {
    "NONE",         "EMPTY",    "TOO_LONG",       "RELATIVE", "UNSUPPORTED_SCHEME",
    "MISSING_HOST", "BAD_HOST", "NON_ASCII_HOST", "BAD_IPV4", "BAD_IPV6",
    "BAD_PORT"};
static_assert(std::size(error_names) == static_cast<std::size_t>(url_error::bad_port) + 1);

std::string_view name_of(url_error error) {
    return error_names[static_cast<std::size_t>(error)];
}

// The text, or the name of the error.
std::string parsed(std::string_view text) {
    url out;
    const url_error error = url::parse(text, out);
    CHECK(out.empty() == (error != url_error::none));
    return std::string(error == url_error::none ? out.text() : name_of(error));
}

std::string resolved(const url& base, std::string_view reference) {
    url out;
    const url_error error = url::resolve(base, reference, out);
    CHECK(out.empty() == (error != url_error::none));
    return std::string(error == url_error::none ? out.text() : name_of(error));
}

url url_of(std::string_view text) {
    url out;
    REQUIRE(url::parse(text, out) == url_error::none);
    return out;
}

// What must hold of every URL there is.
void check_whole(const url& tested) {
    CAPTURE(tested.text());
    for (const char c : tested.text())
        REQUIRE((c > ' ' && c < 0x7f));
    CHECK(parsed(tested.text()) == tested.text());
    CHECK(tested.text().starts_with(tested.origin()));
    CHECK(tested.path().starts_with('/'));
    CHECK(tested.target().starts_with(tested.path()));
    CHECK(tested.port() != 0);
    CHECK_FALSE(tested.host().empty());
    CHECK(tested.authority().starts_with(tested.host()));
    const std::string slashed = std::string(tested.path()) + "/";
    CHECK(slashed.find("/./") == std::string::npos);
    CHECK(slashed.find("/../") == std::string::npos);
    std::string joined = std::string(tested.origin()) + std::string(tested.path());
    if (tested.has_query())
        joined.append("?").append(tested.query());
    CHECK(joined == tested.without_fragment());
    if (tested.has_fragment())
        joined.append("#").append(tested.fragment());
    CHECK(joined == tested.text());
}

}  // namespace

TEST_CASE("every reference of the table leads where it should") {
    for (const vector_line& line : read_vectors("urls.txt")) {
        const std::size_t blank = line.bytes.rfind(' ');
        REQUIRE(blank != std::string::npos);
        std::string reference = line.bytes.substr(0, blank);
        const std::string expected = line.bytes.substr(blank + 1);
        if (reference == "\"\"")
            reference.clear();
        CAPTURE(line.number);
        CAPTURE(reference.substr(0, 100));
        CHECK(resolved(url_of(line.word), reference) == expected);
        url out;
        if (url::resolve(url_of(line.word), reference, out) == url_error::none)
            check_whole(out);
    }
}

TEST_CASE("the parts of a URL") {
    const url full = url_of("https://me:pw@Example.org:8443/a/b?c=d#e");
    CHECK(full.scheme() == "https");
    CHECK(full.secure());
    CHECK(full.userinfo() == "me:pw");
    CHECK(full.host() == "example.org");
    CHECK(full.port() == 8443);
    CHECK(full.authority() == "example.org:8443");
    CHECK(full.origin() == "https://example.org:8443");
    CHECK(full.path() == "/a/b");
    CHECK(full.query() == "c=d");
    CHECK(full.fragment() == "e");
    CHECK(full.target() == "/a/b?c=d");
    CHECK(full.without_fragment() == "https://example.org:8443/a/b?c=d");
    CHECK(full.text() == "https://example.org:8443/a/b?c=d#e");

    const url bare = url_of("http://[::1]");
    CHECK(bare.scheme() == "http");
    CHECK(bare.host() == "[::1]");
    CHECK(bare.host_bare() == "::1");
    CHECK(bare.port() == 80);
    CHECK(bare.authority() == "[::1]");
    CHECK(bare.target() == "/");
    CHECK_FALSE(bare.has_query());
    CHECK_FALSE(bare.has_fragment());
    CHECK(bare.query().empty());
    CHECK(bare.fragment().empty());
    CHECK(bare.userinfo().empty());
    CHECK(url_of("https://h").port() == 443);

    const url marks = url_of("http://h/?#");
    CHECK(marks.has_query());
    CHECK(marks.has_fragment());
    CHECK(marks.target() == "/?");
}

TEST_CASE("what is no absolute http URL is refused with its reason") {
    CHECK(parsed("") == "EMPTY");
    CHECK(parsed(" \r\n\t") == "EMPTY");
    CHECK(parsed("/path") == "RELATIVE");
    CHECK(parsed("example.org") == "RELATIVE");
    CHECK(parsed("//example.org/") == "RELATIVE");
    CHECK(parsed("://x") == "RELATIVE");
    CHECK(parsed("1http://x") == "RELATIVE");
    CHECK(parsed("localhost:80") == "UNSUPPORTED_SCHEME");
    CHECK(parsed("ws://x") == "UNSUPPORTED_SCHEME");
    CHECK(parsed("httpx://x") == "UNSUPPORTED_SCHEME");
    CHECK(parsed("http:") == "MISSING_HOST");
    CHECK(parsed("http:x") == "MISSING_HOST");
    CHECK(parsed("http:/x") == "MISSING_HOST");
    CHECK(parsed("http://") == "MISSING_HOST");
    CHECK(parsed("http://x/" + std::string(url_bytes_max, 'a')) == "TOO_LONG");
    CHECK(parsed("http://x/" + std::string(url_bytes_max - 9, 'a')).size() == url_bytes_max);
    CHECK(parsed("http://x/" + std::string(url_bytes_max - 9, ' ') + "y") == "TOO_LONG");
    for (int code = 0; code <= static_cast<int>(url_error::bad_port); ++code)
        CHECK(sentence(static_cast<url_error>(code)).ends_with("."));
}

TEST_CASE("an output that is used again keeps nothing of what it was") {
    url out = url_of("https://me@host:81/long/path?query#fragment");
    CHECK(url::parse("http://x", out) == url_error::none);
    CHECK(out.text() == "http://x/");
    CHECK(out.userinfo().empty());
    CHECK(out.port() == 80);
    CHECK(url::parse("nothing", out) == url_error::relative);
    CHECK(out.empty());
    CHECK(out.text().empty());
    CHECK(out.host().empty());
    CHECK(out.target().empty());
}

TEST_CASE("user information is inherited by references to the same host only") {
    const url base = url_of("http://me@host/a/b");
    url out;
    CHECK(url::resolve(base, "c", out) == url_error::none);
    CHECK(out.userinfo() == "me");
    CHECK(url::resolve(base, "//host/c", out) == url_error::none);
    CHECK(out.userinfo().empty());
}

TEST_CASE("equal resources have equal texts") {
    CHECK(url_of("HTTP://A:80/%7Ex/./y/..") == url_of("http://a/~x/"));
    CHECK_FALSE(url_of("http://a/x") == url_of("http://a/X"));
    CHECK_FALSE(url_of("http://a/x") == url_of("https://a/x"));
    CHECK(url_of("http://me@a/") == url_of("http://a/"));
}

TEST_CASE("any bytes are refused or give a whole URL") {
    const url base = url_of("http://host/a/b?c#d");
    const std::string alphabet =
        std::string("/\\?#.%:@[]ab2eF \t\r\n\xc3\xa9~&;=-_") + std::string(1, '\0');
    std::mt19937 random(1);
    std::uniform_int_distribution<std::size_t> letter(0, alphabet.size() - 1);
    std::uniform_int_distribution<std::size_t> length(0, 24);
    int good = 0;
    for (int round = 0; round < 20'000; ++round) {
        std::string text;
        for (std::size_t n = length(random); n > 0; --n)
            text.push_back(alphabet[letter(random)]);
        url out;
        if (url::resolve(base, text, out) == url_error::none) {
            check_whole(out);
            ++good;
        }
        if (url::parse("http://h" + text, out) == url_error::none)
            check_whole(out);
    }
    CHECK(good > 10'000);
}
