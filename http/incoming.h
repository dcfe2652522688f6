// The state of one request of the client, from its queue to the last byte of the answer. Only the
// client's own sources use it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "coro/timeout.h"
#include "http/client.h"
#include "http/client_pool.h"

namespace ringlet::http {

struct incoming::state final : private response_events {
    state(client& owner, client_request what) : web(owner), request(std::move(what)) {}
    ~state();

    // Throws the client_error for this request.
    [[noreturn]] void fail(std::error_code code, phase at, std::string_view cause) const;

    // Waits for `part` at most `limit` and not beyond the total deadline; every failure comes out
    // as a client_error of that phase.
    template <class T>
    task<T> timed(phase at, nanoseconds limit, task<T> part);

    task<void> wait_for_place(semaphore& places);
    task<void> send(std::string_view text);
    task<void> receive_head();
    // Appends the next decoded bytes to `piece`; ends when there are some or the body has ended.
    task<void> receive_body();
    // Reads a redirect's body when it is short, so that the connection can be used again.
    task<void> drain();

    void begin_answer() noexcept;
    void redirect_to(url next);
    // Gives place and connection back once the answer is complete, or drops them.
    void release() noexcept;

    client& web;
    client_request request;
    url where;
    unsigned redirects = 0;
    client_timings timings;
    instant deadline = INT64_MAX;

    detail::host_entry* host = nullptr;
    semaphore::permit host_place;
    semaphore::permit place;
    std::unique_ptr<detail::client_connection> connection;
    bool connection_was_dead = false;  // ended before any byte of an answer came

    int status = 0;
    std::string reason;
    http::headers head;
    content_decoder decoder;
    std::string piece;  // decoded, not read yet
    std::uint64_t body_bytes = 0;
    bool has_head = false;

private:
    void on_head(const response_head& what) override;
    void on_body(std::string_view bytes) override;
    void on_complete(std::span<const header_view> trailers) override;

    void parse(phase at);
    void check_failures(phase at) const;
    task<void> receive(phase at);
    [[noreturn]] void fail_decoding(decode_error why) const;

    decode_error decode_failure_ = decode_error::none;
};

template <class T>
task<T> incoming::state::timed(phase at, nanoseconds limit, task<T> part) {
    const instant now = web.owner().now();
    const nanoseconds left(deadline == INT64_MAX ? INT64_MAX : deadline - now);
    const nanoseconds allowed = limit < left ? limit : left;
    try {
        if (allowed == wait_forever) {
            co_return co_await std::move(part);
        }
        co_return co_await with_timeout(allowed, std::move(part));
    } catch (const client_error&) {
        throw;
    } catch (const error& failure) {
        if (failure.code() != errc::timed_out) {
            fail(failure.code(), at, failure.what());
        }
    }
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(
        limit < left ? limit : web.options().total_timeout);
    fail(make_error_code(errc::timed_out), at,
         "timed out after " + std::to_string(waited.count()) + " ms");
}

}  // namespace ringlet::http
