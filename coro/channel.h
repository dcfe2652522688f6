// channel<T>(capacity): values from senders to receivers, in order. Loop thread only.
// * `co_await c.send(value)` waits while the channel is full; throws error(errc::closed) once it is
//   closed, also out of a wait.
// * `co_await c.receive()`: the oldest value; an empty optional once closed and drained.
// Capacity 0: each send waits for its receiver.
//
// Fair on both sides, values and room are handed over directly; waits are resumed from the loop's
// ready queue, never inside a call of the other side. Cancel takes a wait out of its queue and it
// throws `cancelled`; a receive that was already handed a value delivers it, a send whose value was
// taken succeeds. What need not wait does not, also in a cancelled job.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <type_traits>
#include <utility>

#include "core/result.h"
#include "coro/suspension.h"
#include "coro/wait_list.h"

namespace ringlet {

template <class T>
class channel {
    static_assert(std::is_nothrow_move_constructible_v<T>,
                  "a value must not get lost on its way: its move must not throw");

public:
    class send_wait;
    class receive_wait;

    explicit channel(std::size_t capacity) : capacity_(capacity) {}

    // co_await it.
    send_wait send(T value) noexcept { return send_wait(*this, std::move(value)); }
    // co_await it: std::optional<T>.
    receive_wait receive() noexcept { return receive_wait(*this); }

    // False when it is full or closed; then `value` is as it was.
    bool try_send(T&& value) {
        if (closed_) {
            return false;
        }
        if (receive_wait* const oldest = receivers_.pop()) {
            oldest->value_.emplace(std::move(value));
            oldest->wake_up();
            return true;
        }
        if (values_.size() >= capacity_) {
            return false;
        }
        values_.push_back(std::move(value));
        return true;
    }
    // Empty when nothing is there. Throws std::bad_alloc, and then takes nothing, when a waiting
    // value finds no room.
    std::optional<T> try_receive();

    // No more values. Those that are in the channel can still be received; waiting sends fail.
    void close() noexcept;
    bool is_closed() const noexcept { return closed_; }
    // Values in the channel, without those of waiting sends.
    std::size_t size() const noexcept { return values_.size(); }

private:
    std::size_t capacity_;
    bool closed_ = false;
    std::deque<T> values_;
    detail::wait_list<send_wait> senders_;       // somebody only while full
    detail::wait_list<receive_wait> receivers_;  // somebody only while empty
};

template <class T>
class [[nodiscard]] channel<T>::send_wait final : public suspension<send_wait>,
                                                  public detail::wait_link {
public:
    send_wait(channel& target, T value) noexcept : target_(target), value_(std::move(value)) {}

    bool await_ready() {
        sent_ = target_.try_send(std::move(value_));
        return sent_ || target_.closed_;
    }
    void enlist() noexcept { target_.senders_.push(*this); }
    void delist() noexcept { target_.senders_.remove(*this); }
    void await_resume() const {
        this->check_cancelled();
        if (!sent_) {
            throw error(errc::closed, "send into a channel");
        }
    }
    void describe_wait(wait_description& into) const { into.kind = "channel send"; }

private:
    friend class channel;
    channel& target_;
    T value_;
    bool sent_ = false;
};

template <class T>
class [[nodiscard]] channel<T>::receive_wait final : public suspension<receive_wait>,
                                                     public detail::wait_link {
public:
    explicit receive_wait(channel& source) noexcept : source_(source) {}

    bool await_ready() {
        value_ = source_.try_receive();
        return value_ || source_.closed_;
    }
    void enlist() noexcept { source_.receivers_.push(*this); }
    void delist() noexcept { source_.receivers_.remove(*this); }
    std::optional<T> await_resume() {
        this->check_cancelled();
        return std::move(value_);
    }
    void describe_wait(wait_description& into) const { into.kind = "channel receive"; }

private:
    friend class channel;
    channel& source_;
    std::optional<T> value_;
};

template <class T>
std::optional<T> channel<T>::try_receive() {
    std::optional<T> value;
    send_wait* const oldest = senders_.front();
    if (!values_.empty()) {
        if (oldest != nullptr) {
            values_.push_back(std::move(oldest->value_));
        }
        value.emplace(std::move(values_.front()));
        values_.pop_front();
    } else if (oldest != nullptr) {
        value.emplace(std::move(oldest->value_));
    }
    if (oldest != nullptr) {
        senders_.remove(*oldest);
        oldest->sent_ = true;
        oldest->wake_up();
    }
    return value;
}

template <class T>
void channel<T>::close() noexcept {
    closed_ = true;
    while (send_wait* const oldest = senders_.pop()) {
        oldest->wake_up();
    }
    while (receive_wait* const oldest = receivers_.pop()) {
        oldest->wake_up();
    }
}

}  // namespace ringlet
