// What can be co_awaited, for code that takes any of it: the concept `awaitable`, what awaiting
// gives, and the awaiter behind an operator co_await. Plain types, any thread.
#pragma once

#include <concepts>
#include <coroutine>
#include <type_traits>
#include <utility>

namespace ringlet::detail {

template <class T>
concept awaiter = requires(T& object) {
    { object.await_ready() } -> std::convertible_to<bool>;
    object.await_resume();
};

template <class T>
concept awaits_by_member = requires(T&& object) {
    { std::forward<T>(object).operator co_await() } -> awaiter;
};

template <class T>
concept awaits_by_function = requires(T&& object) {
    { operator co_await(std::forward<T>(object)) } -> awaiter;
};

template <class T>
concept awaitable = awaiter<T> || awaits_by_member<T> || awaits_by_function<T>;

template <class T>
decltype(auto) awaiter_of(T&& object) {
    if constexpr (awaits_by_member<T>) {
        return std::forward<T>(object).operator co_await();
    } else if constexpr (awaits_by_function<T>) {
        return operator co_await(std::forward<T>(object));
    } else {
        return std::forward<T>(object);
    }
}

// What `co_await` makes of a T; T itself where there is nothing to await.
template <class T>
struct awaited {
    using type = T;
};
template <awaitable T>
struct awaited<T> {
    using type = decltype(awaiter_of(std::declval<T>()).await_resume());
};
template <class T>
using awaited_t = typename awaited<T>::type;

}  // namespace ringlet::detail
