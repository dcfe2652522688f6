// What only the epoll driver can get wrong: registrations, stale events, blocking descriptors.
// These cases make an epoll loop of their own, whatever driver the suite runs on.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <deque>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/probe.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

loop_options on_epoll() {
    loop_options options;
    options.driver.name = "epoll";
    return options;
}

struct alarm_clock : timer {
    alarm_clock()
        : timer([](timer& self) noexcept { static_cast<alarm_clock&>(self).rang = true; }) {}
    bool rang = false;
};

// How often the loop asks the kernel while 30 ms pass in which nothing should happen.
std::uint64_t enters_while_idle(loop& on) {
    alarm_clock soon;
    const std::uint64_t before = on.stats().enters;
    on.start_timer(soon, on.read_clock() + 30'000'000);
    CHECK(run_until(on, [&] { return soon.rang; }));
    return on.stats().enters - before;
}

struct unix_pair {
    unix_pair() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0); }
    ~unix_pair() {
        for (const int fd : ends) {
            if (fd >= 0) {
                ::close(fd);
            }
        }
    }
    int ends[2] = {-1, -1};
};

}  // namespace

TEST_CASE("epoll: an event of a closed descriptor does not reach the next one of that number") {
    loop on(on_epoll());
    unix_pair pairs[2];
    std::deque<probe> probes;
    for (unix_pair& each : pairs) {
        probes.emplace_back(on).prepare_receive(each.ends[0]);
        on.start(probes.back());
    }
    on.run_once(false);
    // Both become readable in one batch; whoever is served first replaces the other's socket.
    unix_pair fresh;
    probe newcomer(on);
    int replaced = -1;
    for (std::size_t i = 0; i < 2; ++i) {
        probes[i].on_completion = [&, i](const completion&) {
            const std::size_t other = 1 - i;
            if (replaced >= 0 || !probes[other].results.empty()) {
                return;
            }
            on.cancel(probes[other]);
            replaced = static_cast<int>(other);
        };
        REQUIRE(::write(pairs[i].ends[1], "x", 1) == 1);
    }
    on.run_once();
    REQUIRE(replaced >= 0);
    const auto victim = static_cast<std::size_t>(replaced);
    CHECK(probes[victim].run());
    CHECK(probes[victim].bytes.empty());
    const int number = pairs[victim].ends[0];
    on.driver().close(std::exchange(pairs[victim].ends[0], -1));
    REQUIRE(::fcntl(fresh.ends[0], F_DUPFD_CLOEXEC, number) == number);
    newcomer.prepare_receive(number);
    on.start(newcomer);
    for (int turn = 0; turn < 5; ++turn) {
        on.run_once(false);
    }
    CHECK(newcomer.results.empty());
    REQUIRE(::write(fresh.ends[1], "for me", 6) == 6);
    CHECK(run_until(on, [&] { return newcomer.bytes == "for me"; }));
    on.cancel(newcomer);
    CHECK(newcomer.run());
    on.driver().close(number);
    on.cancel(probes[1 - victim]);
    CHECK(probes[1 - victim].run());
}

TEST_CASE("epoll: a polled descriptor may be closed and opened anew elsewhere") {
    loop on(on_epoll());
    for (int round = 0; round < 3; ++round) {
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        probe polling(on);
        polling.prepare_poll(ends[0], POLLIN, false);
        on.start(polling);
        REQUIRE(::write(ends[1], "x", 1) == 1);
        CHECK(polling.run());
        ::close(ends[0]);
        ::close(ends[1]);
        // The same numbers again, without a turn in between.
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        probe again(on);
        again.prepare_poll(ends[0], POLLIN, false);
        on.start(again);
        on.run_once(false);
        CHECK(again.active());
        REQUIRE(::write(ends[1], "x", 1) == 1);
        CHECK(again.run());
        ::close(ends[0]);
        ::close(ends[1]);
    }
}

TEST_CASE("epoll: a regular file is always ready to be polled, and no socket") {
    loop on(on_epoll());
    std::FILE* const file = std::tmpfile();
    REQUIRE(file != nullptr);
    probe polling(on);
    polling.prepare_poll(::fileno(file), POLLIN | POLLOUT, false);
    on.start(polling);
    CHECK(polling.run());
    CHECK(polling.result() == (POLLIN | POLLOUT));
    probe receiving(on);
    receiving.prepare_receive(::fileno(file));
    on.start(receiving);
    CHECK(receiving.run());
    CHECK(receiving.result() == -ENOTSOCK);
    std::fclose(file);
}

TEST_CASE("epoll: blocking descriptors from outside do not block the loop") {
    loop on(on_epoll());
    const int door = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const name = reinterpret_cast<sockaddr*>(&address);
    socklen_t length = sizeof address;
    REQUIRE(::bind(door, name, length) == 0);
    REQUIRE(::listen(door, 8) == 0);
    REQUIRE(::getsockname(door, name, &length) == 0);
    probe accepting(on);
    accepting.prepare_accept(door);
    on.start(accepting);
    on.run_once(false);
    const int caller = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    probe connecting(on);
    connecting.prepare_connect(caller, name, length);
    on.start(connecting);
    CHECK(connecting.run());
    CHECK(connecting.result() == 0);
    CHECK(run_until(on, [&] { return !accepting.results.empty(); }));
    for (int turn = 0; turn < 3; ++turn) {
        on.run_once(false);
    }
    on.cancel(accepting);
    CHECK(accepting.run());
    on.driver().close(accepting.results.front());
    on.driver().close(caller);
    on.driver().close(door);
}

TEST_CASE("epoll: when descriptors run out, the accept ends with the reason") {
    loop on(on_epoll());
    listener door(on);
    probe accepting(on);
    accepting.prepare_accept(door.fd);
    const int caller = on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value();
    probe connecting(on);
    door.prepare_connect(connecting, caller);
    on.start(connecting);
    CHECK(connecting.run());
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit none = before;
    none.rlim_cur = 0;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    on.start(accepting);
    const bool ended = accepting.run();
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(ended);
    CHECK(accepting.result() == -EMFILE);
    // The connection still waits, and the listener is still good.
    probe again(on);
    again.prepare_accept(door.fd);
    on.start(again);
    CHECK(run_until(on, [&] { return !again.results.empty(); }));
    on.cancel(again);
    CHECK(again.run());
    REQUIRE(!again.results.empty());
    CHECK(again.results.front() >= 0);
    on.driver().close(again.results.front());
    on.driver().close(caller);
}

TEST_CASE("epoll: events that nobody waits for cost no endless turns") {
    loop on(on_epoll());
    unix_pair pair;
    probe receiving(on);
    receiving.prepare_receive(pair.ends[0]);
    on.start(receiving);
    on.run_once(false);
    on.cancel(receiving);
    CHECK(receiving.run());
    REQUIRE(::write(pair.ends[1], "unread", 6) == 6);
    CHECK(enters_while_idle(on) < 10);
    on.driver().close(std::exchange(pair.ends[0], -1));
}

TEST_CASE("epoll: one direction of a descriptor is first come, first served") {
    loop on(on_epoll());
    unix_pair pair;
    std::vector<std::string> got(3, std::string(4, '\0'));
    std::deque<probe> readers;
    for (std::string& each : got) {
        readers.emplace_back(on).prepare_receive_into(pair.ends[0], each.data(), 4);
        on.start(readers.back());
    }
    const std::string block(1 << 20, 'b');
    std::deque<probe> writers;
    for (int i = 0; i < 3; ++i) {
        writers.emplace_back(on).prepare_send(pair.ends[0], block.data(), block.size());
        on.start(writers.back());
    }
    REQUIRE(::write(pair.ends[1], "abcdefghijkl", 12) == 12);
    for (probe& each : readers) {
        CHECK(each.run());
        CHECK(each.result() == 4);
    }
    CHECK(got[0] + got[1] + got[2] == "abcdefghijkl");
    CHECK_FALSE(writers[0].active());
    CHECK(writers[1].active());
    probe draining(on);
    draining.prepare_receive(pair.ends[1]);
    on.start(draining);
    for (probe& each : writers) {
        CHECK(each.run());
        CHECK(each.result() > 0);
    }
    on.cancel(draining);
    CHECK(draining.run());
}

TEST_CASE("epoll: a receive costs no system call but its own") {
    loop on(on_epoll());
    socket_pair pair(on);
    probe receiving(on);
    receiving.prepare_receive(pair.first);
    on.start(receiving);
    const std::uint64_t before = on.stats().enters;
    for (int i = 1; i <= 100; ++i) {
        CHECK(::send(pair.second, "x", 1, MSG_NOSIGNAL) == 1);
        CHECK(run_until(on, [&] { return receiving.bytes.size() == static_cast<std::size_t>(i); }));
    }
    CHECK(on.stats().enters - before <= 101);
    on.cancel(receiving);
    CHECK(receiving.run());
}

TEST_CASE("epoll: sends that always succeed at once do not starve receives") {
    loop on(on_epoll());
    socket_pair busy(on);
    unix_pair other;
    probe draining(on);
    draining.prepare_receive(busy.second);
    on.start(draining);
    probe receiving(on);
    receiving.prepare_receive(other.ends[0]);
    on.start(receiving);
    REQUIRE(::write(other.ends[1], "waited", 6) == 6);
    probe sending(on);
    int sends = 0;
    sending.on_completion = [&](const completion& what) {
        REQUIRE(what.result == 1);
        if (receiving.bytes.empty() && ++sends < 1000) {
            sending.prepare_send(busy.first, "x", 1);
            on.start(sending);
        }
    };
    sending.prepare_send(busy.first, "x", 1);
    on.start(sending);
    CHECK(run_until(on, [&] { return receiving.bytes == "waited" && !sending.active(); }));
    CHECK(sends < 100);
    on.cancel(draining);
    on.cancel(receiving);
    CHECK(run_until_idle(on));
}

TEST_CASE("epoll: a send does not overtake one that waits, even when there is room again") {
    loop on(on_epoll());
    unix_pair pair;
    const std::string filling(1 << 20, 'a');
    probe first(on);
    first.prepare_send(pair.ends[0], filling.data(), filling.size());
    on.start(first);
    CHECK(first.run());
    REQUIRE(first.result() > 0);
    probe second(on);
    second.prepare_send(pair.ends[0], "bbb", 3);
    on.start(second);
    on.run_once(false);
    CHECK(second.active());
    std::string got(1 << 20, '\0');
    const ssize_t drained = ::recv(pair.ends[1], got.data(), got.size(), MSG_DONTWAIT);
    REQUIRE(drained > 0);
    probe third(on);
    third.prepare_send(pair.ends[0], "ccc", 3);
    on.start(third);
    CHECK(second.run());
    CHECK(third.run());
    probe receiving(on);
    receiving.prepare_receive(pair.ends[1]);
    on.start(receiving);
    CHECK(run_until(on, [&] { return receiving.bytes.ends_with("bbbccc"); }));
    on.cancel(receiving);
    CHECK(receiving.run());
}

TEST_CASE("epoll: a poll that has ended leaves nothing behind, even if a copy lives on") {
    loop on(on_epoll());
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    REQUIRE(::write(ends[1], "x", 1) == 1);
    probe polling(on);
    polling.prepare_poll(ends[0], POLLIN, false);
    on.start(polling);
    CHECK(polling.run());
    const int copy = ::fcntl(ends[0], F_DUPFD_CLOEXEC, 0);
    ::close(ends[0]);
    CHECK(enters_while_idle(on) < 10);
    ::close(copy);
    ::close(ends[1]);
}

TEST_CASE("epoll: a copy of a descriptor closed elsewhere does not speak for its successor") {
    loop on(on_epoll());
    listener door(on, 0);
    std::deque<probe> callers;
    std::vector<int> sockets;
    for (int i = 0; i < 3; ++i) {
        sockets.push_back(on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value());
        door.prepare_connect(callers.emplace_back(on), sockets.back());
        on.start(callers.back());
    }
    unix_pair old;
    char memory[1];
    probe reading(on);
    reading.prepare_receive_into(old.ends[0], memory, sizeof memory);
    on.start(reading);
    on.run_once(false);
    REQUIRE(::write(old.ends[1], "xy", 2) == 2);
    CHECK(reading.run());
    // Still registered, and readable; closed behind the driver's back while a copy lives on.
    const int copy = ::fcntl(old.ends[0], F_DUPFD_CLOEXEC, 0);
    const int number = std::exchange(old.ends[0], -1);
    ::close(number);
    ::close(std::exchange(old.ends[1], -1));  // a hang-up concerns every direction
    const int successor = on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value();
    REQUIRE(successor == number);
    probe connecting(on);
    door.prepare_connect(connecting, successor);
    on.start(connecting);
    for (int turn = 0; turn < 5; ++turn) {
        on.run_once(false);
    }
    CHECK(connecting.active());
    for (probe* each : {&callers[0], &callers[1], &callers[2], &connecting}) {
        on.cancel(*each);
        CHECK(each->run());
    }
    sockets.push_back(successor);
    for (const int fd : sockets) {
        on.driver().close(fd);
    }
    ::close(copy);
}

TEST_CASE("epoll: a child that closes what it inherited takes nothing from its parent") {
    loop on(on_epoll());
    unix_pair pair;
    char memory[2];
    probe first(on);
    first.prepare_receive_into(pair.ends[0], memory, 1);
    on.start(first);
    REQUIRE(::write(pair.ends[1], "1", 1) == 1);
    CHECK(first.run());
    std::cout.flush();
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        on.driver().close(pair.ends[0]);
        ::_exit(0);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    probe second(on);
    second.prepare_receive_into(pair.ends[0], memory + 1, 1);
    on.start(second);
    on.run_once(false);
    REQUIRE(::write(pair.ends[1], "2", 1) == 1);
    CHECK(second.run());
    CHECK(std::string(memory, 2) == "12");
    on.driver().close(std::exchange(pair.ends[0], -1));
}
