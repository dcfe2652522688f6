// generator<T>: a coroutine that makes a range, one value at a time, each when it is asked for:
//
//     generator<int> below(int end) { for (int i = 0; i < end; ++i) co_yield i; }
//     for (int each : below(10) | std::views::filter(odd)) ...
//
// A single-pass range and a view: read once, moved and not copied. Lazy: it runs to its first value
// in `begin`, and on in each `++`, on the stack of whoever reads; it cannot co_await (see
// coro/async_generator.h). `co_yield elements_of(another())` gives all of another generator's
// values, also its own kind recursively, at the same price per value at any depth and without use
// of stack.
//
// What is yielded stays in place until the next value is asked for. For generator<T> an rvalue is
// given as it is, so the reader may move it away, and an lvalue is copied; for generator<T&> it is
// given by reference. Exceptions come out of `begin` or `++`, and end the generator. Destroying it
// early destroys what is in it. Any thread, one at a time.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <ranges>
#include <type_traits>
#include <utility>

#include "core/config.h"
#include "coro/frame_pool.h"

namespace ringlet {

template <class T>
class generator;

// For `co_yield elements_of(...)`.
template <class T>
struct elements_of {
    explicit elements_of(generator<T> from) noexcept : source(std::move(from)) {}
    generator<T> source;
};

namespace detail {

// A copy of what was yielded, kept in the generator's frame while the reader has it.
template <class Value, class Promise>
struct yielded_copy : std::suspend_always {
    explicit yielded_copy(const Value& original) : value(original) {}
    void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
        frame.promise().show(std::addressof(value));
    }
    Value value;
};

template <class T>
class generator_promise : public pooled {
    using value = std::remove_reference_t<T>;
    using handle = std::coroutine_handle<generator_promise>;

public:
    generator<T> get_return_object() noexcept { return generator<T>(handle::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }

    // Gives control to the generator that this one stands in for, or to the reader.
    auto final_suspend() const noexcept {
        struct end : std::suspend_always {
            void await_suspend(handle frame) const noexcept {
                generator_promise& self = frame.promise();
                self.root_->leaf_ = self.parent_;
            }
        };
        return end();
    }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { failure_ = std::current_exception(); }

    std::suspend_always yield_value(value& lvalue) noexcept requires(std::is_reference_v<T>) {
        show(std::addressof(lvalue));
        return {};
    }
    std::suspend_always yield_value(value&& rvalue) noexcept requires(!std::is_reference_v<T>) {
        show(std::addressof(rvalue));
        return {};
    }
    auto yield_value(const value& lvalue) requires(!std::is_reference_v<T>) {
        return yielded_copy<value, generator_promise>(lvalue);
    }
    auto yield_value(elements_of<T> nested) noexcept {
        struct descent : std::suspend_always {
            explicit descent(generator<T> from) noexcept : source(std::move(from)) {}
            bool await_ready() const noexcept { return !source.frame_; }
            void await_suspend(handle frame) noexcept {
                generator_promise& child = source.frame_.promise();
                child.begin_once();
                child.root_ = frame.promise().root_;
                child.parent_ = frame;
                child.root_->leaf_ = source.frame_;
            }
            void await_resume() {
                if (source.frame_) {
                    source.frame_.promise().check();
                }
            }
            generator<T> source;
        };
        return descent(std::move(nested.source));
    }
    template <class Awaitable>
    void await_transform(Awaitable&&) = delete;  // a generator's reader cannot wait

    void begin_once() noexcept {
        RINGLET_REQUIRE(!std::exchange(begun_, true), "a generator can be read once only");
    }
    void show(value* yielded) noexcept { root_->shown_ = yielded; }
    value* shown() const noexcept { return shown_; }

    // In the root: runs whichever generator is the innermost until there is a value or the end.
    void advance() {
        shown_ = nullptr;
        while (leaf_ && shown_ == nullptr) {
            leaf_.resume();
        }
        if (!leaf_) {
            check();
        }
    }

private:
    void check() {
        if (failure_) {
            std::rethrow_exception(std::exchange(failure_, nullptr));
        }
    }

    generator_promise* root_ = this;
    handle parent_;  // null in the root
    // These two count in the root alone.
    handle leaf_ = handle::from_promise(*this);  // null: it has ended
    value* shown_ = nullptr;
    std::exception_ptr failure_;
    bool begun_ = false;
};

}  // namespace detail

template <class T>
class [[nodiscard]] generator {
public:
    using promise_type = detail::generator_promise<T>;
    class iterator;

    generator() noexcept = default;
    explicit generator(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    generator(generator&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    generator& operator=(generator&& other) noexcept {
        std::swap(frame_, other.frame_);
        return *this;
    }
    ~generator() {
        if (frame_) {
            frame_.destroy();
        }
    }

    // Once. An empty generator (made by default, or moved from) is an empty range.
    iterator begin() {
        if (frame_) {
            frame_.promise().begin_once();
            frame_.promise().advance();
        }
        return iterator(frame_ ? &frame_.promise() : nullptr);
    }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    friend promise_type;
    std::coroutine_handle<promise_type> frame_;
};

template <class T>
class generator<T>::iterator {
public:
    using value_type = std::remove_cvref_t<T>;
    using difference_type = std::ptrdiff_t;
    using reference = T&&;

    explicit iterator(promise_type* source) noexcept : source_(source) {}
    iterator(iterator&&) noexcept = default;
    iterator& operator=(iterator&&) noexcept = default;

    // Requires: not at the end.
    reference operator*() const noexcept { return static_cast<reference>(*source_->shown()); }
    iterator& operator++() {
        source_->advance();
        return *this;
    }
    void operator++(int) { source_->advance(); }
    bool operator==(std::default_sentinel_t) const noexcept {
        return source_ == nullptr || source_->shown() == nullptr;
    }

private:
    promise_type* source_;
};

}  // namespace ringlet

template <class T>
inline constexpr bool std::ranges::enable_view<ringlet::generator<T>> = true;
