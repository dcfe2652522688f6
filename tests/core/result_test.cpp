#include "core/result.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <memory>
#include <string>

using namespace ringlet;

TEST_CASE("a result holds a value or an error code") {
    const result<int> good = 7;
    CHECK(static_cast<bool>(good));
    CHECK(*good == 7);
    CHECK_FALSE(good.error());

    const result<int> bad = system_code(ECONNREFUSED);
    CHECK_FALSE(static_cast<bool>(bad));
    CHECK(bad.error() == std::errc::connection_refused);

    const result<int> own = errc::closed;
    CHECK(own.error() == errc::closed);
}

TEST_CASE("a result moves what can only be moved") {
    result<std::unique_ptr<int>> holder = std::make_unique<int>(3);
    const std::unique_ptr<int> taken = std::move(holder).value();
    CHECK(*taken == 3);
}

TEST_CASE("value throws the error, and cancellation as a type of its own") {
    result<int> refused = system_code(-ECONNREFUSED);
    CHECK_THROWS_AS(refused.value(), error);
    result<int> called_off = system_code(ECANCELED);
    CHECK(is_cancelled(called_off.error()));
    CHECK_THROWS_AS(called_off.value(), cancelled);
    result<void> nothing = system_code(ECANCELED);
    CHECK_THROWS_AS(nothing.value(), cancelled);
    CHECK_NOTHROW(result<void>().value());
}

TEST_CASE("an exception says what was tried and why it failed") {
    try {
        throw_code(system_code(ECONNREFUSED), "connect to 127.0.0.1:1");
        FAIL("nothing was thrown");
    } catch (const error& failure) {
        const std::string text = failure.what();
        CHECK(text.find("connect to 127.0.0.1:1") != std::string::npos);
        CHECK(text.find("refused") != std::string::npos);
        CHECK(failure.code() == std::errc::connection_refused);
    }
}

TEST_CASE("every own error has a sentence, and an unknown number says so") {
    for (int code = 1; code <= static_cast<int>(errc::refused_by_policy); ++code) {
        const std::string sentence = category().message(code);
        CHECK(sentence.size() > 8);
        CHECK(sentence.find("unknown") == std::string::npos);
    }
    CHECK(category().message(999).find("unknown") != std::string::npos);
    CHECK(make_error_code(errc::timed_out) == std::errc::timed_out);
    CHECK(make_error_code(errc::closed) != std::errc::timed_out);
}
