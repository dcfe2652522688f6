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
    // Its text, in so far as it says more than URL and phase.
    static std::string cause_of(const error& failure);

    // Waits for `part` at most `limit` and not beyond the total deadline; every failure comes out
    // as a client_error of that phase.
    template <class T>
    task<T> timed(phase at, nanoseconds limit, task<T> part);

    task<void> wait_for_place(semaphore& places);
    // A failure of the connection is kept for receive_head: the answer may be there all the same.
    task<void> send(std::string_view text);
    // Ends with the head of an answer that makes sending the rest pointless (3xx, 4xx, 5xx).
    task<void> watch_for_refusal();
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
    bool request_sent = false;
    bool broken = false;  // reading the body has failed

private:
    void on_head(const response_head& what) override;
    void on_body(std::string_view bytes) override;
    void on_complete(std::span<const header_view> trailers) override;

    void parse(phase at);
    void decode();
    void check_failures(phase at) const;
    task<void> send_piece(std::string_view piece);
    task<void> receive(phase at);
    task<void> skip_body();
    [[noreturn]] void fail_receiving(std::error_code code, phase at, std::string_view cause);

    std::error_code send_failure_;
    std::string_view coded_;  // of the chunk, not decoded yet
    bool decoder_full_ = false;  // it has more to give
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
            fail(failure.code(), at, cause_of(failure));
        }
    }
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(
        limit < left ? limit : web.options().total_timeout);
    fail(make_error_code(errc::timed_out), at,
         "timed out after " + std::to_string(waited.count()) + " ms");
}

}  // namespace ringlet::http
