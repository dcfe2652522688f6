// Many bytes, many connections and many completions, through every driver.
#include <doctest/doctest.h>

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/fake_random.h"
#include "tests/support/probe.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

// Sends a text in pieces of random length, one after the other, then ends the stream.
class sender {
public:
    sender(loop& on, int fd, std::string text, std::uint64_t seed_of_lengths)
        : loop_(on), fd_(fd), text_(std::move(text)), random_(seed_of_lengths), sending_(on) {
        sending_.on_completion = [this](const completion& what) { sent(what.result); };
        send_more();
    }
    bool finished() const { return finished_; }
    std::int32_t failure() const { return failure_; }

private:
    void sent(std::int32_t bytes) {
        if (bytes <= 0) {
            failure_ = bytes;
            finished_ = true;
            return;
        }
        at_ += static_cast<std::size_t>(bytes);
        send_more();
    }
    void send_more() {
        if (at_ == text_.size()) {
            loop_.driver().shutdown(fd_, SHUT_WR);
            finished_ = true;
            return;
        }
        const std::size_t left = text_.size() - at_;
        const std::size_t most = random_.chance(64) ? left : std::min<std::size_t>(left, 9000);
        const std::size_t length = random_.one_to(most);
        if (random_.chance(128)) {
            const std::size_t half = length / 2;
            parts_[0] = {text_.data() + at_, half};
            parts_[1] = {text_.data() + at_ + half, length - half};
            message_.msg_iov = parts_;
            message_.msg_iovlen = 2;
            sending_.prepare_send_message(fd_, &message_);
        } else {
            sending_.prepare_send(fd_, text_.data() + at_, length);
        }
        loop_.start(sending_);
    }

    loop& loop_;
    const int fd_;
    std::string text_;
    detail::fake_random random_;
    std::size_t at_ = 0;
    iovec parts_[2] = {};
    msghdr message_{};
    probe sending_;
    std::int32_t failure_ = 0;
    bool finished_ = false;
};

// Both directions at once, `bytes` each way.
void exchange_both_ways(loop& on, int first, int second, std::size_t bytes, std::uint64_t salt) {
    const std::string there = pattern(bytes, salt);
    const std::string back = pattern(bytes, salt + 1);
    probe at_second(on);
    probe at_first(on);
    at_second.prepare_receive(second);
    at_first.prepare_receive(first);
    on.start(at_second);
    on.start(at_first);
    sender forth(on, first, there, salt);
    sender back_again(on, second, back, salt + 7);
    CHECK(run_until(on, [&] { return !at_second.active() && !at_first.active(); }, 60));
    CHECK(run_until(on, [&] { return forth.finished() && back_again.finished(); }));
    CHECK(forth.failure() == 0);
    CHECK(back_again.failure() == 0);
    CHECK(at_second.result() == 0);
    CHECK(at_first.result() == 0);
    CHECK((at_second.bytes == there));
    CHECK((at_first.bytes == back));
    CHECK(on.stats().buffers_lent == 0);
}

}  // namespace

TEST_CASE("a mebibyte each way arrives whole and in order, over TCP") {
    const std::uint64_t rounds = real_kernel() ? 4 : 20;
    for (std::uint64_t round = 0; round < rounds; ++round) {
        CAPTURE(round);
        loop on(options_with_seed(seed() * 1000 + round));
        socket_pair pair(on);
        exchange_both_ways(on, pair.first, pair.second, 1 << 20, round);
    }
}

TEST_CASE("a mebibyte each way arrives whole and in order, over sockets given from outside") {
    if (!real_kernel()) {
        return;
    }
    for (const int flags : {0, static_cast<int>(SOCK_NONBLOCK)}) {
        loop on;
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        exchange_both_ways(on, ends[0], ends[1], 1 << 20, static_cast<std::uint64_t>(flags));
        on.driver().close(ends[0]);
        on.driver().close(ends[1]);
    }
}

TEST_CASE("more than four gibibytes may be given to one send") {
    loop on;
    if (!on.driver().has_real_sockets()) {
        return;
    }
    constexpr std::size_t bytes = std::size_t{4} << 30;
    void* const memory =
        ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    probe sending(on);
    sending.prepare_send(pair[0], memory, bytes);
    on.start(sending);
    CHECK(sending.run());
    CHECK(sending.result() > 0);
    on.driver().close(pair[0]);
    ::close(pair[1]);
    ::munmap(memory, bytes);
}

TEST_CASE("five hundred connections come through one accept") {
    constexpr std::size_t count = 500;
    loop on;
    listener door(on);
    probe accepting(on);
    accepting.prepare_accept(door.fd);
    on.start(accepting);
    std::vector<std::unique_ptr<probe>> callers;
    std::vector<int> sockets;
    for (std::size_t i = 0; i < count; ++i) {
        sockets.push_back(on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value());
        callers.push_back(std::make_unique<probe>(on));
        door.prepare_connect(*callers.back(), sockets.back());
        on.start(*callers.back());
    }
    CHECK(run_until(on, [&] { return accepting.results.size() == count; }));
    for (const auto& each : callers) {
        CHECK(each->run());
        CHECK(each->result() == 0);
    }
    on.cancel(accepting);
    CHECK(accepting.run());
    CHECK(accepting.result() == -ECANCELED);
    accepting.results.pop_back();
    std::sort(accepting.results.begin(), accepting.results.end());
    CHECK(std::unique(accepting.results.begin(), accepting.results.end()) ==
          accepting.results.end());
    for (const int fd : accepting.results) {
        CHECK(fd >= 0);
        on.driver().close(fd);
    }
    for (const int fd : sockets) {
        on.driver().close(fd);
    }
}

TEST_CASE("who keeps buffers too long makes receives wait, and they go on when buffers return") {
    loop on;
    const std::string message = pattern(100);
    std::vector<std::unique_ptr<socket_pair>> pairs;
    std::vector<std::unique_ptr<probe>> keepers;
    for (int i = 0; i < 40; ++i) {
        pairs.push_back(std::make_unique<socket_pair>(on));
        keepers.push_back(std::make_unique<probe>(on));
        keepers.back()->keep_buffers = true;
        keepers.back()->prepare_receive(pairs.back()->first);
        on.start(*keepers.back());
    }
    std::vector<std::size_t> sent(pairs.size());
    for (int round = 0; round < 100 && on.stats().buffers_dry == 0; ++round) {
        for (std::size_t i = 0; i < pairs.size(); ++i) {
            REQUIRE(send_all(on, pairs[i]->second, message));
            ++sent[i];
        }
        for (int turn = 0; turn < 5; ++turn) {
            on.run_once(false);
        }
    }
    CHECK(on.stats().buffers_dry > 0);
    CHECK(on.driver().buffers_scarce());
    for (const auto& each : keepers) {
        each->give_back_all();
        each->keep_buffers = false;
    }
    CHECK_FALSE(on.driver().buffers_scarce());
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const std::size_t expected = sent[i] * message.size();
        CHECK(run_until(on, [&] { return keepers[i]->bytes.size() == expected; }));
        CHECK(keepers[i]->finals == 0);
        on.cancel(*keepers[i]);
        CHECK(keepers[i]->run());
    }
    CHECK(on.stats().buffers_lent == 0);
}

TEST_CASE("a receive without a buffer can be called off") {
    loop on;
    socket_pair pair(on);
    probe keeper(on);
    keeper.keep_buffers = true;
    keeper.prepare_receive(pair.first);
    on.start(keeper);
    for (int round = 0; round < 5000 && on.stats().buffers_dry < 40; ++round) {
        REQUIRE(send_all(on, pair.second, "one more"));
        on.run_once(false);
    }
    on.cancel(keeper);
    CHECK(keeper.run());
    CHECK(keeper.finals == 1);
    keeper.give_back_all();
    CHECK(on.stats().buffers_lent == 0);
}

TEST_CASE("more completions than any queue holds all arrive") {
    constexpr std::size_t count = 20'000;
    loop on;
    std::vector<std::unique_ptr<probe>> nops;
    for (std::size_t i = 0; i < count; ++i) {
        nops.push_back(std::make_unique<probe>(on));
        nops.back()->prepare_nop();
        on.start(*nops.back());
    }
    CHECK(run_until_idle(on));
    std::size_t finals = 0;
    for (const auto& each : nops) {
        finals += static_cast<std::size_t>(each->finals);
    }
    CHECK(finals == count);
}

TEST_CASE("one turn serves every descriptor that is ready, however much one of them has") {
    if (!real_kernel()) {
        return;
    }
    loop on;
    socket_pair busy(on);
    socket_pair quiet(on);
    const std::string flood = pattern(1 << 20);
    probe from_busy(on);
    probe from_quiet(on);
    from_busy.prepare_receive(busy.first);
    from_quiet.prepare_receive(quiet.first);
    on.start(from_busy);
    on.start(from_quiet);
    probe flooding(on);
    flooding.prepare_send(busy.second, flood.data(), flood.size());
    on.start(flooding);
    std::size_t before_quiet = 0;
    from_quiet.on_completion = [&](const completion&) { before_quiet = from_busy.bytes.size(); };
    CHECK(send_all(on, quiet.second, "me too"));
    CHECK(run_until(on, [&] { return from_quiet.bytes == "me too"; }));
    CHECK(before_quiet <= flood.size());
    on.cancel(flooding);
    on.cancel(from_busy);
    on.cancel(from_quiet);
    CHECK(run_until_idle(on));
}
