// Undoes the Content-Encoding of a body as it arrives: gzip, deflate (zlib-wrapped, and raw as
// some servers send it) and identity, through zlib. A limit on the bytes that come out stops
// bombs. Sans-I/O: the caller owns input and output. After an error the decoder stays failed until
// the next open(). One thread; the memory of zlib is taken at the first byte of a compressed body
// and kept for the next one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct z_stream_s;

namespace ringlet::http {

enum class decode_error : std::uint8_t {
    none,
    unsupported_coding,
    corrupt,
    truncated,
    trailing_garbage,
    too_large,
    out_of_memory,
};

[[nodiscard]] std::string_view sentence(decode_error error) noexcept;

// What this decoder understands, for the request.
inline constexpr std::string_view accept_encoding = "gzip, deflate";

class content_decoder {
public:
    content_decoder() noexcept;
    ~content_decoder();
    content_decoder(const content_decoder&) = delete;
    content_decoder& operator=(const content_decoder&) = delete;

    // Begins a body. `content_encoding` is the header's value (empty: identity). One coding at a
    // time: a chain such as "gzip, gzip" is refused.
    [[nodiscard]] decode_error open(std::string_view content_encoding, std::uint64_t bytes_out_max);

    // Whether the body passes through unchanged (the caller may then skip decode and count itself).
    [[nodiscard]] bool identity() const noexcept { return coding_ == coding::identity; }

    // Takes input from the front of `input` and fills `output` from its front. Returns the bytes
    // written, which are good even when error() is set after it. Call again while the output was
    // filled.
    std::size_t decode(std::string_view& input, std::span<char> output);

    // All of `input` at once, appended to `out`: the simple way for small bodies.
    [[nodiscard]] decode_error append(std::string_view input, std::string& out);

    // The body has ended. An empty body is no body and no error, whatever its coding.
    [[nodiscard]] decode_error finish() noexcept;

    [[nodiscard]] decode_error error() const noexcept { return error_; }
    [[nodiscard]] std::uint64_t bytes_in() const noexcept { return bytes_in_; }
    [[nodiscard]] std::uint64_t bytes_out() const noexcept { return bytes_out_; }

private:
    enum class coding : std::uint8_t { identity, gzip, deflate };

    bool begin_member(std::string_view& input);
    bool start_inflate(int window_bits);
    std::size_t copy_some(std::string_view& input, std::span<char> output);
    std::size_t inflate_some(std::string_view& input, std::span<char> output);

    std::unique_ptr<z_stream_s> stream_;
    std::uint64_t bytes_in_ = 0;
    std::uint64_t bytes_out_ = 0;
    std::uint64_t bytes_out_max_ = 0;
    coding coding_ = coding::identity;
    decode_error error_ = decode_error::none;
    bool inside_ = false;   // of a gzip member or of the one deflate stream
    bool ended_ = false;    // at least one of them is complete
    bool holding_ = false;  // the first byte of a deflate stream waits for the second
    unsigned char held_ = 0;
};

}  // namespace ringlet::http
