#include "net/connection.h"

#include <cerrno>
#include <utility>
#include <vector>

namespace ringlet {
namespace {

// Output buffers in use move between connections, so that an idle connection keeps none and the
// hottest one is used next.
constexpr std::size_t spare_buffers_max = 64;
constexpr std::size_t spare_buffer_bytes_max = 256 * 1024;
thread_local std::vector<std::string> spare_buffers;

void put_buffer(std::string& buffer) noexcept {
    buffer.clear();
    if (buffer.capacity() > spare_buffer_bytes_max || spare_buffers.size() == spare_buffers_max) {
        buffer = std::string();
    } else if (buffer.capacity() >= 256) {
        spare_buffers.push_back(std::move(buffer));
        buffer = std::string();
    }
}

std::string take_buffer() noexcept {
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
    sockaddr_storage name = {};
    socklen_t length = sizeof name;
    auto* const at = reinterpret_cast<sockaddr*>(&name);
    return loop_.driver().local_name(fd_, at, &length) ? address() : address(at, length);
}

address connection::peer_address() const noexcept {
    sockaddr_storage name = {};
    socklen_t length = sizeof name;
    auto* const at = reinterpret_cast<sockaddr*>(&name);
    return loop_.driver().peer_name(fd_, at, &length) ? address() : address(at, length);
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
        on_received(chunk(loop_, what.buffer, static_cast<std::size_t>(what.result)));
        return;
    }
    if (std::exchange(pausing_, false) && what.result == -ECANCELED) {
        if (wants_data_) {
            start_receiving();
        }
        return;
    }
    ended_ = true;
    wants_data_ = false;
    on_end(what.result == 0 ? std::error_code() : system_code(what.result));
}

std::string& connection::output() noexcept {
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
        }
        return;
    }
    if (send_.active() || output_.empty()) {
        return;
    }
    std::swap(output_, sending_);
    send_from({reinterpret_cast<const std::byte*>(sending_.data()), sending_.size()});
}

void connection::send_from(std::span<const std::byte> bytes) noexcept {
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
            send_from({send_at_, send_bytes_left_});
            return;
        }
    }
    if (result < 0 || send_bytes_left_ > 0) {
        send_bytes_left_ = 0;
        put_buffer(sending_);
        on_send_failed(system_code(result < 0 ? result : -ECANCELED));
        return;
    }
    put_buffer(sending_);
    if (!output_.empty()) {
        flush();
        return;
    }
    put_buffer(output_);
    on_sent();
}

void connection::cancel_send() noexcept {
    stop_sending_ = send_.active();
    loop_.cancel(send_);
}

void connection::shutdown_send() noexcept { loop_.driver().shutdown(fd_, SHUT_WR); }

void connection::abort() noexcept {
    if (!closing_) {
        loop_.driver().reset_on_close(fd_);
        close();
    }
}

void connection::close() noexcept {
    if (closing_) {
        return;
    }
    closing_ = true;
    loop_.forget(deferred_);
    loop_.cancel(receive_);
    loop_.cancel(send_);
    finish_close();
}

void connection::finish_close() noexcept {
    if (idle() && !deferred_.queued()) {
        loop_.post(deferred_);
    }
}

}  // namespace ringlet
