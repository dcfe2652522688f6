// robots.txt: any bytes have a policy, the same with every kind of line end, and it judges as a
// second, plain matcher of patterns does where a file has one rule.
#include "examples/crawler/robots.h"

#include <cmath>

#include "tests/fuzz/fuzz.h"

namespace ringlet::fuzz {
namespace {

using crawler::robots_policy;

std::string with_line_ends(std::string_view text, std::string_view end) {
    std::string other;
    for (const char c : text) {
        if (c == '\n') {
            other.append(end);
        } else {
            other.push_back(c);
        }
    }
    return other;
}

// Whether `pattern` ('*' is anything, '$' at its end the end) fits the front of `path`. Of
// characters that need no escape only, so that nothing has to be put into canonical form.
bool plain_match(std::string_view pattern, std::string_view path) {
    if (pattern.empty() || pattern == "$") {
        return pattern.empty() || path.empty();
    }
    if (pattern.front() == '*') {
        for (std::size_t skip = 0; skip <= path.size(); ++skip) {
            if (plain_match(pattern.substr(1), path.substr(skip))) {
                return true;
            }
        }
        return false;
    }
    return !path.empty() && path.front() == pattern.front() &&
           plain_match(pattern.substr(1), path.substr(1));
}

// Letters and the characters with a meaning, made of any bytes.
std::string from_few(std::string_view bytes, std::string_view alphabet) {
    std::string text;
    for (const char c : bytes.substr(0, 12)) {
        text.push_back(alphabet[static_cast<unsigned char>(c) % alphabet.size()]);
    }
    return text;
}

void check_one_rule(std::string_view input) {
    const std::size_t half = input.size() / 2;
    std::string pattern = "/" + from_few(input.substr(0, half), "ab/*");
    if (half % 2 == 1) {
        pattern.push_back('$');
    }
    const std::string path = "/" + from_few(input.substr(half), "ab/");
    const robots_policy policy =
        robots_policy::parse("User-agent: *\nDisallow: " + pattern + "\n", "ringlet");
    CHECK(policy.allows(path) == !plain_match(pattern, path));
}

}  // namespace

void fuzz(std::string_view input) {
    const robots_policy policy = robots_policy::parse(input, "ringlet");
    CHECK(policy.allows("/robots.txt"));
    CHECK_FALSE(policy.truncated());
    if (policy.crawl_delay_s()) {
        CHECK(std::isfinite(*policy.crawl_delay_s()));
        CHECK(*policy.crawl_delay_s() >= 0);
    }
    const bool one_kind_of_end = input.find('\r') == input.npos;
    const robots_policy others[] = {
        robots_policy::parse(with_line_ends(input, "\r\n"), "ringlet"),
        robots_policy::parse(with_line_ends(input, "\n\n"), "Ringlet/1.0 (+http://x)"),
        robots_policy::parse(with_line_ends(input, "\r"), "RINGLET")};
    std::string_view rest = input;
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        const std::string_view target = line.substr(std::min(line.find('/'), line.size()));
        const bool allowed = policy.allows(target);
        CHECK(policy.allows(target) == allowed);
        for (const robots_policy& other : others) {
            CHECK((!one_kind_of_end || other.allows(target) == allowed));
        }
    }
    check_one_rule(input);
}

}  // namespace ringlet::fuzz
