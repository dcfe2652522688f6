#include "http/writer.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstring>

namespace ringlet::http {

namespace {

constexpr std::string_view line_end = "\r\n";
constexpr std::string_view close_line = "Connection: close\r\n";
constexpr std::string_view keep_alive_line = "Connection: keep-alive\r\n";
constexpr std::size_t number_bytes_max = 20;

constexpr auto token_characters = [] {
    std::array<bool, 256> table{};
    for (unsigned char c = '0'; c <= '9'; ++c)
        table[c] = true;
    for (unsigned char c = 'a'; c <= 'z'; ++c)
        table[c] = table[c - 'a' + 'A'] = true;
    for (const char c : std::string_view("!#$%&'*+-.^_`|~"))
        table[static_cast<unsigned char>(c)] = true;
    return table;
}();

bool is_plain_value(std::string_view text) noexcept {
    return std::none_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte < ' ' && byte != '\t') || byte == 0x7f;
    });
}

// Whether one of eight bytes is below 0x20 or is 0x7f.
bool has_control(std::uint64_t eight) noexcept {
    constexpr std::uint64_t ones = 0x0101010101010101U;
    constexpr std::uint64_t tops = 0x8080808080808080U;
    const std::uint64_t deleted = eight ^ (ones * 0x7f);
    return ((((eight - ones * 0x20) & ~eight) | ((deleted - ones) & ~deleted)) & tops) != 0;
}

bool is_one_of(std::string_view name, std::span<const std::string_view> list) noexcept {
    return std::any_of(list.begin(), list.end(),
                       [&](std::string_view other) { return equals_ignoring_case(name, other); });
}

// What the writer itself decides. The lengths sort out nearly every other name.
bool is_framing_name(std::string_view name) noexcept {
    switch (name.size()) {
        case 10: return equals_ignoring_case(name, "connection");
        case 14: return equals_ignoring_case(name, "content-length");
        case 17: return equals_ignoring_case(name, "transfer-encoding");
        default: return false;
    }
}

// RFC 9110 section 6.5.1: nothing that frames, routes, authenticates or describes the content.
constexpr std::array<std::string_view, 13> not_in_trailers{
    "host",       "trailer",       "te",           "expect",           "authorization",
    "set-cookie", "content-type",  "max-forwards", "content-encoding", "content-range",
    "cookie",     "cache-control", "upgrade"};

void append_number(std::string& out, std::uint64_t value) {
    char digits[number_bytes_max];
    out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
    out.append(name).append(": ").append(value).append(line_end);
}

write_error check_field(const header_view& field) noexcept {
    if (!is_token(field.name))
        return write_error::bad_name;
    return is_field_value(field.value) ? write_error::none : write_error::bad_value;
}

void append_length(std::string& out, std::uint64_t bytes) {
    out.append("Content-Length: ");
    append_number(out, bytes);
    out.append(line_end);
}

write_error append_status_line(std::string& out, int status, std::string_view reason) {
    if (status < 100 || status > 599)
        return write_error::bad_status;
    const std::string_view ready = status_line(status);
    if (reason.empty() && !ready.empty()) {
        out.append(ready);
        return write_error::none;
    }
    if (!is_field_value(reason))
        return write_error::bad_reason;
    out.append("HTTP/1.1 ");
    append_number(out, static_cast<std::uint64_t>(status));
    out.append(" ").append(reason.empty() ? reason_phrase(status) : reason).append(line_end);
    return write_error::none;
}

bool is_request_target(std::string_view target) noexcept {
    return !target.empty() && std::all_of(target.begin(), target.end(),
                                          [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
}

bool is_host_value(std::string_view host) noexcept {
    constexpr std::string_view refused = "/?#@\\,\"<>{}|^`";
    return std::all_of(host.begin(), host.end(), [&](char c) {
        return c > ' ' && c < 0x7f && refused.find(c) == std::string_view::npos;
    });
}

char* put(char* out, std::string_view text) noexcept {
    std::memcpy(out, text.data(), text.size());
    return out + text.size();
}

}  // namespace

std::string_view sentence(write_error error) noexcept {
    switch (error) {
        case write_error::none: return "There is no error.";
        case write_error::bad_status: return "The status is not a number from 100 to 599.";
        case write_error::bad_reason: return "The reason phrase holds a control character.";
        case write_error::bad_name: return "A header name is not a token.";
        case write_error::bad_value:
            return "A header value holds a control character or an outer blank.";
        case write_error::framing_header: return "This header is written by the library alone.";
        case write_error::bad_method: return "The method is not a token.";
        case write_error::bad_target:
            return "The request target holds a character that must be escaped.";
        case write_error::bad_host: return "The host holds a character that no host has.";
        case write_error::bad_framing: return "A request body cannot end with the connection.";
        case write_error::out_of_memory: return "There is no memory for the message.";
    }
    return "Unknown error.";
}

bool is_token(std::string_view text) noexcept {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return token_characters[static_cast<unsigned char>(c)];
    });
}

bool is_field_value(std::string_view text) noexcept {
    if (text.empty())
        return true;
    const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
    if (is_blank(text.front()) || is_blank(text.back()))
        return false;
    if (text.size() < 8)
        return is_plain_value(text);
    std::uint64_t eight;
    bool suspect = false;
    for (std::size_t at = 0; at + 8 < text.size(); at += 8) {
        std::memcpy(&eight, text.data() + at, 8);
        suspect |= has_control(eight);
    }
    std::memcpy(&eight, text.data() + text.size() - 8, 8);
    suspect |= has_control(eight);
    return !suspect || is_plain_value(text);
}

response_verdict append_response_head(std::string& out, const response_start& start) {
    const std::size_t before = out.size();
    const auto refuse = [&](write_error error) {
        out.resize(before);
        return response_verdict{error, false, false};
    };
    if (const write_error error = append_status_line(out, start.status, start.reason);
        error != write_error::none)
        return refuse(error);
    bool has_date = false;
    for (const header_view& field : start.headers) {
        if (const write_error error = check_field(field); error != write_error::none)
            return refuse(error);
        if (is_framing_name(field.name) &&
            !(start.status == 101 && equals_ignoring_case(field.name, "connection")))
            return refuse(write_error::framing_header);
        has_date = has_date || equals_ignoring_case(field.name, "date");
        append_field(out, field.name, field.value);
    }
    const bool is_final = start.status >= 200;
    if (is_final && !has_date && !start.date.empty())
        append_field(out, "Date", start.date);

    using kind = body_framing::kind;
    kind how = start.body.how;
    if (how == kind::chunked && start.request_minor == 0)
        how = kind::until_close;
    if (status_forbids_body(start.status))
        how = kind::none;
    else if (how == kind::chunked)
        out.append("Transfer-Encoding: chunked\r\n");
    else if (how != kind::until_close)
        append_length(out, how == kind::sized ? start.body.bytes : 0);

    const bool closes = is_final && (!start.keep_alive || how == kind::until_close);
    if (closes)
        out.append(close_line);
    else if (is_final && start.request_minor == 0)
        out.append(keep_alive_line);
    out.append(line_end);
    return {write_error::none, how == kind::chunked, closes};
}

write_error append_response(std::string& out, const short_response& response) {
    constexpr std::size_t type_bytes_max = 256;
    constexpr std::size_t rest_bytes_max =
        256;  // status line, Date, Content-Length, Connection, labels
    const std::string_view status = status_line(response.status);
    if (status.empty() || status_forbids_body(response.status))
        return write_error::bad_status;
    if (response.content_type.size() > type_bytes_max || !is_field_value(response.content_type))
        return write_error::bad_value;

    char head[type_bytes_max + rest_bytes_max];
    char* at = put(head, status);
    if (response.date.size() == date_bytes) {
        at = put(at, "Date: ");
        at = put(at, {response.date.data(), date_bytes});
        at = put(at, line_end);
    }
    if (!response.content_type.empty()) {
        at = put(at, "Content-Type: ");
        at = put(at, response.content_type);
        at = put(at, line_end);
    }
    at = put(at, "Content-Length: ");
    at = std::to_chars(at, at + number_bytes_max, response.body.size()).ptr;
    at = put(at, line_end);
    if (!response.keep_alive)
        at = put(at, close_line);
    else if (response.request_minor == 0)
        at = put(at, keep_alive_line);
    at = put(at, line_end);
    out.append(head, at);
    if (!response.head_only)
        out.append(response.body);
    return write_error::none;
}

write_error append_request_head(std::string& out, const request_start& start) {
    using kind = body_framing::kind;
    if (!is_token(start.method))
        return write_error::bad_method;
    if (!is_request_target(start.target))
        return write_error::bad_target;
    if (!is_host_value(start.host))
        return write_error::bad_host;
    if (start.body.how == kind::until_close)
        return write_error::bad_framing;
    const std::size_t before = out.size();
    out.append(start.method).append(" ").append(start.target).append(" HTTP/1.1\r\n");
    append_field(out, "Host", start.host);
    for (const header_view& field : start.headers) {
        write_error error = check_field(field);
        if (is_framing_name(field.name) || equals_ignoring_case(field.name, "host"))
            error = write_error::framing_header;
        if (error != write_error::none) {
            out.resize(before);
            return error;
        }
        append_field(out, field.name, field.value);
    }
    if (start.body.how == kind::chunked)
        out.append("Transfer-Encoding: chunked\r\n");
    else if (start.body.how == kind::sized)
        append_length(out, start.body.bytes);
    else if (start.method == "POST" || start.method == "PUT" || start.method == "PATCH")
        append_length(out, 0);
    if (!start.keep_alive)
        out.append(close_line);
    out.append(line_end);
    return write_error::none;
}

void append_chunk_size(std::string& out, std::uint64_t bytes) {
    assert(bytes > 0);
    char digits[number_bytes_max];
    out.append(digits, std::to_chars(digits, digits + sizeof digits, bytes, 16).ptr);
    out.append(line_end);
}

void append_chunk(std::string& out, std::string_view bytes) {
    if (bytes.empty())
        return;
    append_chunk_size(out, bytes.size());
    out.append(bytes).append(line_end);
}

namespace {

// Leading zeros are allowed; eight digits are more than one buffer holds.
constexpr std::string_view size_gap = "00000000\r\n";

}  // namespace

std::size_t begin_chunk(std::string& out) {
    const std::size_t begun = out.size();
    out.append(size_gap);
    return begun;
}

void end_chunk(std::string& out, std::size_t begun) {
    assert(out.size() >= begun + size_gap.size());
    std::uint64_t bytes = out.size() - begun - size_gap.size();
    assert(bytes <= 0xffffffff);
    if (bytes == 0) {
        out.resize(begun);
        return;
    }
    for (std::size_t digit = begun + size_gap.size() - line_end.size(); bytes > 0; bytes >>= 4)
        out[--digit] = "0123456789abcdef"[bytes & 15];
    out.append(line_end);
}

write_error append_last_chunk(std::string& out, std::span<const header_view> trailers) {
    for (const header_view& field : trailers) {
        if (const write_error error = check_field(field); error != write_error::none)
            return error;
        if (is_framing_name(field.name) || is_one_of(field.name, not_in_trailers))
            return write_error::framing_header;
    }
    out.append("0\r\n");
    for (const header_view& field : trailers)
        append_field(out, field.name, field.value);
    out.append(line_end);
    return write_error::none;
}

}  // namespace ringlet::http
