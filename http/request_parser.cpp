#include "http/request_parser.h"

#include <llhttp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace ringlet::http {

namespace {

constexpr std::string_view version_prefix = " HTTP/1.";

// RTSP, ICE, WebDAV and the rest of what llhttp knows are not spoken here.
std::optional<method> allowed_method(std::uint8_t number) noexcept {
    switch (number) {
        case HTTP_GET: return method::get;
        case HTTP_HEAD: return method::head;
        case HTTP_POST: return method::post;
        case HTTP_PUT: return method::put;
        case HTTP_DELETE: return method::delete_;
        case HTTP_OPTIONS: return method::options;
        case HTTP_TRACE: return method::trace;
        case HTTP_PATCH: return method::patch;
        case HTTP_CONNECT: return method::connect;
        default: return std::nullopt;
    }
}

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

// RFC 3986: unreserved, sub-delims and the escape of a registered name.
constexpr auto host_characters = [] {
    std::array<bool, 256> table{};
    for (unsigned char c = '0'; c <= '9'; ++c)
        table[c] = true;
    for (unsigned char c = 'a'; c <= 'z'; ++c)
        table[c] = table[c - 'a' + 'A'] = true;
    for (const char c : std::string_view("-._~!$&'()*+;=%"))
        table[static_cast<unsigned char>(c)] = true;
    return table;
}();

// host [":" port]; an address in brackets is not looked into. An empty host is allowed by RFC 9110
// where the target has no authority.
bool is_host(std::string_view text) noexcept {
    const char* at = text.data();
    const char* const end = at + text.size();
    if (at != end && *at == '[') {
        const char* close = std::find(at, end, ']');
        const bool only_address = std::all_of(at + 1, close, [](char c) {
            return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' ||
                   c == '.';
        });
        if (close == end || close == at + 1 || !only_address)
            return false;
        at = close + 1;
    } else {
        while (at != end && host_characters[static_cast<unsigned char>(*at)])
            ++at;
    }
    return at == end || (*at == ':' && std::all_of(at + 1, end, is_digit));
}

// The authority of an absolute target, or nothing when it is not one of http.
std::optional<std::string_view> authority_of(std::string_view target) noexcept {
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (!equals_ignoring_case(target.substr(0, scheme.size()), scheme))
            continue;
        const std::string_view rest = target.substr(scheme.size());
        return rest.substr(0, rest.find_first_of("/?"));
    }
    return std::nullopt;
}

}  // namespace

const request_head& owned_request_head::assign(const request_head& head) {
    std::size_t bytes =
        head.target.size() + head.path.size() + head.query.size() + head.host.size();
    for (const header_view& field : head.headers)
        bytes += field.name.size() + field.value.size();
    text_.clear();
    text_.reserve(bytes);
    const auto store = [this](std::string_view text) {
        const std::size_t at = text_.size();
        text_.insert(text_.end(), text.begin(), text.end());
        return std::string_view{text_.data() + at, text.size()};
    };
    head_ = head;
    head_.target = store(head.target);
    head_.path = store(head.path);
    head_.query = store(head.query);
    head_.host = store(head.host);
    fields_.clear();
    for (const header_view& field : head.headers) {
        const std::string_view name = store(field.name);
        fields_.push_back({name, store(field.value)});
    }
    head_.headers = fields_;
    return head_;
}

std::size_t request_parser::feed(std::string_view bytes, request_events& sink) {
    pause_asked_ = false;
    if (failed() || ended())
        return 0;
    sink_ = &sink;
    std::size_t used = 0;
    do {
        if (idle()) {
            used += skip_empty_lines(bytes.substr(used));
            if (failed() || used == bytes.size())
                break;
            begin_head(bytes.data() + used);
        }
        used += parse_some(bytes.substr(used));
    } while (used < bytes.size() && !pause_asked_ && !failed() && !ended());
    return used;
}

// Some clients send an empty line after a body; more than a few are an attack.
std::size_t request_parser::skip_empty_lines(std::string_view bytes) noexcept {
    std::size_t skipped = 0;
    while (skipped < bytes.size()) {
        const char expected = empty_line_bytes_ % 2 == 0 ? '\r' : '\n';
        if (bytes[skipped] != expected) {
            if (expected == '\n')
                error_ = parse_error::bad_syntax;
            empty_line_bytes_ = 0;
            return skipped;
        }
        if (++empty_line_bytes_ > 2 * sizes_.leading_crlf_max) {
            error_ = parse_error::too_many_empty_lines;
            return skipped;
        }
        ++skipped;
    }
    return skipped;
}

bool request_parser::head_complete() {
    request_head head;
    error_ = read_head(head);
    if (!failed()) {
        keep_alive_ = head.keep_alive;
        static_cast<request_events*>(sink_)->on_head(head);
    }
    return true;
}

void request_parser::message_complete() {
    phase_ = keep_alive_ ? phase::between : phase::ended;
    sink_->on_complete(trailers());
}

bool request_parser::finish() noexcept {
    if (failed())
        return false;
    if (phase_ == phase::head)
        error_ = parse_error::truncated_head;
    else if (phase_ == phase::body)
        error_ = parse_error::truncated_body;
    return !failed();
}

parse_error request_parser::read_head(request_head& head) noexcept {
    const llhttp_t& state = engine();
    if (const parse_error error = read_start_line(head); error != parse_error::none)
        return error;
    if (const parse_error error = read_fields(head); error != parse_error::none)
        return error;
    if (const parse_error error = read_target(head); error != parse_error::none)
        return error;
    head.chunked = (state.flags & F_CHUNKED) != 0;
    head.content_length = state.flags & F_CONTENT_LENGTH ? state.content_length : 0;
    head.has_body = head.chunked || head.content_length > 0;
    head.keep_alive = asks_keep_alive();
    head.upgrade = head.version_minor == 1 && state.upgrade != 0;
    head.expect_continue = head.expect_continue && head.has_body && head.version_minor == 1;
    return head.content_length > sizes_.body_bytes_max ? parse_error::body_too_large
                                                       : parse_error::none;
}

// llhttp lets other protocols, other versions and repeated blanks pass: the bytes themselves are
// compared.
parse_error request_parser::read_start_line(request_head& head) noexcept {
    const llhttp_t& state = engine();
    const std::optional<method> known = allowed_method(state.method);
    if (!known)
        return parse_error::unknown_method;
    if (const parse_error error = check_version(); error != parse_error::none)
        return error;
    if (*known == method::connect)
        return parse_error::connect_refused;
    head.method = *known;
    head.version_minor = state.http_minor;
    head.target = start_text();
    const std::string_view after{head.target.data() + head.target.size(), version_prefix.size()};
    const std::size_t target_at = head.method_text().size() + 1;
    if (head.target.data() != head_begin() + target_at || after.starts_with("  "))
        return parse_error::bad_syntax;
    return std::memcmp(after.data(), version_prefix.data(), version_prefix.size()) == 0
               ? parse_error::none
               : parse_error::bad_version;
}

// The forms of RFC 9112 section 3.2. An absolute one overrides the host that read_fields has found.
parse_error request_parser::read_target(request_head& head) noexcept {
    const std::string_view target = head.target;
    if (target.find('#') != std::string_view::npos)
        return parse_error::bad_target;
    if (target == "*") {
        head.path = target;
        return head.method == method::options ? parse_error::none : parse_error::target_form;
    }
    std::string_view rest = target;
    if (target.front() != '/') {
        const std::optional<std::string_view> authority = authority_of(target);
        if (!authority)
            return parse_error::target_form;
        if (authority->empty() || authority->front() == ':' || !is_host(*authority))
            return parse_error::bad_host;
        head.host = *authority;
        rest.remove_prefix(
            static_cast<std::size_t>(authority->data() + authority->size() - target.data()));
    }
    const std::size_t mark = rest.find('?');
    head.path = rest.substr(0, mark);
    if (head.path.empty())
        head.path = "/";
    if (mark != std::string_view::npos)
        head.query = rest.substr(mark + 1);
    return parse_error::none;
}

// One pass: the length of a name sorts out nearly every field that means nothing to the framing.
parse_error request_parser::read_fields(request_head& head) noexcept {
    const header_view* host = nullptr;
    const header_view* transfer_coding = nullptr;
    head.headers = finish_fields();
    for (const header_view& field : head.headers) {
        switch (field.name.size()) {
            case 4:
                if (!equals_ignoring_case(field.name, "host"))
                    break;
                if (host)
                    return parse_error::host_repeated;
                host = &field;
                break;
            case 6:
                if (equals_ignoring_case(field.name, "expect"))
                    head.expect_continue = equals_ignoring_case(field.value, "100-continue");
                break;
            case 17:
                if (!transfer_coding && equals_ignoring_case(field.name, "transfer-encoding"))
                    transfer_coding = &field;
                break;
            default: break;
        }
    }
    if (const parse_error error = check_transfer_coding(transfer_coding);
        error != parse_error::none)
        return error;
    if (!host)
        return head.version_minor == 0 ? parse_error::none : parse_error::host_missing;
    head.host = host->value;
    return is_host(head.host) ? parse_error::none : parse_error::bad_host;
}

}  // namespace ringlet::http
