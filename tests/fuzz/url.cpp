// URLs: what is accepted is in normal form, within its limit, made of its parts, and found again
// by whoever parses or resolves its text.
#include "http/url.h"
#include "net/address.h"
#include "tests/fuzz/fuzz.h"

namespace ringlet::fuzz {
namespace {

using http::url;
using http::url_error;

void check_accepted(const url& it) {
    const std::string text(it.text());
    REQUIRE(text.size() <= http::url_bytes_max);
    for (const char c : text) {
        REQUIRE((c > ' ' && c < 0x7f));
    }
    std::string parts = std::string(it.scheme()) + "://" + std::string(it.authority());
    CHECK(it.origin() == parts);
    parts.append(it.path());
    CHECK(it.path().front() == '/');
    CHECK(it.target().substr(0, it.path().size()) == it.path());
    if (it.has_query()) {
        parts.append("?").append(it.query());
    }
    CHECK(it.without_fragment() == parts);
    if (it.has_fragment()) {
        parts.append("#").append(it.fragment());
    }
    CHECK(parts == text);
    CHECK(it.port() != 0);
    CHECK(it.authority().find('@') == std::string_view::npos);
    CHECK_FALSE(it.host_bare().empty());
    if (it.host().front() == '[') {
        CHECK(static_cast<bool>(address::parse(it.host_bare(), 0)));
    }

    url again;
    REQUIRE(url::parse(text, again) == url_error::none);
    CHECK(again == it);
    CHECK(again.host() == it.host());
    CHECK(again.port() == it.port());
    CHECK(again.target() == it.target());
    REQUIRE(url::resolve(it, text, again) == url_error::none);
    CHECK(again == it);
    REQUIRE(url::resolve(it, "", again) == url_error::none);
    CHECK(again.text() == it.without_fragment());
    if (it.target().substr(0, 2) != "//") {  // which would begin with a host
        REQUIRE(url::resolve(it, it.target(), again) == url_error::none);
        CHECK(again.text() == it.without_fragment());
    }
}

}  // namespace

// The bytes up to a line end are a URL; what follows is a reference found there.
void fuzz(std::string_view input) {
    const std::size_t line = input.find('\n');
    url base;
    if (url::parse(input.substr(0, line), base) != url_error::none) {
        CHECK(base.empty());
        REQUIRE(url::parse("http://a.example/b/c;d?e#f", base) == url_error::none);
    } else {
        check_accepted(base);
    }
    const std::string_view reference = line == input.npos ? input : input.substr(line + 1);
    url found;
    if (url::resolve(base, reference, found) != url_error::none) {
        CHECK(found.empty());
    } else {
        check_accepted(found);
    }
}

}  // namespace ringlet::fuzz
