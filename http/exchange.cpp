#include "http/exchange.h"

#include "coro/frame_pool.h"
#include "http/server.h"
#include "net/tls_engine.h"

namespace ringlet::http {
namespace {

// Bytes kept of later requests while an answer is owed; beyond it reading pauses.
constexpr std::size_t kept_bytes_max = 64 * 1024;

constexpr std::string_view continue_line = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::string_view plain_text = "text/plain; charset=utf-8";

// False when there is no memory for what `call` does.
template <class Call>
bool has_memory_for(Call call) noexcept {
    try {
        call();
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

}  // namespace

exchange::exchange(server& owner, int fd) noexcept
    : connection(owner.owner(), fd), server_(owner), parser_(owner.limits_) {
    wait_for(patience::head);
}

exchange::~exchange() = default;

void exchange::secure(const tls_context& how) {
    wait_for(patience::handshake);
    start_tls(std::make_unique<tls_engine>(how));
}

void exchange::on_secured() noexcept { wait_for(patience::head); }

void* exchange::operator new(std::size_t bytes) { return ringlet::detail::allocate_frame(bytes); }

void exchange::operator delete(void* memory, std::size_t bytes) noexcept {
    ringlet::detail::free_frame(memory, bytes);
}

void exchange::on_received(chunk bytes) noexcept {
    if (ending_) {
        return;  // read to be dropped, so that our last answer is not lost to a reset
    }
    if (parser_.paused() || body_paused_ || !kept_bytes_.empty()) {
        keep(bytes.text());
    } else {
        feed(bytes.text());
        settle();
    }
}

void exchange::feed(std::string_view bytes) noexcept {
    feeding_ = true;
    const std::size_t consumed = parser_.feed(bytes, *this);
    feeding_ = false;
    if (closed()) {
        return;
    }
    if (parser_.failed()) {
        refuse();
    } else if (!ending_ && consumed < bytes.size()) {
        keep(bytes.substr(consumed));
    }
}

void exchange::keep(std::string_view bytes) noexcept {
    if (!has_memory_for([&] { kept_bytes_.append(bytes); })) {
        return reset(std::make_error_code(std::errc::not_enough_memory));
    }
    if (kept_bytes_.size() > kept_bytes_max && receiving()) {
        pause_receiving();
    }
}

bool exchange::output_full() const noexcept {
    return unsent_bytes() > server_.limits_.output_bytes_max;
}

// The parser may go on: no answer stands between it and the next event, and the peer reads.
bool exchange::may_parse() const noexcept {
    const bool blocked = owes_answer() && (body_complete_ || !wants_body_ || body_paused_);
    return !feeding_ && !closed() && !ending_ && !parser_.failed() && !blocked && !output_full();
}

// Goes on with what was kept, as far as it may.
void exchange::feed_kept() noexcept {
    while (may_parse() && (parser_.paused() || !kept_bytes_.empty())) {
        const std::string bytes = std::exchange(kept_bytes_, {});
        feed(bytes);
    }
    if (!receiving() && kept_bytes_.empty() && !peer_ended_ && !closed()) {
        start_receiving();
    }
}

void exchange::on_head(const request_head& head) {
    head_ = &head;
    in_request_ = true;
    answer_ = answer::none;
    patience_ = patience::none;
    chunks_ = sized_ = wants_body_ = body_paused_ = was_full_ = false;
    body_complete_ = ending_after_ = false;
    no_body_ = head.method == method::head;
    expects_continue_ = head.expect_continue;
    ++requests_;
    ++server_.stats_.requests;
    server_.handler_(server_.context_, *this);
    if (answer_ == answer::complete) {
        return;
    }
    if (listener_ != nullptr) {
        if (head.has_body && !wants_body_) {
            parser_.pause();
        }
    } else if (answer_ == answer::none) {
        respond(500, plain_text, "The handler gave no answer.\n");
    } else {
        abort();
    }
}

void exchange::on_body(std::string_view bytes) {
    if (!wants_body_) {
        return;
    }
    expects_continue_ = false;
    listener_->on_body(bytes);
    if (body_paused_) {
        parser_.pause();
    }
}

void exchange::on_complete(std::span<const header_view>) {
    body_complete_ = true;
    if (std::exchange(wants_body_, false)) {
        listener_->on_body_end();
    }
    in_request_ = owes_answer();
    if (in_request_ || ending_ || output_full()) {
        parser_.pause();
    }
}

// The parser refused the bytes: say so, then close. A request that was answered already gets no
// second answer.
void exchange::refuse() noexcept {
    ++server_.stats_.refused;
    if (!in_request_) {
        end_with(status_of(parser_.error()), sentence(parser_.error()));
    } else if (answer_ == answer::none) {
        tell_aborted(std::make_error_code(std::errc::bad_message));
        end_with(status_of(parser_.error()), sentence(parser_.error()));
    } else if (answer_ == answer::streaming) {
        reset(std::make_error_code(std::errc::bad_message));
    } else {
        ending_ = true;
    }
}

// The last answer, by the server itself.
void exchange::end_with(int status, std::string_view reason) noexcept {
    const bool said = has_memory_for([&] {
        std::string body(reason);
        body += '\n';
        (void)append_response(output(), {.status = status,
                                         .content_type = plain_text,
                                         .body = body,
                                         .date = server_.date(),
                                         .keep_alive = false});
    });
    if (!said) {
        return reset(std::make_error_code(std::errc::not_enough_memory));
    }
    answer_ = answer::complete;
    ending_ = true;
    flush();
}

bool exchange::keep_alive_wanted() const noexcept {
    return head_->keep_alive && !server_.draining_ &&
           requests_ < server_.limits_.requests_per_connection_max && !expects_continue_;
}

write_error exchange::respond(int status, std::string_view content_type,
                              std::string_view body) noexcept {
    if (closed()) {
        return write_error::out_of_memory;  // that was the answer to an earlier call
    }
    RINGLET_REQUIRE(answer_ == answer::none, "a request was answered twice");
    if (status_forbids_body(status) || status_line(status).empty()) {
        const header_view type{"Content-Type", content_type};
        return respond(status, std::span(&type, body.empty() ? 0 : 1), body);
    }
    const bool keep_alive = keep_alive_wanted();
    write_error failed = write_error::none;
    const bool said = has_memory_for([&] {
        failed = append_response(output(), {.status = status,
                                            .content_type = content_type,
                                            .body = body,
                                            .date = server_.date(),
                                            .request_minor = head_->version_minor,
                                            .keep_alive = keep_alive,
                                            .head_only = no_body_});
    });
    if (!said) {
        abort();
        return write_error::out_of_memory;
    }
    if (failed != write_error::none) {
        respond(500, plain_text, "The handler's answer could not be sent.\n");
        return failed;
    }
    ending_ = ending_ || !keep_alive;
    answered();
    return failed;
}

write_error exchange::respond(int status, std::span<const header_view> headers,
                              std::string_view body) noexcept {
    const write_error failed =
        status < 200 ? write_error::bad_status
                     : start_response(status, headers, body_framing::sized(body.size()));
    if (failed == write_error::out_of_memory) {
        return failed;
    }
    if (failed != write_error::none) {
        respond(500, plain_text, "The handler's answer could not be sent.\n");
        return failed;
    }
    if (!no_body_ && !has_memory_for([&] { output().append(body); })) {
        abort();
        return write_error::out_of_memory;
    }
    body_left_ = 0;
    finish();
    return failed;
}

write_error exchange::start_response(int status, std::span<const header_view> headers,
                                     body_framing framing) noexcept {
    if (closed()) {
        return write_error::out_of_memory;
    }
    RINGLET_REQUIRE(answer_ == answer::none, "a response was started twice");
    if (status == 101) {
        return write_error::bad_status;  // no other protocol is spoken here
    }
    if (status >= 100 && status < 200 && head_->version_minor == 0) {
        return write_error::none;  // HTTP/1.0 knows no interim answers
    }
    response_verdict verdict;
    const bool said = has_memory_for([&] {
        verdict = append_response_head(output(), {.status = status,
                                                  .reason = {},
                                                  .headers = headers,
                                                  .body = framing,
                                                  .request_minor = head_->version_minor,
                                                  .keep_alive = keep_alive_wanted(),
                                                  .date = server_.date()});
    });
    if (!said) {
        abort();
        return write_error::out_of_memory;
    }
    if (verdict.error != write_error::none) {
        return verdict.error;
    }
    if (status >= 200) {
        answer_ = answer::streaming;
        chunks_ = verdict.chunks;
        ending_after_ = verdict.closes;
        no_body_ = no_body_ || status_forbids_body(status);
        sized_ = framing.how == body_framing::kind::sized;
        body_left_ = framing.bytes;
    }
    written();
    return verdict.error;
}

bool exchange::write(std::string_view bytes) noexcept {
    if (closed()) {
        return false;
    }
    RINGLET_REQUIRE(answer_ == answer::streaming, "a body was written without a response head");
    if (no_body_ || bytes.empty()) {
        return true;
    }
    if (sized_) {
        if (bytes.size() > body_left_) {
            abort();
            return false;
        }
        body_left_ -= bytes.size();
    }
    const bool said = has_memory_for([&] {
        if (chunks_) {
            append_chunk(output(), bytes);
        } else {
            output().append(bytes);
        }
    });
    if (!said) {
        abort();
        return false;
    }
    written();
    return true;
}

bool exchange::finish() noexcept {
    if (closed()) {
        return false;
    }
    RINGLET_REQUIRE(answer_ == answer::streaming, "a response was finished that was not started");
    if (sized_ && body_left_ > 0 && !no_body_) {
        abort();
        return false;
    }
    if (chunks_ && !no_body_ &&
        !has_memory_for([&] { (void)append_last_chunk(output()); })) {
        abort();
        return false;
    }
    ending_ = ending_ || ending_after_;
    answered();
    return true;
}

bool exchange::writable() const noexcept {
    was_full_ = was_full_ || output_full();
    return !output_full();
}

void exchange::take(exchange_listener& listener) {
    RINGLET_REQUIRE(listener_ == nullptr && answer_ == answer::none, "an exchange was taken twice");
    if (!kept_head_) {
        kept_head_ = std::make_unique<owned_request_head>();
    }
    head_ = &kept_head_->assign(*head_);
    listener_ = &listener;
}

void exchange::want_body() noexcept {
    if (!head_->has_body) {
        listener_->on_body_end();
        return;
    }
    wants_body_ = true;
    if (expects_continue_) {
        expects_continue_ = false;
        if (!has_memory_for([&] { output().append(continue_line); })) {
            return reset(std::make_error_code(std::errc::not_enough_memory));
        }
        flush();
    }
    if (!feeding_) {
        feed_kept();
        settle();
    }
}

void exchange::pause_body() noexcept {
    body_paused_ = true;
    if (!feeding_) {
        settle();
    }
}

void exchange::resume_body() noexcept {
    if (std::exchange(body_paused_, false) && !feeding_) {
        feed_kept();
        settle();
    }
}

// The answer is complete: nothing is owed any more.
void exchange::answered() noexcept {
    answer_ = answer::complete;
    listener_ = nullptr;
    wants_body_ = body_paused_ = false;
    in_request_ = in_request_ && !body_complete_;
    flush();
    if (!feeding_) {
        feed_kept();
        settle();
    } else if (ending_) {
        parser_.pause();
    }
}

void exchange::written() noexcept {
    flush();
    if (!feeding_) {
        settle();
    }
}

// After anything was parsed, written or sent: what this connection waits for now, and how long.
void exchange::settle() noexcept {
    if (closed() || lingering_) {
        return;
    }
    if (securing()) {
        if (peer_ended_ || server_.draining_) {
            drop({});
        }
    } else if (sending()) {
        wait_for(patience::write);
    } else if (owes_answer()) {
        const bool hungry = wants_body_ && !body_paused_ && !parser_.paused();
        if (hungry && peer_ended_) {
            reset(make_error_code(errc::end_of_stream));
        } else {
            wait_for(hungry ? patience::body : patience::none);
        }
    } else if (ending_) {
        begin_end();
    } else if (peer_ended_) {
        drop({});
    } else if (in_request_) {
        wait_for(patience::body);
    } else if (parser_.in_head()) {
        wait_for(patience::head);
    } else if (server_.draining_) {
        begin_end();
    } else if (requests_ > 0) {
        wait_for(patience::keep_alive);
    }
}

void exchange::on_sent() noexcept {
    if (std::exchange(was_full_, false) && listener_ != nullptr) {
        listener_->on_writable();
    }
    if (parser_.paused() || !kept_bytes_.empty()) {
        feed_kept();
    }
    settle();
}

// Everything is said: end our side, then read on until the peer ends its own.
void exchange::begin_end() noexcept {
    if (peer_ended_) {
        drop({});
        return;
    }
    ending_ = lingering_ = true;
    kept_bytes_ = {};
    shutdown_send();
    start_receiving();
    wait_for(patience::linger);
}

void exchange::on_end(std::error_code code) noexcept {
    peer_ended_ = true;
    if (code || lingering_) {
        drop(code);
    } else {
        settle();
    }
}

void exchange::on_send_failed(std::error_code code) noexcept { drop(code); }

void exchange::abort() noexcept {
    listener_ = nullptr;
    reset({});
}

void exchange::reset(std::error_code code) noexcept {
    if (!closed()) {
        connection::abort();
        leave(code);
    }
}

void exchange::drop(std::error_code code) noexcept {
    if (!closed()) {
        close();
        leave(code);
    }
}

// The connection is closing: it deletes itself when the loop has let go of it.
void exchange::leave(std::error_code code) noexcept {
    deadline_ = INT64_MAX;
    server_.left(*this);
    tell_aborted(code ? code : make_error_code(errc::closed));
}

void exchange::tell_aborted(std::error_code code) noexcept {
    answer_ = answer::complete;
    wants_body_ = false;
    parser_.pause();
    if (exchange_listener* const listener = std::exchange(listener_, nullptr)) {
        listener->on_aborted(code);
    }
}

// A head, a stalled write and the end are timed as a whole, a body from piece to piece.
void exchange::wait_for(patience what) noexcept {
    if (what == patience_ && what != patience::body) {
        return;
    }
    patience_ = what;
    const limits& sizes = server_.limits_;
    nanoseconds time{};
    switch (what) {
        case patience::none: deadline_ = INT64_MAX; return;
        case patience::handshake: time = sizes.handshake_timeout; break;
        case patience::head: time = sizes.header_timeout; break;
        case patience::body: time = sizes.body_idle_timeout; break;
        case patience::write:
            time = sizes.write_stall_timeout;
            taken_before_ = bytes_sent();
            break;
        case patience::keep_alive: time = sizes.keep_alive_timeout; break;
        case patience::linger: time = sizes.linger_timeout; break;
    }
    deadline_ = loop().now() + time.count();
}

void exchange::reach_deadline() noexcept {
    const patience reached = std::exchange(patience_, patience::none);
    if (reached == patience::write && bytes_sent() != taken_before_) {
        wait_for(patience::write);
        return;
    }
    ++server_.stats_.timeouts;
    const auto timed_out = make_error_code(errc::timed_out);
    if (reached == patience::handshake || reached == patience::write ||
        answer_ == answer::streaming) {
        reset(timed_out);
    } else if (answer_ == answer::none || (!in_request_ && parser_.in_head())) {
        tell_aborted(timed_out);
        end_with(408, "The request did not arrive in time.");
        settle();
    } else {
        drop(timed_out);
    }
}

}  // namespace ringlet::http
