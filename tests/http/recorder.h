// What the parser tests share: sinks that write every event down as text, ways to feed the same
// bytes in different pieces, and the reader of the vector tables in tests/data. Every piece is fed
// from a block of its own size that is freed afterwards, so that ASan sees a view that lives too
// long. Pieces of one body are written as one, so that equal messages give equal texts.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "http/request_parser.h"
#include "http/response_parser.h"

namespace ringlet::http::test {

inline std::string fields_text(std::span<const header_view> fields) {
    std::string text;
    for (const header_view& field : fields)
        text.append(" [").append(field.name).append("=").append(field.value).append("]");
    return text;
}

// When `pauses` is set, every event asks for a pause.
class request_recorder : public request_events {
public:
    std::string log;
    request_parser* pauses = nullptr;
    int heads = 0;
    int completes = 0;

    void on_head(const request_head& head) override {
        ++heads;
        log.append("HEAD ").append(head.method_text()).append(" ").append(head.target);
        log.append(" path=").append(head.path).append(" query=").append(head.query);
        log.append(" host=").append(head.host).append(" 1.");
        log.append(std::to_string(head.version_minor));
        log.append(head.keep_alive ? " keep" : " close");
        if (head.has_body)
            log.append(head.chunked ? " chunked" : " " + std::to_string(head.content_length));
        log.append(head.expect_continue ? " expects" : "").append(head.upgrade ? " upgrade" : "");
        log.append(fields_text(head.headers)).append("\n");
        seen();
    }
    void on_body(std::string_view bytes) override {
        CHECK_FALSE(bytes.empty());
        log.append(in_body_ ? "" : "BODY ").append(bytes);
        in_body_ = true;
        if (pauses)
            pauses->pause();
    }
    void on_complete(std::span<const header_view> trailers) override {
        ++completes;
        log.append(in_body_ ? "\n" : "").append("END").append(fields_text(trailers)).append("\n");
        seen();
    }

private:
    void seen() {
        in_body_ = false;
        if (pauses)
            pauses->pause();
    }

    bool in_body_ = false;
};

class response_recorder : public response_events {
public:
    std::string log;
    response_parser* pauses = nullptr;
    int completes = 0;

    void on_informational(const response_head& head) override { write("INFO ", head); }
    void on_head(const response_head& head) override { write("HEAD ", head); }
    void on_body(std::string_view bytes) override {
        CHECK_FALSE(bytes.empty());
        log.append(in_body_ ? "" : "BODY ").append(bytes);
        in_body_ = true;
        if (pauses)
            pauses->pause();
    }
    void on_complete(std::span<const header_view> trailers) override {
        ++completes;
        log.append(in_body_ ? "\n" : "").append("END").append(fields_text(trailers)).append("\n");
        in_body_ = false;
        if (pauses)
            pauses->pause();
    }

private:
    void write(std::string_view kind, const response_head& head) {
        log.append(kind).append(std::to_string(head.status)).append(" '").append(head.reason);
        log.append("' 1.").append(std::to_string(head.version_minor));
        if (head.content_length)
            log.append(" length=").append(std::to_string(*head.content_length));
        log.append(head.chunked ? " chunked" : "").append(head.until_close ? " until-close" : "");
        log.append(head.has_body ? " body" : "").append(fields_text(head.headers)).append("\n");
        in_body_ = false;
        if (pauses)
            pauses->pause();
    }

    bool in_body_ = false;
};

// What became of the bytes: the events, and the error before and after the peer has closed.
struct outcome {
    std::string log;
    parse_error error = parse_error::none;
    parse_error error_at_end = parse_error::none;
    bool keep_alive = false;

    bool operator==(const outcome&) const = default;
};

// Feeds one piece from a block of its own; a parser that pauses is fed again. Returns what it left.
template <class Parser, class Sink>
std::size_t feed_piece(Parser& parser, Sink& sink, std::string_view piece) {
    const auto block = std::make_unique<char[]>(piece.size());
    std::copy(piece.begin(), piece.end(), block.get());
    std::string_view rest{block.get(), piece.size()};
    std::size_t turns = 0;
    do {
        const std::size_t used = parser.feed(rest, sink);
        REQUIRE(used <= rest.size());
        REQUIRE(++turns < 10'000);
        rest.remove_prefix(used);
    } while (parser.paused() && !parser.failed());
    return rest.size();
}

// The pieces end at the given places, in ascending order.
inline outcome run_request(std::string_view bytes, const std::vector<std::size_t>& cuts,
                           const limits& sizes = {}, bool pausing = false) {
    request_parser parser(sizes);
    request_recorder sink;
    sink.pauses = pausing ? &parser : nullptr;
    std::size_t at = 0;
    for (std::size_t i = 0; i <= cuts.size() && !parser.failed(); ++i) {
        const std::size_t end = i < cuts.size() ? cuts[i] : bytes.size();
        feed_piece(parser, sink, bytes.substr(at, end - at));
        at = end;
    }
    outcome result{sink.log, parser.error(), parser.error(), !parser.ended()};
    parser.finish();
    result.error_at_end = parser.error();
    return result;
}

inline outcome run_response(std::string_view bytes, const std::vector<std::size_t>& cuts,
                            method request_method = method::get, const limits& sizes = {},
                            bool pausing = false) {
    response_parser parser(sizes);
    response_recorder sink;
    sink.pauses = pausing ? &parser : nullptr;
    parser.start(request_method);
    std::size_t at = 0;
    for (std::size_t i = 0; i <= cuts.size() && !parser.failed(); ++i) {
        const std::size_t end = i < cuts.size() ? cuts[i] : bytes.size();
        feed_piece(parser, sink, bytes.substr(at, end - at));
        at = end;
    }
    outcome result{sink.log, parser.error(), parser.error(), false};
    parser.finish(sink);
    result.log = sink.log;
    result.error_at_end = parser.error();
    result.keep_alive = parser.keep_alive();
    return result;
}

// Whole, whole with a pause at every event, byte by byte, and in two pieces cut at every place: the
// outcome must be the same. `run` takes the cuts and whether to pause.
template <class Run>
outcome run_every_way(std::string_view bytes, Run run) {
    const outcome whole = run(std::vector<std::size_t>{}, false);
    std::vector<std::size_t> every;
    for (std::size_t at = 1; at < bytes.size(); ++at)
        every.push_back(at);
    const auto check_same = [&](const outcome& other, std::string_view how) {
        CAPTURE(std::string(how));
        CHECK(other.log == whole.log);
        CHECK(sentence(other.error) == sentence(whole.error));
        CHECK(sentence(other.error_at_end) == sentence(whole.error_at_end));
        CHECK(other.keep_alive == whole.keep_alive);
    };
    check_same(run({}, true), "whole, pausing");
    check_same(run(every, false), "byte by byte");
    check_same(run(every, true), "byte by byte, pausing");
    for (const std::size_t cut : every)
        check_same(run({cut}, false), "cut at " + std::to_string(cut));
    return whole;
}

// A line of a table in tests/data: a word, then bytes in which \r \n \t \\ \xHH stand for
// themselves and \{N:text} for text N times. Lines that begin with '#' and empty ones are skipped.
struct vector_line {
    int number = 0;
    std::string word;
    std::string bytes;
};

inline std::string unescaped(std::string_view text) {
    std::string bytes;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] != '\\') {
            bytes.push_back(text[at]);
            continue;
        }
        const char kind = text[++at];
        if (kind == 'x') {
            bytes.push_back(
                static_cast<char>(std::stoi(std::string(text.substr(at + 1, 2)), nullptr, 16)));
            at += 2;
        } else if (kind == '{') {
            const std::size_t colon = text.find(':', at);
            const std::size_t close = text.find('}', at);
            const std::string repeated = unescaped(text.substr(colon + 1, close - colon - 1));
            for (int n = std::stoi(std::string(text.substr(at + 1, colon - at - 1))); n > 0; --n)
                bytes.append(repeated);
            at = close;
        } else {
            bytes.push_back(kind == 'r' ? '\r' : kind == 'n' ? '\n' : kind == 't' ? '\t' : kind);
        }
    }
    return bytes;
}

inline std::vector<vector_line> read_vectors(const char* name) {
    const auto tests = std::filesystem::path(__FILE__).parent_path().parent_path();
    std::ifstream file(tests / "data" / name);
    if (!file.is_open()) {
        file.open(std::string("tests/data/") + name);  // a compiler's cache may shorten __FILE__
    }
    REQUIRE_MESSAGE(file.is_open(), "tests/data/", name, " is missing");
    std::vector<vector_line> lines;
    std::string line;
    for (int number = 1; std::getline(file, line); ++number) {
        if (line.empty() || line[0] == '#')
            continue;
        const std::size_t blank = line.find(' ');
        REQUIRE(blank != std::string::npos);
        const std::size_t begin = line.find_first_not_of(' ', blank);
        lines.push_back({number, line.substr(0, blank), unescaped(line.substr(begin))});
    }
    REQUIRE_FALSE(lines.empty());
    return lines;
}

// The error whose name in the enumeration is `word`; "ok" is none.
inline parse_error error_named(std::string_view word) {
    constexpr std::string_view names[] = {
        "ok",
        "bad_syntax",
        "bad_method",
        "unknown_method",
        "connect_refused",
        "bad_target",
        "target_form",
        "request_line_too_long",
        "bad_version",
        "unsupported_version",
        "bad_header",
        "headers_too_large",
        "too_many_headers",
        "host_missing",
        "host_repeated",
        "bad_host",
        "bad_content_length",
        "conflicting_framing",
        "chunked_on_1_0",
        "unsupported_transfer_coding",
        "bad_chunk",
        "chunk_extensions_too_large",
        "trailers_too_large",
        "body_too_large",
        "too_many_empty_lines",
        "bad_status_line",
        "too_many_informational",
        "unexpected_upgrade",
        "truncated_head",
        "truncated_body",
        "out_of_memory",
    };
    static_assert(std::size(names) == static_cast<std::size_t>(parse_error::out_of_memory) + 1);
    const auto found = std::find(std::begin(names), std::end(names), word);
    REQUIRE_MESSAGE(found != std::end(names), "no parse error is called ", std::string(word));
    return static_cast<parse_error>(found - std::begin(names));
}

}  // namespace ringlet::http::test
