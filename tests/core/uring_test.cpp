// What only the io_uring driver does. The cases return at once where another driver is under test.
#include "core/uring.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/loop.h"
#include "tests/support/support.h"

namespace {

using namespace ringlet;

bool on_uring() { return test::driver_name() == "uring"; }

struct pair {
    int ends[2];
    pair() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0); }
    ~pair() {
        ::close(ends[0]);
        ::close(ends[1]);
    }
};

// A receive that counts what comes and notes the largest lent size class.
struct counting_receive : operation {
    explicit counting_receive(loop& owner)
        : operation([](operation& op, const completion& what) noexcept {
              auto& self = static_cast<counting_receive&>(op);
              if (what.result > 0) {
                  self.bytes += static_cast<std::size_t>(what.result);
                  self.sizes.push_back(what.buffer.size_class);
                  self.at.give_back(what.buffer);
              }
              self.ended = !what.more;
          }),
          at(owner) {}
    loop& at;
    std::size_t bytes = 0;
    std::vector<int> sizes;
    bool ended = false;
};

}  // namespace

TEST_CASE("uring: a busy loop makes no system call while the ring has nothing to say") {
    if (!on_uring()) {
        return;
    }
    loop on;
    struct chain : work {
        explicit chain(loop& owner)
            : work([](work& self) noexcept {
                  auto& mine = static_cast<chain&>(self);
                  if (++mine.count < 100'000) {
                      mine.at.post(mine);
                  }
              }),
              at(owner) {}
        loop& at;
        int count = 0;
    } busy(on);
    on.run_once(false);
    const std::uint64_t before = on.stats().enters;
    on.post(busy);
    REQUIRE(test::run_until(on, [&] { return busy.count == 100'000; }));
    CHECK(on.stats().enters - before <= 1);
}

TEST_CASE("uring: what happens during a busy chain is seen by its next turns") {
    if (!on_uring()) {
        return;
    }
    loop on;
    pair sockets;
    counting_receive receive(on);
    receive.prepare_receive(sockets.ends[0]);
    on.start(receive);
    on.run_once(false);
    REQUIRE(::write(sockets.ends[1], "x", 1) == 1);
    for (int turn = 0; turn < 3 && receive.bytes == 0; ++turn) {
        on.run_once(false);
    }
    CHECK(receive.bytes == 1);
    on.cancel(receive);
    CHECK(test::run_until(on, [&] { return receive.ended; }));
}

TEST_CASE("uring: a receive moves to large buffers under bulk, and back when bytes are few") {
    if (!on_uring()) {
        return;
    }
    loop on;
    pair sockets;
    counting_receive receive(on);
    receive.prepare_receive(sockets.ends[0]);
    on.start(receive);
    const std::string block(128 * 1024, 'b');
    std::size_t sent = 0;
    for (int round = 0; round < 64; ++round) {
        const ssize_t wrote = ::send(sockets.ends[1], block.data(), block.size(), MSG_DONTWAIT);
        sent += wrote > 0 ? static_cast<std::size_t>(wrote) : 0;
        on.run_once(false);
        on.run_once(false);
    }
    REQUIRE(test::run_until(on, [&] { return receive.bytes == sent; }));
    CHECK(receive.sizes.back() == 1);
    receive.sizes.clear();
    on.cancel(receive);  // a pause does not send it back to the small ones
    REQUIRE(test::run_until(on, [&] { return receive.ended; }));
    on.start(receive);
    for (int round = 0; round < 200; ++round) {
        REQUIRE(::write(sockets.ends[1], "few", 3) == 3);
        sent += 3;
        REQUIRE(test::run_until(on, [&] { return receive.bytes == sent; }));
    }
    CHECK(receive.sizes.front() == 1);
    CHECK(receive.sizes.back() == 0);
    on.cancel(receive);
    CHECK(test::run_until(on, [&] { return receive.ended; }));
    CHECK(on.stats().buffers_lent == 0);
}

TEST_CASE("uring: a receive into large buffers that is cancelled brings little more") {
    if (!on_uring()) {
        return;
    }
    loop on;
    const int door = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof where;
    auto* const name = reinterpret_cast<sockaddr*>(&where);
    REQUIRE(::bind(door, name, length) == 0);
    REQUIRE(::listen(door, 1) == 0);
    REQUIRE(::getsockname(door, name, &length) == 0);
    const int sender = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::connect(sender, name, length) == 0);
    const int receiver = ::accept(door, nullptr, nullptr);
    REQUIRE(receiver >= 0);

    counting_receive receive(on);
    receive.prepare_receive(receiver);
    on.start(receive);
    const std::string block(128 * 1024, 'b');
    std::size_t sent = 0;
    const auto fill = [&] {
        ssize_t wrote = 0;
        while ((wrote = ::send(sender, block.data(), block.size(), MSG_DONTWAIT)) > 0) {
            sent += static_cast<std::size_t>(wrote);
        }
    };
    for (int round = 0; round < 64 && (receive.sizes.empty() || receive.sizes.back() == 0);
         ++round) {
        fill();
        on.run_once(false);
    }
    REQUIRE(receive.sizes.back() == 1);
    REQUIRE(test::run_until(on, [&] { return receive.bytes == sent; }));
    const std::size_t before = receive.bytes;
    on.run_once(false);
    fill();
    REQUIRE(sent - before > 1024 * 1024);
    on.run_once(false);
    on.cancel(receive);
    CHECK(test::run_until(on, [&] { return receive.ended; }));
    CHECK(receive.bytes - before <= 3 * block.size());
    for (const int fd : {door, sender, receiver}) {
        ::close(fd);
    }
}

TEST_CASE("uring: a receive that is moving to other buffers can be cancelled") {
    if (!on_uring()) {
        return;
    }
    loop on;
    pair sockets;
    counting_receive receive(on);
    receive.prepare_receive(sockets.ends[0]);
    on.start(receive);
    const std::string block(128 * 1024, 'b');
    for (int round = 0; round < 12; ++round) {
        [[maybe_unused]] const ssize_t wrote =
            ::send(sockets.ends[1], block.data(), block.size(), MSG_DONTWAIT);
        on.run_once(false);
        if (round % 3 == 2) {
            on.cancel(receive);
            REQUIRE(test::run_until(on, [&] { return receive.ended; }));
            receive.prepare_receive(sockets.ends[0]);
            receive.ended = false;
            on.start(receive);
        }
    }
    on.cancel(receive);
    CHECK(test::run_until(on, [&] { return receive.ended; }));
    CHECK(on.stats().operations_live == 0);
}

TEST_CASE("uring: more submissions than the queue holds are all made") {
    if (!on_uring()) {
        return;
    }
    loop on;
    struct nop : operation {
        nop()
            : operation([](operation& op, const completion&) noexcept {
                  static_cast<nop&>(op).done = true;
              }) {}
        bool done = false;
    };
    std::vector<nop> many(5000);
    for (nop& each : many) {
        each.prepare_nop();
        on.start(each);
    }
    CHECK(test::run_until_idle(on));
    CHECK(std::all_of(many.begin(), many.end(), [](const nop& each) { return each.done; }));
}
