// How failures travel. Inside Ringlet a function that can fail returns `result<T>`: a value or an
// error code, never an exception. At the await edge `value()` turns the code into the one exception
// type `error`; cancellation is a type of its own, so that no handler for errors swallows it.
// System failures carry errno in std::system_category(); what Ringlet itself decides (a deadline,
// an end of stream, a refused limit) is an `errc` in ringlet::category().
#pragma once

#include <exception>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "core/config.h"

namespace ringlet {

enum class errc {
    timed_out = 1,     // a deadline passed before the operation ended
    end_of_stream,     // the peer closed its side before all expected bytes came
    closed,            // the object was closed by this program
    limit_exceeded,    // a named limit was reached
    resolve_failed,    // a host name has no address
    bad_address,       // text that is no address
    forked,            // the loop belongs to the parent process
    broken_promise,    // a promise was dropped without a value
    refused_by_policy  // this program's own rules forbid it
};

const std::error_category& category() noexcept;

inline std::error_code make_error_code(errc code) noexcept {
    return {static_cast<int>(code), category()};
}

// errno or a negative kernel result as an error code.
inline std::error_code system_code(int number) noexcept {
    return {number < 0 ? -number : number, std::system_category()};
}

// The one exception thrown for failures. `what()` is "<context>: <sentence of the code>".
class error : public std::system_error {
public:
    explicit error(std::error_code code) : std::system_error(code) {}
    error(std::error_code code, const std::string& context) : std::system_error(code, context) {}
};

// The same as an exception to be told later; std::bad_alloc when there is no memory for it.
std::exception_ptr failure_with(std::error_code code) noexcept;

// Thrown out of a wait whose job was cancelled. Not an `error`, and not a std::system_error.
class cancelled : public std::exception {
public:
    const char* what() const noexcept override { return "cancelled"; }
};

// True for the code that a cancelled operation ends with.
inline bool is_cancelled(std::error_code code) noexcept {
    return code == std::errc::operation_canceled;
}

// Throws `cancelled` for ECANCELED and `error` for every other code.
[[noreturn]] void throw_code(std::error_code code, const char* context = nullptr);

template <class T>
class [[nodiscard]] result {
public:
    result(T value) : value_(std::move(value)) {}
    result(std::error_code code) noexcept : code_(code) {
        RINGLET_REQUIRE(code, "a result was made from an error code that says success");
    }
    result(errc code) noexcept : code_(make_error_code(code)) {}

    explicit operator bool() const noexcept { return value_.has_value(); }
    std::error_code error() const noexcept { return code_; }

    // The value; throws the error when there is none.
    T& value() & {
        check();
        return *value_;
    }
    T&& value() && {
        check();
        return std::move(*value_);
    }
    // Requires: holds a value.
    T& operator*() noexcept { return *value_; }
    const T& operator*() const noexcept { return *value_; }
    T* operator->() noexcept { return &*value_; }

private:
    void check() const {
        if (!value_) {
            throw_code(code_);
        }
    }
    std::optional<T> value_;
    std::error_code code_;
};

template <>
class [[nodiscard]] result<void> {
public:
    result() noexcept = default;
    result(std::error_code code) noexcept : code_(code) {}
    result(errc code) noexcept : code_(make_error_code(code)) {}

    explicit operator bool() const noexcept { return !code_; }
    std::error_code error() const noexcept { return code_; }
    void value() const {
        if (code_) {
            throw_code(code_);
        }
    }

private:
    std::error_code code_;
};

}  // namespace ringlet

template <>
struct std::is_error_code_enum<ringlet::errc> : std::true_type {};
