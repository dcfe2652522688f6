// as_completed(tasks, consumer): all tasks side by side, each as a job of its own; calls
// `consumer(index, value)` (`consumer(index)` for void) as each ends, one at a time. A consumer
// that gives a task<void> is awaited. The first exception cancels the rest, waits for it and is
// thrown; cancelling the wait does the same with `cancelled`.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "coro/fan_out.h"
#include "coro/task.h"

namespace ringlet {

template <class T, class Consumer>
task<void> as_completed(std::vector<task<T>> roots, Consumer consumer,
                        spawn_site at = spawn_site::here()) {
    const std::size_t all = std::max<std::size_t>(roots.size(), 1);
    return fan_out(
        std::move(roots), all, [](task<T>& root) { return std::move(root); }, std::move(consumer),
        at);
}

}  // namespace ringlet
