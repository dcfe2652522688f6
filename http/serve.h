// Coroutine handlers on the server:
//
//     http::service app(loop, [](http::request& in, http::response& out) -> task<void> {
//         co_await out.send(200, "text/plain", "Hello, World!");
//     });
//     app.listen(address::loopback_v4(8000));
//
// Each request runs its handler as a job. When the peer goes away the job is cancelled: its waits
// throw `cancelled`. A handler that throws gives a 500, or, when the head is out already, a reset;
// so does one that ends without having answered. What it threw is said on stderr.
// The jobs are detached: they may outlive the service by a few turns, and `run` (or
// finish_detached, where the program drives the loop itself) waits for them.
#pragma once

#include <concepts>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "coro/run.h"
#include "coro/suspension.h"
#include "coro/task.h"
#include "http/server.h"

namespace ringlet::http {

namespace detail {
class handler_job;

// Waits for something an exchange_listener is told of; resumed from the loop.
class listener_wait : public suspension<listener_wait> {
public:
    listener_wait(listener_wait*& place, bool ready, const char* kind) noexcept
        : place_(place), ready_(ready), kind_(kind) {}
    bool await_ready() const noexcept { return ready_; }
    void enlist() noexcept {
        RINGLET_REQUIRE(place_ == nullptr, "two coroutines wait for one request's body or output");
        place_ = this;
    }
    void delist() noexcept { place_ = nullptr; }
    void await_resume() const { check_cancelled(); }
    void describe_wait(wait_description& into) const { into.kind = kind_; }

private:
    listener_wait*& place_;
    bool ready_;
    const char* kind_;
};
}  // namespace detail

// The request of a running handler. To be used until the answer is complete, views too; after
// that, or once the peer is gone, everything here throws `cancelled`. One coroutine may read while
// another writes the answer.
class request {
public:
    const request_head& head() const;
    std::string_view method() const { return head().method_text(); }
    std::string_view target() const { return head().target; }
    std::string_view path() const { return head().path; }
    std::string_view query() const { return head().query; }
    std::string_view header(std::string_view name) const { return head().value(name); }
    address peer() const;

    // The next piece of the body; empty at its end.
    task<std::string> read();
    // All of it (limits::body_bytes_max bounds it).
    task<std::string> body();

private:
    friend class detail::handler_job;
    explicit request(detail::handler_job& owner) noexcept : owner_(owner) {}

    detail::handler_job& owner_;
};

// The answer of a running handler: `send` once, or `start`, `write` ..., `finish`.
// All throw `cancelled` once the peer is gone, std::invalid_argument for a header that may not be
// sent, and std::length_error (the peer gets a reset) when an announced length is not kept.
class response {
public:
    task<void> send(int status, std::string_view content_type, std::string_view body);
    task<void> send(int status, const headers& fields, std::string_view body);
    // Begins a streamed answer: chunked, or of `length` bytes.
    void start(int status, const headers& fields, body_framing framing = body_framing::chunked());
    // Waits while the peer is slow. Views must live until it ends.
    task<void> write(std::string_view bytes);
    void finish();
    bool started() const noexcept { return started_; }

private:
    friend class detail::handler_job;
    explicit response(detail::handler_job& owner) noexcept : owner_(owner) {}

    detail::handler_job& owner_;
    bool started_ = false;
};

namespace detail {

// One running handler; deletes itself at its end. `keep` keeps the handler object alive with it.
class handler_job final : public detached_job, private exchange_listener {
public:
    handler_job(exchange& at, std::shared_ptr<void> keep, spawn_site spawned);
    static void* operator new(std::size_t bytes) {
        return ringlet::detail::allocate_frame(bytes);
    }
    static void operator delete(void* memory, std::size_t bytes) noexcept {
        ringlet::detail::free_frame(memory, bytes);
    }

    // May destroy this.
    void start(task<void> handler) noexcept {
        handler_ = std::move(handler);
        handler_.start_as_root(*this);
    }
    std::string describe() const override;
    // Instead: the handler threw before it was a coroutine.
    void fail(const std::exception_ptr& failure) noexcept;

    request in;
    response out;

private:
    friend class http::request;
    friend class http::response;

    ~handler_job() override = default;
    void root_finished() noexcept override;
    void on_body(std::string_view bytes) noexcept override;
    void on_body_end() noexcept override;
    void on_writable() noexcept override;
    void on_aborted(std::error_code code) noexcept override;
    exchange& live() const;  // throws `cancelled` when the peer is gone
    exchange& take_live();   // the same, for the call that is the last one

    exchange* exchange_;  // null once answered or aborted
    std::shared_ptr<void> keep_;
    task<void> handler_;
    listener_wait* reader_ = nullptr;
    listener_wait* writer_ = nullptr;
    std::string body_;  // come, not read yet
    bool wants_body_ = false;
    bool body_ended_ = false;
    bool body_paused_ = false;
};

}  // namespace detail

// A server with a coroutine handler: a function object of (request&, response&) giving task<void>.
// The function object lives until the service and the last of its jobs have ended.
template <class Handler>
    requires requires(Handler& handle, request& in, response& out) {
        { handle(in, out) } -> std::same_as<task<void>>;
    }
class service : public server {
public:
    // Its jobs count as spawned where it is made.
    service(ringlet::loop& owner, Handler handler, const limits& sizes = {},
            spawn_site at = spawn_site::here())
        : server(owner, &service::handle, this, sizes),
          handler_(std::make_shared<Handler>(std::move(handler))),
          made_at_(at) {}

private:
    static void handle(void* self, exchange& at) noexcept {
        auto& mine = *static_cast<service*>(self);
        const std::shared_ptr<Handler>& handler = mine.handler_;
        detail::handler_job* running = nullptr;
        try {
            running = new detail::handler_job(at, handler, mine.made_at_);
        } catch (const std::bad_alloc&) {
            at.abort();
            return;
        }
        try {
            running->start((*handler)(running->in, running->out));
        } catch (...) {
            running->fail(std::current_exception());
        }
    }

    std::shared_ptr<Handler> handler_;
    const spawn_site made_at_;
};

}  // namespace ringlet::http
