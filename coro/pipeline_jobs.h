// The stages of coro/pipeline.h that run jobs of their own: parallel and buffer. A step's jobs are
// children of the pipeline's scope, so their failure ends all, and all are waited for. What a job
// keeps of an item is its own: moved, or copied from an lvalue. Loop thread only.
#pragma once

#include <cstddef>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "core/result.h"
#include "coro/channel.h"
#include "coro/pipeline_stages.h"
#include "coro/scope.h"
#include "coro/semaphore.h"
#include "coro/suspension.h"
#include "coro/task.h"

namespace ringlet::detail {

// Who may pass on a result: one at a time, by numbers that are given out from 0.
class turns {
public:
    class wait;

    // So many numbers are out at a time, at most.
    explicit turns(std::size_t most) : waits_(most) {}
    // co_await it.
    wait enter(std::size_t number) noexcept;
    void leave() noexcept;

private:
    std::vector<wait*> waits_;  // by number, modulo their most
    std::size_t now_ = 0;
};

class [[nodiscard]] turns::wait final : public suspension<wait> {
public:
    wait(turns& of, std::size_t number) noexcept : turns_(of), number_(number) {}

    bool await_ready() const noexcept { return turns_.now_ == number_; }
    void enlist() noexcept { place() = this; }
    void delist() noexcept { place() = nullptr; }
    void await_resume() const { check_cancelled(); }
    void describe_wait(wait_description& into) const { into.kind = "turn in a pipeline"; }

private:
    wait*& place() noexcept { return turns_.waits_[number_ % turns_.waits_.size()]; }

    turns& turns_;
    std::size_t number_;
};

inline turns::wait turns::enter(std::size_t number) noexcept { return wait(*this, number); }

inline void turns::leave() noexcept {
    ++now_;
    if (wait* const next = std::exchange(waits_[now_ % waits_.size()], nullptr)) {
        next->wake_up();
    }
}

inline void require_room(const char* stage, std::size_t room) {
    if (room == 0) {
        throw error(std::make_error_code(std::errc::invalid_argument),
                    std::string("a pipeline's ") + stage + " needs room for at least 1 item");
    }
}

template <class Fn>
struct parallel_stage : pipe_stage {
    std::size_t limit;
    Fn fn;
    bool in_order;

    template <class Item>
    using answer = awaited_t<stage_answer<Fn, std::decay_t<Item>>>;
    template <class Item>
    using output = std::conditional_t<std::is_void_v<answer<Item>>, std::monostate,
                                      without_rvalue<answer<Item>>>;

    template <class Item, class Next>
    class step {
        using kept_item = std::decay_t<Item>;
        static_assert(awaitable<stage_answer<Fn, kept_item>>,
                      "parallel needs a function that gives a task; for a plain one there is map");

    public:
        static constexpr bool waits = true;

        step(pipe_jobs& workers, parallel_stage& stage, Next& next)
            : workers_(workers),
              stage_(stage),
              next_(next),
              places_(stage.limit),
              turns_(stage.limit) {}

        pushing push(Item&& item) {
            if (workers_.is_cancelled()) {  // a source that never waits would go on for nothing
                throw cancelled();
            }
            if (semaphore::permit place = places_.try_acquire()) {
                workers_.spawn(work(std::forward<Item>(item), std::move(place), begun_++));
                return {};
            }
            return pushing(push_later(std::forward<Item>(item)));
        }
        task<void> end() {
            for (std::size_t taken = 0; taken < stage_.limit; ++taken) {
                semaphore::permit place = co_await places_.acquire();
                place.detach();
            }
            co_await next_.end();
        }

    private:
        task<void> push_later(kept_item item) {
            semaphore::permit place = co_await places_.acquire();
            workers_.spawn(work(std::move(item), std::move(place), begun_++));
        }

        // Holds its place until its result has been passed on.
        task<void> work(kept_item item, semaphore::permit, std::size_t number) {
            if constexpr (std::is_void_v<answer<Item>>) {
                co_await stage_.fn(std::move(item));
                co_await turns_.enter(stage_.in_order ? number : ended_++);
                co_await next_.push({});
            } else {
                output<Item> made = co_await stage_.fn(std::move(item));
                co_await turns_.enter(stage_.in_order ? number : ended_++);
                co_await next_.push(std::forward<output<Item>>(made));
            }
            turns_.leave();
        }

        pipe_jobs& workers_;
        parallel_stage& stage_;
        Next& next_;
        semaphore places_;
        turns turns_;
        std::size_t begun_ = 0;
        std::size_t ended_ = 0;  // and waiting for their turn, or past it
    };
};

struct buffer_stage : pipe_stage {
    std::size_t items;

    template <class Item>
    using output = std::decay_t<Item>;

    template <class Item, class Next>
    class step {
        using kept_item = std::decay_t<Item>;

    public:
        static constexpr bool waits = true;

        step(pipe_jobs& workers, buffer_stage& stage, Next& next)
            : workers_(workers), next_(next), items_(stage.items) {}

        pushing push(Item&& item) {
            if (!std::exchange(reading_, true)) {
                workers_.spawn(read());
            }
            kept_item kept(std::forward<Item>(item));
            if (items_.try_send(std::move(kept))) {
                return {};
            }
            return pushing(push_later(std::move(kept)));
        }
        task<void> end() {
            items_.close();
            if (!reading_) {
                co_await next_.end();
            }
        }

    private:
        task<void> push_later(kept_item item) { co_await items_.send(std::move(item)); }
        task<void> read() {
            co_await pipe_all(items_, next_);
            co_await next_.end();
        }

        pipe_jobs& workers_;
        Next& next_;
        channel<kept_item> items_;
        bool reading_ = false;
    };
};

}  // namespace ringlet::detail
