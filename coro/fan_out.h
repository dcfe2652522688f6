// fan_out(range, limit, fn): `fn(item)`, a task<R>, for each item of the range, at most `limit` at
// a time. There is no task per item beyond the running ones: as many workers as needed each take
// the next item when they have ended one, so the range may be lazy, single-pass, long or endless.
// * `co_await fan_out(range, limit, fn)`: a std::vector<R> in the order of the items, or void.
// * `co_await fan_out(range, limit, fn, consumer)`: calls `consumer(index, R)` (`consumer(index)`
//   for void) as results come, one at a time; a consumer that gives a task<void> is awaited, and
//   until then its worker takes no new item.
// The first exception (of fn, the consumer or the range) cancels all that is running, waits for it
// and is thrown. Cancelling the wait does the same with `cancelled`.
//
// A range given as an lvalue must live until the end; rvalues are kept, also fn and the consumer.
// Items are passed on by reference where they stay in the range, else each is kept beside its task
// until that has ended, so `fn` may be a coroutine that takes a reference.
#pragma once

#include <cstddef>
#include <iterator>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/result.h"
#include "coro/mutex.h"
#include "coro/scope.h"
#include "coro/task.h"

namespace ringlet {

namespace detail {

template <class Range>
using range_iterator = decltype(std::ranges::begin(std::declval<Range&>()));

// A reference into the range, where that stays good when the iterator moves on.
template <class Range>
using range_item = std::conditional_t<
    std::forward_iterator<range_iterator<Range>> &&
        std::is_lvalue_reference_v<std::iter_reference_t<range_iterator<Range>>>,
    std::iter_reference_t<range_iterator<Range>>, std::iter_value_t<range_iterator<Range>>>;

template <class Range, class Fn>
using fan_out_result = typename std::invoke_result_t<Fn&, range_item<Range>>::value_type;

// What the workers of one fan_out share.
template <class Range, class Fn, class Consumer>
struct fan_out_state {
    using item = range_item<Range>;
    using result = fan_out_result<Range, Fn>;

    range_iterator<Range> next;
    decltype(std::ranges::end(std::declval<Range&>())) end;
    Fn& fn;
    Consumer& consumer;
    scope* workers = nullptr;
    std::size_t index = 0;  // of the next item
    bool taken = false;     // `next` was taken; it moves on only when another is asked for
    mutex consuming = {};

    bool more() {
        if (workers->is_cancelled()) {
            return false;
        }
        if (taken) {
            taken = false;
            ++next;
        }
        return next != end;
    }
};

template <class State>
task<void> fan_out_worker(State& state) {
    using result = typename State::result;
    while (state.more()) {
        const std::size_t index = state.index++;
        typename State::item item = *state.next;
        state.taken = true;
        task<result> running = state.fn(static_cast<typename State::item&&>(item));
        if constexpr (std::is_void_v<result>) {
            co_await std::move(running);
            if constexpr (std::is_void_v<decltype(state.consumer(index))>) {
                state.consumer(index);
            } else {
                const mutex::guard turn = co_await state.consuming.lock();
                co_await state.consumer(index);
            }
        } else {
            result value = co_await std::move(running);
            if constexpr (std::is_void_v<decltype(state.consumer(index, std::move(value)))>) {
                state.consumer(index, std::move(value));
            } else {
                const mutex::guard turn = co_await state.consuming.lock();
                co_await state.consumer(index, std::move(value));
            }
        }
    }
}

// `Range` is a reference for a range that is not ours.
template <class Range, class Fn, class Consumer>
task<void> fan_out_run(Range range, std::size_t limit, Fn fn, Consumer consumer, spawn_site at) {
    fan_out_state<Range, Fn, Consumer> state{std::ranges::begin(range), std::ranges::end(range), fn,
                                             consumer};
    auto start_workers = [&](scope& workers) -> task<void> {
        state.workers = &workers;
        for (std::size_t started = 0; started < limit && state.more(); ++started) {
            workers.spawn(fan_out_worker(state), at);
        }
        co_return;
    };
    co_await scoped(start_workers, at);
}

template <class Range, class Fn>
task<std::vector<fan_out_result<Range, Fn>>> fan_out_collect(Range range, std::size_t limit,
                                                             Fn fn, spawn_site at) {
    using result = fan_out_result<Range, Fn>;
    std::vector<std::optional<result>> slots;
    auto keep = [&slots](std::size_t index, result value) {
        if (slots.size() <= index) {
            slots.resize(index + 1);
        }
        slots[index].emplace(std::move(value));
    };
    co_await fan_out_run<Range, Fn, decltype(keep)>(std::forward<Range>(range), limit,
                                                    std::move(fn), keep, at);
    std::vector<result> values;
    values.reserve(slots.size());
    for (std::optional<result>& each : slots) {
        values.push_back(std::move(*each));
    }
    co_return values;
}

inline void require_limit(std::size_t limit) {
    if (limit == 0) {
        throw error(std::make_error_code(std::errc::invalid_argument),
                    "fan_out needs a limit of at least 1");
    }
}

}  // namespace detail

// Throws `error` for a limit of 0: nothing could ever run.
template <class Range, class Fn, class Consumer>
task<void> fan_out(Range&& range, std::size_t limit, Fn fn, Consumer consumer,
                   spawn_site at = spawn_site::here()) {
    detail::require_limit(limit);
    return detail::fan_out_run<Range, Fn, Consumer>(std::forward<Range>(range), limit,
                                                    std::move(fn), std::move(consumer), at);
}

template <class Range, class Fn>
auto fan_out(Range&& range, std::size_t limit, Fn fn, spawn_site at = spawn_site::here()) {
    if constexpr (std::is_void_v<detail::fan_out_result<Range, Fn>>) {
        return fan_out(std::forward<Range>(range), limit, std::move(fn), [](std::size_t) {}, at);
    } else {
        detail::require_limit(limit);
        return detail::fan_out_collect<Range, Fn>(std::forward<Range>(range), limit, std::move(fn),
                                                  at);
    }
}

}  // namespace ringlet
