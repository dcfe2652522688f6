#include <doctest/doctest.h>

#include <set>

#include "http/parse_error.h"
#include "http/status.h"

using namespace ringlet::http;

TEST_CASE("every parse error has its own sentence and a registered status") {
    std::set<std::string_view> sentences;
    for (int code = 1; code <= static_cast<int>(parse_error::truncated_body); ++code) {
        const auto error = static_cast<parse_error>(code);
        CAPTURE(code);
        CHECK(sentence(error).ends_with("."));
        CHECK(sentences.insert(sentence(error)).second);
        CHECK_FALSE(status_line(status_of(error)).empty());
        CHECK(status_of(error) >= 400);
    }
}

TEST_CASE("limits and missing features have statuses of their own") {
    CHECK(status_of(parse_error::bad_syntax) == 400);
    CHECK(status_of(parse_error::body_too_large) == 413);
    CHECK(status_of(parse_error::request_line_too_long) == 414);
    CHECK(status_of(parse_error::headers_too_large) == 431);
    CHECK(status_of(parse_error::too_many_headers) == 431);
    CHECK(status_of(parse_error::unknown_method) == 501);
    CHECK(status_of(parse_error::unsupported_transfer_coding) == 501);
    CHECK(status_of(parse_error::unsupported_version) == 505);
}
