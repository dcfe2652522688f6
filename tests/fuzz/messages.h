// What the fuzz targets of the HTTP parsers share: limits small enough for short inputs to reach,
// sinks that check them and print what they hear as a message that must be understood the same,
// and the comparison of every way to cut the bytes. On a difference the program ends.
#pragma once

#include <algorithm>
#include <functional>

#include "http/writer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/http/recorder.h"

namespace ringlet::fuzz {

inline http::limits small_limits() {
    http::limits sizes;
    sizes.request_line_bytes_max = 200;
    sizes.header_bytes_max = 400;
    sizes.header_count_max = 8;
    sizes.trailer_bytes_max = 100;
    sizes.trailer_count_max = 3;
    sizes.chunk_extension_bytes_max = 50;
    sizes.informational_max = 2;
    sizes.body_bytes_max = 300;
    return sizes;
}

inline void check_fields(std::span<const http::header_view> fields, std::size_t count_max,
                         std::size_t bytes_max) {
    REQUIRE(fields.size() <= count_max);
    std::size_t bytes = 0;
    for (const http::header_view& field : fields) {
        CHECK(http::is_token(field.name));
        for (const char c : field.value) {
            CHECK((c == '\t' || static_cast<unsigned char>(c) >= ' '));
            CHECK(c != 0x7f);
        }
        bytes += field.name.size() + field.value.size();
    }
    CHECK(bytes <= bytes_max);
}

// A sink that appends each message as it is understood to `text`. `Recorder` hears the same.
template <class Recorder>
class printer : public Recorder {
public:
    explicit printer(const http::limits& sizes) : sizes_(sizes) {}

    std::string text;

    void on_body(std::string_view bytes) override {
        Recorder::on_body(bytes);
        body_bytes_ += bytes.size();
        CHECK(body_bytes_ <= sizes_.body_bytes_max);
        if (chunked_) {
            http::append_chunk(text, bytes);
        } else {
            text.append(bytes);
        }
    }
    void on_complete(std::span<const http::header_view> trailers) override {
        Recorder::on_complete(trailers);
        check_fields(trailers, sizes_.trailer_count_max, sizes_.trailer_bytes_max);
        if (chunked_) {
            text.append("0\r\n");
            print_fields(trailers);
        }
        CHECK((!announced_ || *announced_ == body_bytes_));
    }

protected:
    void begin(std::string_view start_line, std::span<const http::header_view> fields, bool chunked,
               std::optional<std::uint64_t> body_bytes) {
        check_fields(fields, sizes_.header_count_max, sizes_.header_bytes_max);
        text.append(start_line).append("\r\n");
        print_fields(fields);
        chunked_ = chunked;
        announced_ = body_bytes;
        body_bytes_ = 0;
    }

    const http::limits& sizes_;

private:
    void print_fields(std::span<const http::header_view> fields) {
        for (const http::header_view& field : fields) {
            text.append(field.name).append(": ").append(field.value).append("\r\n");
        }
        text.append("\r\n");
    }

    bool chunked_ = false;
    std::optional<std::uint64_t> announced_;
    std::uint64_t body_bytes_ = 0;
};

using http::test::outcome;
using run_message = std::function<outcome(std::string_view, std::vector<std::size_t>, bool)>;

// Of two things wrong at once, either may be seen first: a limit passed, a line malformed.
inline bool same_verdict(http::parse_error first, http::parse_error second) {
    return first == second ||
           (first != http::parse_error::none && second != http::parse_error::none);
}

// The outcome, which must be the same however the bytes are cut and wherever the sink pauses.
inline outcome check_cuts(std::string_view bytes, const run_message& run) {
    const outcome whole = run(bytes, {}, false);
    bool pausing = true;
    for (std::vector<std::size_t>& ends : ways_to_cut(bytes.size())) {
        ends.pop_back();
        const outcome cut = run(bytes, ends, pausing);
        CHECK(cut.log == whole.log);
        CHECK(same_verdict(cut.error, whole.error));
        CHECK(same_verdict(cut.error_at_end, whole.error_at_end));
        CHECK(cut.keep_alive == whole.keep_alive);
        pausing = !pausing;
    }
    return whole;
}

}  // namespace ringlet::fuzz
