#include "http/serve.h"

#include <new>
#include <stdexcept>

namespace ringlet::http {
namespace detail {
namespace {
constexpr std::size_t unread_body_max = 256 * 1024;  // then the peer has to wait

void wake(listener_wait*& place) noexcept {
    if (listener_wait* const waiting = std::exchange(place, nullptr)) {
        waiting->wake_up();
    }
}

}  // namespace

handler_job::handler_job(exchange& at, std::shared_ptr<void> keep, spawn_site spawned)
    : detached_job(at.loop(), spawned),
      in(*this),
      out(*this),
      exchange_(&at),
      keep_(std::move(keep)) {
    at.take(*this);
}

std::string handler_job::describe() const {
    if (exchange_ == nullptr) {
        return "HTTP handler, answered";
    }
    const request_head& head = exchange_->request();
    return "HTTP handler of " + std::string(head.method_text()) + " " + std::string(head.target);
}

exchange& handler_job::live() const {
    if (exchange_ == nullptr) {
        throw cancelled();
    }
    return *exchange_;
}

exchange& handler_job::take_live() {
    exchange& at = live();
    exchange_ = nullptr;
    return at;
}

void handler_job::on_body(std::string_view bytes) noexcept {
    try {
        body_.append(bytes);
    } catch (const std::bad_alloc&) {
        exchange_->abort();
        return on_aborted(std::make_error_code(std::errc::not_enough_memory));
    }
    if (body_.size() > unread_body_max) {
        body_paused_ = true;
        exchange_->pause_body();
    }
    wake(reader_);
}

void handler_job::on_body_end() noexcept {
    body_ended_ = true;
    wake(reader_);
}

void handler_job::on_writable() noexcept { wake(writer_); }

void handler_job::on_aborted(std::error_code) noexcept {
    exchange_ = nullptr;
    cancel();
}

void handler_job::root_finished() noexcept {
    const std::exception_ptr failure = handler_.failure();
    handler_ = {};
    fail(failure);
}

// The end, with or without a failure: whatever answer is still owed is given.
void handler_job::fail(const std::exception_ptr& failure) noexcept {
    if (failure) {
        ringlet::detail::report_lost("an HTTP handler failed", failure);
    }
    if (exchange* const at = std::exchange(exchange_, nullptr); at != nullptr && out.started_) {
        at->abort();
    } else if (at != nullptr) {
        at->respond(500, "text/plain; charset=utf-8",
                    failure ? "The handler failed.\n" : "The handler gave no answer.\n");
    }
    delete this;
}

}  // namespace detail

const request_head& request::head() const { return owner_.live().request(); }

address request::peer() const { return owner_.live().peer_address(); }

task<std::string> request::read() {
    detail::handler_job& owner = owner_;
    if (!std::exchange(owner.wants_body_, true)) {
        owner.live().want_body();
    }
    co_await detail::listener_wait(owner.reader_, !owner.body_.empty() || owner.body_ended_,
                                     "request body");
    std::string piece = std::exchange(owner.body_, {});
    if (std::exchange(owner.body_paused_, false)) {
        owner.live().resume_body();
    }
    co_return piece;
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
    if (failed == write_error::out_of_memory) {
        throw std::bad_alloc();
    }
    if (failed != write_error::none) {
        throw std::invalid_argument(std::string(sentence(failed)));
    }
}

}  // namespace

task<void> response::send(int status, std::string_view content_type, std::string_view body) {
    RINGLET_REQUIRE(!started_, "a request was answered twice");
    started_ = true;
    check(owner_.take_live().respond(status, content_type, body));
    co_return;
}

task<void> response::send(int status, const headers& fields, std::string_view body) {
    RINGLET_REQUIRE(!started_, "a request was answered twice");
    started_ = true;
    check(owner_.take_live().respond(status, fields.views(), body));
    co_return;
}

void response::start(int status, const headers& fields, body_framing framing) {
    const write_error failed = owner_.live().start_response(status, fields.views(), framing);
    if (failed == write_error::out_of_memory) {
        owner_.exchange_ = nullptr;
    }
    check(failed);
    started_ = status >= 200;
}

task<void> response::write(std::string_view bytes) {
    exchange& at = owner_.live();
    if (!at.write(bytes)) {
        owner_.exchange_ = nullptr;
        throw std::length_error("The body is longer than was announced, or than memory.");
    }
    co_await detail::listener_wait(owner_.writer_, at.writable(), "response output");
}

void response::finish() {
    if (!owner_.take_live().finish()) {
        throw std::length_error("The body is shorter than was announced, or memory is short.");
    }
}

}  // namespace ringlet::http
