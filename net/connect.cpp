#include "net/connect.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "coro/suspension.h"
#include "net/tcp_listener.h"

namespace ringlet {
namespace {

constexpr std::size_t causes_shown_max = 8;  // attempts named in an error's text

// A socket to connect to `to`, bound to the local address that is wanted, if any.
result<int> open_for(loop& owner, const address& to, const connect_options& options) noexcept {
    driver& sockets = owner.driver();
    if (options.local && options.local->family() != to.family()) {
        return std::make_error_code(std::errc::address_family_not_supported);
    }
    result<int> fd = sockets.open_socket(to.family(), SOCK_STREAM, 0);
    if (fd && options.local) {
        const address& from = *options.local;
        if (const std::error_code failed = sockets.bind(*fd, from.data(), from.length())) {
            sockets.close(*fd);
            return failed;
        }
    }
    return fd;
}

tcp_stream make_stream(loop& owner, int fd) {
    tune_stream(owner, fd);
    return tcp_stream(owner, fd);
}

// Says more about the machine than about the peer: another attempt's failure tells more.
bool is_local_failure(std::error_code code) noexcept {
    return code == std::errc::address_family_not_supported ||
           code == std::errc::address_not_available || code == std::errc::network_unreachable ||
           code == std::errc::host_unreachable;
}

class connect_wait final : public operation_wait {
public:
    connect_wait(loop& owner, int fd, const address& to) noexcept : operation_wait(owner), to_(to) {
        prepare_connect(fd, to.data(), to.length());
    }
    void describe(wait_description& into) const override {
        operation_wait::describe(into);
        into.detail = to_.text();
    }

private:
    const address& to_;
};

task<tcp_stream> connect_one(loop& owner, address to, connect_options options) {
    const result<int> fd = open_for(owner, to, options);
    int outcome = 0;
    if (fd) {
        connect_wait connected(owner, *fd, to);
        outcome = co_await connected;
        if (outcome < 0) {
            owner.driver().close(*fd);
        }
    }
    if (!fd || outcome < 0) {
        const std::string context = "connect to " + to.text();
        throw_code(fd ? system_code(outcome) : fd.error(), context.c_str());
    }
    co_return make_stream(owner, *fd);
}

// The attempts at several addresses. It ends, and resumes, when one has won or all have failed, and
// nothing is in flight.
class attempts_wait final : public waiter, private timer {
public:
    attempts_wait(loop& owner, const std::vector<address>& to, const connect_options& options)
        : timer(&attempts_wait::expire),
          loop_(owner),
          options_(options),
          count_(std::min(to.size(), connect_attempts_max)),
          attempts_(std::make_unique<attempt[]>(count_)) {
        interleave(to);
    }

    bool await_ready() const noexcept { return false; }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        job_ = job_of(handle);
        handle_ = handle;
        if (job_ != nullptr && job_->is_cancelled()) {
            cancelled_ = true;
            return false;
        }
        start_next();
        if (running_ == 0) {
            return false;
        }
        if (job_ != nullptr) {
            job_->set_waiting(this);
        }
        return true;
    }

    // The connected descriptor.
    int await_resume() const {
        if (winner_ >= 0) {
            return winner_;
        }
        if (cancelled_) {
            throw cancelled();
        }
        throw_failures();
    }

    void describe(wait_description& into) const override {
        into.kind = "connect";
        for (std::size_t at = 0; at < next_; ++at) {
            if (attempts_[at].active()) {
                into.detail += (into.detail.empty() ? "" : ", ") + attempts_[at].to.text();
                into.descriptor = attempts_[at].fd;
            }
        }
    }

private:
    struct attempt : operation {
        attempt() noexcept : operation(&attempts_wait::complete) {}
        attempts_wait* owner = nullptr;
        address to;
        int fd = -1;
        std::error_code failure;
    };

    // Families alternate, beginning with the first address's; within each the order stays.
    void interleave(const std::vector<address>& to) noexcept {
        const int first_family = to.front().family();
        std::size_t from[2] = {0, 0};  // the first address not yet taken: that family, the others
        for (std::size_t at = 0; at < count_; ++at) {
            std::size_t others = at % 2;
            for (int round = 0; round < 2; ++round, others = 1 - others) {
                std::size_t& next = from[others];
                while (next < to.size() && (to[next].family() != first_family) != (others == 1)) {
                    ++next;
                }
                if (next < to.size()) {
                    attempts_[at].owner = this;
                    attempts_[at].to = to[next++];
                    break;
                }
            }
        }
    }

    bool open() const noexcept { return winner_ < 0 && !cancelled_; }

    // Begins the next attempt that can be begun.
    void start_next() noexcept {
        while (next_ < count_) {
            attempt& fresh = attempts_[next_++];
            const result<int> fd = open_for(loop_, fresh.to, options_);
            if (!fd) {
                fresh.failure = fd.error();
                continue;
            }
            fresh.fd = *fd;
            fresh.prepare_connect(*fd, fresh.to.data(), fresh.to.length());
            loop_.start(fresh);
            ++running_;
            if (next_ < count_) {
                const instant now = loop_.read_clock();
                const std::int64_t delay = options_.attempt_delay.count();
                try {
                    loop_.start_timer(*this, delay > INT64_MAX - now ? INT64_MAX : now + delay);
                } catch (const std::bad_alloc&) {
                    // The next attempt then begins when this one has failed.
                }
            }
            return;
        }
    }

    static void expire(timer& item) noexcept { static_cast<attempts_wait&>(item).start_next(); }

    static void complete(operation& op, const completion& what) noexcept {
        auto& ended = static_cast<attempt&>(op);
        ended.owner->attempt_ended(ended, what.result);
    }

    void attempt_ended(attempt& ended, int outcome) noexcept {
        --running_;
        if (outcome == 0 && winner_ < 0) {
            winner_ = ended.fd;
            stop_others();
        } else {
            loop_.driver().close(ended.fd);
            ended.failure = system_code(outcome);
            if (outcome == -ECANCELED && winner_ < 0) {
                cancelled_ = true;  // by a loop that comes to its end, if by nobody else
            }
            if (open()) {
                loop_.cancel_timer(*this);
                start_next();
            }
        }
        if (running_ == 0) {
            loop_.cancel_timer(*this);
            if (job_ != nullptr) {
                job_->set_waiting(nullptr);
            }
            handle_.resume();
        }
    }

    void stop_others() noexcept {
        loop_.cancel_timer(*this);
        for (std::size_t at = 0; at < next_; ++at) {
            loop_.cancel(attempts_[at]);
        }
    }

    void cancel_wait() noexcept override {
        if (winner_ < 0) {
            cancelled_ = true;
            stop_others();
        }
    }

    [[noreturn]] void throw_failures() const {
        const attempt* telling = &attempts_[0];
        for (std::size_t at = 0; at < count_ && is_local_failure(telling->failure); ++at) {
            if (!is_local_failure(attempts_[at].failure)) {
                telling = &attempts_[at];
            }
        }
        std::string text = "connect to ";
        for (std::size_t at = 0; at < std::min(count_, causes_shown_max); ++at) {
            const attempt& each = attempts_[at];
            text += (at > 0 ? ", " : "") + each.to.text() + " (" + each.failure.message() + ")";
        }
        if (count_ > causes_shown_max) {
            text += " and " + std::to_string(count_ - causes_shown_max) + " more";
        }
        throw error(telling->failure, text);
    }

    loop& loop_;
    const connect_options& options_;
    std::size_t count_;
    std::unique_ptr<attempt[]> attempts_;
    std::size_t next_ = 0;     // attempts before this one were begun
    std::size_t running_ = 0;  // and these of them have not ended
    int winner_ = -1;
    bool cancelled_ = false;
    std::coroutine_handle<> handle_;
    job* job_ = nullptr;
};

task<tcp_stream> connect_any(loop& owner, std::vector<address> to, connect_options options) {
    if (to.empty()) {
        throw error(errc::resolve_failed, "connect to no address");
    }
    attempts_wait attempts(owner, to, options);
    const int fd = co_await attempts;
    co_return make_stream(owner, fd);
}

}  // namespace

task<tcp_stream> connect(loop& owner, std::vector<address> to, connect_options options) {
    return to.size() == 1 ? connect_one(owner, to.front(), std::move(options))
                          : connect_any(owner, std::move(to), std::move(options));
}

task<tcp_stream> connect(loop& owner, resolver& names, std::string host, std::uint16_t port,
                         connect_options options) {
    std::vector<address> to = co_await names.resolve(std::move(host), port);
    co_return co_await connect(owner, std::move(to), std::move(options));
}

}  // namespace ringlet
