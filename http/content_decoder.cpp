#include "http/content_decoder.h"

#include "http/headers.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>

namespace ringlet::http {

namespace {

constexpr int window_bits_max = 15;
constexpr int gzip_wrapped = window_bits_max + 16;
constexpr unsigned char gzip_first_byte = 0x1f;

std::string_view trimmed(std::string_view text) noexcept {
    const std::size_t first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos)
        return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// The two bytes of a zlib wrapper: method 8, window of at most 32 KiB, and a checksum of their own.
bool is_zlib_wrapper(unsigned first, unsigned second) noexcept {
    return (first & 0x0f) == 8 && (first >> 4) <= 7 && (first * 256 + second) % 31 == 0;
}

}  // namespace

std::string_view sentence(decode_error error) noexcept {
    switch (error) {
        case decode_error::none: return "There is no error.";
        case decode_error::unsupported_coding:
            return "The body has a content coding nobody asked for.";
        case decode_error::corrupt: return "The compressed body is corrupt.";
        case decode_error::truncated: return "The compressed body ends too early.";
        case decode_error::trailing_garbage:
            return "The compressed body is followed by other bytes.";
        case decode_error::too_large: return "The decoded body is larger than the limit.";
        case decode_error::out_of_memory: return "There is no memory to decompress the body.";
    }
    return "Unknown error.";
}

content_decoder::content_decoder() noexcept = default;

content_decoder::~content_decoder() {
    if (stream_)
        inflateEnd(stream_.get());
}

decode_error content_decoder::open(std::string_view content_encoding, std::uint64_t bytes_out_max) {
    const std::string_view name = trimmed(content_encoding);
    bytes_in_ = bytes_out_ = 0;
    bytes_out_max_ = bytes_out_max;
    inside_ = ended_ = holding_ = false;
    coding_ = coding::identity;
    error_ = decode_error::none;
    if (equals_ignoring_case(name, "gzip") || equals_ignoring_case(name, "x-gzip"))
        coding_ = coding::gzip;
    else if (equals_ignoring_case(name, "deflate"))
        coding_ = coding::deflate;
    else if (!name.empty() && !equals_ignoring_case(name, "identity"))
        error_ = decode_error::unsupported_coding;
    return error_;
}

std::size_t content_decoder::decode(std::string_view& input, std::span<char> output) {
    std::size_t written = 0;
    bool progress = true;
    while (error_ == decode_error::none && written < output.size() && progress) {
        if (coding_ != coding::identity && !inside_ && !begin_member(input))
            break;
        const std::size_t input_before = input.size();
        const std::size_t output_before = written;
        const bool held_before = holding_;
        if (coding_ == coding::identity)
            written += copy_some(input, output.subspan(written));
        else
            written += inflate_some(input, output.subspan(written));
        progress =
            input.size() < input_before || written > output_before || holding_ != held_before;
    }
    return written;
}

std::size_t content_decoder::copy_some(std::string_view& input, std::span<char> output) {
    const std::uint64_t room = bytes_out_max_ - bytes_out_;
    const std::size_t bytes = std::min(input.size(), output.size());
    if (bytes > room)
        error_ = decode_error::too_large;
    const auto copied = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, room));
    std::copy_n(input.data(), copied, output.data());
    input.remove_prefix(copied);
    bytes_in_ += copied;
    bytes_out_ += copied;
    return copied;
}

// Returns false when more input is needed first, or on an error.
bool content_decoder::begin_member(std::string_view& input) {
    if (input.empty())
        return false;
    const auto first = static_cast<unsigned char>(input.front());
    // RFC 1952 lets members follow one another; anything else after the end is not ours.
    if (ended_ && (coding_ == coding::deflate || first != gzip_first_byte)) {
        error_ = decode_error::trailing_garbage;
        return false;
    }
    if (coding_ == coding::gzip)
        return start_inflate(gzip_wrapped);
    if (!holding_) {
        held_ = first;
        holding_ = true;
        input.remove_prefix(1);
        ++bytes_in_;
        if (input.empty())
            return false;
    }
    const auto second = static_cast<unsigned char>(input.front());
    return start_inflate(is_zlib_wrapper(held_, second) ? window_bits_max : -window_bits_max);
}

bool content_decoder::start_inflate(int window_bits) {
    int result = Z_OK;
    if (stream_) {
        result = inflateReset2(stream_.get(), window_bits);
    } else {
        stream_ = std::make_unique<z_stream>();
        result = inflateInit2(stream_.get(), window_bits);
        if (result != Z_OK)
            stream_.reset();
    }
    if (result != Z_OK) {
        error_ = decode_error::out_of_memory;
        return false;
    }
    inside_ = true;
    ended_ = false;
    return true;
}

std::size_t content_decoder::inflate_some(std::string_view& input, std::span<char> output) {
    constexpr std::size_t once_max = std::numeric_limits<uInt>::max();
    const std::uint64_t room = bytes_out_max_ - bytes_out_;
    // At the limit one more byte is asked for: if it comes, the limit is passed.
    char beyond;
    if (room == 0)
        output = {&beyond, 1};
    else if (output.size() > room)
        output = output.first(static_cast<std::size_t>(room));
    if (output.size() > once_max)
        output = output.first(once_max);

    const std::string_view held{reinterpret_cast<const char*>(&held_), 1};
    const std::string_view given = holding_ ? held : input.substr(0, once_max);
    stream_->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(given.data()));  // only read
    stream_->avail_in = static_cast<uInt>(given.size());
    stream_->next_out = reinterpret_cast<Bytef*>(output.data());
    stream_->avail_out = static_cast<uInt>(output.size());
    const int result = inflate(stream_.get(), Z_NO_FLUSH);
    const std::size_t taken = given.size() - stream_->avail_in;
    const std::size_t written = output.size() - stream_->avail_out;
    if (holding_) {
        holding_ = taken == 0;
    } else {
        input.remove_prefix(taken);
        bytes_in_ += taken;
    }

    if (result == Z_STREAM_END) {
        inside_ = false;
        ended_ = true;
    } else if (result == Z_MEM_ERROR) {
        error_ = decode_error::out_of_memory;
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
        error_ = decode_error::corrupt;
    }
    if (room == 0 && written > 0) {
        error_ = decode_error::too_large;
        return 0;
    }
    bytes_out_ += written;
    return written;
}

decode_error content_decoder::append(std::string_view input, std::string& out) {
    std::array<char, 16 * 1024> buffer;
    std::size_t written = 0;
    do {
        written = decode(input, buffer);
        out.append(buffer.data(), written);
    } while (written == buffer.size() && error_ == decode_error::none);
    return error_;
}

decode_error content_decoder::finish() noexcept {
    if (error_ == decode_error::none && coding_ != coding::identity && bytes_in_ > 0 && !ended_)
        error_ = decode_error::truncated;
    return error_;
}

}  // namespace ringlet::http
