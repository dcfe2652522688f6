#include "http/client_pool.h"

#include "coro/suspension.h"
#include "http/incoming.h"

namespace ringlet::http {
namespace {

constexpr int socket_attempts_max = 8;  // with waits of 1, 2, 4, ... 64 ms in between

bool lacks_descriptors(std::error_code code) noexcept {
    return code == std::errc::too_many_files_open ||
           code == std::errc::too_many_files_open_in_system;
}

}  // namespace

using detail::client_connection;
using detail::host_entry;

client::reap_timer::reap_timer(client& c) noexcept
    : timer([](timer& item) noexcept { static_cast<reap_timer&>(item).owner.reap(); }), owner(c) {}

// The newest idle connection of the host that is still clean; dead ones are closed on the way.
bool client::take_idle(incoming::state& state) {
    while (client_connection* const idle = state.host->idle) {
        unlink_idle(*idle);
        --state.host->users;  // the request itself holds the entry
        std::unique_ptr<client_connection> taken(idle);
        if (!taken->stream.readable()) {
            ++stats_.reused;
            state.connection = std::move(taken);
            return true;
        }
    }
    return false;
}

// Keeps the connection when its request is sent, its answer complete and nothing else has come.
void client::keep_or_close(incoming::state& state) noexcept {
    std::unique_ptr<client_connection> used = std::move(state.connection);
    const bool clean = state.request_sent && used->parser.complete() && used->parser.keep_alive() &&
                       !used->parser.failed() && used->bytes_parsed == used->bytes.size() &&
                       !used->stream.readable();
    if (!clean || options_.idle_connections_max == 0) {
        return;
    }
    if (stats_.idle == options_.idle_connections_max) {
        close_oldest();
    }
    client_connection& kept = *used.release();
    kept.bytes = {};
    kept.bytes_parsed = 0;
    kept.idle_since = loop_.now();
    kept.host = state.host;
    ++kept.host->users;
    kept.host_next = std::exchange(kept.host->idle, &kept);
    kept.newer = nullptr;
    kept.older = std::exchange(newest_idle_, &kept);
    (kept.older != nullptr ? kept.older->newer : oldest_idle_) = &kept;
    ++stats_.idle;
    if (!reap_timer_.pending()) {
        try {
            start_reaping();
        } catch (const std::bad_alloc&) {
            close_oldest();  // what nothing would ever close is not kept
        }
    }
}

// Takes it out of both lists; the host's use count is the caller's to lower.
void client::unlink_idle(client_connection& idle) noexcept {
    client_connection** at = &idle.host->idle;
    while (*at != &idle) {
        at = &(*at)->host_next;
    }
    *at = idle.host_next;
    (idle.older != nullptr ? idle.older->newer : oldest_idle_) = idle.newer;
    (idle.newer != nullptr ? idle.newer->older : newest_idle_) = idle.older;
    --stats_.idle;
}

// Kept connections count as connections: the oldest make room. So they do when the process has no
// descriptor left; closing one takes the loop a few turns, so that the socket is asked for again.
task<tcp_stream> client::open_socket(std::vector<address> addresses) {
    while (stats_.idle > places_.available()) {
        close_oldest();
    }
    for (int attempt = 1;; ++attempt) {
        try {
            co_return co_await ringlet::connect(loop_, addresses, options_.connect);
        } catch (const error& failure) {
            if (!lacks_descriptors(failure.code()) || attempt == socket_attempts_max) {
                throw;
            }
        }
        if (oldest_idle_ != nullptr) {
            close_oldest();
        }
        co_await sleep_for(std::chrono::milliseconds(1 << (attempt - 1)));
    }
}

void client::close_oldest() noexcept {
    const std::unique_ptr<client_connection> oldest(oldest_idle_);
    unlink_idle(*oldest);
    leave_host(*oldest->host);
}

void client::start_reaping() {
    loop_.start_timer(reap_timer_, detail::later(oldest_idle_->idle_since, options_.idle_timeout));
}

void client::reap() noexcept {
    while (oldest_idle_ != nullptr &&
           detail::later(oldest_idle_->idle_since, options_.idle_timeout) <= loop_.now()) {
        close_oldest();
    }
    if (oldest_idle_ != nullptr) {
        start_reaping();
    }
}

void client::close_idle() noexcept {
    while (oldest_idle_ != nullptr) {
        close_oldest();
    }
    loop_.cancel_timer(reap_timer_);
}

}  // namespace ringlet::http
