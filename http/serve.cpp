#include "http/serve.h"

#include <stdexcept>

namespace ringlet::http {
namespace detail {
namespace {
constexpr std::size_t unread_body_max = 256 * 1024;  // then the peer has to wait
}

void listener_wait::enlist() noexcept { owner_.waiting_ = this; }
void listener_wait::delist() noexcept { owner_.waiting_ = nullptr; }

handler_job::handler_job(exchange& at, std::shared_ptr<void> keep) noexcept
    : detached_job(at.loop()), in(*this), out(*this), exchange_(&at), keep_(std::move(keep)) {
    at.take(*this);
}

exchange& handler_job::live() const {
    if (exchange_ == nullptr) {
        throw cancelled();
    }
    return *exchange_;
}

void handler_job::wake() noexcept {
    if (listener_wait* const waiting = std::exchange(waiting_, nullptr)) {
        waiting->wake_up();
    }
}

void handler_job::on_body(std::string_view bytes) noexcept {
    body_.append(bytes);
    if (body_.size() > unread_body_max) {
        body_paused_ = true;
        exchange_->pause_body();
    }
    wake();
}

void handler_job::on_body_end() noexcept {
    body_ended_ = true;
    wake();
}

void handler_job::on_writable() noexcept { wake(); }

void handler_job::on_aborted(std::error_code) noexcept {
    exchange_ = nullptr;
    cancel();
}

void handler_job::root_finished() noexcept {
    outcome<void> ended = handler_.take_result();
    handler_ = {};
    if (exchange_ != nullptr && !out.finished_) {
        // The listener is dropped with the answer, so nothing calls back after this.
        if (out.started_) {
            exchange_->abort();
        } else {
            exchange_->respond(500, "text/plain; charset=utf-8",
                               ended.has_value() ? "The handler gave no answer.\n"
                                                 : "The handler failed.\n");
        }
    }
    delete this;
}

}  // namespace detail

const request_head& request::head() const { return owner_.live().request(); }

address request::peer() const { return owner_.live().peer_address(); }

task<std::string> request::read() {
    detail::handler_job& owner = owner_;
    if (!owner.wants_body_) {
        owner.wants_body_ = true;
        owner.live().want_body();
    }
    co_await detail::listener_wait(owner, !owner.body_.empty() || owner.body_ended_);
    if (owner.body_paused_) {
        owner.body_paused_ = false;
        owner.live().resume_body();
    }
    co_return std::exchange(owner.body_, {});
}

task<std::string> request::body() {
    std::string all;
    for (;;) {
        std::string piece = co_await read();
        if (piece.empty()) {
            co_return all;
        }
        if (all.empty()) {
            all = std::move(piece);
        } else {
            all += piece;
        }
    }
}

namespace {

void check(write_error failed) {
    if (failed != write_error::none) {
        throw std::invalid_argument(std::string(sentence(failed)));
    }
}

}  // namespace

task<void> response::send(int status, std::string_view content_type, std::string_view body) {
    RINGLET_REQUIRE(!started_, "a request was answered twice");
    exchange& at = owner_.live();
    started_ = finished_ = true;
    owner_.complete();
    check(at.respond(status, content_type, body));
    co_return;
}

task<void> response::send(int status, const headers& fields, std::string_view body) {
    RINGLET_REQUIRE(!started_, "a request was answered twice");
    exchange& at = owner_.live();
    started_ = finished_ = true;
    owner_.complete();
    check(at.respond(status, fields.views(), body));
    co_return;
}

void response::start(int status, const headers& fields, body_framing framing) {
    check(owner_.live().start_response(status, fields.views(), framing));
    started_ = status >= 200 || status == 101;
}

task<void> response::write(std::string_view bytes) {
    exchange& at = owner_.live();
    at.write(bytes);
    co_await detail::listener_wait(owner_, owner_.live().writable());
}

void response::finish() {
    exchange& at = owner_.live();
    finished_ = true;
    owner_.complete();
    at.finish();
}

}  // namespace ringlet::http
