#include "core/fake.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/plain_calls.h"

namespace ringlet {
namespace detail {
namespace {

using access = driver_access;

constexpr std::size_t buffer_bytes_max = 16 * 1024;
constexpr unsigned turns_put_off_max = 4;
constexpr int reports_in_a_row_max = 8;  // of one operation in one turn
constexpr std::uint64_t nanoseconds_per_turn_max = 20'000;

// What an operation's driver_bits_ mean here. In the first two, driver_result_ is the turn before
// which nothing happens to it.
constexpr std::uint8_t queued = 0;     // waits on its descriptor
constexpr std::uint8_t losing = 1;     // cancelled, but may still bring something before it ends
constexpr std::uint8_t decided = 2;    // in endings_ or reports_
constexpr std::uint8_t real = 3;       // in real_

bool is_transfer(const operation& op) noexcept {
    return access::code(op) == opcode::read || access::code(op) == opcode::write;
}

short wanted_events(const operation& op) noexcept {
    return access::code(op) == opcode::poll    ? static_cast<short>(access::length(op))
           : access::code(op) == opcode::write ? POLLOUT
                                               : POLLIN;
}

std::error_code to_code(int status) noexcept {
    return status < 0 ? system_code(status) : std::error_code();
}

}  // namespace

fake_faults::fake_faults(fake_random& random) noexcept {
    const auto draw = [&random] {
        constexpr unsigned levels[] = {0, 8, 40, 128};
        return levels[random.below(4)];
    };
    short_transfer = draw();
    delay = draw();
    no_buffer = draw() / 2;
    late_cancel = draw();
    idle_wakeup = draw() / 4;
}

fake_driver::fake_driver(std::uint64_t seed)
    : random_(seed),
      faults_(random_),
      kernel_(std::size_t{4096} << random_.below(6)),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake_fd_ < 0) {
        throw error(system_code(errno), "eventfd");
    }
}

fake_driver::~fake_driver() { ::close(wake_fd_); }

unsigned fake_driver::some_turns() noexcept {
    return random_.chance(faults_.delay)
               ? static_cast<unsigned>(random_.one_to(turns_put_off_max))
               : 0;
}

std::size_t fake_driver::shorten(std::size_t bytes) noexcept {
    return bytes > 1 && random_.chance(faults_.short_transfer) ? random_.one_to(bytes) : bytes;
}

void fake_driver::end_later(operation& op, std::int32_t result, unsigned turns) {
    access::bits(op) = decided;
    endings_.push_back({&op, result, turn_ + static_cast<std::int32_t>(turns)});
}

void fake_driver::emit(operation& op, std::int32_t result, bool more, lent_buffer buffer) {
    if (!more) {
        access::bits(op) = decided;
    }
    reports_.push_back({&op, {result, more, buffer}});
}

operation_queue& fake_driver::queue_of(operation& op) {
    waiters& at = waiters_of(access::fd(op));
    switch (access::code(op)) {
        case opcode::connect:
        case opcode::send:
        case opcode::send_message:
        case opcode::write: return at.writers;
        case opcode::poll: return at.polls;
        default: return at.readers;
    }
}

void fake_driver::make_room(int fd) {
    const auto index = static_cast<std::size_t>(fd - fake_kernel::first_descriptor);
    if (fake_kernel::owns(fd) && index >= waiters_.size()) {
        waiters_.resize(index + 1);
    }
}

void fake_driver::start(operation& op) noexcept {
    ++submitted_;
    const int fd = access::fd(op);
    if (access::code(op) == opcode::nop) {
        return end_later(op, 0, some_turns());
    }
    if (fake_kernel::owns(fd)) {
        if (!kernel_.is_open(fd)) {
            return end_later(op, -EBADF, 0);
        }
        access::bits(op) = queued;
        access::result(op) = turn_ + static_cast<std::int32_t>(some_turns());
        queue_of(op).push(op);
        return;
    }
    if (::fcntl(fd, F_GETFD) < 0) {
        return end_later(op, -EBADF, 0);
    }
    if (access::code(op) != opcode::poll && !is_transfer(op)) {
        return end_later(op, -ENOTSOCK, 0);  // the fake driver has its own sockets
    }
    access::bits(op) = real;
    real_.push_back(&op);
}

void fake_driver::cancel(operation& op) noexcept {
    const bool late = !suspended_ && random_.chance(faults_.late_cancel);
    const unsigned turns = late ? static_cast<unsigned>(random_.below(turns_put_off_max)) : 0;
    switch (access::bits(op)) {
        case real:
            std::erase(real_, &op);
            return end_later(op, -ECANCELED, turns);
        case queued: {
            operation_queue& queue = queue_of(op);
            if (late && queue.front() == &op && access::code(op) != opcode::poll) {
                access::bits(op) = losing;
                access::result(op) = turn_ + static_cast<std::int32_t>(turns);
                return;
            }
            queue.remove(op);
            return end_later(op, -ECANCELED, turns);
        }
        default: return;
    }
}

void fake_driver::cancel_all() noexcept {
    suspended_ = false;
    while (!real_.empty()) {
        cancel(*real_.back());
    }
    for (waiters& at : waiters_) {
        for (operation_queue* queue : {&at.readers, &at.writers, &at.polls}) {
            while (operation* op = queue->pop()) {
                end_later(*op, -ECANCELED, some_turns());
            }
        }
    }
}

void fake_driver::begin_turn() noexcept {
    turn_ = turn_ == INT32_MAX ? 0 : turn_ + 1;
    now_ += static_cast<instant>(random_.below(nanoseconds_per_turn_max));
}

void fake_driver::wait(nanoseconds timeout) noexcept {
    RINGLET_REQUIRE(!suspended_, "a suspended driver was asked to wait");
    require_thread();
    const instant deadline = timeout == wait_forever ? INT64_MAX : now_ + timeout.count();
    reports_.erase(reports_.begin(), reports_.begin() + static_cast<std::ptrdiff_t>(reported_));
    reported_ = 0;
    ++enters_;
    for (;;) {
        begin_turn();
        step();
        if (!real_.empty()) {
            poll_real(nanoseconds::zero());
        }
        if (woken_.load(std::memory_order_acquire)) {
            poll_real(nanoseconds::zero());
            return;
        }
        if (!reports_.empty() || now_ >= deadline || random_.chance(faults_.idle_wakeup)) {
            return;
        }
        if (more_to_come_) {
            continue;
        }
        if (deadline == INT64_MAX || wake_expected_ || !real_.empty()) {
            return block(deadline == INT64_MAX ? wait_forever : nanoseconds(deadline - now_));
        }
        now_ = deadline;
        return;
    }
}

// One round over everything that is active: from a random place, forwards or backwards, so that
// descriptors overtake each other.
void fake_driver::step() {
    more_to_come_ = false;
    for (std::size_t i = 0; i < endings_.size();) {
        if (endings_[i].due <= turn_) {
            emit(*endings_[i].op, endings_[i].result, false);
            endings_.erase(endings_.begin() + static_cast<std::ptrdiff_t>(i));
        } else {
            more_to_come_ = true;
            ++i;
        }
    }
    if (waiters_.empty()) {
        return;
    }
    const std::size_t count = waiters_.size();
    const std::size_t stride = random_.chance(128) ? 1 : count - 1;
    std::size_t at = random_.below(count);
    for (std::size_t i = 0; i < count; ++i, at = (at + stride) % count) {
        serve(waiters_[at].readers);
        serve(waiters_[at].writers);
        serve_polls(waiters_[at].polls);
    }
}

// In one direction of one descriptor nothing overtakes: only the oldest operation can complete.
void fake_driver::serve(operation_queue& queue) {
    while (operation* op = queue.front()) {
        if (access::result(*op) > turn_) {
            more_to_come_ = true;
            return;
        }
        const bool losing_now = access::bits(*op) == losing;
        const bool ended = serve(*op);
        if (!ended && !losing_now) {
            return;
        }
        queue.pop();
        if (!ended) {
            emit(*op, -ECANCELED, false);
        }
    }
}

// Serves the oldest operation of a direction as often as it can be; true when that ended it.
bool fake_driver::serve(operation& op) {
    for (int reports = 0; reports < reports_in_a_row_max; ++reports) {
        if (random_.chance(faults_.delay)) {
            access::result(op) = turn_ + 1;
            more_to_come_ = true;
            return false;
        }
        lent_buffer buffer;
        const std::int32_t result = perform(op, buffer);
        if (result == -EAGAIN) {
            return false;
        }
        const bool good = access::code(op) == opcode::receive ? result > 0 : result >= 0;
        const bool more = access::multishot(op) && good;
        emit(op, result, more, buffer);
        if (!more) {
            return true;
        }
    }
    more_to_come_ = true;
    return false;
}

void fake_driver::serve_polls(operation_queue& queue) {
    operation_queue staying;
    while (operation* op = queue.pop()) {
        const auto asked = static_cast<std::uint32_t>(access::length(*op)) | POLLHUP | POLLERR;
        const std::uint32_t ready = kernel_.readiness(access::fd(*op)) & asked;
        const bool put_off = ready != 0 && (access::result(*op) > turn_ ||
                                            random_.chance(faults_.delay));
        more_to_come_ = more_to_come_ || put_off;
        if (ready != 0 && !put_off) {
            emit(*op, static_cast<std::int32_t>(ready), access::multishot(*op));
        }
        if (ready == 0 || put_off || access::multishot(*op)) {
            staying.push(*op);
        }
    }
    queue = staying;
}

std::int32_t fake_driver::perform(operation& op, lent_buffer& buffer) {
    const int fd = access::fd(op);
    const auto* bytes = static_cast<const std::byte*>(access::memory(op));
    const std::size_t length = access::length(op);
    switch (access::code(op)) {
        case opcode::accept: {
            const int made = kernel_.accept(fd);
            make_room(made);
            return made;
        }
        case opcode::connect:
            return kernel_.connect(fd, static_cast<const sockaddr*>(access::memory(op)),
                                   static_cast<socklen_t>(length));
        case opcode::receive: return receive(fd, buffer);
        case opcode::receive_into:
        case opcode::read:
            return kernel_.receive(fd, static_cast<std::byte*>(access::memory(op)),
                                   shorten(length));
        case opcode::send:
        case opcode::write: return kernel_.send(fd, bytes, shorten(length));
        case opcode::send_message:
            return send_message(fd, *static_cast<const msghdr*>(access::memory(op)));
        case opcode::receive_message:
            return receive_message(fd, *static_cast<msghdr*>(access::memory(op)));
        default: return -EINVAL;
    }
}

std::int32_t fake_driver::receive(int fd, lent_buffer& buffer) {
    const std::size_t waiting = kernel_.readable(fd);
    if (waiting == 0) {
        std::byte none{};
        return kernel_.receive(fd, &none, 1);
    }
    const bool dry = lent_ == buffers_max;
    if (dry || random_.chance(faults_.no_buffer)) {
        // The receive is armed again at once where the lack was invented, else on a give_back.
        ++buffers_dry_;
        more_to_come_ = more_to_come_ || !dry;
        return -EAGAIN;
    }
    const std::size_t size = shorten(std::min(waiting, buffer_bytes_max));
    const auto slot = std::find(buffers_.begin(), buffers_.end(), nullptr);
    *slot = std::make_unique<std::byte[]>(lent_buffer::room_before + size);
    ++lent_;
    std::byte* const data = slot->get() + lent_buffer::room_before;
    buffer = {data, static_cast<std::uint16_t>(slot - buffers_.begin()), 0};
    return kernel_.receive(fd, data, size);
}

// Descriptors and other control data stay out: they would be real.
std::int32_t fake_driver::send_datagram(int fd, const msghdr& message) {
    if (message.msg_controllen != 0) {
        return -EOPNOTSUPP;
    }
    std::string data;
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
        data.append(static_cast<const char*>(message.msg_iov[i].iov_base),
                    message.msg_iov[i].iov_len);
    }
    return kernel_.send_datagram(fd, std::move(data),
                                 static_cast<const sockaddr*>(message.msg_name),
                                 message.msg_namelen);
}

std::int32_t fake_driver::receive_message(int fd, msghdr& message) {
    message.msg_controllen = 0;
    message.msg_flags = 0;
    if (kernel_.is_datagram(fd)) {
        return kernel_.receive_datagram(fd, message);
    }
    std::int32_t moved = 0;
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
        const iovec& part = message.msg_iov[i];
        if (part.iov_len == 0 || (moved > 0 && kernel_.readable(fd) == 0)) {
            continue;
        }
        const std::size_t wanted = shorten(part.iov_len);
        const std::int32_t got =
            kernel_.receive(fd, static_cast<std::byte*>(part.iov_base), wanted);
        if (got <= 0) {
            return moved > 0 ? moved : got;
        }
        moved += got;
        if (static_cast<std::size_t>(got) < part.iov_len) {
            break;
        }
    }
    return moved;
}

std::int32_t fake_driver::send_message(int fd, const msghdr& message) {
    if (kernel_.is_datagram(fd)) {
        return send_datagram(fd, message);
    }
    if (message.msg_controllen != 0) {
        return -EOPNOTSUPP;
    }
    std::size_t total = 0;
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
        total += message.msg_iov[i].iov_len;
    }
    std::size_t left = shorten(total);
    std::int32_t moved = 0;
    for (std::size_t i = 0; i < message.msg_iovlen && left > 0; ++i) {
        const iovec& part = message.msg_iov[i];
        const std::size_t wanted = std::min(left, part.iov_len);
        const std::int32_t sent =
            kernel_.send(fd, static_cast<const std::byte*>(part.iov_base), wanted);
        if (sent < 0) {
            return moved > 0 ? moved : sent;
        }
        moved += sent;
        left -= wanted;
        if (static_cast<std::size_t>(sent) < wanted) {
            break;
        }
    }
    return moved;
}

bool fake_driver::next(operation*& op, completion& what) noexcept {
    if (reported_ == reports_.size()) {
        return false;
    }
    op = reports_[reported_].op;
    what = reports_[reported_].what;
    ++reported_;
    return true;
}

// Waits for real: for a polled descriptor, for `wake`, or for the time to pass.
void fake_driver::block(nanoseconds timeout) {
    const instant before = driver::now();
    poll_real(timeout);
    now_ += driver::now() - before;
}

void fake_driver::poll_real(nanoseconds timeout) {
    poll_set_.clear();
    poll_set_.push_back({wake_fd_, POLLIN, 0});
    for (operation* op : real_) {
        poll_set_.push_back({access::fd(*op), wanted_events(*op), 0});
    }
    timespec limit{};
    if (timeout != wait_forever) {
        limit.tv_sec = timeout.count() / 1'000'000'000;
        limit.tv_nsec = timeout.count() % 1'000'000'000;
    }
    const bool forever = timeout == wait_forever;
    if (::ppoll(poll_set_.data(), poll_set_.size(), forever ? nullptr : &limit, nullptr) <= 0) {
        return;
    }
    if (poll_set_[0].revents != 0) {
        std::uint64_t count = 0;
        [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &count, sizeof count);
        woken_.store(false, std::memory_order_release);
        ++wakeups_;
    }
    for (std::size_t i = poll_set_.size() - 1; i > 0; --i) {
        const auto events = static_cast<std::uint16_t>(poll_set_[i].revents);
        if (events == 0) {
            continue;
        }
        if (serve_real(*real_[i - 1], events)) {
            real_.erase(real_.begin() + static_cast<std::ptrdiff_t>(i - 1));
        }
    }
}

// True when that ended the operation.
bool fake_driver::serve_real(operation& op, std::uint16_t events) {
    if ((events & POLLNVAL) != 0) {
        emit(op, -EBADF, false);
        return true;
    }
    if (!is_transfer(op)) {
        emit(op, events, access::multishot(op));
        return !access::multishot(op);
    }
    if (random_.chance(faults_.delay)) {
        return false;
    }
    const std::int32_t result = try_transfer(op, shorten(access::length(op)), true);
    if (result == -EAGAIN) {
        return false;
    }
    emit(op, result, false);
    return true;
}

void fake_driver::wake() noexcept {
    woken_.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

std::size_t fake_driver::receive_bytes() const noexcept { return buffer_bytes_max; }

void fake_driver::give_back(const lent_buffer& buffer) noexcept {
    RINGLET_REQUIRE(buffer.id < buffers_max && buffers_[buffer.id] != nullptr &&
                        buffers_[buffer.id].get() + lent_buffer::room_before == buffer.data,
                    "a buffer was given back that is not lent");
    buffers_[buffer.id].reset();
    --lent_;
}

void fake_driver::add_stats(loop_stats& stats) const noexcept {
    stats.enters += enters_;
    stats.submitted += submitted_;
    stats.wakeups += wakeups_;
    stats.buffers_dry += buffers_dry_;
    stats.buffers_lent += lent_;
}

result<int> fake_driver::open_socket(int family, int type, int /*protocol*/) noexcept {
    const int fd = kernel_.open(family, type);
    if (fd < 0) {
        return system_code(fd);
    }
    make_room(fd);
    return fd;
}

std::error_code fake_driver::bind(int fd, const sockaddr* address, socklen_t length) noexcept {
    return to_code(kernel_.bind(fd, address, length));
}

std::error_code fake_driver::listen(int fd, int backlog) noexcept {
    return to_code(kernel_.listen(fd, backlog));
}

std::error_code fake_driver::set_option(int fd, int level, int option, const void* value,
                                        socklen_t length) noexcept {
    return fake_kernel::owns(fd) ? to_code(kernel_.set_option(fd, level, option, value, length))
                                 : driver::set_option(fd, level, option, value, length);
}

std::error_code fake_driver::get_option(int fd, int level, int option, void* value,
                                        socklen_t* length) noexcept {
    return fake_kernel::owns(fd) ? to_code(kernel_.get_option(fd, level, option, value, length))
                                 : driver::get_option(fd, level, option, value, length);
}

std::error_code fake_driver::local_name(int fd, sockaddr* address, socklen_t* length) noexcept {
    return to_code(kernel_.local_name(fd, address, length));
}

std::error_code fake_driver::peer_name(int fd, sockaddr* address, socklen_t* length) noexcept {
    return to_code(kernel_.peer_name(fd, address, length));
}

std::error_code fake_driver::shutdown(int fd, int how) noexcept {
    return to_code(kernel_.shutdown(fd, how));
}

void fake_driver::close(int fd) noexcept {
    if (!fake_kernel::owns(fd)) {
        return driver::close(fd);
    }
    if (kernel_.is_open(fd)) {
        const waiters& at = waiters_of(fd);
        RINGLET_REQUIRE(at.readers.empty() && at.writers.empty() && at.polls.empty(),
                        "a descriptor was closed while an operation on it was active");
    }
    kernel_.close(fd);
}

}  // namespace detail

std::unique_ptr<driver> make_fake_driver(std::uint64_t seed) {
    return std::make_unique<detail::fake_driver>(seed);
}

}  // namespace ringlet
