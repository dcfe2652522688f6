#include "http/url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>

namespace ringlet::http {

namespace {

// What may stand unescaped in a part, as bits.
constexpr std::uint8_t in_path = 1;   // of one segment: '/' is not among them
constexpr std::uint8_t in_query = 2;  // and in the fragment
constexpr std::uint8_t unreserved = 4;
constexpr std::uint8_t in_host = 8;
constexpr std::uint8_t in_scheme = 16;

constexpr auto character_bits = [] {
    std::array<std::uint8_t, 256> table{};
    const auto add = [&](std::string_view characters, int bits) {
        for (const char c : characters) {
            std::uint8_t& entry = table[static_cast<unsigned char>(c)];
            entry = static_cast<std::uint8_t>(entry | bits);
        }
    };
    constexpr std::string_view alphanumeric =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    add(alphanumeric, in_path | in_query | unreserved | in_host | in_scheme);
    add("-._", in_path | in_query | unreserved | in_host);
    add("~", in_path | in_query | unreserved);
    add("!$&'()*+,;=:@", in_path | in_query);
    add("/?", in_query);
    add("+-.", in_scheme);
    return table;
}();

bool has(char c, std::uint8_t bit) noexcept {
    return (character_bits[static_cast<unsigned char>(c)] & bit) != 0;
}

bool is_slash(char c) noexcept {
    return c == '/' || c == '\\';
}

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

// -1 for what is no hexadecimal digit.
int hex_value(char c) noexcept {
    if (is_digit(c))
        return c - '0';
    const char letter = lower(c);
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

// The byte that "%XX" at the front of [at, end) stands for; -1 when it is no escape.
int escaped_byte(const char* at, const char* end) noexcept {
    if (end - at < 3 || *at != '%')
        return -1;
    const int high = hex_value(at[1]);
    const int low = hex_value(at[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void put_escape(std::string& out, unsigned byte) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    const char escape[] = {'%', digits[byte >> 4], digits[byte & 15]};
    out.append(escape, sizeof escape);
}

// Escapes what may not stand there, brings escapes to their one form; a '%' that begins none is
// itself. Within a path it stops at the end of a segment. Returns where it stopped.
const char* put_encoded(std::string& out, const char* at, const char* end, std::uint8_t part) {
    const char* run = at;
    while (at != end) {
        if (has(*at, part)) {
            ++at;
            continue;
        }
        out.append(run, at);
        if (part == in_path && is_slash(*at))
            return at;
        if (const int byte = escaped_byte(at, end); byte >= 0) {
            if (has(static_cast<char>(byte), unreserved))
                out.push_back(static_cast<char>(byte));
            else
                put_escape(out, static_cast<unsigned>(byte));
            at += 3;
        } else {
            put_escape(out, static_cast<unsigned char>(*at));
            ++at;
        }
        run = at;
    }
    out.append(run, at);
    return at;
}

// The blanks around a reference go, and the line ends and tabs within it; only then is there a
// copy.
std::string_view cleaned(std::string_view text, std::string& storage) {
    while (!text.empty() && static_cast<unsigned char>(text.front()) <= ' ')
        text.remove_prefix(1);
    while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ')
        text.remove_suffix(1);
    const auto is_removed = [](char c) { return c == '\t' || c == '\n' || c == '\r'; };
    if (std::none_of(text.begin(), text.end(), is_removed))
        return text;
    std::remove_copy_if(text.begin(), text.end(), std::back_inserter(storage), is_removed);
    return storage;
}

// "http" of "http://..."; empty when the text begins with no scheme.
std::string_view scheme_of(std::string_view text) noexcept {
    if (text.empty() || lower(text.front()) < 'a' || lower(text.front()) > 'z')
        return {};
    const auto stop =
        std::find_if(text.begin(), text.end(), [](char c) { return !has(c, in_scheme); });
    if (stop == text.end() || *stop != ':')
        return {};
    return text.substr(0, static_cast<std::size_t>(stop - text.begin()));
}

bool is_scheme(std::string_view text, std::string_view name) noexcept {
    return std::equal(text.begin(), text.end(), name.begin(), name.end(),
                      [](char given, char wanted) { return lower(given) == wanted; });
}

bool begins_authority(std::string_view text) noexcept {
    return text.size() >= 2 && is_slash(text[0]) && is_slash(text[1]);
}

}  // namespace

class url_builder {
public:
    explicit url_builder(url& out) noexcept : out_(out), text_(out.text_) {
        text_.clear();
        out_.userinfo_.clear();
        out_.host_begin_ = out_.host_end_ = out_.path_begin_ = out_.path_end_ = out_.query_end_ = 0;
        out_.port_ = 0;
    }

    // `rest` follows the colon of the scheme and begins with two slashes.
    url_error put_absolute(bool secure, std::string_view rest) {
        rest.remove_prefix(2);
        const std::size_t stop = std::min(rest.find_first_of("/\\?#"), rest.size());
        text_.append(secure ? "https://" : "http://");
        if (const url_error error = put_authority(rest.substr(0, stop), secure);
            error != url_error::none)
            return error;
        text_.push_back('/');
        rest.remove_prefix(stop);
        if (!rest.empty() && is_slash(rest.front()))
            rest.remove_prefix(1);
        put_rest(put_segments(rest), nullptr);
        return url_error::none;
    }

    // No scheme and no authority of its own.
    void put_relative(const url& base, std::string_view reference) {
        const bool keeps_path = reference.empty() || reference[0] == '?' || reference[0] == '#';
        std::size_t kept = base.path_begin_ + std::size_t{1};
        if (keeps_path)
            kept = base.path_end_;
        else if (is_slash(reference[0]))
            reference.remove_prefix(1);
        else
            kept = base.text_.rfind('/', base.path_end_ - std::size_t{1}) + 1;
        text_.assign(base.text_, 0, kept);
        out_.userinfo_ = base.userinfo_;
        out_.host_begin_ = base.host_begin_;
        out_.host_end_ = base.host_end_;
        out_.path_begin_ = base.path_begin_;
        out_.port_ = base.port_;
        put_rest(keeps_path ? reference : put_segments(reference), keeps_path ? &base : nullptr);
    }

    // The text is whole: too long a one is an error, and an error leaves nothing.
    url_error finish(url_error error) {
        if (error == url_error::none && text_.size() > url_bytes_max)
            error = url_error::too_long;
        if (error != url_error::none) {
            url_builder discard(out_);
        }
        return error;
    }

private:
    [[nodiscard]] std::uint32_t here() const noexcept {
        return static_cast<std::uint32_t>(text_.size());
    }

    url_error put_authority(std::string_view authority, bool secure) {
        if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
            out_.userinfo_ = authority.substr(0, at);
            authority.remove_prefix(at + 1);
        }
        out_.host_begin_ = here();
        std::size_t host_bytes = std::min(authority.find(':'), authority.size());
        url_error error;
        if (!authority.empty() && authority.front() == '[') {
            host_bytes = std::min(authority.find(']'), authority.size() - 1) + 1;
            error = put_ipv6(authority.substr(0, host_bytes));
        } else {
            error = put_name(authority.substr(0, host_bytes));
        }
        if (error != url_error::none)
            return error;
        out_.host_end_ = here();
        error = put_port(authority.substr(host_bytes), secure ? 443 : 80);
        out_.path_begin_ = here();
        return error;
    }

    url_error put_ipv6(std::string_view bracketed) {
        in6_addr address;
        char text[INET6_ADDRSTRLEN];
        if (bracketed.back() != ']' || bracketed.size() - 2 >= sizeof text)
            return url_error::bad_ipv6;
        *std::copy(bracketed.begin() + 1, bracketed.end() - 1, text) = '\0';
        if (inet_pton(AF_INET6, text, &address) != 1)
            return url_error::bad_ipv6;
        inet_ntop(AF_INET6, &address, text, sizeof text);
        text_.append("[").append(text).append("]");
        return url_error::none;
    }

    // A name of the DNS or an IPv4 address. Internationalised names must come in their ASCII form.
    url_error put_name(std::string_view name) {
        if (name.empty())
            return url_error::missing_host;
        constexpr std::size_t label_bytes_max = 63;
        constexpr std::size_t name_bytes_max = 253;
        const char* at = name.data();
        const char* const end = at + name.size();
        std::size_t label_at = text_.size();
        while (at != end) {
            const int escaped = escaped_byte(at, end);
            const char c = lower(escaped >= 0 ? static_cast<char>(escaped) : *at);
            at += escaped >= 0 ? 3 : 1;
            if (static_cast<unsigned char>(c) >= 0x80)
                return url_error::non_ascii_host;
            if (!has(c, in_host))
                return url_error::bad_host;
            text_.push_back(c);
            if (c == '.') {
                const std::size_t label_bytes = text_.size() - 1 - label_at;
                if (label_bytes == 0 || label_bytes > label_bytes_max)
                    return url_error::bad_host;
                if (at != end)
                    label_at = text_.size();
            }
        }
        std::string_view label = std::string_view(text_).substr(label_at);
        if (label.ends_with('.'))
            label.remove_suffix(1);
        if (label.size() > label_bytes_max || text_.size() - out_.host_begin_ > name_bytes_max)
            return url_error::bad_host;
        const bool numeric = label.find_first_not_of("0123456789") == label.npos;
        return numeric || label.starts_with("0x") ? check_ipv4() : url_error::none;
    }

    // A name whose last label is a number is an address in four parts or nothing.
    url_error check_ipv4() {
        in_addr address;
        if (text_.back() == '.')
            text_.pop_back();
        return inet_pton(AF_INET, text_.c_str() + out_.host_begin_, &address) == 1
                   ? url_error::none
                   : url_error::bad_ipv4;
    }

    url_error put_port(std::string_view port, std::uint16_t usual) {
        out_.port_ = usual;
        if (port.empty() || port == ":")
            return url_error::none;
        std::uint16_t number = 0;
        const char* const end = port.data() + port.size();
        const auto [stop, failure] = std::from_chars(port.data() + 1, end, number);
        if (port.front() != ':' || failure != std::errc{} || stop != end || number == 0)
            return url_error::bad_port;
        out_.port_ = number;
        if (number != usual)
            text_.append(":").append(std::to_string(number));
        return url_error::none;
    }

    // Appends a path to a text that ends with a slash; dot segments go as they appear. Returns what
    // follows the path.
    std::string_view put_segments(std::string_view reference) {
        const std::size_t path_bytes = std::min(reference.find_first_of("?#"), reference.size());
        const char* at = reference.data();
        const char* const end = at + path_bytes;
        for (;;) {
            const std::size_t begin = text_.size();
            at = put_encoded(text_, at, end, in_path);
            const std::string_view segment = std::string_view(text_).substr(begin);
            if (segment == ".") {
                text_.resize(begin);
            } else if (segment == "..") {
                const bool at_root = begin == out_.path_begin_ + std::size_t{1};
                text_.resize(at_root ? begin : text_.rfind('/', begin - 2) + 1);
            } else if (at != end) {
                text_.push_back('/');
            }
            if (at == end)
                return reference.substr(path_bytes);
            ++at;
        }
    }

    // `rest` is "?query#fragment" with both parts optional. The query of `base` stands in for a
    // missing one.
    void put_rest(std::string_view rest, const url* base) {
        out_.path_end_ = here();
        const std::size_t query_bytes = std::min(rest.find('#'), rest.size());
        if (query_bytes > 0) {
            text_.push_back('?');
            put_encoded(text_, rest.data() + 1, rest.data() + query_bytes, in_query);
        } else if (base) {
            text_.append(base->part(base->path_end_, base->query_end_));
        }
        out_.query_end_ = here();
        if (query_bytes < rest.size()) {
            text_.push_back('#');
            put_encoded(text_, rest.data() + query_bytes + 1, rest.data() + rest.size(), in_query);
        }
    }

    url& out_;
    std::string& text_;
};

url_error url::parse(std::string_view text, url& out) {
    url_builder builder(out);
    if (text.size() > url_bytes_max)
        return url_error::too_long;
    std::string storage;
    text = cleaned(text, storage);
    if (text.empty())
        return url_error::empty;
    const std::string_view scheme = scheme_of(text);
    if (scheme.empty())
        return url_error::relative;
    const bool secure = is_scheme(scheme, "https");
    if (!secure && !is_scheme(scheme, "http"))
        return url_error::unsupported_scheme;
    const std::string_view rest = text.substr(scheme.size() + 1);
    if (!begins_authority(rest))
        return url_error::missing_host;
    return builder.finish(builder.put_absolute(secure, rest));
}

url_error url::resolve(const url& base, std::string_view reference, url& out) {
    assert(!base.empty() && &base != &out);
    url_builder builder(out);
    if (reference.size() > url_bytes_max)
        return url_error::too_long;
    std::string storage;
    reference = cleaned(reference, storage);
    bool secure = base.secure();
    if (const std::string_view scheme = scheme_of(reference); !scheme.empty()) {
        secure = is_scheme(scheme, "https");
        if (!secure && !is_scheme(scheme, "http"))
            return url_error::unsupported_scheme;
        reference.remove_prefix(scheme.size() + 1);
        // "http:page" is an old way to write "page" (RFC 3986 section 5.2.2).
        if (!begins_authority(reference) && secure != base.secure())
            return url_error::missing_host;
    }
    if (begins_authority(reference))
        return builder.finish(builder.put_absolute(secure, reference));
    builder.put_relative(base, reference);
    return builder.finish(url_error::none);
}

std::string_view url::host_bare() const noexcept {
    const std::string_view text = host();
    return text.starts_with('[') ? text.substr(1, text.size() - 2) : text;
}

std::string_view url::query() const noexcept {
    return has_query() ? part(path_end_ + 1, query_end_) : std::string_view{};
}

std::string_view url::fragment() const noexcept {
    return has_fragment() ? std::string_view(text_).substr(query_end_ + std::size_t{1})
                          : std::string_view{};
}

std::string_view sentence(url_error error) noexcept {
    switch (error) {
        case url_error::none: return "There is no error.";
        case url_error::empty: return "The URL is empty.";
        case url_error::too_long: return "The URL is longer than 8192 bytes.";
        case url_error::relative: return "The URL does not begin with http:// or https://.";
        case url_error::unsupported_scheme: return "Only http and https URLs are supported.";
        case url_error::missing_host: return "The URL names no host.";
        case url_error::bad_host:
            return "The host holds a character or a label that no host name has.";
        case url_error::non_ascii_host:
            return "The host is not ASCII: write an internationalised name in its xn-- form.";
        case url_error::bad_ipv4: return "The host ends like an IPv4 address but is not one.";
        case url_error::bad_ipv6: return "The address in brackets is not an IPv6 address.";
        case url_error::bad_port: return "The port is not a number from 1 to 65535.";
    }
    return "Unknown error.";
}

}  // namespace ringlet::http
