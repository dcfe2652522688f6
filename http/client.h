// An HTTP/1.1 client on a loop, for http and https: a pool of connections with global and per-host
// limits, keep-alive, redirects, gzip and deflate, a timeout per phase, size limits, and one safe
// retry when a kept connection turns out to be dead. Loop thread only; a client must outlive its
// responses.
//
//     http::client web(loop);
//     http::client_response page = co_await web.get("http://example.org/");
//
// Every failure is a `client_error` that says which URL, in which phase, and why. Cancelling the
// job that waits ends the request and closes its connection.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/loop.h"
#include "core/result.h"
#include "coro/semaphore.h"
#include "coro/task.h"
#include "http/content_decoder.h"
#include "http/headers.h"
#include "http/limits.h"
#include "http/status.h"
#include "http/url.h"
#include "net/connect.h"
#include "net/resolver.h"
#include "net/tls_context.h"

namespace ringlet::http {

enum class phase { url, queue, resolve, connect, tls, send, head, body, redirect };

std::string_view phase_text(phase at) noexcept;

// what(): "<url>: <phase>: <cause>". code(): errno, an errc, a tls_errc, or std::errc::bad_message
// for an answer that is no HTTP (or not acceptable HTTP).
class client_error : public error {
public:
    client_error(std::error_code code, http::phase at, std::string_view url,
                 std::string_view cause);
    const char* what() const noexcept override { return text_.c_str(); }
    http::phase phase() const noexcept { return phase_; }
    // The cause alone, without URL and phase.
    const std::string& cause() const noexcept { return cause_; }

private:
    http::phase phase_;
    std::string cause_;
    std::string text_;
};

struct client_options {
    std::size_t connections_max = 100;                    // over all hosts, kept ones included
    std::size_t connections_per_host_max = 0;             // 0: only the global limit
    std::size_t idle_connections_max = 100;               // kept open between requests
    nanoseconds idle_timeout = std::chrono::seconds(15);  // then an idle connection is closed
    nanoseconds queue_timeout = wait_forever;             // for a place in the pool
    nanoseconds resolve_timeout = std::chrono::seconds(10);
    nanoseconds connect_timeout = std::chrono::seconds(10);
    nanoseconds tls_timeout = std::chrono::seconds(10);   // the handshake
    nanoseconds send_timeout = std::chrono::seconds(30);  // for each 256 KiB of the request
    nanoseconds head_timeout = std::chrono::seconds(30);  // request sent to head received
    nanoseconds body_timeout = std::chrono::seconds(30);  // between two pieces of the body
    nanoseconds total_timeout = wait_forever;             // queue to last byte, redirects and all
    unsigned redirects_max = 10;  // 0: a redirect is an answer like any other
    bool decode = true;           // ask for gzip and deflate, and undo them
    std::string user_agent = "ringlet/0.1";
    limits sizes = client_limits();
    resolver_options resolver;
    connect_options connect;
    tls_context tls;  // for https; none: made when it is needed, verifying as the system trusts

    // Bodies may be larger than what a server accepts: 64 MiB, plain or decoded.
    static limits client_limits() noexcept;
};

struct client_request {
    std::string url;
    http::method method = http::method::get;
    http::headers headers;
    std::string body;
};

// Instants of the loop's clock; 0: did not happen (a reused connection is neither resolved nor
// connected). Of the last request when there were redirects, except `begun`.
struct client_timings {
    instant begun = 0;
    instant granted = 0;  // got its place in the pool
    instant resolved = 0;
    instant connected = 0;
    instant secured = 0;  // by TLS
    instant sent = 0;
    instant first_byte = 0;  // the head is there
    instant ended = 0;       // the body is there
};

namespace detail {
class client_connection;
struct host_entry;
}  // namespace detail

// A response whose body is still to be read. Destroying it unread closes its connection.
class incoming {
public:
    incoming(incoming&&) noexcept;
    incoming& operator=(incoming&&) noexcept;
    ~incoming();

    int status() const noexcept;
    std::string_view reason() const noexcept;
    const http::headers& headers() const noexcept;
    std::string_view header(std::string_view name) const noexcept;
    const url& final_url() const noexcept;
    unsigned redirects() const noexcept;
    const client_timings& timings() const noexcept;
    // Bytes of the body so far, as they came over the wire.
    std::uint64_t body_bytes() const noexcept;

    // Replaces `into` by the next piece of the body, decoded; false at its end. Nothing is read
    // ahead of the caller but what the socket holds. Throws client_error, also for a body that is
    // cut short, too large or corrupt; then the connection is closed and the body stays unreadable.
    task<bool> read(std::string& into);
    // All that is left.
    task<std::string> read_all();

private:
    friend class client;
    struct state;
    explicit incoming(std::unique_ptr<state> made) noexcept;
    std::unique_ptr<state> state_;
};

struct client_response {
    int status = 0;
    http::headers headers;
    std::string body;
    url final_url;
    unsigned redirects = 0;
    client_timings timings;
};

struct client_stats {
    std::uint64_t requests = 0;
    std::uint64_t connections = 0;  // opened
    std::uint64_t reused = 0;       // requests on a kept connection
    std::uint64_t resumed = 0;      // TLS handshakes that took up a session again
    std::uint64_t retries = 0;      // requests repeated after a kept connection had died
    std::size_t idle = 0;           // kept connections now
};

class client {
public:
    explicit client(loop& owner, client_options options = {});
    client(const client&) = delete;
    client& operator=(const client&) = delete;
    ~client();

    task<client_response> get(std::string url);
    task<client_response> request(client_request what);
    // Ends when the head is there; the body is read through `incoming`.
    task<incoming> open(client_request what);

    // Closes the kept connections.
    void close_idle() noexcept;
    const client_stats& stats() const noexcept { return stats_; }
    const client_options& options() const noexcept { return options_; }
    loop& owner() const noexcept { return loop_; }

private:
    friend class incoming;
    friend struct incoming::state;

    struct reap_timer : timer {
        client& owner;
        explicit reap_timer(client& c) noexcept;
    };

    task<void> follow(incoming::state& state);
    task<void> attempt(incoming::state& state);
    task<void> take_place(incoming::state& state);
    task<void> connect(incoming::state& state);
    task<tcp_stream> secure(tcp_stream stream, std::string host);
    task<void> exchange(incoming::state& state, std::string_view text);
    std::string render(const incoming::state& state) const;
    bool take_idle(incoming::state& state);
    void keep_or_close(incoming::state& state) noexcept;
    detail::host_entry& host_of(const url& where);
    void leave_host(detail::host_entry& host) noexcept;
    task<tcp_stream> open_socket(std::vector<address> addresses);
    void close_oldest() noexcept;
    void unlink_idle(detail::client_connection& idle) noexcept;
    void start_reaping();
    void reap() noexcept;

    loop& loop_;
    client_options options_;
    resolver resolver_;
    semaphore places_;
    std::unordered_map<std::string, std::unique_ptr<detail::host_entry>> hosts_;
    detail::client_connection* oldest_idle_ = nullptr;  // all idle ones, oldest first
    detail::client_connection* newest_idle_ = nullptr;
    reap_timer reap_timer_;
    client_stats stats_;
};

}  // namespace ringlet::http
