#include "net/tcp_listener.h"

#include <netinet/tcp.h>

#include <deque>
#include <new>
#include <utility>

#include "coro/suspension.h"
#include "net/socket_names.h"

namespace ringlet {

void tune_stream(loop& owner, int fd) noexcept {
    // A refusal (a peer that has already reset) shows at the first receive or send.
    (void)owner.driver().set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

// Resumed with a connection, or without one when the listener was closed.
class listener::accept_wait final : public suspension<accept_wait> {
public:
    explicit accept_wait(core& from) noexcept : core_(from) {}
    bool await_ready() noexcept;
    void enlist() noexcept;
    void delist() noexcept;
    void describe_wait(wait_description& into) const;
    // The descriptor; the caller's from here on.
    int await_resume() const {
        check_cancelled();
        if (fd_ < 0) {
            throw error(errc::closed);
        }
        return fd_;
    }
    void end(int fd) noexcept {
        fd_ = fd;
        wake_up();
    }

private:
    core& core_;  // gone, maybe, when this was woken
    int fd_ = -1;
};

// Outlives its tcp_listener until the kernel has let go of the accept.
class listener::core final : public operation, private timer, private work {
public:
    core(loop& owner, int fd, bool tunes)
        : operation(&core::complete),
          timer(&core::retry),
          work(&core::die),
          loop_(owner),
          fd_(fd),
          tunes_(tunes) {
        run_always();
    }

    void set_accepting(bool accepting) noexcept {
        wanted_ = accepting;
        if (accepting) {
            arm();
        } else {
            stop();
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
            waiter->end(-1);
        }
        if (active()) {
            stop();
        } else {
            loop_.post(*this);
        }
    }
    void set_callback(accepted callback, void* context) noexcept {
        callback_ = callback;
        context_ = context;
        set_accepting(true);
    }
    void set_acceptor(accept_wait* waiter) noexcept {
        RINGLET_REQUIRE(waiter == nullptr || acceptor_ == nullptr,
                        "two coroutines accept from one listener at once");
        acceptor_ = waiter;
        if (waiter != nullptr) {
            set_accepting(true);
        }
    }
    // A connection that has come already, or -1.
    int take_waiting() noexcept {
        if (waiting_.empty()) {
            return -1;
        }
        const int fd = waiting_.front();
        waiting_.pop_front();
        return fd;
    }

    loop& owner() const noexcept { return loop_; }
    int descriptor() const noexcept { return fd_; }
    address local_address() const noexcept {
        return detail::socket_name(loop_.driver(), fd_, &driver::local_name);
    }

private:
    static constexpr std::size_t waiting_max = 64;
    static constexpr nanoseconds retry_pause = std::chrono::milliseconds(50);

    void arm() noexcept {
        if (!active() && !timer::pending() && !closing_) {
            prepare_accept(fd_);
            loop_.start(*this);
        }
    }
    void stop() noexcept {
        stopping_ = active();
        loop_.cancel(*this);
    }
    void take(int fd) noexcept {
        if (tunes_) {
            tune_stream(loop_, fd);
        }
        if (callback_ != nullptr) {
            callback_(context_, fd);
            return;
        }
        if (accept_wait* const waiter = std::exchange(acceptor_, nullptr)) {
            waiter->end(fd);
            return;
        }
        try {
            waiting_.push_back(fd);
        } catch (const std::bad_alloc&) {
            loop_.driver().close(fd);
        }
        if (waiting_.size() >= waiting_max) {
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
        const bool stopped = std::exchange(self.stopping_, false);
        if (self.closing_) {
            if (!self.queued()) {
                self.loop_.post(self);
            }
        } else if (stopped) {
            if (self.wanted_) {
                self.arm();
            }
        } else if (what.result != -ECANCELED) {  // that is the loop's end
            // Out of descriptors or memory: what ended will come back, and busy retries would not
            // help it.
            self.retry_later();
        }
    }
    void retry_later() noexcept {
        try {
            loop_.start_timer(*this, loop_.now() + retry_pause.count());
        } catch (const std::bad_alloc&) {
            arm();
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
    accepted callback_ = nullptr;
    void* context_ = nullptr;
    accept_wait* acceptor_ = nullptr;
    std::deque<int> waiting_;  // accepted, not yet taken
    const bool tunes_;
    bool wanted_ = false;
    bool stopping_ = false;  // a cancel of ours is under way
    bool closing_ = false;
};

bool listener::accept_wait::await_ready() noexcept {
    fd_ = core_.take_waiting();
    return fd_ >= 0;
}

void listener::accept_wait::enlist() noexcept { core_.set_acceptor(this); }

void listener::accept_wait::delist() noexcept { core_.set_acceptor(nullptr); }

void listener::accept_wait::describe_wait(wait_description& into) const {
    into.kind = "accept";
    into.descriptor = core_.descriptor();
    const address where = core_.local_address();
    into.detail = where.family() == AF_UNSPEC ? "a Unix socket" : where.text();
}

listener::listener(loop& owner, int fd, bool tunes) {
    try {
        core_ = new core(owner, fd, tunes);
    } catch (...) {
        owner.driver().close(fd);
        throw;
    }
}

listener::listener(listener&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}

listener& listener::operator=(listener&& other) noexcept {
    std::swap(core_, other.core_);
    return *this;
}

listener::~listener() { close(); }

loop& listener::owner() const noexcept { return core_->owner(); }
int listener::descriptor() const noexcept { return core_->descriptor(); }

socket_options listener::options() const noexcept {
    return {core_->owner().driver(), core_->descriptor()};
}

void listener::on_accept(accepted callback, void* context) noexcept {
    core_->set_callback(callback, context);
}

void listener::set_accepting(bool accepting) noexcept { core_->set_accepting(accepting); }

task<int> listener::accept_descriptor() {
    if (core_ == nullptr) {
        throw error(errc::closed);
    }
    accept_wait connection(*core_);
    co_return co_await connection;
}

void listener::close() noexcept {
    if (core* const closing = std::exchange(core_, nullptr)) {
        closing->close();
    }
}

namespace {

int open_listening(loop& owner, const address& where, const listen_options& options) {
    driver& sockets = owner.driver();
    const std::string context = "listen on " + where.text();
    const result<int> fd = sockets.open_socket(where.family(), SOCK_STREAM, 0);
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
    return *fd;
}

}  // namespace

tcp_listener::tcp_listener(loop& owner, const address& where, const listen_options& options)
    : listener(owner, open_listening(owner, where, options), true) {}

address tcp_listener::local_address() const noexcept {
    return detail::socket_name(owner().driver(), descriptor(), &driver::local_name);
}

task<tcp_stream> tcp_listener::accept() {
    loop* const owner = loop::current();
    const int fd = co_await accept_descriptor();
    co_return tcp_stream(*owner, fd);
}

}  // namespace ringlet
