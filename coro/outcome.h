// How a task or future ended: nothing yet, a value, or an exception. Moves and does not copy; the
// value of a source is then moved-from. Plain data, no thread. A hand-made std::variant: that one's
// ever possible "valueless" state costs a nanosecond per awaited task.
#pragma once

#include <exception>
#include <memory>
#include <type_traits>
#include <utility>
#include <variant>

namespace ringlet {

namespace detail {

// Requires: `failure` is not null.
bool is_cancellation(const std::exception_ptr& failure) noexcept;

// One line on stderr for an exception that nobody can be given any more; none for `cancelled`.
void report_lost(const char* what, const std::exception_ptr& failure) noexcept;

// What a result is kept as where void cannot be.
template <class T>
using kept = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

}  // namespace detail

template <class T>
class outcome {
    using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*,
                                      detail::kept<T>>;

public:
    outcome() noexcept {}
    explicit outcome(std::exception_ptr failure) noexcept
        : failure_(std::move(failure)), state_(state::failed) {}
    outcome(outcome&& other) noexcept(std::is_nothrow_move_constructible_v<stored>) { take(other); }
    outcome& operator=(outcome&& other) noexcept(std::is_nothrow_move_constructible_v<stored>) {
        if (this != &other) {
            clear();
            take(other);
        }
        return *this;
    }
    ~outcome() { clear(); }

    // Requires: empty. When making the value throws, it stays empty.
    template <class... Args>
    void set_value(Args&&... args) {
        if constexpr (std::is_reference_v<T>) {
            std::construct_at(&value_, std::addressof(args)...);
        } else {
            std::construct_at(&value_, std::forward<Args>(args)...);
        }
        state_ = state::value;
    }
    // Also instead of a value: a coroutine's locals can throw after its co_return.
    void set_exception(std::exception_ptr failure) noexcept {
        clear();
        std::construct_at(&failure_, std::move(failure));
        state_ = state::failed;
    }

    bool empty() const noexcept { return state_ == state::empty; }
    bool has_value() const noexcept { return state_ == state::value; }
    // Null when there is a value.
    std::exception_ptr exception() const noexcept {
        return state_ == state::failed ? failure_ : nullptr;
    }

    // Moves the value out, or throws the exception. Requires: not empty.
    T get() {
        if (state_ == state::failed) [[unlikely]] {
            std::rethrow_exception(failure_);
        }
        if constexpr (std::is_reference_v<T>) {
            return static_cast<T>(*value_);
        } else if constexpr (!std::is_void_v<T>) {
            return std::move(value_);
        }
    }

private:
    enum class state : unsigned char { empty, value, failed };

    void clear() noexcept {
        if (state_ == state::value) {
            std::destroy_at(&value_);
        } else if (state_ == state::failed) {
            std::destroy_at(&failure_);
        }
        state_ = state::empty;
    }
    // Requires: empty.
    void take(outcome& other) {
        if (other.state_ == state::value) {
            std::construct_at(&value_, std::move(other.value_));
        } else if (other.state_ == state::failed) {
            std::construct_at(&failure_, std::move(other.failure_));
        }
        state_ = other.state_;
    }

    union {
        stored value_;
        std::exception_ptr failure_;
    };
    state state_ = state::empty;
};

}  // namespace ringlet
