#include "examples/crawler/robots.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

namespace ringlet::crawler {
namespace {

using std::string_view;

constexpr string_view blanks = " \t";

string_view trim(string_view text) {
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool is_letter(char c) { return lower(c) >= 'a' && lower(c) <= 'z'; }

bool same_word(string_view a, string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

// "ringlet/0.1 (+http://...)" is the product token "ringlet".
string_view product_token(string_view text) {
    std::size_t length = 0;
    while (length < text.size() &&
           (is_letter(text[length]) || text[length] == '-' || text[length] == '_'))
        ++length;
    return text.substr(0, length);
}

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
}

bool is_unreserved(char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

void append_escaped(std::string& to, char c) {
    constexpr string_view digits = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    ((to += '%') += digits[byte >> 4]) += digits[byte & 15];
}

// Two spellings of a path are the same when they agree in this one: unreserved characters as they
// are, other escapes with capital digits, everything outside of printable ASCII escaped. In a path
// a '*' or
// '$' is escaped too, so that only those of a pattern are special.
std::string canonical(string_view path, bool is_pattern) {
    std::string result;
    result.reserve(path.size());
    for (std::size_t i = 0; i < path.size(); ++i) {
        const char c = path[i];
        if (c == '%' && i + 2 < path.size() && hex_value(path[i + 1]) >= 0 &&
            hex_value(path[i + 2]) >= 0) {
            const auto decoded =
                static_cast<char>(hex_value(path[i + 1]) * 16 + hex_value(path[i + 2]));
            if (is_unreserved(decoded)) result += decoded;
            else append_escaped(result, decoded);
            i += 2;
        } else if (c <= ' ' || c > '~' || (!is_pattern && (c == '*' || c == '$'))) {
            append_escaped(result, c);
        } else {
            result += c;
        }
    }
    return result;
}

// Matches the pieces between the stars one after the other, each where it is first found: a later
// place would only leave less for the next. memmem is linear, so a hostile pattern costs no more
// than its length and the path's.
bool matches(string_view pattern, string_view path) {
    const bool to_the_end = pattern.ends_with('$');
    if (to_the_end) pattern.remove_suffix(1);
    std::size_t star = pattern.find('*');
    if (!path.starts_with(pattern.substr(0, star))) return false;
    if (star == pattern.npos) return !to_the_end || path.size() == pattern.size();
    path.remove_prefix(star);
    while (true) {
        pattern.remove_prefix(star + 1);
        star = pattern.find('*');
        if (star == pattern.npos) break;
        const string_view piece = pattern.substr(0, star);
        const void* const at = memmem(path.data(), path.size(), piece.data(), piece.size());
        if (at == nullptr) return false;
        path.remove_prefix(static_cast<std::size_t>(static_cast<const char*>(at) - path.data()) +
                           piece.size());
    }
    if (to_the_end) return path.ends_with(pattern);
    return memmem(path.data(), path.size(), pattern.data(), pattern.size()) != nullptr;
}

}  // namespace

// Reads the lines once and keeps the rules for the crawler by name and those for all others apart:
// which of them apply is known at the end only, for the groups of one name count as one.
class robots_reader {
public:
    explicit robots_reader(string_view product) : product_(product_token(product)) {}

    void read_line(string_view line) {
        line = trim(line.substr(0, line.find('#')));
        if (line.empty()) return;
        const std::size_t colon = line.find(':');
        if (colon == line.npos) {
            ++malformed_lines_;
            return;
        }
        const string_view field = trim(line.substr(0, colon));
        const string_view value = trim(line.substr(colon + 1));
        if (same_word(field, "user-agent")) read_user_agent(value);
        else if (same_word(field, "allow")) read_rule(value, true);
        else if (same_word(field, "disallow")) read_rule(value, false);
        else if (same_word(field, "crawl-delay")) read_crawl_delay(value);
    }

    robots_policy finish() {
        robots_policy policy = std::move(named_.seen ? named_.policy : others_.policy);
        policy.malformed_lines_ = malformed_lines_;
        std::stable_sort(policy.rules_.begin(), policy.rules_.end(),
                         [](const robots_policy::rule& a, const robots_policy::rule& b) {
                             if (a.pattern.size() != b.pattern.size())
                                 return a.pattern.size() > b.pattern.size();
                             return a.allow && !b.allow;
                         });
        return policy;
    }

private:
    struct group {
        robots_policy policy;
        bool seen = false;
        bool current = false;
    };

    // Names collect until the first rule; the name after a rule begins a new group. Other fields,
    // such as Sitemap, stand in no group and end none.
    void read_user_agent(string_view value) {
        if (in_rules_) named_.current = others_.current = in_rules_ = false;
        const string_view token = product_token(value);
        group* to = nullptr;
        if (value.starts_with('*')) to = &others_;
        else if (!token.empty() && same_word(token, product_)) to = &named_;
        if (to != nullptr) to->seen = to->current = true;
    }

    void read_rule(string_view value, bool allow) {
        in_rules_ = true;
        if (value.empty()) return;  // allows or disallows nothing
        for (group* const to : {&named_, &others_}) {
            if (!to->current) continue;
            if (to->policy.rules_.size() == robots_rules_max) to->policy.truncated_ = true;
            else to->policy.rules_.push_back({canonical(value, true), allow});
        }
    }

    void read_crawl_delay(string_view value) {
        double seconds = 0;
        const auto [end, error] =
            std::from_chars(value.data(), value.data() + value.size(), seconds);
        if (error != std::errc() || end != value.data() + value.size() || !(seconds >= 0) ||
            seconds > 1e9) {
            ++malformed_lines_;
            return;
        }
        for (group* const to : {&named_, &others_})
            if (to->current) to->policy.crawl_delay_s_ = seconds;
    }

    string_view product_;
    group named_, others_;
    bool in_rules_ = false;
    std::size_t malformed_lines_ = 0;
};

robots_policy robots_policy::disallow_all() {
    robots_policy policy;
    policy.rules_.push_back({"/", false});
    return policy;
}

robots_policy robots_policy::parse(string_view file, string_view product) {
    if (file.starts_with("\xef\xbb\xbf")) file.remove_prefix(3);
    const bool too_long = file.size() > robots_bytes_max;
    if (too_long) {
        // A rule cut in two would be another rule.
        file = file.substr(0, robots_bytes_max);
        const std::size_t last_end = file.find_last_of("\r\n");
        file = file.substr(0, last_end == file.npos ? 0 : last_end);
    }
    robots_reader reader(product);
    while (!file.empty()) {
        const std::size_t end = std::min(file.find_first_of("\r\n"), file.size());
        reader.read_line(file.substr(0, end));
        file.remove_prefix(std::min(end + 1, file.size()));
    }
    robots_policy policy = reader.finish();
    policy.truncated_ |= too_long;
    return policy;
}

bool robots_policy::allows(string_view target) const {
    const std::string path = canonical(target.substr(0, target.find('#')), false);
    if (path == "/robots.txt") return true;
    for (const rule& candidate : rules_)
        if (matches(candidate.pattern, path)) return candidate.allow;
    return true;
}

robots_policy robots_policy_for(const robots_outcome& outcome, string_view product) {
    if (outcome.redirects > robots_redirects_max) return robots_policy::allow_all();
    if (outcome.status >= 200 && outcome.status < 300)
        return robots_policy::parse(outcome.body, product);
    if (outcome.status >= 300 && outcome.status < 500) return robots_policy::allow_all();
    return robots_policy::disallow_all();
}

}  // namespace ringlet::crawler
