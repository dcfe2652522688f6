#include "net/connection.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>
#include <vector>

#include "net/socket_names.h"
#include "net/tls_engine.h"

namespace ringlet {
namespace {

// Output buffers in use move between connections, so that an idle connection keeps none and the
// hottest one is used next.
constexpr std::size_t spare_buffers_max = 64;
constexpr std::size_t spare_buffer_bytes_max = 256 * 1024;

// So much is encrypted at a time, and sent while it is in the cache: what comes of the largest
// receive, and the record that began before it.
constexpr std::size_t encrypted_bytes_max = 160 * 1024;
// Answers that a peer makes us give (alerts, new keys) and does not read.
constexpr std::size_t unread_answers_max = 64 * 1024;
// Turns that the last words of a closed connection may take.
constexpr int farewell_turns = 2;

thread_local std::vector<std::string> spare_buffers;

// take_buffer has made the room in which it is put.
void put_buffer(std::string& buffer) noexcept {
    buffer.clear();
    if (buffer.capacity() > spare_buffer_bytes_max ||
        spare_buffers.size() == spare_buffers.capacity()) {
        buffer = std::string();
    } else if (buffer.capacity() >= 256) {
        spare_buffers.push_back(std::move(buffer));
        buffer = std::string();
    }
}

std::string take_buffer() {
    if (spare_buffers.empty()) {
        spare_buffers.reserve(spare_buffers_max);
        std::string fresh;
        fresh.reserve(1024);
        return fresh;
    }
    std::string buffer = std::move(spare_buffers.back());
    spare_buffers.pop_back();
    return buffer;
}

}  // namespace

struct connection::tls_layer {
    explicit tls_layer(std::unique_ptr<tls_engine> made) noexcept : engine(std::move(made)) {}

    std::unique_ptr<tls_engine> engine;
    std::string received;                     // before TLS began; its first bytes
    std::span<const std::byte> plaintext;     // of send_from, not encrypted yet
    std::size_t output_taken = 0;             // of output_, encrypted already
    int turns_left = farewell_turns;
    bool begun = false;
    bool owes_sent = false;  // on_sent has to be called when nothing is left
    bool cancelled = false;  // so has on_send_failed
    bool shutting = false;   // the descriptor's direction ends behind the close_notify
};

connection::receive_operation::receive_operation(connection& c) noexcept
    : operation([](operation& op, const completion& what) noexcept {
          static_cast<receive_operation&>(op).owner.received(what);
      }),
      owner(c) {}

connection::send_operation::send_operation(connection& c) noexcept
    : operation([](operation& op, const completion& what) noexcept {
          static_cast<send_operation&>(op).owner.sent(what.result);
      }),
      owner(c) {}

connection::deferred_work::deferred_work(connection& c) noexcept
    : work([](work& item) noexcept { static_cast<deferred_work&>(item).owner.run_deferred(); }),
      owner(c) {
    run_always();
}

connection::connection(ringlet::loop& owner, int fd) noexcept
    : loop_(owner), receive_(*this), send_(*this), deferred_(*this), fd_(fd) {}

connection::~connection() = default;

address connection::local_address() const noexcept {
    return detail::socket_name(loop_.driver(), fd_, &driver::local_name);
}

address connection::peer_address() const noexcept {
    return detail::socket_name(loop_.driver(), fd_, &driver::peer_name);
}

void connection::start_receiving() noexcept {
    wants_data_ = !ended_ && !closing_;
    if (wants_data_ && !receive_.active()) {
        receive_.prepare_receive(fd_);
        loop_.start(receive_);
    }
}

void connection::pause_receiving() noexcept {
    wants_data_ = false;
    pausing_ = receive_.active();
    loop_.cancel(receive_);
}

void connection::received(const completion& what) noexcept {
    if (closing_) {
        if (what.buffer.data != nullptr) {
            loop_.give_back(what.buffer);
        }
        if (!what.more) {
            finish_close();
        }
        return;
    }
    if (what.result > 0) {
        if (tls_) {
            tls_received(what);
        } else {
            on_received(chunk(loop_, what.buffer, static_cast<std::size_t>(what.result)));
        }
        return;
    }
    if (std::exchange(pausing_, false) && what.result == -ECANCELED) {
        if (wants_data_) {
            start_receiving();
        }
        return;
    }
    if (what.result < 0) {
        end(system_code(what.result));
    } else if (tls_) {
        end(securing() ? tls_errc::handshake_cut : tls_errc::truncated);
    } else {
        end({});
    }
}

void connection::end(std::error_code code) noexcept {
    wants_data_ = false;
    if (!std::exchange(ended_, true)) {
        on_end(code);
    }
}

std::string& connection::output() {
    if (output_.capacity() < 256) {
        output_ = take_buffer();
    }
    return output_;
}

void connection::flush() noexcept {
    if (!deferred_.queued() && !send_.active() && !closing_) {
        loop_.post_flush(deferred_);
    }
}

void connection::run_deferred() noexcept {
    if (closing_) {
        if (idle()) {
            loop_.driver().close(fd_);
            delete this;
        } else if (tls_ && --tls_->turns_left > 0) {
            loop_.post(deferred_);
        } else {
            loop_.cancel(send_);
        }
    } else if (tls_) {
        tls_begin();
        tls_send();
    } else if (!send_.active() && !output_.empty()) {
        std::swap(output_, sending_);
        start_send(std::as_bytes(std::span(sending_)));
    }
}

void connection::send_from(std::span<const std::byte> bytes) noexcept {
    if (tls_) {
        tls_->plaintext = bytes;
        if (send_.active() || !tls_encrypt() || !tls_start_send()) {
            flush();  // later, or to be told from the loop that it failed
        }
    } else {
        start_send(bytes);
    }
}

void connection::start_send(std::span<const std::byte> bytes) noexcept {
    send_at_ = bytes.data();
    send_bytes_left_ = bytes.size();
    send_.prepare_send(fd_, bytes.data(), bytes.size());
    loop_.start(send_);
}

void connection::sent(int result) noexcept {
    if (closing_) {
        finish_close();
        return;
    }
    const bool stopped = std::exchange(stop_sending_, false);
    if (result >= 0) {
        send_at_ += result;
        send_bytes_left_ -= static_cast<std::size_t>(result);
        bytes_sent_ += static_cast<std::uint64_t>(result);
        if (send_bytes_left_ > 0 && !stopped) {
            start_send({send_at_, send_bytes_left_});
            return;
        }
    }
    if (result < 0 || send_bytes_left_ > 0) {
        send_bytes_left_ = 0;
        put_buffer(sending_);
        if (tls_) {
            tls_->plaintext = {};
        }
        on_send_failed(system_code(result < 0 ? result : -ECANCELED));
        return;
    }
    put_buffer(sending_);
    if (tls_) {
        tls_send();
    } else if (!output_.empty()) {
        flush();
    } else {
        put_buffer(output_);
        on_sent();
    }
}

void connection::cancel_send() noexcept {
    if (tls_) {
        tls_->plaintext = {};
        tls_->cancelled = true;
        if (!deferred_.queued()) {
            loop_.post_flush(deferred_);
        }
        return;
    }
    stop_sending_ = send_.active();
    loop_.cancel(send_);
}

void connection::shutdown_send() noexcept {
    if (tls_ && tls_->engine->secured()) {
        tls_->engine->close();
        tls_->shutting = true;
        flush();
    } else {
        loop_.driver().shutdown(fd_, SHUT_WR);
    }
}

void connection::close() noexcept { close_after(true); }

void connection::abort() noexcept {
    if (!closing_) {
        loop_.driver().reset_on_close(fd_);
        close_after(false);
    }
}

void connection::close_after(bool farewell) noexcept {
    if (closing_) {
        return;
    }
    const bool saying = farewell && tls_ && tls_farewell();
    closing_ = true;
    loop_.forget(deferred_);
    loop_.cancel(receive_);
    if (saying) {
        loop_.post(deferred_);
        return;
    }
    loop_.cancel(send_);
    finish_close();
}

void connection::finish_close() noexcept {
    if (idle() && !deferred_.queued()) {
        loop_.post(deferred_);
    }
}

void connection::start_tls(std::unique_ptr<tls_engine> engine, std::string received) {
    RINGLET_REQUIRE(!tls_ && !sending(), "TLS began on a connection that was not at rest");
    tls_ = std::make_unique<tls_layer>(std::move(engine));
    tls_->received = std::move(received);
    start_receiving();
    if (!deferred_.queued()) {
        loop_.post_flush(deferred_);
    }
}

tls_engine* connection::tls() const noexcept { return tls_ ? tls_->engine.get() : nullptr; }

bool connection::securing() const noexcept { return tls_ && !tls_->engine->secured(); }

std::size_t connection::tls_unsent_bytes() const noexcept {
    return tls_->plaintext.size() + tls_->engine->output().size() - tls_->output_taken;
}

void connection::tls_begin() noexcept {
    if (std::exchange(tls_->begun, true)) {
        return;
    }
    const std::string received = std::move(tls_->received);
    tls_->engine->give(std::as_bytes(std::span(received)));
    tls_handshake();
    tls_->engine->give({});
}

// True when the handshake is done and data may come.
bool connection::tls_handshake() noexcept {
    if (tls_->engine->handshake()) {
        on_secured();
        return !closing_;
    }
    if (const std::error_code failed = tls_->engine->failure()) {
        end(failed);
    }
    return false;
}

// Plaintext takes the place of the ciphertext that it came of, in the buffer that was lent.
void connection::tls_received(const completion& what) noexcept {
    tls_engine& engine = *tls_->engine;
    tls_begin();
    std::span<std::byte> plaintext;
    if (!ended_ && !closing_) {
        engine.give({what.buffer.data, static_cast<std::size_t>(what.result)});
        if (engine.secured() || tls_handshake()) {
            plaintext = tls_decrypt(what.buffer.data);
        }
    }
    if (!plaintext.empty()) {
        on_received(chunk(loop_, what.buffer, plaintext));
    } else {
        loop_.give_back(what.buffer);
    }
    if (closing_) {
        return;
    }
    if (!engine.output().empty()) {
        flush();
    }
    if (engine.failure()) {
        end(engine.failure());
    } else if (engine.peer_closed()) {
        end({});
    } else if (engine.output().size() > unread_answers_max) {
        end(tls_errc::flooded);
    }
}

// The plaintext, where it lies then. A record that began in an earlier buffer may be larger than
// what was read of this one; so it begins in the room before.
std::span<std::byte> connection::tls_decrypt(std::byte* over) noexcept {
    tls_engine& engine = *tls_->engine;
    std::size_t bytes = 0;
    while (const std::size_t more = engine.ready()) {
        if (bytes == 0 && more > engine.taken()) {
            over -= lent_buffer::room_before;
        }
        engine.read({over + bytes, more});
        bytes += more;
    }
    return {over, bytes};
}

// The next piece of what is to be sent; false when it cannot be.
bool connection::tls_encrypt() noexcept {
    tls_layer& tls = *tls_;
    const bool collected = tls.plaintext.empty();
    std::span<const std::byte> next = collected ? std::as_bytes(std::span(output_)) : tls.plaintext;
    next = next.subspan(collected ? tls.output_taken : 0);
    next = next.first(std::min(next.size(), encrypted_bytes_max));
    if (next.empty() || securing()) {
        return next.empty() || !tls.engine->failure();
    }
    if (std::string& room = tls.engine->output(); room.empty() && room.capacity() < 256) {
        try {
            room = take_buffer();
        } catch (const std::bad_alloc&) {
            // The engine asks once more, and says that it failed.
        }
    }
    if (!tls.engine->write(next)) {
        return false;
    }
    if (!collected) {
        tls.plaintext = tls.plaintext.subspan(next.size());
    } else if (tls.output_taken += next.size(); tls.output_taken == output_.size()) {
        output_.clear();
        tls.output_taken = 0;
    }
    return true;
}

// Hands what is encrypted to the kernel; false when there is nothing.
bool connection::tls_start_send() noexcept {
    if (tls_->engine->output().empty()) {
        return false;
    }
    std::swap(tls_->engine->output(), sending_);
    tls_->owes_sent = true;
    start_send(std::as_bytes(std::span(sending_)));
    return true;
}

void connection::tls_send() noexcept {
    tls_layer& tls = *tls_;
    if (std::exchange(tls.cancelled, false)) {
        on_send_failed(std::make_error_code(std::errc::operation_canceled));
    }
    if (closing_ || send_.active()) {
        return;
    }
    if (!tls_encrypt()) {
        tls.plaintext = {};
        output_.clear();
        tls.output_taken = 0;
        on_send_failed(tls.engine->failure());
        return;
    }
    if (tls_start_send()) {
        return;
    }
    if (std::exchange(tls.shutting, false)) {
        loop_.driver().shutdown(fd_, SHUT_WR);
    }
    if (!securing() && output_.empty() && std::exchange(tls.owes_sent, false)) {
        put_buffer(output_);
        on_sent();
    }
}

// Sends the close_notify, or the alert that says why the handshake failed. True when it is on its
// way. Whatever is unsent is dropped by a close, and must not look as if it were whole.
bool connection::tls_farewell() noexcept {
    tls_layer& tls = *tls_;
    if (send_.active()) {
        return tls.engine->closed();
    }
    if (tls.plaintext.empty() && output_.empty()) {
        tls.engine->close();
    }
    return tls_start_send();
}

}  // namespace ringlet
