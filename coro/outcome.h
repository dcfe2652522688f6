// How a task or future ended: nothing yet, a value, or an exception. Plain data, no thread.
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

}  // namespace detail

template <class T>
class outcome {
    using stored = std::conditional_t<
        std::is_void_v<T>, std::monostate,
        std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>>;

public:
    outcome() noexcept = default;
    outcome(std::exception_ptr failure) noexcept : state_(std::in_place_index<2>, failure) {}

    template <class... Args>
    void set_value(Args&&... args) {
        if constexpr (std::is_reference_v<T>) {
            state_.template emplace<1>(std::addressof(args)...);
        } else {
            state_.template emplace<1>(std::forward<Args>(args)...);
        }
    }
    void set_exception(std::exception_ptr failure) noexcept {
        state_.template emplace<2>(std::move(failure));
    }

    bool empty() const noexcept { return state_.index() == 0; }
    bool has_value() const noexcept { return state_.index() == 1; }
    // Null when there is a value.
    std::exception_ptr exception() const noexcept {
        return state_.index() == 2 ? std::get<2>(state_) : nullptr;
    }

    // Moves the value out, or throws the exception. Requires: not empty.
    T get() {
        if (state_.index() == 2) {
            std::rethrow_exception(std::get<2>(std::move(state_)));
        }
        if constexpr (std::is_reference_v<T>) {
            return static_cast<T>(*std::get<1>(state_));
        } else if constexpr (!std::is_void_v<T>) {
            return std::move(std::get<1>(state_));
        }
    }

private:
    std::variant<std::monostate, stored, std::exception_ptr> state_;
};

}  // namespace ringlet
