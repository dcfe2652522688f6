#include "core/operation.h"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <functional>
#include <string>

#include "tests/support/probe.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

struct queued : operation {
    queued() : operation([](operation&, const completion&) noexcept {}) {}
};

}  // namespace

TEST_CASE("an operation queue keeps its order, and gives up what is taken out") {
    for (std::size_t removed = 0; removed < 3; ++removed) {
        operation_queue queue;
        std::deque<queued> operations(4);
        CHECK(queue.empty());
        CHECK(queue.pop() == nullptr);
        for (std::size_t i = 0; i < 3; ++i) {
            queue.push(operations[i]);
        }
        CHECK(queue.remove(operations[removed]));
        CHECK_FALSE(queue.remove(operations[removed]));
        queue.push(operations[3]);
        CHECK(queue.front() == &operations[removed == 0 ? 1 : 0]);
        for (std::size_t i = 0; i < 4; ++i) {
            if (i != removed) {
                CHECK(queue.pop() == &operations[i]);
            }
        }
        CHECK(queue.empty());
    }
}

TEST_CASE("nothing completes inside start, and an idle operation is not cancelled") {
    loop on;
    probe nop(on);
    nop.prepare_nop();
    on.cancel(nop);
    on.start(nop);
    CHECK(nop.active());
    CHECK(nop.results.empty());
    on.cancel(nop);
    CHECK(nop.cancelling());
    CHECK(nop.results.empty());
    CHECK(nop.run());
    CHECK(nop.finals == 1);
    on.cancel(nop);
    on.run_once(false);
    CHECK(nop.finals == 1);
}

TEST_CASE("every operation on a closed descriptor completes with EBADF") {
    loop on;
    socket_pair pair(on);
    char memory[8] = {};
    iovec part{memory, sizeof memory};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    sockaddr_in somewhere{};
    somewhere.sin_family = AF_INET;
    const int closed = on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value();
    on.driver().close(closed);
    for (const int fd : {closed, -1, 1 << 30}) {
        CAPTURE(fd);
        std::deque<probe> probes;
        for (int i = 0; i < 7; ++i) {
            probes.emplace_back(on);
        }
        probes[0].prepare_accept(fd);
        probes[1].prepare_connect(fd, reinterpret_cast<sockaddr*>(&somewhere), sizeof somewhere);
        probes[2].prepare_receive(fd);
        probes[3].prepare_receive_into(fd, memory, sizeof memory);
        probes[4].prepare_send(fd, memory, sizeof memory);
        probes[5].prepare_send_message(fd, &message);
        probes[6].prepare_poll(fd, POLLIN, true);
        for (probe& each : probes) {
            on.start(each);
        }
        for (probe& each : probes) {
            CHECK(each.run());
            CHECK(each.result() == -EBADF);
            CHECK(each.finals == 1);
        }
    }
}

TEST_CASE("connecting to a port where nobody listens is refused") {
    loop on;
    int port_taken = 0;
    sockaddr_in nowhere{};
    {
        listener door(on);
        nowhere = door.address;
        port_taken = door.fd;
    }
    CHECK(port_taken >= 0);
    const int fd = on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value();
    probe connecting(on);
    connecting.prepare_connect(fd, reinterpret_cast<sockaddr*>(&nowhere), sizeof nowhere);
    on.start(connecting);
    CHECK(connecting.run());
    CHECK(connecting.result() == -ECONNREFUSED);
    on.driver().close(fd);
}

TEST_CASE("a receive ends with the stream, and a send into a closed one with EPIPE") {
    loop on;
    socket_pair pair(on);
    probe receiving(on);
    receiving.prepare_receive(pair.first);
    on.start(receiving);
    CHECK(send_all(on, pair.second, "the end"));
    CHECK_FALSE(on.driver().shutdown(pair.second, SHUT_WR));
    CHECK(receiving.run());
    CHECK(receiving.bytes == "the end");
    CHECK(receiving.result() == 0);
    CHECK(receiving.finals == 1);
    CHECK_FALSE(on.driver().shutdown(pair.first, SHUT_WR));
    probe sending(on);
    sending.prepare_send(pair.first, "x", 1);
    on.start(sending);
    CHECK(sending.run());
    CHECK(sending.result() == -EPIPE);
}

TEST_CASE("a reset reaches a receive as ECONNRESET") {
    loop on;
    socket_pair pair(on);
    probe receiving(on);
    receiving.prepare_receive(pair.first);
    on.start(receiving);
    on.run_once(false);
    on.driver().reset_on_close(pair.second);
    on.driver().close(std::exchange(pair.second, -1));
    CHECK(receiving.run());
    CHECK(receiving.result() == -ECONNRESET);
    CHECK(receiving.finals == 1);
}

TEST_CASE("gathered memory is sent in its order") {
    loop on;
    socket_pair pair(on);
    std::string parts[] = {"one ", "", "two ", "three"};
    iovec gather[4];
    for (std::size_t i = 0; i < 4; ++i) {
        gather[i] = {parts[i].data(), parts[i].size()};
    }
    msghdr message{};
    message.msg_iov = gather;
    message.msg_iovlen = 4;
    probe sending(on);
    sending.prepare_send_message(pair.first, &message);
    on.start(sending);
    CHECK(sending.run());
    REQUIRE(sending.result() > 0);
    on.driver().shutdown(pair.first, SHUT_WR);
    probe receiving(on);
    receiving.prepare_receive(pair.second);
    on.start(receiving);
    CHECK(receiving.run());
    CHECK(receiving.bytes ==
          std::string("one two three").substr(0, static_cast<std::size_t>(sending.result())));
}

TEST_CASE("a poll tells of readiness once, a multishot poll again and again") {
    loop on;
    socket_pair pair(on);
    probe once(on);
    once.prepare_poll(pair.first, POLLIN, false);
    probe often(on);
    often.prepare_poll(pair.first, POLLIN, true);
    probe writable(on);
    writable.prepare_poll(pair.first, POLLOUT, false);
    on.start(once);
    on.start(often);
    on.start(writable);
    CHECK(writable.run());
    CHECK((writable.result() & POLLOUT) != 0);
    CHECK(once.active());
    CHECK(send_all(on, pair.second, "a"));
    CHECK(once.run());
    CHECK((once.result() & POLLIN) != 0);
    CHECK(run_until(on, [&] { return !often.results.empty(); }));
    const std::size_t seen = often.results.size();
    CHECK(send_all(on, pair.second, "b"));
    CHECK(run_until(on, [&] { return often.results.size() > seen; }));
    CHECK(often.finals == 0);
    on.cancel(often);
    CHECK(often.run());
    CHECK(often.finals == 1);
}

TEST_CASE("a multishot poll by level tells of what is left in every turn, until cancelled") {
    loop on;
    if (!on.driver().polls_by_level()) {
        return;
    }
    socket_pair pair(on);
    probe often(on);
    often.prepare_poll(pair.first, POLLIN, true);
    on.start(often);
    CHECK(send_all(on, pair.second, "a"));
    CHECK(run_until(on, [&] { return often.results.size() >= 3; }));
    on.cancel(often);
    CHECK(often.run());
    const std::size_t seen = often.results.size();
    for (int turn = 0; turn < 3; ++turn) {
        on.run_once(false);
    }
    CHECK(often.results.size() == seen);
}

TEST_CASE("real pipes can be polled on every driver") {
    loop on;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    probe readable(on);
    readable.prepare_poll(ends[0], POLLIN, false);
    on.start(readable);
    for (int turn = 0; turn < 5; ++turn) {
        on.run_once(false);
    }
    CHECK(readable.active());
    REQUIRE(::write(ends[1], "x", 1) == 1);
    CHECK(readable.run());
    CHECK((readable.result() & POLLIN) != 0);
    ::close(ends[1]);
    probe hung_up(on);
    hung_up.prepare_poll(ends[0], 0, false);
    on.start(hung_up);
    CHECK(hung_up.run());
    CHECK((hung_up.result() & POLLHUP) != 0);
    ::close(ends[0]);
}

TEST_CASE("who breaks the lifetime contract is ended with a sentence") {
    const auto says = [](const std::function<void(loop&, probe&)>& mistake) {
        return last_words([&] {
            loop on;
            socket_pair pair(on);
            probe tried(on);
            tried.prepare_receive(pair.first);
            on.start(tried);
            on.run_once(false);
            mistake(on, tried);
        });
    };
    const auto holds = [](const std::string& text, const char* part) {
        return text.find(part) != std::string::npos;
    };
    CHECK(holds(says([](loop& on, probe& tried) { on.start(tried); }), "started again"));
    CHECK(holds(says([](loop&, probe& tried) { tried.prepare_nop(); }), "prepared anew"));
    CHECK(holds(says([](loop&, probe& tried) { tried.~probe(); }), "the kernel still owns it"));
    if (driver_name() != "uring") {
        CHECK(holds(says([](loop& on, probe& tried) { on.driver().close(tried.descriptor()); }),
                    "closed while an operation on it was active"));
        CHECK(holds(says([](loop& on, probe&) { on.give_back({}); }), "that is not lent"));
    }
}
