// race: tasks side by side, the first to end wins. The others are cancelled and waited for, so that
// nothing of them is in flight when the wait ends; what they still gave is dropped. Each task is a
// job of its own; tasks not yet started when one has ended never start. The wait is resumed inside
// the end of the last of them.
// * `co_await race(a(), b())`: a std::variant whose index says who won, std::monostate for void.
// * `co_await race(std::vector<task<T>>)`: a race_result<T>.
// A winner that failed throws its exception. Cancelling the wait cancels all; a value that comes in
// spite of it is given.
#pragma once

#include <cstddef>
#include <optional>
#include <system_error>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "core/result.h"
#include "coro/child.h"
#include "coro/task.h"

namespace ringlet {

template <class T>
struct race_result {
    std::size_t index;  // of the winner
    T value;
};

template <>
struct race_result<void> {
    std::size_t index;
};

namespace detail {

// The part of a race that does not depend on how its branches are kept. `Derived` has
// `for_each_branch(callable)`.
template <class Derived>
class race_base : public fork_wait<Derived> {
public:
    static constexpr const char* wait_name = "race";

    void start_children(loop& where) noexcept {
        self().for_each_branch([&](auto& each) {
            if (winner_ == nullptr) {
                this->add_child();
                each.start(where, *this, this->site());
            }
        });
    }
    void cancel_children() noexcept {
        self().for_each_branch([](auto& each) { each.cancel(); });
    }

protected:
    const job* winner() const {
        if (winner_ == nullptr) {
            throw cancelled();  // before it began
        }
        return winner_;
    }

private:
    Derived& self() noexcept { return static_cast<Derived&>(*this); }

    void child_finished(job& child, const std::exception_ptr& failure) noexcept override {
        // One that was only cut short by the cancel of the whole race loses to any other.
        const bool cut = cut_short(child, failure);
        if (winner_ == nullptr || (winner_cut_short_ && !cut)) {
            winner_ = &child;
            winner_cut_short_ = cut;
            cancel_children();
        }
        this->child_ended();
    }

    const job* winner_ = nullptr;
    bool winner_cut_short_ = false;
};

template <class... Ts>
class [[nodiscard]] race_wait final : public race_base<race_wait<Ts...>> {
public:
    explicit race_wait(task<Ts>... roots) noexcept : branches_(std::move(roots)...) {}

    std::variant<kept<Ts>...> await_resume() {
        return take(this->winner(), std::index_sequence_for<Ts...>());
    }
    template <class Callable>
    void for_each_branch(Callable callable) noexcept {
        std::apply([&](auto&... each) { (callable(each), ...); }, branches_);
    }

private:
    template <std::size_t... I>
    std::variant<kept<Ts>...> take(const job* winner, std::index_sequence<I...>) {
        std::optional<std::variant<kept<Ts>...>> result;
        ((std::get<I>(branches_).is(winner)
              ? void(result.emplace(std::in_place_index<I>, std::get<I>(branches_).take()))
              : void()),
         ...);
        return std::move(*result);
    }

    std::tuple<branch<Ts>...> branches_;
};

template <class T>
class [[nodiscard]] race_all_wait final : public race_base<race_all_wait<T>> {
public:
    explicit race_all_wait(std::vector<task<T>> roots) : branches_(branch<T>::all_of(roots)) {}

    race_result<T> await_resume() {
        const job* const winner = this->winner();
        std::size_t index = 0;
        while (!branches_[index].is(winner)) {
            ++index;
        }
        if constexpr (std::is_void_v<T>) {
            branches_[index].take();
            return {index};
        } else {
            return {index, branches_[index].take()};
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

template <class First, class... Others>
detail::race_wait<First, Others...> race(task<First> first, task<Others>... others) noexcept {
    return detail::race_wait<First, Others...>(std::move(first), std::move(others)...);
}

// Throws `error` when there is no task: nobody could win.
template <class T>
detail::race_all_wait<T> race(std::vector<task<T>> roots) {
    if (roots.empty()) {
        throw error(std::make_error_code(std::errc::invalid_argument), "race of no tasks");
    }
    return detail::race_all_wait<T>(std::move(roots));
}

}  // namespace ringlet
