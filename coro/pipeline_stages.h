// The inner parts of coro/pipeline.h: what each stage does with an item. A step is pushed items by
// the one before it, `push` by `push`, and pushes on to the next; `end` follows the last item. Both
// are awaited, and cost nothing where no later step can wait: then the stages are plain calls.
// All steps of a pipeline live in its task, and its jobs in the task's scope. Loop thread only.
#pragma once

#include <concepts>
#include <coroutine>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include "coro/async_generator.h"
#include "coro/awaitable.h"
#include "coro/channel.h"
#include "coro/scope.h"
#include "coro/spawn_site.h"
#include "coro/task.h"

namespace ringlet::detail {

// What a push that may wait gives: nothing left to do, or the rest as a task.
class [[nodiscard]] pushing {
public:
    pushing() noexcept = default;
    explicit pushing(task<void> rest) noexcept : rest_(std::move(rest)) {}

    bool await_ready() const noexcept { return !rest_; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        awaiter_ = std::move(rest_).operator co_await();
        return awaiter_.await_suspend(handle);
    }
    void await_resume() const {
        if (awaiter_.frame) {
            awaiter_.await_resume();
        }
    }

private:
    task<void> rest_;
    task_awaiter<void> awaiter_{};
};

template <bool Waits>
using pushed = std::conditional_t<Waits, pushing, std::suspend_never>;

template <class T>
using without_rvalue = std::conditional_t<std::is_rvalue_reference_v<T>, std::remove_cvref_t<T>, T>;

// What a stage's function makes of an item: as it is, and awaited.
template <class Fn, class Item>
using stage_answer = std::invoke_result_t<Fn&, Item>;
template <class Fn, class Item>
using stage_output = without_rvalue<awaited_t<stage_answer<Fn, Item>>>;

template <class T>
struct source_item {
    using type = without_rvalue<std::ranges::range_reference_t<T>>;
};
template <class T>
struct source_item<async_generator<T>> {
    using type = T;
};
template <class T>
struct source_item<channel<T>> {
    using type = T;
};
template <class Source>
using pipe_item = typename source_item<std::remove_reference_t<Source>>::type;

// Pushes all that a source gives.
template <class Source, class Step>
task<void> pipe_all(Source& source, Step& step) {
    if constexpr (requires { source.next(); }) {
        while (auto* const item = co_await source.next()) {
            co_await step.push(static_cast<pipe_item<Source>&&>(*item));
        }
    } else if constexpr (requires { source.receive(); }) {
        while (auto item = co_await source.receive()) {
            co_await step.push(std::move(*item));
        }
    } else {
        for (auto&& item : source) {
            co_await step.push(std::forward<decltype(item)>(item));
        }
    }
}

// The jobs of a pipeline, all spawned where it was written.
class pipe_jobs {
public:
    pipe_jobs(ringlet::loop& owner, const spawn_site& at) noexcept : jobs_(owner), at_(at) {}

    void spawn(task<void> root) { jobs_.spawn(std::move(root), at_); }
    bool is_cancelled() const noexcept { return jobs_.is_cancelled(); }
    scope::join_wait join() noexcept { return jobs_.join(); }

private:
    scope jobs_;
    spawn_site at_;
};

struct pipe_stage {
    static constexpr bool is_sink = false;
};
struct pipe_sink {
    static constexpr bool is_sink = true;
};
template <class T>
concept pipe_part = std::derived_from<T, pipe_stage> || std::derived_from<T, pipe_sink>;

template <class Fn>
struct map_stage : pipe_stage {
    Fn fn;

    template <class Item>
    using output = stage_output<Fn, Item>;

    template <class Item, class Next>
    class step {
        static constexpr bool fn_waits = awaitable<stage_answer<Fn, Item>>;

    public:
        static constexpr bool waits = fn_waits || Next::waits;

        step(pipe_jobs&, map_stage& stage, Next& next) noexcept : fn_(stage.fn), next_(next) {}

        pushed<waits> push(Item&& item) {
            if constexpr (fn_waits) {
                return pushing(push_later(std::forward<Item>(item)));
            } else {
                return next_.push(fn_(std::forward<Item>(item)));
            }
        }
        auto end() { return next_.end(); }

    private:
        task<void> push_later(Item item) {
            output<Item> made = co_await fn_(std::forward<Item>(item));
            co_await next_.push(std::forward<output<Item>>(made));
        }
        Fn& fn_;
        Next& next_;
    };
};

template <class Fn>
struct filter_stage : pipe_stage {
    Fn fn;

    template <class Item>
    using output = Item;

    template <class Item, class Next>
    class step {
        using seen = const std::remove_reference_t<Item>&;
        static constexpr bool fn_waits = awaitable<stage_answer<Fn, seen>>;

    public:
        static constexpr bool waits = fn_waits || Next::waits;

        step(pipe_jobs&, filter_stage& stage, Next& next) noexcept : fn_(stage.fn), next_(next) {}

        pushed<waits> push(Item&& item) {
            if constexpr (fn_waits) {
                return pushing(push_later(std::forward<Item>(item)));
            } else if (fn_(std::as_const(item))) {
                return next_.push(std::forward<Item>(item));
            } else {
                return {};
            }
        }
        auto end() { return next_.end(); }

    private:
        task<void> push_later(Item item) {
            const bool wanted = co_await fn_(std::as_const(item));
            if (wanted) {
                co_await next_.push(std::forward<Item>(item));
            }
        }
        Fn& fn_;
        Next& next_;
    };
};

template <class Fn>
struct expand_stage : pipe_stage {
    Fn fn;

    template <class Item>
    using made = stage_answer<Fn, Item>;
    template <class Item>
    using output = pipe_item<made<Item>>;

    template <class Item, class Next>
    class step {
    public:
        static constexpr bool waits = !std::ranges::range<made<Item>> || Next::waits;

        step(pipe_jobs&, expand_stage& stage, Next& next) noexcept : fn_(stage.fn), next_(next) {}

        pushed<waits> push(Item&& item) {
            if constexpr (waits) {
                return pushing(push_later(std::forward<Item>(item)));
            } else {
                for (auto&& each : fn_(std::forward<Item>(item))) {
                    next_.push(std::forward<decltype(each)>(each));
                }
                return {};
            }
        }
        auto end() { return next_.end(); }

    private:
        task<void> push_later(Item item) {
            made<Item> all = fn_(std::forward<Item>(item));
            co_await pipe_all(all, next_);
        }
        Fn& fn_;
        Next& next_;
    };
};

template <class Fn>
struct for_each_sink : pipe_sink {
    Fn fn;

    template <class Item>
    class step {
    public:
        static constexpr bool waits = awaitable<stage_answer<Fn, Item>>;

        explicit step(for_each_sink& sink) noexcept : fn_(sink.fn) {}

        pushed<waits> push(Item&& item) {
            if constexpr (waits) {
                return pushing(push_later(std::forward<Item>(item)));
            } else {
                static_cast<void>(fn_(std::forward<Item>(item)));
                return {};
            }
        }
        std::suspend_never end() const noexcept { return {}; }
        void take() const noexcept {}

    private:
        task<void> push_later(Item item) { co_await fn_(std::forward<Item>(item)); }

        Fn& fn_;
    };
};

struct vector_sink : pipe_sink {
    template <class Item>
    class step {
    public:
        static constexpr bool waits = false;

        explicit step(vector_sink&) noexcept {}

        std::suspend_never push(Item&& item) {
            items_.push_back(std::forward<Item>(item));
            return {};
        }
        std::suspend_never end() const noexcept { return {}; }
        auto take() noexcept { return std::move(items_); }

    private:
        std::vector<std::decay_t<Item>> items_;
    };
};

}  // namespace ringlet::detail
