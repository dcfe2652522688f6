// A connection of the server, seen as its current request and the answer to it. Made and destroyed
// by the server. A handler answers at once with `respond`, or calls `take` and then streams: body
// in by its listener, answer out by start_response, write, finish, with back-pressure both ways.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "http/request_parser.h"
#include "http/writer.h"
#include "net/connection.h"
#include "net/tls_context.h"

namespace ringlet::http {

class server;

// Whoever answers later. Called by the loop, and from inside want_body and resume_body when there
// is something to tell at once. on_aborted, `respond`, `finish` and `abort` each are the end: no
// call comes after it, and the exchange must not be touched.
class exchange_listener {
public:
    // A piece of the request's body, valid during the call. Only after want_body.
    virtual void on_body(std::string_view bytes) noexcept = 0;
    // Once, also when there is no body at all.
    virtual void on_body_end() noexcept = 0;
    // The output is below its high-water mark again. Only after `writable` was false.
    virtual void on_writable() noexcept = 0;
    // The connection is gone (reset, timeout, malformed body, server closed): nobody will read the
    // answer.
    virtual void on_aborted(std::error_code code) noexcept = 0;

protected:
    ~exchange_listener() = default;
};

class exchange final : private connection, private request_events {
public:
    // The request. Its views live until the answer is complete.
    const request_head& request() const noexcept { return *head_; }
    ringlet::loop& loop() const noexcept { return connection::loop(); }
    using connection::local_address;
    using connection::peer_address;
    using connection::tls;

    // The whole answer. A header that may not be sent makes it a 500, and is returned.
    write_error respond(int status, std::string_view content_type, std::string_view body) noexcept;
    write_error respond(int status, std::span<const header_view> headers,
                        std::string_view body) noexcept;

    // The answer comes later. Requires: called by the handler, once, before it answers. The
    // listener must live until the answer is complete or on_aborted.
    // Throws std::bad_alloc, and then nothing is taken.
    void take(exchange_listener& listener);
    // Body pieces go to the listener from now on; sends "100 Continue" when it was asked for. A
    // body that nobody wants is read and dropped (within its limit) after the answer.
    void want_body() noexcept;
    void pause_body() noexcept;
    void resume_body() noexcept;

    // A streamed answer; 1xx (but 101) may come before it. On an error nothing was sent and another
    // start_response may follow; but out_of_memory has reset the connection, and is the end.
    write_error start_response(int status, std::span<const header_view> headers,
                               body_framing framing) noexcept;
    // Requires: started. False, also of `finish`: the length that was announced is not kept. The
    // connection was reset, because the peer must not take a cut answer for a whole one, and that
    // is the end.
    bool write(std::string_view bytes) noexcept;
    bool finish() noexcept;
    // False: wait for on_writable before writing more (nothing breaks otherwise).
    bool writable() const noexcept;
    bool started() const noexcept { return answer_ != answer::none; }
    // Resets the connection.
    void abort() noexcept;

private:
    friend class server;

    enum class answer : std::uint8_t {
        none,       // no head sent yet
        streaming,  // head sent, body being written
        complete    // nothing owed
    };

    // What the deadline is for.
    enum class patience : std::uint8_t { none, handshake, head, body, write, keep_alive, linger };

    exchange(server& owner, int fd) noexcept;
    void secure(const tls_context& how);
    ~exchange() override;

    static void* operator new(std::size_t bytes);
    static void operator delete(void* memory, std::size_t bytes) noexcept;

    // connection
    void on_received(chunk bytes) noexcept override;
    void on_end(std::error_code code) noexcept override;
    void on_sent() noexcept override;
    void on_send_failed(std::error_code code) noexcept override;
    void on_secured() noexcept override;
    // request_events
    void on_head(const request_head& head) override;
    void on_body(std::string_view bytes) override;
    void on_complete(std::span<const header_view> trailers) override;

    void feed(std::string_view bytes) noexcept;
    bool may_parse() const noexcept;
    void feed_kept() noexcept;
    void keep(std::string_view bytes) noexcept;
    void refuse() noexcept;
    void end_with(int status, std::string_view reason) noexcept;
    void answered() noexcept;
    void written() noexcept;
    void settle() noexcept;
    void begin_end() noexcept;
    void reset(std::error_code code) noexcept;
    void drop(std::error_code code) noexcept;
    void leave(std::error_code code) noexcept;
    void tell_aborted(std::error_code code) noexcept;
    void reach_deadline() noexcept;
    void wait_for(patience what) noexcept;
    bool keep_alive_wanted() const noexcept;
    bool owes_answer() const noexcept { return in_request_ && answer_ != answer::complete; }
    bool output_full() const noexcept;

    server& server_;
    exchange* next_ = nullptr;  // the server's list
    exchange* previous_ = nullptr;
    request_parser parser_;
    const request_head* head_ = nullptr;
    exchange_listener* listener_ = nullptr;
    std::unique_ptr<owned_request_head> kept_head_;  // of an answer that comes later
    std::string kept_bytes_;  // received while an answer was owed, not parsed yet
    instant deadline_ = INT64_MAX;
    std::uint64_t body_left_ = 0;     // of an answer with an announced length
    std::uint64_t taken_before_ = 0;  // by the kernel when the write deadline was set
    std::uint32_t requests_ = 0;
    patience patience_ = patience::none;
    answer answer_ = answer::complete;
    bool in_request_ = false;  // from its head to its end
    bool feeding_ = false;     // inside parser_.feed
    bool chunks_ = false;
    bool sized_ = false;
    bool no_body_ = false;  // HEAD, 204, 304
    bool wants_body_ = false;
    bool body_paused_ = false;
    bool body_complete_ = false;  // of the current request
    bool expects_continue_ = false;
    mutable bool was_full_ = false;  // `writable` said false
    bool ending_after_ = false;      // the answer being streamed is the last one
    bool ending_ = false;            // the last answer is out or on its way; then close
    bool lingering_ = false;         // our side is shut, reading on until the peer ends
    bool peer_ended_ = false;
};

}  // namespace ringlet::http
