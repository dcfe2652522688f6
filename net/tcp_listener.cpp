#include "net/tcp_listener.h"

#include <netinet/tcp.h>

#include <deque>
#include <utility>

#include "coro/suspension.h"

namespace ringlet {

void tune_stream(loop& owner, int fd) noexcept {
    // A refusal (a peer that has already reset) shows at the first receive or send.
    (void)owner.driver().set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

// Outlives its tcp_listener until the kernel has let go of the accept.
class tcp_listener::core final : public operation, private timer, private work {
public:
    core(loop& owner, int fd) noexcept
        : operation(&core::complete), timer(&core::retry), work(&core::die), loop_(owner), fd_(fd) {
        run_always();
    }

    void set_accepting(bool accepting) noexcept {
        wanted_ = accepting;
        if (accepting) {
            arm();
        } else {
            loop_.cancel(*this);
        }
    }
    void close() noexcept {
        closing_ = true;
        wanted_ = false;
        loop_.cancel_timer(*this);
        for (const int fd : waiting_) {
            loop_.driver().close(fd);
        }
        waiting_.clear();
        if (accept_wait* const waiter = std::exchange(acceptor_, nullptr)) {
            wake(*waiter);
        }
        if (active()) {
            loop_.cancel(*this);
        } else {
            loop_.post(*this);
        }
    }

    loop& owner() const noexcept { return loop_; }
    int descriptor() const noexcept { return fd_; }

    accepted callback_ = nullptr;
    void* context_ = nullptr;
    accept_wait* acceptor_ = nullptr;
    std::deque<int> waiting_;  // accepted, not yet taken

private:
    static constexpr std::size_t waiting_max = 64;
    static constexpr nanoseconds retry_pause = std::chrono::milliseconds(50);

    static void wake(accept_wait& waiter) noexcept;

    void arm() noexcept {
        if (!active() && !timer::pending() && !closing_) {
            prepare_accept(fd_);
            loop_.start(*this);
        }
    }
    void take(int fd) noexcept {
        tune_stream(loop_, fd);
        if (callback_ != nullptr) {
            callback_(context_, fd);
            return;
        }
        waiting_.push_back(fd);
        if (accept_wait* const waiter = std::exchange(acceptor_, nullptr)) {
            wake(*waiter);
        } else if (waiting_.size() >= waiting_max) {
            set_accepting(false);
        }
    }
    static void complete(operation& op, const completion& what) noexcept {
        auto& self = static_cast<core&>(op);
        if (what.result >= 0) {
            if (self.closing_) {
                self.loop_.driver().close(what.result);
            } else {
                self.take(what.result);
            }
        }
        if (what.more || op.active()) {
            return;
        }
        if (self.closing_) {
            if (!self.queued()) {
                self.loop_.post(self);
            }
        } else if (what.result == -ECANCELED) {
            if (self.wanted_) {
                self.arm();
            }
        } else {
            // Out of descriptors or memory: what ended will come back, and busy retries would not
            // help it.
            self.loop_.start_timer(self, self.loop_.now() + retry_pause.count());
        }
    }
    static void retry(timer& item) noexcept {
        auto& self = static_cast<core&>(item);
        if (self.wanted_) {
            self.arm();
        }
    }
    static void die(work& item) noexcept {
        auto& self = static_cast<core&>(item);
        self.loop_.driver().close(self.fd_);
        delete &self;
    }

    loop& loop_;
    int fd_;
    bool wanted_ = false;
    bool closing_ = false;
};

class tcp_listener::accept_wait final : public suspension<accept_wait> {
public:
    explicit accept_wait(core& owner) noexcept : core_(owner) {}
    bool await_ready() const noexcept { return !core_.waiting_.empty(); }
    void enlist() noexcept {
        RINGLET_REQUIRE(core_.acceptor_ == nullptr, "two coroutines accept from one listener");
        core_.acceptor_ = this;
        core_.set_accepting(true);
    }
    void delist() noexcept { core_.acceptor_ = nullptr; }
    void await_resume() const { check_cancelled(); }

private:
    core& core_;
};

void tcp_listener::core::wake(accept_wait& waiter) noexcept { waiter.wake_up(); }

tcp_listener::tcp_listener(loop& owner, const address& where, const listen_options& options) {
    driver& sockets = owner.driver();
    const std::string context = "listen on " + where.text();
    result<int> fd = sockets.open_socket(where.family(), SOCK_STREAM, 0);
    if (!fd) {
        throw_code(fd.error(), context.c_str());
    }
    std::error_code failed = sockets.set_option(*fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!failed && options.reuse_port) {
        failed = sockets.set_option(*fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (!failed && where.is_v6()) {
        failed = sockets.set_option(*fd, IPPROTO_IPV6, IPV6_V6ONLY, options.v6_only ? 1 : 0);
    }
    if (!failed) {
        failed = sockets.bind(*fd, where.data(), where.length());
    }
    if (!failed) {
        failed = sockets.listen(*fd, options.backlog);
    }
    if (failed) {
        sockets.close(*fd);
        throw_code(failed, context.c_str());
    }
    core_ = new core(owner, *fd);
}

tcp_listener::tcp_listener(tcp_listener&& other) noexcept
    : core_(std::exchange(other.core_, nullptr)) {}

tcp_listener& tcp_listener::operator=(tcp_listener&& other) noexcept {
    std::swap(core_, other.core_);
    return *this;
}

tcp_listener::~tcp_listener() { close(); }

address tcp_listener::local_address() const noexcept {
    sockaddr_storage name = {};
    socklen_t length = sizeof name;
    auto* const at = reinterpret_cast<sockaddr*>(&name);
    return core_->owner().driver().local_name(core_->descriptor(), at, &length)
               ? address()
               : address(at, length);
}

void tcp_listener::on_accept(accepted callback, void* context) noexcept {
    core_->callback_ = callback;
    core_->context_ = context;
    core_->set_accepting(true);
}

void tcp_listener::set_accepting(bool accepting) noexcept { core_->set_accepting(accepting); }

task<tcp_stream> tcp_listener::accept() {
    if (core_ == nullptr) {
        throw error(errc::closed);
    }
    loop& owner = core_->owner();
    co_await accept_wait(*core_);
    if (core_ == nullptr) {
        throw error(errc::closed);
    }
    const int fd = core_->waiting_.front();
    core_->waiting_.pop_front();
    co_return tcp_stream(owner, fd);
}

void tcp_listener::close() noexcept {
    if (core* const closing = std::exchange(core_, nullptr)) {
        closing->close();
    }
}

}  // namespace ringlet
