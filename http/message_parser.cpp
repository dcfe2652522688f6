#include "http/message_parser.h"

#include <llhttp.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace ringlet::http::detail {

namespace {

constexpr std::size_t first_fields = 16;
constexpr std::uint16_t connection_flags = F_CONNECTION_KEEP_ALIVE | F_CONNECTION_CLOSE;
constexpr std::string_view head_end = "\r\n\r\n";
constexpr std::string_view version_and_blank = " HTTP/1.1";

bool is_blank(char c) noexcept {
    return c == ' ' || c == '\t';
}

std::string_view trimmed_end(std::string_view text) noexcept {
    while (!text.empty() && is_blank(text.back()))
        text.remove_suffix(1);
    return text;
}

// A piece that adjoins the text before it.
void extend(std::string_view& text, const char* at, std::size_t length) noexcept {
    text = text.data()
               ? std::string_view{text.data(), static_cast<std::size_t>(at + length - text.data())}
               : std::string_view{at, length};
}

bool is_token_character(char c) noexcept {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::strchr("!#$%&'*+-.^_`|~", c) != nullptr;
}

}  // namespace

// llhttp, which calls these, is C: no exception may pass through it.
struct message_parser::callbacks {
    // What `call` makes of the parser; want of memory refuses the message.
    template <class Call>
    static int guarded(llhttp_t* engine, Call call) noexcept {
        message_parser& parser = *static_cast<message_parser*>(engine->data);
        try {
            return call(parser);
        } catch (const std::bad_alloc&) {
            parser.error_ = parse_error::out_of_memory;
            return -1;
        }
    }
    static int span_result(message_parser& parser, parse_error error) noexcept {
        if (error == parse_error::none)
            return HPE_OK;
        parser.error_ = error;
        return HPE_USER;
    }

    static int start_text(llhttp_t* engine, const char* at, std::size_t length) noexcept {
        return guarded(engine, [&](message_parser& parser) {
            return span_result(parser, parser.add_start_text(at, length));
        });
    }
    static int name(llhttp_t* engine, const char* at, std::size_t length) noexcept {
        return guarded(engine, [&](message_parser& parser) {
            return span_result(parser, parser.phase_ == phase::head
                                           ? parser.add_name(at, length)
                                           : parser.add_trailer_name(at, length));
        });
    }
    static int value(llhttp_t* engine, const char* at, std::size_t length) noexcept {
        return guarded(engine, [&](message_parser& parser) {
            return span_result(parser, parser.phase_ == phase::head
                                           ? parser.add_value(at, length)
                                           : parser.add_trailer_value(at, length));
        });
    }
    static int chunk_extension(llhttp_t* engine, const char* at, std::size_t length) noexcept {
        return guarded(engine, [&](message_parser& parser) {
            return span_result(parser, parser.add_chunk_extension(at, length));
        });
    }
    // The separator, which no piece shows.
    static int chunk_extension_name_end(llhttp_t* engine) noexcept {
        return chunk_extension(engine, nullptr, 1) == HPE_OK ? HPE_OK : -1;
    }
    static int body(llhttp_t* engine, const char* at, std::size_t length) noexcept {
        return guarded(engine, [&](message_parser& parser) -> int {
            const int result = span_result(parser, parser.add_body(at, length));
            return result == HPE_OK && parser.pause_asked_ ? HPE_PAUSED : result;
        });
    }
    static int head_complete(llhttp_t* engine) noexcept {
        return guarded(engine, [&](message_parser& parser) -> int {
            parser.phase_ = phase::body;
            parser.connection_flags_ = engine->flags & connection_flags;
            parser.quiet_begin_ = nullptr;
            const bool has_body = parser.head_complete();
            if (!has_body)
                engine->flags |= F_SKIPBODY;
            // A protocol asked for by Upgrade is not spoken before we agree: parsing goes on as
            // HTTP.
            engine->upgrade = 0;
            if (parser.failed())
                return -1;
            // Where chunks follow, the next part begins with them: see end_quiet.
            const bool chunks_follow = has_body && (engine->flags & F_CHUNKED) != 0;
            return parser.pause_asked_ || chunks_follow ? HPE_PAUSED : HPE_OK;
        });
    }
    static int message_complete(llhttp_t* engine) noexcept {
        return guarded(engine, [engine](message_parser& parser) -> int {
            // llhttp obeys a Connection field among the trailers, where it means nothing
            // (RFC 9110 6.5.1), and would refuse the next message.
            engine->flags = static_cast<std::uint16_t>((engine->flags & ~connection_flags) |
                                                       parser.connection_flags_);
            parser.ended_ = true;
            return HPE_PAUSED;
        });
    }

    static constexpr llhttp_settings_t settings = [] {
        llhttp_settings_t table{};
        table.on_url = start_text;
        table.on_status = start_text;
        table.on_header_field = name;
        table.on_header_value = value;
        table.on_chunk_extension_name = chunk_extension;
        table.on_chunk_extension_value = chunk_extension;
        table.on_chunk_extension_name_complete = chunk_extension_name_end;
        table.on_headers_complete = head_complete;
        table.on_body = body;
        table.on_message_complete = message_complete;
        return table;
    }();
};

message_parser::message_parser(kind which, const limits& sizes) noexcept
    : sizes_(sizes), kind_(which) {
    static_assert(sizeof(llhttp_t) <= sizeof engine_ && alignof(llhttp_t) <= 8);
    auto* created = new (engine_.data()) llhttp_t;
    llhttp_init(created, which == kind::request ? HTTP_REQUEST : HTTP_RESPONSE,
                &callbacks::settings);
    created->data = this;
}

llhttp__internal_s& message_parser::engine() noexcept {
    return *std::launder(reinterpret_cast<llhttp_t*>(engine_.data()));
}

void message_parser::begin_head(const char* at) noexcept {
    phase_ = phase::head;
    head_ = at;
    start_text_ = {};
    count_ = 0;
    fields_begin_ = 0;
    extension_bytes_ = 0;
    quiet_bytes_ = 0;
    body_bytes_ = 0;
    carrying_ = false;
    ended_ = false;
    trailer_value_ = true;
    carry_.clear();
    trailer_text_.clear();
    trailers_.clear();
}

std::size_t message_parser::parse_some(std::string_view bytes) try {
    const std::string_view part = phase_ == phase::head ? next_part(bytes) : bytes;
    llhttp_t& state = engine();
    quiet_begin_ = part.data();
    switch (llhttp_execute(&state, part.data(), part.size())) {
        case HPE_OK: error_ = keep_part(part); return part.size();
        case HPE_PAUSED: {
            const char* const end = llhttp_get_error_pos(&state);
            llhttp_resume(&state);
            if (ended_)
                error_ = end_quiet(end, 0);
            if (!failed())
                complete_if_ended();
            return static_cast<std::size_t>(end - part.data());
        }
        default:
            if (!failed())
                error_ = refusal(part.data() + part.size());
            return 0;
    }
} catch (const std::bad_alloc&) {
    error_ = parse_error::out_of_memory;
    return 0;
}

// The head so far, in one run and not beyond its end, so that what follows is parsed where it lies.
std::string_view message_parser::next_part(std::string_view bytes) {
    if (!carrying_)
        return bytes;
    const std::size_t head_bytes_max =
        std::size_t{sizes_.request_line_bytes_max} + sizes_.header_bytes_max + 2 * head_end.size();
    const std::size_t old = carry_.size();
    append_to_carry(bytes.substr(0, head_bytes_max));
    const std::string_view head{carry_.data(), carry_.size()};
    const std::size_t found = head.find(head_end, old - std::min(old, head_end.size() - 1));
    if (found != std::string_view::npos)
        carry_.resize(found + head_end.size());
    return {carry_.data() + old, carry_.size() - old};
}

void message_parser::append_to_carry(std::string_view bytes) {
    const std::size_t needed = carry_.size() + bytes.size();
    if (needed > carry_.capacity()) {
        std::vector<char> grown;
        grown.reserve(std::max(needed, carry_.capacity() * 2));
        grown.assign(carry_.begin(), carry_.end());
        if (carrying_)
            move_head(grown.data());
        carry_.swap(grown);
    }
    carry_.insert(carry_.end(), bytes.begin(), bytes.end());
}

// Requires: the bytes the views point at are still there.
void message_parser::move_head(const char* to) noexcept {
    const auto moved = [&](std::string_view view) {
        return view.data() ? std::string_view{to + distance(view.data()), view.size()} : view;
    };
    start_text_ = moved(start_text_);
    for (std::size_t i = 0; i < count_; ++i)
        fields_[i] = {moved(fields_[i].name), moved(fields_[i].value)};
    head_ = to;
}

// All of `part` is parsed and the message goes on.
parse_error message_parser::keep_part(std::string_view part) {
    if (phase_ != phase::head) {
        quiet_bytes_ = quiet_until(part.data() + part.size());
        return quiet_bytes_ > sizes_.chunk_extension_bytes_max
                   ? parse_error::chunk_extensions_too_large
                   : parse_error::none;
    }
    // Blanks make no event, so that only this stops a head made of them. The line ends are added
    // because the limits are checked without them where there are events.
    const std::size_t size = distance(part.data() + part.size());
    if (fields_begin_ == 0 && size > sizes_.request_line_bytes_max + head_end.size())
        return parse_error::request_line_too_long;
    if (fields_begin_ != 0 && size - fields_begin_ > sizes_.header_bytes_max + head_end.size())
        return parse_error::headers_too_large;
    if (!carrying_) {
        append_to_carry({head_, size});
        move_head(carry_.data());
        carrying_ = true;
    }
    return parse_error::none;
}

// An event of the body, in this part if `at` is not null. What came before it without one must not
// be much, or nothing would bound the zeros before the size of a chunk.
parse_error message_parser::end_quiet(const char* at, std::size_t length) noexcept {
    if (at == nullptr)
        return parse_error::none;
    const std::uint32_t quiet = quiet_until(at);
    quiet_bytes_ = 0;
    quiet_begin_ = at + length;
    return quiet > sizes_.chunk_extension_bytes_max ? parse_error::chunk_extensions_too_large
                                                    : parse_error::none;
}

void message_parser::complete_if_ended() try {
    if (!std::exchange(ended_, false))
        return;
    for (header_view& trailer : trailers_)
        trailer.value = trimmed_end(trailer.value);
    message_complete();
} catch (const std::bad_alloc&) {
    error_ = parse_error::out_of_memory;
}

parse_error message_parser::add_start_text(const char* at, std::size_t length) noexcept {
    extend(start_text_, at, length);
    const std::size_t line =
        distance(at) + length + (kind_ == kind::request ? version_and_blank.size() : 0);
    return line > sizes_.request_line_bytes_max ? parse_error::request_line_too_long
                                                : parse_error::none;
}

parse_error message_parser::check_head_size(const char* end) const noexcept {
    return distance(end) - fields_begin_ > sizes_.header_bytes_max ? parse_error::headers_too_large
                                                                   : parse_error::none;
}

parse_error message_parser::add_name(const char* at, std::size_t length) {
    if (count_ == 0) {
        fields_begin_ = static_cast<std::uint32_t>(distance(at));
    } else if (header_view& last = fields_[count_ - 1]; last.value.data() == nullptr) {
        extend(last.name, at, length);
        return check_head_size(at + length);
    }
    if (count_ == fields_.size()) {
        if (count_ >= sizes_.header_count_max)
            return parse_error::too_many_headers;
        const std::size_t wanted = std::max<std::size_t>(first_fields, 2 * fields_.size());
        fields_.resize(std::min<std::size_t>(wanted, sizes_.header_count_max));
    }
    fields_[count_++] = {{at, length}, {}};
    return check_head_size(at + length);
}

parse_error message_parser::add_value(const char* at, std::size_t length) noexcept {
    extend(fields_[count_ - 1].value, at, length);
    return check_head_size(at + length);
}

std::span<const header_view> message_parser::finish_fields() noexcept {
    for (std::size_t i = 0; i < count_; ++i)
        fields_[i].value = trimmed_end(fields_[i].value);
    return {fields_.data(), count_};
}

parse_error message_parser::add_trailer_name(const char* at, std::size_t length) {
    if (const parse_error error = end_quiet(at, length); error != parse_error::none)
        return error;
    if (trailer_text_.size() + length > sizes_.trailer_bytes_max)
        return parse_error::trailers_too_large;
    if (trailer_text_.capacity() == 0)
        trailer_text_.reserve(sizes_.trailer_bytes_max);
    if (trailer_value_) {
        if (trailers_.size() == sizes_.trailer_count_max)
            return parse_error::trailers_too_large;
        trailers_.emplace_back();
        trailer_value_ = false;
    }
    const char* stored = trailer_text_.data() + trailer_text_.size();
    trailer_text_.insert(trailer_text_.end(), at, at + length);
    extend(trailers_.back().name, stored, length);
    return parse_error::none;
}

parse_error message_parser::add_trailer_value(const char* at, std::size_t length) {
    if (const parse_error error = end_quiet(at, length); error != parse_error::none)
        return error;
    if (trailer_text_.size() + length > sizes_.trailer_bytes_max)
        return parse_error::trailers_too_large;
    trailer_value_ = true;
    const char* stored = trailer_text_.data() + trailer_text_.size();
    trailer_text_.insert(trailer_text_.end(), at, at + length);
    extend(trailers_.back().value, stored, length);
    return parse_error::none;
}

parse_error message_parser::add_chunk_extension(const char* at, std::size_t length) noexcept {
    if (const parse_error error = end_quiet(at, length); error != parse_error::none)
        return error;
    extension_bytes_ += static_cast<std::uint32_t>(length);
    return extension_bytes_ > sizes_.chunk_extension_bytes_max
               ? parse_error::chunk_extensions_too_large
               : parse_error::none;
}

parse_error message_parser::add_body(const char* at, std::size_t length) {
    if (const parse_error error = end_quiet(at, length); error != parse_error::none)
        return error;
    const std::uint64_t room = sizes_.body_bytes_max - body_bytes_;
    const auto accepted = static_cast<std::size_t>(std::min<std::uint64_t>(length, room));
    body_bytes_ += accepted;
    if (accepted > 0)
        sink_->on_body({at, accepted});
    return accepted < length ? parse_error::body_too_large : parse_error::none;
}

bool message_parser::asks_keep_alive() noexcept {
    const llhttp_t& state = engine();
    if (state.flags & F_CONNECTION_CLOSE)
        return false;
    return state.http_minor > 0 || (state.flags & F_CONNECTION_KEEP_ALIVE);
}

parse_error message_parser::check_version() noexcept {
    return engine().http_major == 1 && engine().http_minor <= 1 ? parse_error::none
                                                                : parse_error::unsupported_version;
}

parse_error message_parser::check_transfer_coding(const header_view* field) noexcept {
    // Not asked of the flags of llhttp, which overlook an empty value.
    if (!field)
        return parse_error::none;
    if (engine().http_minor == 0)
        return parse_error::chunked_on_1_0;
    // What llhttp does not read in chunks, because a tab follows the word, must not pass for it.
    const bool chunked =
        equals_ignoring_case(field->value, "chunked") && (engine().flags & F_CHUNKED) != 0;
    return chunked ? parse_error::none : parse_error::unsupported_transfer_coding;
}

// llhttp's reasons in our words. `end` is the end of what it was given.
parse_error message_parser::refusal(const char* end) noexcept {
    const llhttp_t& state = engine();
    switch (state.error) {
        case HPE_INVALID_METHOD:
            return state.error_pos < end && is_token_character(*state.error_pos)
                       ? parse_error::unknown_method
                       : parse_error::bad_method;
        case HPE_INVALID_URL: return parse_error::bad_target;
        case HPE_PAUSED_H2_UPGRADE: return parse_error::unsupported_version;
        case HPE_INVALID_VERSION:
            return std::strcmp(state.reason, "Invalid HTTP version") == 0
                       ? parse_error::unsupported_version
                       : parse_error::bad_version;
        case HPE_INVALID_HEADER_TOKEN:
        case HPE_UNEXPECTED_SPACE: return parse_error::bad_header;
        case HPE_INVALID_STATUS: return parse_error::bad_status_line;
        case HPE_INVALID_CHUNK_SIZE: return parse_error::bad_chunk;
        case HPE_UNEXPECTED_CONTENT_LENGTH:
        case HPE_INVALID_CONTENT_LENGTH:
            return state.flags & F_TRANSFER_ENCODING ? parse_error::conflicting_framing
                                                     : parse_error::bad_content_length;
        case HPE_INVALID_TRANSFER_ENCODING:
            return state.flags & F_CONTENT_LENGTH ? parse_error::conflicting_framing
                                                  : parse_error::unsupported_transfer_coding;
        default: break;
    }
    if (phase_ == phase::body)
        return state.flags & F_TRAILING ? parse_error::bad_header : parse_error::bad_chunk;
    if (fields_begin_ > 0)
        return parse_error::bad_header;
    if (kind_ == kind::response)
        return parse_error::bad_status_line;
    return state.error == HPE_INVALID_CONSTANT ? parse_error::bad_version : parse_error::bad_syntax;
}

}  // namespace ringlet::http::detail
