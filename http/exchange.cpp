#include "http/exchange.h"

#include "coro/frame_pool.h"
#include "http/server.h"

namespace ringlet::http {
namespace {

// Bytes kept of later requests while an answer is owed; beyond it reading pauses.
constexpr std::size_t kept_bytes_max = 64 * 1024;

constexpr std::string_view continue_line = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::string_view plain_text = "text/plain; charset=utf-8";

}  // namespace

exchange::exchange(server& owner, int fd) noexcept
    : connection(owner.owner(), fd), server_(owner), parser_(owner.limits_) {
    set_deadline(owner.limits_.header_timeout);
}

exchange::~exchange() { delete kept_head_; }

void* exchange::operator new(std::size_t bytes) { return ringlet::detail::allocate_frame(bytes); }

void exchange::operator delete(void* memory, std::size_t bytes) noexcept {
    ringlet::detail::free_frame(memory, bytes);
}

void exchange::on_received(chunk bytes) noexcept {
    if (ending_) {
        return;  // read to be dropped, so that our last answer is not lost to a reset
    }
    if (parser_.paused() || !kept_bytes_.empty()) {
        keep(bytes.text());
    } else {
        feed(bytes.text());
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
    after_output();
}

void exchange::keep(std::string_view bytes) noexcept {
    kept_bytes_.append(bytes);
    if (kept_bytes_.size() > kept_bytes_max && receiving()) {
        pause_receiving();
    }
}

// The parser may go on: no answer stands between it and the next event, and the peer reads.
bool exchange::may_parse() const noexcept {
    const bool blocked = owes_answer() && (body_complete_ || !wants_body_ || body_paused_);
    return !feeding_ && !closed() && !ending_ && !parser_.failed() && !blocked &&
           unsent_bytes() <= server_.limits_.output_bytes_max;
}

// Goes on with what was kept, as far as it may.
void exchange::feed_kept() noexcept {
    while (may_parse() && (parser_.paused() || !kept_bytes_.empty())) {
        const std::string bytes = std::exchange(kept_bytes_, {});
        feed(bytes);
    }
    if (!closed() && kept_bytes_.empty() && !peer_ended_) {
        start_receiving();
    }
}

void exchange::on_head(const request_head& head) {
    head_ = &head;
    in_request_ = true;
    answer_ = answer::none;
    chunks_ = sized_ = wants_body_ = body_paused_ = was_full_ = false;
    body_complete_ = ending_after_ = head_deadline_ = false;
    no_body_ = head.method == method::head;
    expects_continue_ = head.expect_continue;
    ++requests_;
    ++server_.stats_.requests;
    server_.handler_(server_.context_, *this);
    if (closed()) {
        parser_.pause();
        return;
    }
    if (answer_ == answer::complete) {
        return;
    }
    if (listener_ == nullptr) {
        respond(500, plain_text, "The handler gave no answer.\n");
    } else if (head.has_body && !wants_body_) {
        parser_.pause();
    }
}

void exchange::on_body(std::string_view bytes) {
    if (listener_ == nullptr || !wants_body_) {
        return;
    }
    expects_continue_ = false;
    listener_->on_body(bytes);
    if (body_paused_ || closed()) {
        parser_.pause();
    }
}

void exchange::on_complete(std::span<const header_view>) {
    in_request_ = owes_answer();
    body_complete_ = true;
    if (listener_ != nullptr && wants_body_) {
        listener_->on_body_end();
    }
    if (closed() || in_request_) {
        parser_.pause();
    } else if (unsent_bytes() > server_.limits_.output_bytes_max || ending_) {
        parser_.pause();
    }
}

// The parser refused the bytes: say so, then close.
void exchange::refuse() noexcept {
    ++server_.stats_.refused;
    if (exchange_listener* const listener = std::exchange(listener_, nullptr)) {
        listener->on_aborted(std::make_error_code(std::errc::bad_message));
    }
    if (answer_ == answer::streaming) {
        drop({});
        return;
    }
    answer_ = answer::complete;
    end_with(status_of(parser_.error()), sentence(parser_.error()));
}

void exchange::end_with(int status, std::string_view reason) noexcept {
    std::string body(reason);
    body += '\n';
    (void)append_response(output(), {.status = status,
                                     .content_type = plain_text,
                                     .body = body,
                                     .date = server_.date(),
                                     .keep_alive = false});
    in_request_ = false;
    ending_ = true;
    flush();
    set_deadline(server_.limits_.write_stall_timeout);
}

bool exchange::keep_alive_wanted() const noexcept {
    return head_->keep_alive && !server_.draining_ &&
           requests_ < server_.limits_.requests_per_connection_max &&
           !(expects_continue_ && !wants_body_);
}

write_error exchange::respond(int status, std::string_view content_type,
                              std::string_view body) noexcept {
    RINGLET_REQUIRE(answer_ == answer::none, "a request was answered twice");
    if (status_forbids_body(status) || status_line(status).empty()) {
        const header_view type{"Content-Type", content_type};
        return respond(status, std::span(&type, body.empty() ? 0 : 1), body);
    }
    const bool keep_alive = keep_alive_wanted();
    const write_error failed = append_response(output(), {.status = status,
                                                          .content_type = content_type,
                                                          .body = body,
                                                          .date = server_.date(),
                                                          .request_minor = head_->version_minor,
                                                          .keep_alive = keep_alive,
                                                          .head_only = no_body_});
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
    const write_error failed = start_response(status, headers, body_framing::sized(body.size()));
    if (failed != write_error::none) {
        respond(500, plain_text, "The handler's answer could not be sent.\n");
        return failed;
    }
    if (!no_body_) {
        write(body);
    }
    finish();
    return failed;
}

write_error exchange::start_response(int status, std::span<const header_view> headers,
                                     body_framing framing) noexcept {
    RINGLET_REQUIRE(answer_ == answer::none, "a response was started twice");
    const response_verdict verdict =
        append_response_head(output(), {.status = status,
                                        .reason = {},
                                        .headers = headers,
                                        .body = framing,
                                        .request_minor = head_->version_minor,
                                        .keep_alive = keep_alive_wanted(),
                                        .date = server_.date()});
    if (verdict.error != write_error::none) {
        return verdict.error;
    }
    chunks_ = verdict.chunks;
    ending_after_ = verdict.closes;
    no_body_ = no_body_ || status_forbids_body(status);
    sized_ = framing.how == body_framing::kind::sized;
    body_left_ = framing.bytes;
    if (status >= 200 || status == 101) {
        answer_ = answer::streaming;
    }
    flush();
    return verdict.error;
}

void exchange::write(std::string_view bytes) noexcept {
    RINGLET_REQUIRE(answer_ == answer::streaming, "a body was written without a response head");
    if (no_body_ || bytes.empty()) {
        return;
    }
    if (sized_ && bytes.size() > body_left_) {
        abort();
        return;
    }
    body_left_ -= sized_ ? bytes.size() : 0;
    if (chunks_) {
        append_chunk(output(), bytes);
    } else {
        output().append(bytes);
    }
    flush();
}

void exchange::finish() noexcept {
    if (closed()) {
        return;
    }
    RINGLET_REQUIRE(answer_ == answer::streaming, "a response was finished that was not started");
    if (sized_ && body_left_ > 0 && !no_body_) {
        abort();
        return;
    }
    if (chunks_ && !no_body_) {
        (void)append_last_chunk(output());
    }
    ending_ = ending_ || ending_after_;
    answered();
}

bool exchange::writable() const noexcept {
    const bool full = unsent_bytes() > server_.limits_.output_bytes_max;
    was_full_ = was_full_ || full;
    return !full;
}

void exchange::take(exchange_listener& listener) noexcept {
    RINGLET_REQUIRE(listener_ == nullptr && answer_ == answer::none, "an exchange was taken twice");
    listener_ = &listener;
    if (kept_head_ == nullptr) {
        kept_head_ = new owned_request_head;
    }
    head_ = &kept_head_->assign(*head_);
}

void exchange::want_body() noexcept {
    wants_body_ = true;
    if (!head_->has_body) {
        listener_->on_body_end();
        return;
    }
    if (expects_continue_) {
        expects_continue_ = false;
        output().append(continue_line);
        flush();
    }
    set_deadline(server_.limits_.body_idle_timeout);
    feed_kept();
}

void exchange::pause_body() noexcept {
    body_paused_ = true;
    deadline_ = INT64_MAX;
}

void exchange::resume_body() noexcept {
    if (body_paused_) {
        body_paused_ = false;
        set_deadline(server_.limits_.body_idle_timeout);
        feed_kept();
    }
}

// The answer is complete: nothing is owed any more.
void exchange::answered() noexcept {
    answer_ = answer::complete;
    listener_ = nullptr;
    wants_body_ = body_paused_ = false;
    in_request_ = in_request_ && !body_complete_;
    flush();
    if (feeding_) {
        if (ending_) {
            parser_.pause();
        }
        return;
    }
    feed_kept();
    if (!closed()) {
        after_output();
    }
}

// After anything was parsed or answered: hand the output over and choose the next deadline.
void exchange::after_output() noexcept {
    const limits& sizes = server_.limits_;
    if (sending()) {
        flush();
        unsent_before_ = unsent_bytes();
        set_deadline(sizes.write_stall_timeout);
    } else if (owes_answer()) {
        if (wants_body_ && !body_paused_ && !body_complete_) {
            set_deadline(sizes.body_idle_timeout);
        } else {
            deadline_ = INT64_MAX;
        }
    } else if (in_request_) {
        set_deadline(sizes.body_idle_timeout);
    } else if (!parser_.in_head()) {
        set_deadline(sizes.keep_alive_timeout);
        head_deadline_ = false;
    } else if (!head_deadline_) {
        set_deadline(sizes.header_timeout);
        head_deadline_ = true;
    }
}

void exchange::on_sent() noexcept {
    if (ending_ && !owes_answer()) {
        begin_end();
        return;
    }
    if (was_full_ && listener_ != nullptr) {
        was_full_ = false;
        listener_->on_writable();
        if (closed()) {
            return;
        }
    }
    if (parser_.paused() || !kept_bytes_.empty()) {
        feed_kept();
        if (closed()) {
            return;
        }
    }
    if (peer_ended_ && !owes_answer() && !sending()) {
        drop({});
        return;
    }
    after_output();
}

// Everything is said: end our side, then read on until the peer ends its own.
void exchange::begin_end() noexcept {
    if (peer_ended_) {
        drop({});
        return;
    }
    ending_ = true;
    shutdown_send();
    start_receiving();
    kept_bytes_ = {};
    set_deadline(server_.limits_.linger_timeout);
    lingering_ = true;
}

void exchange::on_end(std::error_code code) noexcept {
    peer_ended_ = true;
    if (code || lingering_) {
        drop(code);
    } else if (owes_answer()) {
        if (!body_complete_ && kept_bytes_.empty()) {
            drop(make_error_code(errc::end_of_stream));
        }
    } else if (!sending() && kept_bytes_.empty()) {
        drop({});
    }
}

void exchange::on_send_failed(std::error_code code) noexcept { drop(code); }

void exchange::abort() noexcept {
    if (!closed()) {
        connection::abort();
        drop(std::make_error_code(std::errc::connection_aborted));
    }
}

void exchange::drop(std::error_code code) noexcept {
    if (dropped_) {
        return;
    }
    dropped_ = true;
    close();
    server_.left(*this);
    if (exchange_listener* const listener = std::exchange(listener_, nullptr)) {
        listener->on_aborted(code ? code : make_error_code(errc::closed));
    }
}

void exchange::set_deadline(nanoseconds after) noexcept {
    deadline_ = loop().now() + after.count();
}

void exchange::reach_deadline() noexcept {
    if (sending() && unsent_bytes() < unsent_before_) {
        unsent_before_ = unsent_bytes();
        set_deadline(server_.limits_.write_stall_timeout);
        return;
    }
    ++server_.stats_.timeouts;
    deadline_ = INT64_MAX;
    if (sending()) {
        abort();
    } else if (!ending_ && (parser_.in_head() || (in_request_ && answer_ == answer::none))) {
        if (exchange_listener* const listener = std::exchange(listener_, nullptr)) {
            listener->on_aborted(make_error_code(errc::timed_out));
        }
        answer_ = answer::complete;
        end_with(408, "The request did not arrive in time.");
    } else {
        drop(make_error_code(errc::timed_out));
    }
}

}  // namespace ringlet::http
