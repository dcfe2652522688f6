// An HTTP/1.1 server on a loop. At its floor stands one plain callback per request: no coroutine,
// no allocation. http/serve.h puts coroutine handlers on top of it. Loop thread only.
//
// Requests of one connection are parsed in a batch and answered in order; everything answered in a
// turn leaves by one send. While an answer is still owed, later requests of that connection wait as
// bytes, and reading stops when many have come. All limits of http/limits.h are on by default.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <span>
#include <string_view>

#include "core/loop.h"
#include "http/date.h"
#include "http/exchange.h"
#include "http/limits.h"
#include "net/tcp_listener.h"
#include "net/tls_context.h"

namespace ringlet::http {

// Called once per request when its head is there. Answer now (exchange::respond), or call
// exchange::take and answer later. Neither: the server answers 500.
using request_handler = void (*)(void* context, exchange& request) noexcept;

struct server_stats {
    std::uint64_t connections = 0;  // accepted
    std::uint64_t requests = 0;
    std::uint64_t refused = 0;  // answered 4xx or 5xx by the server itself
    std::uint64_t timeouts = 0;
    std::uint32_t open = 0;  // connections now
};

class server {
public:
    server(loop& owner, request_handler handler, void* context, const limits& sizes = {});
    server(const server&) = delete;
    server& operator=(const server&) = delete;
    // Closes at once; answers in progress are cut. See `drain` for the orderly way.
    ~server();

    // May be called for several addresses. Throws `error` naming the address. Returns the address
    // with the port that was taken.
    address listen(const address& where, const listen_options& options = {});
    // The same for https. `tls` is a server's context; its ALPN should be "http/1.1" or empty.
    address listen(const address& where, tls_context tls, const listen_options& options = {});

    // Stops accepting, closes idle connections, lets answers in progress end, each followed by a
    // close. `idle` says when all have gone.
    void drain() noexcept;
    bool idle() const noexcept { return stats_.open == 0; }
    // Called once, when a drain has ended; at once when it has already. It may not destroy the
    // server.
    void on_idle(void (*callback)(void* context) noexcept, void* context) noexcept;

    const server_stats& stats() const noexcept { return stats_; }
    loop& owner() const noexcept { return loop_; }

private:
    friend class exchange;

    struct sweep_timer : timer {
        server& owner;
        explicit sweep_timer(server& s) noexcept;
    };

    struct door {
        door(server& web, const address& where, tls_context how, const listen_options& options);
        server& owner;
        tcp_listener listener;
        tls_context tls;  // none: plain
    };
    struct arrival {
        int fd;
        const door* by;
    };

    void set_accepting(bool accepting) noexcept;
    void stop_accepting() noexcept;
    void accepted(arrival who) noexcept;
    void joined(exchange& connection) noexcept;
    void left(exchange& connection) noexcept;
    void tell_idle() noexcept;
    void sweep() noexcept;
    std::string_view date() noexcept;  // of this turn

    loop& loop_;
    request_handler handler_;
    void* context_;
    limits limits_;
    date_cache date_;
    std::string_view date_text_;
    instant date_at_ = -1;
    std::list<door> doors_;
    std::deque<arrival> waiting_;  // accepted, but above the limit
    exchange* first_ = nullptr;  // all connections
    sweep_timer sweep_timer_;  // looks for passed deadlines, coarsely, while there are connections
    nanoseconds sweep_every_;
    void (*idle_callback_)(void*) noexcept = nullptr;
    void* idle_context_ = nullptr;
    bool draining_ = false;
    server_stats stats_;
};

}  // namespace ringlet::http
