// Content codings: the same bytes and the same error however input and output are cut, never more
// than the limit, and what zlib packed is unpacked to what it was.
#include "http/content_decoder.h"

#include <zlib.h>

#include "tests/fuzz/fuzz.h"

namespace ringlet::fuzz {
namespace {

constexpr std::uint64_t bytes_out_max = 20'000;

struct decoded {
    std::string bytes;
    http::decode_error error = http::decode_error::none;
};

decoded decode(std::string_view input, std::string_view coding,
               const std::vector<std::size_t>& ends, std::size_t room) {
    http::content_decoder decoder;
    REQUIRE(decoder.open(coding, bytes_out_max) == http::decode_error::none);
    std::string out(room, '\0');
    decoded result;
    feed_cut(input, ends, [&](std::string_view piece) {
        std::size_t got = room;
        while (decoder.error() == http::decode_error::none && (!piece.empty() || got == room)) {
            got = decoder.decode(piece, out);
            REQUIRE(got <= room);
            result.bytes.append(out, 0, got);
        }
    });
    result.error = decoder.finish();
    CHECK(decoder.bytes_out() == result.bytes.size());
    CHECK(result.bytes.size() <= bytes_out_max);
    return result;
}

std::string packed(std::string_view bytes, int window_bits) {
    z_stream stream = {};
    REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

void check_cuts(std::string_view input, std::string_view coding, const decoded& whole) {
    std::size_t room = 1;
    for (const std::vector<std::size_t>& ends : ways_to_cut(input.size())) {
        const decoded cut = decode(input, coding, ends, room);
        CHECK(cut.bytes == whole.bytes);
        CHECK(sentence(cut.error) == sentence(whole.error));
        room = room * 3 % 1000 + 1;
    }
}

}  // namespace

void fuzz(std::string_view input) {
    constexpr std::string_view codings[] = {"gzip", "deflate", "identity"};
    constexpr int windows[] = {31, 15, -15};
    const std::size_t kind = take_choice(input, std::size(windows));
    const std::string_view coding = codings[kind];
    check_cuts(input, coding, decode(input, coding, {input.size()}, bytes_out_max));

    const std::string body = packed(input, windows[kind]);
    const decoded back = decode(body, kind == 0 ? "gzip" : "deflate", {body.size()}, 4096);
    CHECK(back.error == http::decode_error::none);
    CHECK(back.bytes == input);
    check_cuts(body, kind == 0 ? "gzip" : "deflate", back);
}

}  // namespace ringlet::fuzz
