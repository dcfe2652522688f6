#include "http/server.h"

#include <time.h>

#include <algorithm>
#include <new>

namespace ringlet::http {
namespace {

constexpr nanoseconds sweep_longest = std::chrono::seconds(1);
constexpr nanoseconds sweep_shortest = std::chrono::milliseconds(5);

// Deadlines are looked at often enough to be at most a quarter late.
nanoseconds sweep_interval(const limits& sizes) noexcept {
    const auto shortest = std::min({sizes.handshake_timeout, sizes.header_timeout,
                                    sizes.keep_alive_timeout, sizes.body_idle_timeout,
                                    sizes.write_stall_timeout, sizes.linger_timeout});
    return std::clamp(nanoseconds(shortest) / 4, sweep_shortest, sweep_longest);
}

}  // namespace

server::sweep_timer::sweep_timer(server& s) noexcept
    : timer([](timer& item) noexcept { static_cast<sweep_timer&>(item).owner.sweep(); }),
      owner(s) {}

server::server(loop& owner, request_handler handler, void* context, const limits& sizes)
    : loop_(owner),
      handler_(handler),
      context_(context),
      limits_(sizes),
      sweep_timer_(*this),
      sweep_every_(sweep_interval(sizes)) {}

server::~server() {
    idle_callback_ = nullptr;
    stop_accepting();
    while (first_ != nullptr) {
        first_->drop({});
    }
    loop_.cancel_timer(sweep_timer_);
}

server::door::door(server& web, const address& where, tls_context how,
                   const listen_options& options)
    : owner(web), listener(web.loop_, where, options), tls(std::move(how)) {
    listener.on_accept(
        [](void* at, int fd) noexcept {
            const door& by = *static_cast<door*>(at);
            by.owner.accepted({fd, &by});
        },
        this);
    listener.set_accepting(web.stats_.open < web.limits_.connections_max);
}

address server::listen(const address& where, const listen_options& options) {
    return listen(where, tls_context(), options);
}

address server::listen(const address& where, tls_context tls, const listen_options& options) {
    return doors_.emplace_back(*this, where, std::move(tls), options).listener.local_address();
}

void server::set_accepting(bool accepting) noexcept {
    for (door& each : doors_) {
        each.listener.set_accepting(accepting);
    }
}

void server::stop_accepting() noexcept {
    for (const arrival& each : waiting_) {
        loop_.driver().close(each.fd);
    }
    waiting_.clear();
    doors_.clear();
}

// The kernel hands over a burst at once: those above the limit wait here.
void server::accepted(arrival who) noexcept {
    exchange* connection = nullptr;
    try {
        if (stats_.open >= limits_.connections_max) {
            waiting_.push_back(who);
            return;
        }
        if (!sweep_timer_.pending()) {
            loop_.start_timer(sweep_timer_, loop_.now() + sweep_every_.count());
        }
        connection = new exchange(*this, who.fd);
        joined(*connection);
        if (who.by->tls) {
            connection->secure(who.by->tls);
        } else {
            connection->start_receiving();
        }
    } catch (...) {  // no memory, or none for TLS
        if (connection != nullptr) {
            connection->drop({});
        } else {
            loop_.driver().close(who.fd);
        }
    }
}

void server::joined(exchange& connection) noexcept {
    connection.next_ = first_;
    if (first_ != nullptr) {
        first_->previous_ = &connection;
    }
    first_ = &connection;
    ++stats_.connections;
    if (++stats_.open == limits_.connections_max) {
        set_accepting(false);
    }
}

void server::left(exchange& connection) noexcept {
    (connection.previous_ != nullptr ? connection.previous_->next_ : first_) = connection.next_;
    if (connection.next_ != nullptr) {
        connection.next_->previous_ = connection.previous_;
    }
    --stats_.open;
    if (!waiting_.empty()) {
        const arrival next = waiting_.front();
        waiting_.pop_front();
        accepted(next);
    } else if (stats_.open + 1 == limits_.connections_max) {
        set_accepting(true);
    }
    if (stats_.open == 0) {
        loop_.cancel_timer(sweep_timer_);
        tell_idle();
    }
}

void server::sweep() noexcept {
    const instant now = loop_.now();
    for (exchange* each = first_; each != nullptr;) {
        exchange* const next = each->next_;
        if (each->deadline_ <= now) {
            each->reach_deadline();
        }
        each = next;
    }
    if (first_ != nullptr) {
        loop_.start_timer(sweep_timer_, now + sweep_every_.count());
    }
}

void server::drain() noexcept {
    draining_ = true;
    stop_accepting();
    for (exchange* each = first_; each != nullptr;) {
        exchange* const next = each->next_;
        each->settle();
        each = next;
    }
    tell_idle();
}

void server::tell_idle() noexcept {
    if (draining_ && stats_.open == 0 && idle_callback_ != nullptr) {
        std::exchange(idle_callback_, nullptr)(idle_context_);
    }
}

void server::on_idle(void (*callback)(void*) noexcept, void* context) noexcept {
    idle_callback_ = callback;
    idle_context_ = context;
    tell_idle();
}

std::string_view server::date() noexcept {
    if (const instant now = loop_.now(); now != date_at_) {
        date_at_ = now;
        timespec clock = {};
        ::clock_gettime(CLOCK_REALTIME_COARSE, &clock);
        date_text_ = date_.get(clock.tv_sec);
    }
    return date_text_;
}

}  // namespace ringlet::http
