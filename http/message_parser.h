// What the two parsers share: llhttp, the head as views, the limits, body and trailers. Only they
// use it. A head that comes in one feed is never copied: the views point into the fed bytes. When
// a feed ends inside a head, the head so far moves into `carry_` and every view with it; the rest
// of the head is appended there before it is parsed, so that a head is always one run of bytes.
// Trailers are rare and are always copied.
#pragma once

#include "http/headers.h"
#include "http/limits.h"
#include "http/parse_error.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

struct llhttp__internal_s;

namespace ringlet::http {

// An event may throw std::bad_alloc and nothing else: the message then fails with out_of_memory.
class message_events {
public:
    // A piece of the body, never empty, chunk framing removed; a view into the fed bytes.
    virtual void on_body(std::string_view bytes) = 0;
    // The message has ended. The views are valid until the next head or the next feed.
    virtual void on_complete(std::span<const header_view> trailers) = 0;

protected:
    ~message_events() = default;
};

namespace detail {

class message_parser {
public:
    message_parser(const message_parser&) = delete;
    message_parser& operator=(const message_parser&) = delete;

    [[nodiscard]] parse_error error() const noexcept { return error_; }
    [[nodiscard]] bool failed() const noexcept { return error_ != parse_error::none; }

    // From inside an event: feed returns right after it. The next feed continues there; it must be
    // called even when no byte is left, because an event may still be due.
    void pause() noexcept { pause_asked_ = true; }
    // The last feed stopped at pause(): the next one continues.
    [[nodiscard]] bool paused() const noexcept { return pause_asked_; }

protected:
    enum class kind : std::uint8_t { request, response };
    enum class phase : std::uint8_t { between, head, body, ended };

    message_parser(kind which, const limits& sizes) noexcept;
    ~message_parser() = default;

    // The head is whole: check it and tell the sink. Sets error_ to refuse it. Returns false when
    // no body follows, whatever the head says.
    virtual bool head_complete() = 0;
    // The message is over: set phase_, tell the sink.
    virtual void message_complete() = 0;
    // To be called where llhttp has paused: tells the end of the message if that is why.
    void complete_if_ended();

    void begin_head(const char* at) noexcept;
    // Parses the front of `bytes`, to the end of the message at most. Returns the bytes consumed.
    std::size_t parse_some(std::string_view bytes);

    // The views of the head that head_complete may give away.
    [[nodiscard]] const char* head_begin() const noexcept { return head_; }
    [[nodiscard]] std::string_view start_text() const noexcept { return start_text_; }
    [[nodiscard]] std::span<const header_view> finish_fields() noexcept;
    [[nodiscard]] std::span<const header_view> trailers() const noexcept { return trailers_; }

    // What llhttp has understood of the head.
    [[nodiscard]] llhttp__internal_s& engine() noexcept;
    [[nodiscard]] bool asks_keep_alive() noexcept;
    // HTTP/1.0 or HTTP/1.1; of Transfer-Encoding (the first field or nullptr) one single "chunked",
    // and that on HTTP/1.1 only.
    [[nodiscard]] parse_error check_version() noexcept;
    [[nodiscard]] parse_error check_transfer_coding(const header_view* field) noexcept;

    const limits& sizes_;
    message_events* sink_ = nullptr;
    phase phase_ = phase::between;
    parse_error error_ = parse_error::none;
    bool pause_asked_ = false;

private:
    struct callbacks;

    [[nodiscard]] std::size_t distance(const char* at) const noexcept {
        return static_cast<std::size_t>(at - head_);
    }
    parse_error add_start_text(const char* at, std::size_t length) noexcept;
    parse_error add_name(const char* at, std::size_t length);
    parse_error add_value(const char* at, std::size_t length) noexcept;
    parse_error add_trailer_name(const char* at, std::size_t length);
    parse_error add_trailer_value(const char* at, std::size_t length);
    parse_error add_chunk_extension(const char* at, std::size_t length) noexcept;
    parse_error add_body(const char* at, std::size_t length);
    parse_error check_head_size(const char* end) const noexcept;
    std::string_view next_part(std::string_view bytes);
    void append_to_carry(std::string_view bytes);
    void move_head(const char* to) noexcept;
    parse_error keep_part(std::string_view part);
    [[nodiscard]] std::uint32_t quiet_until(const char* at) const noexcept {
        return quiet_bytes_ +
               (quiet_begin_ != nullptr ? static_cast<std::uint32_t>(at - quiet_begin_) : 0);
    }
    parse_error end_quiet(const char* at, std::size_t length) noexcept;
    parse_error refusal(const char* end) noexcept;

    const char* head_ = nullptr;
    std::string_view start_text_;      // the target of a request, the reason of a response
    std::vector<header_view> fields_;  // the first count_ are in use
    std::uint32_t count_ = 0;
    std::uint32_t fields_begin_ = 0;  // offset of the first field line; 0 while in the start line
    std::uint32_t extension_bytes_ = 0;
    // Bytes of a body in a row without any event (leading zeros of a chunk's size): those of
    // earlier parts, and where those of this one begin.
    std::uint32_t quiet_bytes_ = 0;
    const char* quiet_begin_ = nullptr;
    std::uint64_t body_bytes_ = 0;
    std::uint16_t connection_flags_ = 0;  // what the head said of persistence, for llhttp
    kind kind_;
    bool carrying_ = false;
    bool ended_ = false;          // the message's end has been parsed, and not been told yet
    bool trailer_value_ = false;  // the last piece of a trailer was of its value
    std::vector<char> carry_;
    std::vector<char> trailer_text_;  // reserved once, so that the views stay where they are
    std::vector<header_view> trailers_;
    alignas(8) std::array<std::byte, 128> engine_;
};

}  // namespace detail

}  // namespace ringlet::http
