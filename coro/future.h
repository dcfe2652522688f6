// future<T> and promise<T>: a result that comes later, for code that is not a coroutine. One
// promise, one future, one reader: the value is moved out. Loop thread only; neither may be used
// after its loop has been destroyed.
//
// Two ways to read a future, each once:
// * `co_await f`: the value, or throws. Resumed from the loop's ready queue. Cancel ends the wait
//   (not the producer) and leaves the future as it was.
// * `std::move(f).then(callback)`: the callback is called from the loop's ready queue, never inside
//   `then` or `set_value`. If it can take an outcome<T>, it is given that; else it is given the
//   value (nothing for void), and a failure passes by it into the future that `then` returns. What
//   the callback returns or throws is that future's result; when it returns a future, that one's.
// A promise that is destroyed unsettled gives error(errc::broken_promise). A failure that is never
// read is a line on stderr.
#pragma once

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "core/result.h"
#include "coro/outcome.h"
#include "coro/run.h"
#include "coro/suspension.h"

namespace ringlet {

template <class T>
class future;

namespace detail {

class future_reader {
public:
    // Inside the settling call: posts, runs nothing.
    virtual void settled() noexcept = 0;

protected:
    ~future_reader() = default;
};

template <class T>
struct future_state : pooled {
    explicit future_state(ringlet::loop& owner) noexcept : loop(owner) {}
    ~future_state() {
        if (const std::exception_ptr failure = result.exception()) {
            report_lost("a future was dropped unread, and it had failed", failure);
        }
    }

    ringlet::loop& loop;
    outcome<T> result;
    future_reader* reader = nullptr;
    unsigned references = 1;
    bool settled = false;
};

// A counted reference; the count is not atomic.
template <class T>
class future_link {
public:
    future_link() noexcept = default;
    explicit future_link(future_state<T>* state) noexcept : state_(state) {}
    future_link(const future_link& other) noexcept : state_(other.state_) { ++state_->references; }
    future_link(future_link&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    future_link& operator=(future_link&& other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~future_link() {
        if (state_ != nullptr && --state_->references == 0) {
            delete state_;
        }
    }

    explicit operator bool() const noexcept { return state_ != nullptr; }
    future_state<T>* operator->() const noexcept { return state_; }

private:
    future_state<T>* state_ = nullptr;
};

}  // namespace detail

template <class T>
class promise {
public:
    // Requires: this thread has a loop.
    promise() : promise(*loop::current()) {}
    explicit promise(ringlet::loop& owner) : state_(new detail::future_state<T>(owner)) {}
    promise(promise&&) noexcept = default;
    promise& operator=(promise&& other) noexcept {
        drop();
        state_ = std::move(other.state_);
        return *this;
    }
    ~promise() { drop(); }

    // One at a time.
    future<T> get_future() noexcept {
        RINGLET_REQUIRE(state_ && state_->references == 1, "a promise was asked for two futures");
        return future<T>(state_);
    }

    // Settle it, once. When making the value throws, the promise is still unsettled.
    template <class... Args>
    void set_value(Args&&... args) {
        require_open();
        state_->result.set_value(std::forward<Args>(args)...);
        settle();
    }
    void set_exception(std::exception_ptr failure) noexcept {
        require_open();
        state_->result.set_exception(std::move(failure));
        settle();
    }
    // Requires: not empty.
    void set_result(outcome<T> result) noexcept {
        require_open();
        state_->result = std::move(result);
        settle();
    }

private:
    void require_open() const noexcept {
        RINGLET_REQUIRE(state_ && !state_->settled, "a promise was settled twice");
    }
    void settle() noexcept {
        state_->settled = true;
        if (state_->reader != nullptr) {
            std::exchange(state_->reader, nullptr)->settled();
        }
    }
    void drop() noexcept {
        if (state_ && !state_->settled && state_->references > 1) {
            set_exception(failure_with(errc::broken_promise));
        }
        state_ = detail::future_link<T>();
    }

    detail::future_link<T> state_;
};

template <class T>
class [[nodiscard]] future {
public:
    class wait;

    future() noexcept = default;
    future(future&&) noexcept = default;
    future& operator=(future&&) noexcept = default;

    // True until the result was read.
    bool valid() const noexcept { return static_cast<bool>(state_); }
    // Requires: valid. True when reading does not wait.
    bool ready() const noexcept { return state_->settled; }

    template <class Callback>
    auto then(Callback callback) &&;

    wait operator co_await() noexcept {
        RINGLET_REQUIRE(valid(), "an empty future was awaited");
        return wait(*this);
    }

private:
    friend class promise<T>;
    explicit future(const detail::future_link<T>& state) noexcept : state_(state) {}

    detail::future_link<T> state_;
};

template <class T>
class future<T>::wait final : public suspension<wait>, private detail::future_reader {
public:
    explicit wait(future& source) noexcept : source_(source) {}

    bool await_ready() const noexcept { return source_.ready(); }
    void enlist() noexcept {
        RINGLET_REQUIRE(source_.state_->reader == nullptr, "a future was awaited twice");
        source_.state_->reader = this;
    }
    void delist() noexcept { source_.state_->reader = nullptr; }
    T await_resume() {
        this->check_cancelled();
        const detail::future_link<T> read = std::move(source_.state_);
        return std::exchange(read->result, {}).get();
    }
    void describe_wait(wait_description& into) const { into.kind = "future"; }

private:
    void settled() noexcept override { this->wake_up(); }

    future& source_;
};

namespace detail {

// What a callback's future carries: the value of a future that it returns.
template <class T>
struct then_value {
    using type = T;
};
template <class T>
struct then_value<future<T>> {
    using type = T;
};

// What `Callback` makes of an outcome<T>.
template <class T, class Callback>
decltype(auto) call_with_outcome(Callback& callback, outcome<T> result) {
    if constexpr (std::is_invocable_v<Callback&, outcome<T>>) {
        return callback(std::move(result));
    } else if constexpr (std::is_void_v<T>) {
        result.get();
        return callback();
    } else {
        return callback(result.get());
    }
}

// Waits for a future, then is in the ready queue, then calls and deletes itself.
template <class T, class R, class Callback>
class then_call final : public future_reader, private work, public pooled {
public:
    then_call(future_link<T> state, Callback callback, promise<R> next) noexcept
        : work(&then_call::run),
          state_(std::move(state)),
          callback_(std::move(callback)),
          next_(std::move(next)) {
        if (state_->settled) {
            settled();
        } else {
            state_->reader = this;
        }
    }

private:
    struct on_its_way final : detached {
        explicit on_its_way(ringlet::loop& owner) noexcept : detached(owner) {}
    };

    void settled() noexcept override {
        on_its_way_.emplace(state_->loop);
        state_->loop.post(*this);
    }
    static void run(work& item) noexcept {
        auto& self = static_cast<then_call&>(item);
        try {
            if (self.call()) {
                self.on_its_way_.reset();  // pass_on deletes it
                return;
            }
        } catch (...) {
            self.next_.set_exception(std::current_exception());
        }
        delete &self;
    }

    // True when the result is still to come, out of a future that the callback returned.
    bool call() {
        outcome<T> result = std::exchange(state_->result, {});
        using returned = decltype(call_with_outcome<T>(callback_, std::move(result)));
        if constexpr (std::is_same_v<returned, future<R>>) {
            auto pass_on = [this](outcome<R> settled) noexcept {
                next_.set_result(std::move(settled));
                delete this;
            };
            static_cast<void>(call_with_outcome<T>(callback_, std::move(result)).then(pass_on));
            return true;
        } else if constexpr (std::is_void_v<R>) {
            call_with_outcome<T>(callback_, std::move(result));
            next_.set_value();
        } else {
            next_.set_value(call_with_outcome<T>(callback_, std::move(result)));
        }
        return false;
    }

    future_link<T> state_;
    Callback callback_;
    promise<R> next_;
    std::optional<on_its_way> on_its_way_;
};

}  // namespace detail

template <class T>
template <class Callback>
auto future<T>::then(Callback callback) && {
    RINGLET_REQUIRE(valid() && state_->reader == nullptr, "a future was read twice");
    using returned = decltype(detail::call_with_outcome<T>(callback, outcome<T>()));
    using R = typename detail::then_value<std::remove_cvref_t<returned>>::type;
    promise<R> next(state_->loop);
    future<R> ended = next.get_future();
    new detail::then_call<T, R, Callback>(std::move(state_), std::move(callback), std::move(next));
    return ended;
}

}  // namespace ringlet
