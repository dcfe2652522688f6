#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "http/content_decoder.h"

using namespace ringlet::http;

namespace {

constexpr int gzip_bits = 15 + 16;
constexpr int zlib_bits = 15;
constexpr int raw_bits = -15;
constexpr std::uint64_t plenty = 1 << 30;

std::string compressed(std::string_view text, int window_bits, int level = 6) {
    z_stream stream{};
    REQUIRE(deflateInit2(&stream, level, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string out(deflateBound(&stream, text.size()) + 64, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(out.size() - stream.avail_out);
    deflateEnd(&stream);
    return out;
}

std::string sample_text() {
    std::mt19937 random(1);
    std::string text;
    for (int i = 0; i < 3000; ++i)
        text += "word" + std::to_string(random() % 500) + (i % 12 == 0 ? "\n" : " ");
    return text;
}

struct decoded {
    std::string text;
    decode_error error = decode_error::none;
};

// Pieces of input and room for output of the given sizes.
decoded decode_in_pieces(content_decoder& decoder, std::string_view input, std::size_t in_bytes,
                         std::size_t out_bytes) {
    decoded result;
    std::vector<char> room(out_bytes);
    while (!input.empty() && decoder.error() == decode_error::none) {
        std::string_view piece = input.substr(0, in_bytes);
        input.remove_prefix(piece.size());
        std::size_t written = 0;
        do {
            written = decoder.decode(piece, room);
            result.text.append(room.data(), written);
        } while (written == room.size() && decoder.error() == decode_error::none);
        if (decoder.error() == decode_error::none)
            CHECK(piece.empty());
    }
    result.error = decoder.finish();
    return result;
}

decoded decode_all(std::string_view coding, std::string_view input, std::uint64_t limit = plenty) {
    content_decoder decoder;
    decoded result;
    if (decoder.open(coding, limit) == decode_error::none)
        (void)decoder.append(input, result.text);
    result.error = decoder.finish();
    return result;
}

}  // namespace

TEST_CASE("gzip, deflate in both forms and identity are undone") {
    const std::string text = sample_text();
    for (const int level : {0, 1, 9}) {
        CHECK(decode_all("gzip", compressed(text, gzip_bits, level)).text == text);
        CHECK(decode_all("X-GZip", compressed(text, gzip_bits, level)).text == text);
        CHECK(decode_all("deflate", compressed(text, zlib_bits, level)).text == text);
        CHECK(decode_all(" Deflate\t", compressed(text, raw_bits, level)).text == text);
    }
    CHECK(decode_all("", text).text == text);
    CHECK(decode_all("identity", text).text == text);
    CHECK(decode_all("gzip", compressed("", gzip_bits)).error == decode_error::none);
    CHECK(decode_all("deflate", compressed("", raw_bits)).error == decode_error::none);
}

TEST_CASE("the pieces of input and output change nothing") {
    const std::string text = sample_text().substr(0, 4000);
    content_decoder decoder;
    for (const int bits : {gzip_bits, zlib_bits, raw_bits}) {
        const std::string input = compressed(text, bits);
        for (const std::size_t in_bytes : {1U, 2U, 3U, 7U, 100'000U})
            for (const std::size_t out_bytes : {1U, 5U, 64U, 4000U, 4001U}) {
                REQUIRE(decoder.open(bits == gzip_bits ? "gzip" : "deflate", plenty) ==
                        decode_error::none);
                const decoded result = decode_in_pieces(decoder, input, in_bytes, out_bytes);
                CHECK(result.error == decode_error::none);
                CHECK(result.text == text);
                CHECK(decoder.bytes_in() == input.size());
                CHECK(decoder.bytes_out() == text.size());
            }
    }
}

TEST_CASE("gzip members that follow one another are one body") {
    const std::string input = compressed("first ", gzip_bits) + compressed("second", gzip_bits);
    content_decoder decoder;
    for (const std::size_t in_bytes : {1U, 3U, 1000U}) {
        REQUIRE(decoder.open("gzip", plenty) == decode_error::none);
        const decoded result = decode_in_pieces(decoder, input, in_bytes, 4);
        CHECK(result.text == "first second");
        CHECK(result.error == decode_error::none);
    }
    CHECK(decode_all("gzip", input.substr(0, input.size() - 1)).error == decode_error::truncated);
}

TEST_CASE("a body cut at any place is truncated, but an empty one is no body") {
    for (const int bits : {gzip_bits, zlib_bits, raw_bits}) {
        const std::string coding = bits == gzip_bits ? "gzip" : "deflate";
        const std::string input = compressed("a text that is short but not empty", bits);
        for (std::size_t size = 1; size < input.size(); ++size)
            CHECK(decode_all(coding, input.substr(0, size)).error == decode_error::truncated);
        CHECK(decode_all(coding, "").error == decode_error::none);
    }
}

TEST_CASE("bytes after the end are reported, after what came before them") {
    for (const int bits : {gzip_bits, zlib_bits, raw_bits}) {
        const decoded result =
            decode_all(bits == gzip_bits ? "gzip" : "deflate", compressed("text", bits) + "x");
        CHECK(result.text == "text");
        CHECK(result.error == decode_error::trailing_garbage);
    }
    CHECK(decode_all("gzip", compressed("text", gzip_bits) + std::string(3, '\0')).error ==
          decode_error::trailing_garbage);
}

TEST_CASE("corrupt bodies are refused") {
    CHECK(decode_all("gzip", "this is plain text").error == decode_error::corrupt);
    CHECK(decode_all("deflate", "\xff\xff\xff\xff").error == decode_error::corrupt);
    std::string wrong_sum = compressed("some text", gzip_bits);
    wrong_sum[wrong_sum.size() - 6] ^= 1;
    CHECK(decode_all("gzip", wrong_sum).error == decode_error::corrupt);
    std::string needs_dictionary = "\x78\xbb";
    CHECK(decode_all("deflate", needs_dictionary + std::string(8, 'd')).error ==
          decode_error::corrupt);
    std::mt19937 random(3);
    const std::string input = compressed(sample_text().substr(0, 2000), gzip_bits);
    for (int round = 0; round < 500; ++round) {
        std::string damaged = input;
        damaged[random() % damaged.size()] = static_cast<char>(random());
        const decoded result = decode_all("gzip", damaged, 10'000);
        CHECK(result.text.size() <= 10'000);
    }
}

TEST_CASE("a body at the limit passes, and a bomb stops there") {
    const std::string zeros(10'000'000, '\0');
    for (const int bits : {gzip_bits, zlib_bits, raw_bits}) {
        const std::string coding = bits == gzip_bits ? "gzip" : "deflate";
        const std::string bomb = compressed(zeros, bits);
        CHECK(bomb.size() < 20'000);
        const decoded whole = decode_all(coding, bomb, zeros.size());
        CHECK(whole.error == decode_error::none);
        CHECK(whole.text.size() == zeros.size());
        const decoded stopped = decode_all(coding, bomb, 100'000);
        CHECK(stopped.error == decode_error::too_large);
        CHECK(stopped.text.size() == 100'000);
        CHECK(decode_all(coding, bomb, zeros.size() - 1).error == decode_error::too_large);
        CHECK(decode_all(coding, bomb, 0).error == decode_error::too_large);
    }
    CHECK(decode_all("", "12345", 5).error == decode_error::none);
    const decoded plain = decode_all("", "123456", 5);
    CHECK(plain.error == decode_error::too_large);
    CHECK(plain.text == "12345");
    std::string members;
    for (int i = 0; i < 100; ++i)
        members += compressed("1234567890", gzip_bits);
    CHECK(decode_all("gzip", members, 1000).error == decode_error::none);
    CHECK(decode_all("gzip", members, 999).error == decode_error::too_large);
}

TEST_CASE("codings nobody asked for and chains are refused") {
    for (const std::string_view coding :
         {"br", "zstd", "compress", "gzip, gzip", "gzip, identity", "gzip;q=1", ",", "gzipx"}) {
        content_decoder decoder;
        CHECK(decoder.open(coding, plenty) == decode_error::unsupported_coding);
        std::string out;
        CHECK(decoder.append("x", out) == decode_error::unsupported_coding);
        CHECK(out.empty());
    }
}

TEST_CASE("a decoder is used again after anything") {
    content_decoder decoder;
    std::string out;
    CHECK(decoder.open("gzip", 3) == decode_error::none);
    CHECK(decoder.append(compressed("text", gzip_bits), out) == decode_error::too_large);
    for (const std::string_view coding : {"deflate", "gzip", "", "deflate"}) {
        out.clear();
        REQUIRE(decoder.open(coding, plenty) == decode_error::none);
        CHECK(decoder.identity() == coding.empty());
        const std::string input =
            coding.empty() ? "text" : compressed("text", coding == "gzip" ? gzip_bits : raw_bits);
        CHECK(decoder.append(input, out) == decode_error::none);
        CHECK(decoder.finish() == decode_error::none);
        CHECK(out == "text");
    }
    for (int code = 0; code <= static_cast<int>(decode_error::out_of_memory); ++code)
        CHECK(sentence(static_cast<decode_error>(code)).ends_with("."));
}
