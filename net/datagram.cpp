#include "net/datagram.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "core/plain_calls.h"
#include "coro/suspension.h"
#include "coro/wait_list.h"

namespace ringlet {
namespace {

constexpr nanoseconds full_pause_min = std::chrono::microseconds(100);
constexpr nanoseconds full_pause_max = std::chrono::milliseconds(10);

}  // namespace

class datagram_socket::flush_wait final : public suspension<flush_wait>, public detail::wait_link {
public:
    explicit flush_wait(core& of) noexcept : core_(of) {}
    bool await_ready() const noexcept;
    void enlist() noexcept;
    void delist() noexcept;
    void await_resume() const { check_cancelled(); }
    void describe_wait(wait_description& into) const;

private:
    core& core_;
};

// Outlives its socket until the kernel has let go of every send.
class datagram_socket::core final : private work {
public:
    core(ringlet::loop& owner, int fd, std::size_t sends_max)
        : work(&core::run), loop_(owner), fd_(fd), sends_max_(sends_max) {
        run_always();
    }

    ringlet::loop& loop() const noexcept { return loop_; }
    int descriptor() const noexcept { return fd_; }
    std::size_t queued_bytes() const noexcept { return queued_bytes_; }
    bool all_taken() const noexcept { return waiting_.empty() && in_flight_ == 0; }
    std::error_code take_failure() noexcept { return std::exchange(failure_, {}); }
    void add_user() noexcept { ++users_; }
    void drop_user() noexcept { --users_; }

    void queue(std::span<const std::byte> bytes, const raw_address& to) {
        if (!sends_) {
            sends_ = std::make_unique<send[]>(sends_max_);
            for (std::size_t i = 0; i < sends_max_; ++i) {
                sends_[i].owner = this;
            }
        }
        waiting_.push_back(
            {std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), to});
        queued_bytes_ += bytes.size();
        if (!queued()) {
            loop_.post_flush(*this);
        }
    }
    void close() noexcept {
        RINGLET_REQUIRE(users_ == 0 && flushers_.empty(),
                        "a datagram socket was closed while a coroutine waits for it");
        closing_ = true;
        waiting_.clear();
        loop_.forget(*this);
        for (std::size_t i = 0; in_flight_ > 0 && i < sends_max_; ++i) {
            loop_.cancel(sends_[i]);
        }
        if (in_flight_ == 0) {
            loop_.post(*this);
        }
    }

    detail::wait_list<flush_wait> flushers_;

private:
    struct message {
        std::string bytes;
        raw_address to;
    };
    struct send : operation {
        send() noexcept : operation(&core::complete) {}
        core* owner = nullptr;
        message sent;
        iovec part = {};
        msghdr header = {};
    };

    static void run(work& item) noexcept {
        auto& self = static_cast<core&>(item);
        if (self.closing_) {
            self.loop_.driver().close(self.fd_);
            delete &self;
            return;
        }
        for (std::size_t i = 0; i < self.sends_max_ && !self.waiting_.empty(); ++i) {
            if (!self.sends_[i].active()) {
                self.start_next(self.sends_[i]);
            }
        }
    }
    void start_next(send& with) noexcept {
        with.sent = std::move(waiting_.front());
        waiting_.pop_front();
        with.part = {with.sent.bytes.data(), with.sent.bytes.size()};
        with.header = {};
        with.header.msg_iov = &with.part;
        with.header.msg_iovlen = 1;
        if (with.sent.to.length != 0) {
            with.header.msg_name = &with.sent.to.bytes;
            with.header.msg_namelen = with.sent.to.length;
        }
        with.prepare_send_message(fd_, &with.header);
        ++in_flight_;
        loop_.start(with);
    }
    static void complete(operation& op, const completion& what) noexcept {
        auto& with = static_cast<send&>(op);
        core& self = *with.owner;
        --self.in_flight_;
        self.queued_bytes_ -= with.sent.bytes.size();
        if (self.closing_) {
            if (self.in_flight_ == 0) {
                self.loop_.post(self);
            }
            return;
        }
        if (what.result < 0 && !self.failure_) {
            self.failure_ = system_code(what.result);
        }
        if (!self.waiting_.empty()) {
            self.start_next(with);
        }
        while (self.all_taken() && !self.flushers_.empty()) {
            self.flushers_.pop()->wake_up();
        }
    }

    ringlet::loop& loop_;
    int fd_;
    const std::size_t sends_max_;
    std::deque<message> waiting_;
    std::unique_ptr<send[]> sends_;  // made when first needed
    std::size_t queued_bytes_ = 0;   // waiting and in flight
    std::size_t in_flight_ = 0;
    std::error_code failure_;
    unsigned users_ = 0;  // coroutines with operations of their own
    bool closing_ = false;
};

// Lives as long as a coroutine has an operation on the socket.
class datagram_socket::use {
public:
    explicit use(core& used) noexcept : core_(used) { core_.add_user(); }
    use(const use&) = delete;
    use& operator=(const use&) = delete;
    ~use() { core_.drop_user(); }

private:
    core& core_;
};

void datagram_socket::flush_wait::describe_wait(wait_description& into) const {
    into.kind = "send";
    into.detail = std::to_string(core_.queued_bytes()) + " bytes in datagrams";
    into.descriptor = core_.descriptor();
}

bool datagram_socket::flush_wait::await_ready() const noexcept { return core_.all_taken(); }
void datagram_socket::flush_wait::enlist() noexcept { core_.flushers_.push(*this); }
void datagram_socket::flush_wait::delist() noexcept { core_.flushers_.remove(*this); }

datagram_socket::datagram_socket(loop& owner, int fd, std::size_t sends_max) {
    try {
        core_ = new core(owner, fd, sends_max);
    } catch (...) {
        owner.driver().close(fd);
        throw;
    }
}

datagram_socket::datagram_socket(datagram_socket&& other) noexcept
    : core_(std::exchange(other.core_, nullptr)) {}

datagram_socket& datagram_socket::operator=(datagram_socket&& other) noexcept {
    std::swap(core_, other.core_);
    return *this;
}

void datagram_socket::close() noexcept {
    if (core* const closing = std::exchange(core_, nullptr)) {
        closing->close();
    }
}

datagram_socket::core& datagram_socket::open_core() const {
    if (core_ == nullptr) {
        throw error(errc::closed);
    }
    return *core_;
}

int datagram_socket::descriptor() const noexcept { return core_->descriptor(); }
loop& datagram_socket::owner() const noexcept { return core_->loop(); }
std::size_t datagram_socket::queued_bytes() const noexcept { return core_->queued_bytes(); }

socket_options datagram_socket::options() const noexcept {
    return {owner().driver(), descriptor()};
}

datagram_socket::raw_address datagram_socket::raw(const sockaddr* from, socklen_t length) noexcept {
    raw_address made = {};
    std::memcpy(&made.bytes, from, length);
    made.length = length;
    return made;
}

task<void> datagram_socket::connect_raw(raw_address to) {
    core& at = open_core();
    const use used(at);
    operation_wait connecting(at.loop());
    connecting.prepare_connect(at.descriptor(), reinterpret_cast<const sockaddr*>(&to.bytes),
                               to.length);
    if (const int outcome = co_await connecting; outcome < 0) {
        throw_code(system_code(outcome), "connect a datagram socket");
    }
}

task<void> datagram_socket::send_raw(std::span<const std::byte> bytes, raw_address to,
                                     std::span<const int> descriptors) {
    core& at = open_core();
    const use used(at);
    detail::control_data control;
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (to.length != 0) {
        message.msg_name = &to.bytes;
        message.msg_namelen = to.length;
    }
    control.put(message, descriptors);
    int outcome = -EAGAIN;
    if (to.length != 0 && to.bytes.ss_family == AF_UNIX && at.loop().driver().has_real_sockets()) {
        // The socket counts as writable though this receiver's queue is full, and no event tells
        // when it no longer is.
        for (nanoseconds pause = full_pause_min;; pause = std::min(pause * 2, full_pause_max)) {
            outcome = detail::call_result([&] {
                return ::sendmsg(at.descriptor(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
            });
            if (outcome != -EAGAIN) {
                break;
            }
            co_await sleep_for(pause);
        }
    } else {
        operation_wait sending(at.loop());
        sending.prepare_send_message(at.descriptor(), &message);
        outcome = co_await sending;
    }
    if (outcome < 0) {
        throw_code(system_code(outcome), "send a datagram");
    }
}

task<received_message> datagram_socket::receive_raw(std::span<std::byte> into,
                                                    raw_address* sender, bool with_descriptors) {
    core& at = open_core();
    const use used(at);
    detail::control_data control;
    iovec part{into.data(), into.size()};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (sender != nullptr) {
        message.msg_name = &sender->bytes;
        message.msg_namelen = sizeof sender->bytes;
    }
    if (with_descriptors) {
        control.make_room(message);
    }
    operation_wait receiving(at.loop());
    receiving.prepare_receive_message(at.descriptor(), &message);
    const int bytes = co_await receiving;
    if (bytes < 0) {
        throw_code(system_code(bytes), "receive a datagram");
    }
    if (sender != nullptr) {
        sender->length = message.msg_namelen;
    }
    co_return detail::take_descriptors(at.loop(), message, static_cast<std::size_t>(bytes));
}

void datagram_socket::queue_raw(std::span<const std::byte> bytes, const raw_address& to) {
    core& at = open_core();
    if (bytes.size() > queued_bytes_max - std::min(at.queued_bytes(), queued_bytes_max)) {
        throw error(errc::limit_exceeded, "datagrams of more than " +
                                              std::to_string(queued_bytes_max) +
                                              " bytes are queued");
    }
    at.queue(bytes, to);
}

task<void> datagram_socket::flush() {
    core& at = open_core();
    const use used(at);
    flush_wait taken(at);
    co_await taken;
    if (const std::error_code failed = at.take_failure()) {
        throw_code(failed, "send queued datagrams");
    }
}

}  // namespace ringlet
