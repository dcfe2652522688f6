// gather: tasks side by side, all results together. Each task is a job of its own; the wait is
// resumed inside the end of the last of them.
// * `co_await gather(a(), b())`: a std::tuple of the results, std::monostate for void.
// * `co_await gather(std::vector<task<T>>)`: a std::vector<T> in the same order; void for void.
// The first task that fails cancels the others; when all have ended its exception is thrown and
// the results of the others are dropped. Tasks not yet started then never start. Cancelling the
// wait cancels all; if they end with values in spite of it, the values are given.
#pragma once

#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/result.h"
#include "coro/child.h"
#include "coro/task.h"

namespace ringlet {

namespace detail {

// The part of a gather that does not depend on how its branches are kept. `Derived` has
// `for_each_branch(callable)`.
template <class Derived>
class gather_base : public fork_wait<Derived> {
public:
    static constexpr const char* wait_name = "gather";

    void start_children(loop& where) noexcept {
        self().for_each_branch([&](auto& each) {
            if (!failure_) {
                this->add_child();
                each.start(where, *this, this->site());
            }
        });
    }
    void cancel_children() noexcept {
        self().for_each_branch([](auto& each) { each.cancel(); });
    }

protected:
    void check() {
        if (failure_) {
            std::rethrow_exception(failure_);
        }
        if (cut_short_ || this->never_started()) {
            throw cancelled();
        }
    }

private:
    Derived& self() noexcept { return static_cast<Derived&>(*this); }

    void child_finished(job& child, const std::exception_ptr& failure) noexcept override {
        if (cut_short(child, failure)) {
            cut_short_ = true;
        } else if (failure && !failure_) {
            failure_ = failure;
            cancel_children();
        }
        this->child_ended();
    }

    std::exception_ptr failure_;
    bool cut_short_ = false;
};

template <class... Ts>
class [[nodiscard]] gather_wait final : public gather_base<gather_wait<Ts...>> {
public:
    explicit gather_wait(task<Ts>... roots) noexcept : branches_(std::move(roots)...) {}

    std::tuple<kept<Ts>...> await_resume() {
        this->check();
        return std::apply(
            [](auto&... each) { return std::tuple<kept<Ts>...>{each.take()...}; }, branches_);
    }
    template <class Callable>
    void for_each_branch(Callable callable) noexcept {
        std::apply([&](auto&... each) { (callable(each), ...); }, branches_);
    }

private:
    std::tuple<branch<Ts>...> branches_;
};

template <class T>
class [[nodiscard]] gather_all_wait final : public gather_base<gather_all_wait<T>> {
public:
    explicit gather_all_wait(std::vector<task<T>> roots) : branches_(branch<T>::all_of(roots)) {}

    auto await_resume() {
        this->check();
        if constexpr (!std::is_void_v<T>) {
            std::vector<T> values;
            values.reserve(branches_.size());
            for (branch<T>& each : branches_) {
                values.push_back(each.take());
            }
            return values;
        }
    }
    template <class Callable>
    void for_each_branch(Callable callable) noexcept {
        for (branch<T>& each : branches_) {
            callable(each);
        }
    }

private:
    std::vector<branch<T>> branches_;
};

}  // namespace detail

template <class... Ts>
detail::gather_wait<Ts...> gather(task<Ts>... roots) noexcept {
    return detail::gather_wait<Ts...>(std::move(roots)...);
}

template <class T>
detail::gather_all_wait<T> gather(std::vector<task<T>> roots) {
    return detail::gather_all_wait<T>(std::move(roots));
}

}  // namespace ringlet
