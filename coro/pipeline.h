// Pipelines: a source, stages and a sink, joined by `|` into one task:
//
//     task<void> work = from(lines) | map(parse) | filter(wanted) |
//                       parallel(8, fetch, ordered) | for_each(store);
//     co_await std::move(work);
//
// Back-pressure: nothing is made before there is room for it. An item goes through all stages up
// to the next `parallel` or `buffer` before the source is asked for another. The functions of
// stages may be plain or give a task (or anything else to co_await), and are kept until the end.
// Errors: the first exception, of any stage, cancels all that runs, waits for it and is thrown.
// Cancelling the task does the same with `cancelled`. Loop thread only. See docs/pipelines.md.
#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "coro/pipeline_jobs.h"
#include "coro/pipeline_stages.h"
#include "coro/spawn_site.h"
#include "coro/task.h"

namespace ringlet {

namespace detail {

// The steps from one stage to the sink, each with a reference to the next.
template <class Item, class Stage, class... Rest>
struct pipe_chain {
    using output = typename Stage::template output<Item>;
    using rest = pipe_chain<output, Rest...>;

    pipe_chain(pipe_jobs& workers, Stage& stage, Rest&... others)
        : next(workers, others...), step(workers, stage, next.step) {}
    auto& sink() noexcept { return next.sink(); }

    rest next;
    typename Stage::template step<Item, typename rest::first_step> step;
    using first_step = decltype(step);
};

template <class Item, class Sink>
struct pipe_chain<Item, Sink> {
    using first_step = typename Sink::template step<Item>;

    pipe_chain(pipe_jobs&, Sink& made) : step(made) {}
    auto& sink() noexcept { return step; }

    first_step step;
};

template <class Item, class... Stages>
using pipe_result = decltype(std::declval<pipe_chain<Item, Stages...>&>().sink().take());

template <class Source, class Step>
task<void> pipe_pump(Source& source, Step& first) {
    co_await pipe_all(source, first);
    co_await first.end();
}

// `Source` is a reference for a source that is not ours.
template <class Source, class... Stages>
task<pipe_result<pipe_item<Source>, Stages...>> pipe_run(spawn_site at, Source source,
                                                         Stages... stages) {
    pipe_jobs workers(*loop::current(), at);
    pipe_chain<pipe_item<Source>, Stages...> chain(workers, stages...);
    workers.spawn(pipe_pump(source, chain.step));
    co_await workers.join();
    co_return chain.sink().take();
}

}  // namespace detail

// A pipeline that has no sink yet.
template <class Source, class... Stages>
class [[nodiscard]] pipeline {
public:
    explicit pipeline(const spawn_site& at, Source source, Stages... stages)
        : at_(at), source_(std::forward<Source>(source)), stages_(std::move(stages)...) {}

    template <detail::pipe_part Stage>
    friend auto operator|(pipeline made, Stage stage) {
        return std::apply(
            [&](Stages&... stages) {
                if constexpr (Stage::is_sink) {
                    return detail::pipe_run<Source, Stages..., Stage>(
                        made.at_, std::forward<Source>(made.source_), std::move(stages)...,
                        std::move(stage));
                } else {
                    return pipeline<Source, Stages..., Stage>(
                        made.at_, std::forward<Source>(made.source_), std::move(stages)...,
                        std::move(stage));
                }
            },
            made.stages_);
    }

private:
    spawn_site at_;
    Source source_;
    std::tuple<Stages...> stages_;
};

// A range or generator, an async_generator, or a channel, which is read until it is closed. An
// lvalue is used where it is and must live until the end; an rvalue is kept.
template <class Source>
pipeline<Source> from(Source&& source, spawn_site at = spawn_site::here()) {
    return pipeline<Source>(at, std::forward<Source>(source));
}

// Passes on fn(item).
template <class Fn>
auto map(Fn fn) {
    return detail::map_stage<Fn>{{}, std::move(fn)};
}

// Passes on the items for which fn(item) is true; `fn` sees them as const.
template <class Fn>
auto filter(Fn fn) {
    return detail::filter_stage<Fn>{{}, std::move(fn)};
}

// Passes on each item of what fn(item) gives: a range, a generator or an async_generator.
template <class Fn>
auto expand(Fn fn) {
    return detail::expand_stage<Fn>{{}, std::move(fn)};
}

enum pipeline_order : bool { unordered, ordered };

// As map, for at most `limit` items at a time, those included that wait to be passed on: when they
// are done (unordered) or in the order of their items (ordered). std::monostate for a task<void>.
// Throws `error` for a limit of 0: nothing could ever pass.
template <class Fn>
auto parallel(std::size_t limit, Fn fn, pipeline_order order) {
    detail::require_room("parallel", limit);
    return detail::parallel_stage<Fn>{{}, limit, std::move(fn), order == ordered};
}

// Lets what stands before it run ahead of what follows, by so many items. Throws `error` for 0.
inline auto buffer(std::size_t items) {
    detail::require_room("buffer", items);
    return detail::buffer_stage{{}, items};
}

// A sink: the pipeline is a task<void>.
template <class Fn>
auto for_each(Fn fn) {
    return detail::for_each_sink<Fn>{{}, std::move(fn)};
}

// A sink: the pipeline is a task<std::vector<T>>.
inline auto to_vector() { return detail::vector_sink(); }

}  // namespace ringlet
