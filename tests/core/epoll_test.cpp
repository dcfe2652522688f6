// What only the epoll driver can get wrong: registrations, stale events, blocking descriptors.
// These cases make an epoll loop of their own, whatever driver the suite runs on.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <deque>
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
    CHECK(again.results.front() >= 0);
    on.cancel(again);
    CHECK(again.run());
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
    struct alarm : timer {
        alarm() : timer([](timer& self) noexcept { static_cast<alarm&>(self).rang = true; }) {}
        bool rang = false;
    } soon;
    const std::uint64_t enters_before = on.stats().enters;
    on.start_timer(soon, on.read_clock() + 30'000'000);
    CHECK(run_until(on, [&] { return soon.rang; }));
    CHECK(on.stats().enters - enters_before < 10);
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
