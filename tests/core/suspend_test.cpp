// A loop that leaves its thread: what is under way rests, its owners hear nothing of it, and it
// goes on where the loop does.
#include <doctest/doctest.h>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/fake_random.h"
#include "core/file_operation.h"
#include "tests/support/folder.h"
#include "tests/support/probe.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

bool on_uring() { return driver_name() == "uring"; }

// Runs `body` in a thread of its own, to its end.
template <class Body>
void elsewhere(Body body) {
    std::thread(body).join();
}

// Whether all have ended by themselves. None is left active, as after an injected fault.
bool end_all(loop& on, const std::vector<std::unique_ptr<probe>>& calls) {
    const bool ended = run_until(on, [&] {
        return std::ranges::none_of(calls, [](const auto& each) { return each->active(); });
    });
    for (const auto& each : calls) {
        if (each->active()) {
            on.cancel(*each);
            CHECK(each->run());
        }
    }
    return ended;
}

// Turns the loop `turns` times, without sleeping.
void turn(loop& on, std::uint64_t turns) {
    for (; turns > 0; --turns) {
        on.run_once(false);
    }
}

// A pipe of the system, which every driver can poll and read.
struct real_pipe {
    int ends[2];
    real_pipe() { REQUIRE(::pipe2(ends, O_CLOEXEC) == 0); }
    ~real_pipe() {
        for (const int fd : ends) {
            ::close(fd);
        }
    }
};

// Sends `text` piece by piece, each as soon as the one before is done.
struct pump {
    pump(loop& on, int to, std::string_view text) : sending(on), at(on), fd(to), left(text) {
        sending.on_completion = [this](const completion& what) {
            failed = failed || what.result <= 0;
            left.remove_prefix(failed ? left.size() : static_cast<std::size_t>(what.result));
            start();
        };
    }
    void start() {
        if (!left.empty()) {
            sending.prepare_send(fd, left.data(), std::min<std::size_t>(left.size(), 200'000));
            at.start(sending);
        }
    }

    probe sending;
    loop& at;
    int fd;
    std::string_view left;
    bool failed = false;
};

// The owner's view of an operation on files.
struct file_probe : file_operation {
    file_probe()
        : file_operation([](operation& op, const completion& what) noexcept {
              auto& self = static_cast<file_probe&>(op);
              self.result = what.result;
              ++self.finals;
          }) {}
    int result = 0;
    int finals = 0;
};

struct late : timer {
    late() : timer([](timer& self) noexcept { static_cast<late&>(self).expired = true; }) {}
    bool expired = false;
};

}  // namespace

TEST_CASE("a loop made in one thread runs in a second and third and ends in a fourth") {
    const int before = open_descriptors();
    {
        folder files;
        const std::string path = files.path() + "/file";
        real_pipe wire;
        real_pipe polled;
        auto on = std::make_unique<loop>(options_with_seed(seed()));
        auto door = std::make_unique<listener>(*on);
        auto pair = std::make_unique<socket_pair>(*on);
        probe accepting(*on);
        probe receiving(*on);
        probe reading(*on);
        probe polling(*on);
        probe watching(*on);
        file_probe opening;
        late clock;
        char memory[32] = {};
        std::vector<int> sockets = {std::exchange(door->fd, -1), std::exchange(pair->first, -1),
                                    std::exchange(pair->second, -1)};
        accepting.prepare_accept(sockets[0]);
        receiving.prepare_receive(sockets[1]);
        reading.prepare_read(wire.ends[0], memory, sizeof memory);
        polling.prepare_poll(polled.ends[0], POLLIN, false);
        watching.prepare_poll(polled.ends[0], POLLIN, true);
        opening.prepare_open_at(AT_FDCWD, path.c_str(), O_CREAT | O_RDWR, 0600);
        for (probe* each : {&accepting, &receiving, &reading, &polling, &watching}) {
            on->start(*each);
        }
        on->start(opening);
        on->start_timer(clock, on->read_clock() + 1'000'000);
        turn(*on, 3);
        on->suspend();
        CHECK(on->suspended());
        CHECK(accepting.active());
        CHECK(receiving.active());

        // While it rests: bytes, events, a connection under way, and a send that only queues.
        REQUIRE(::write(wire.ends[1], "w", 1) == 1);
        REQUIRE(::write(polled.ends[1], "!", 1) == 1);
        probe calling(*on);
        probe sending(*on);
        sockets.push_back(on->driver().open_socket(AF_INET, SOCK_STREAM, 0).value());
        door->prepare_connect(calling, sockets.back());
        on->start(calling);
        sending.prepare_send(sockets[2], "h", 1);
        elsewhere([&] { on->start(sending); });
        elsewhere([&] {
            on->resume();
            CHECK(run_until(*on, [&] {
                return !reading.active() && !polling.active() && !watching.results.empty() &&
                       !accepting.results.empty() && !calling.active() && !sending.active() &&
                       receiving.bytes == "h" && clock.expired && !opening.active();
            }));
            on->suspend();
        });
        CHECK(std::string_view(memory) == "w");
        CHECK(reading.result() == 1);
        CHECK((polling.result() & POLLIN) != 0);
        CHECK(calling.result() == 0);
        CHECK(opening.result >= 0);
        REQUIRE_FALSE(accepting.results.empty());
        sockets.push_back(accepting.results.front());

        // A turn resumes by itself.
        probe again(*on);
        again.prepare_send(sockets[2], "i", 1);
        elsewhere([&] {
            on->start(again);
            CHECK(run_until(*on, [&] { return receiving.bytes == "hi"; }));
            CHECK_FALSE(on->suspended());
            on->suspend();
        });
        elsewhere([&] { on.reset(); });
        for (const probe* each : {&accepting, &receiving, &watching}) {
            CHECK(each->finals == 1);
            CHECK(each->result() == -ECANCELED);
        }
        if (real_kernel()) {
            for (const int fd : sockets) {
                ::close(fd);
            }
        }
        ::close(opening.result);
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("nothing is lost or overtaken in a thousand suspensions under traffic") {
    const std::string text = pattern(std::size_t{8} << 20, seed());
    loop on(options_with_seed(seed()));
    detail::fake_random random(seed());
    socket_pair pair(on);
    probe receiving(on);
    receiving.prepare_receive(pair.first);
    on.start(receiving);
    pump sender(on, pair.second, text);
    std::size_t mismatch = 0;
    std::size_t checked = 0;
    int suspensions = 0;
    const auto stretch = [&] {
        for (int cycle = 0; cycle < 40; ++cycle) {
            turn(on, random.below(4));
            on.suspend();
            ++suspensions;
            if (random.chance(128)) {
                on.resume();
            }
        }
        on.suspend();
    };
    sender.start();
    on.suspend();
    while (suspensions < 1000) {
        random.chance(64) ? stretch() : elsewhere(stretch);
        mismatch += text.compare(checked, receiving.bytes.size() - checked, receiving.bytes,
                                 checked) == 0 ? 0 : 1;
        checked = receiving.bytes.size();
    }
    CHECK(mismatch == 0);
    CHECK(checked > 0);
    elsewhere([&] {
        CHECK(run_until(on, [&] { return receiving.bytes.size() == text.size(); }));
        on.suspend();
    });
    CHECK_FALSE(sender.failed);
    CHECK(receiving.bytes == text);
    on.cancel(receiving);
    CHECK(receiving.run());
    CHECK(receiving.finals == 1);
    CHECK(on.stats().buffers_lent == 0);
    CHECK(on.stats().operations_live == 0);
}

TEST_CASE("what is called off while it rests ends in the next turn, after what it has brought") {
    loop on(options_with_seed(seed()));
    for (int round = 0; round < 30; ++round) {
        CAPTURE(round);
        socket_pair pair(on);
        probe receiving(on);
        receiving.prepare_receive(pair.first);
        on.start(receiving);
        turn(on, 2);
        if (round % 3 == 0) {
            on.cancel(receiving);  // asked before, answered after
        }
        probe sending(on);
        sending.prepare_send(pair.second, "bytes", 5);
        on.start(sending);
        if (round % 2 == 0) {
            on.run_once(false);
        }
        on.suspend();
        CHECK(receiving.active() == (receiving.finals == 0));
        const std::size_t had = receiving.bytes.size();
        on.cancel(receiving);
        on.cancel(sending);
        CHECK(had == receiving.bytes.size());
        elsewhere([&] {
            CHECK(run_until(on, [&] { return !receiving.active() && !sending.active(); }));
            on.suspend();
        });
        CHECK(receiving.finals == 1);
        CHECK(receiving.result() == -ECANCELED);
        CHECK(std::string_view("bytes").starts_with(receiving.bytes));
        CHECK((sending.result() == -ECANCELED || sending.result() > 0));
    }
    CHECK(on.stats().operations_live == 0);
    CHECK(on.stats().buffers_lent == 0);
}

TEST_CASE("buffers lent before a change of thread are given back after it") {
    loop on(options_with_seed(seed()));
    socket_pair pair(on);
    probe receiving(on);
    receiving.keep_buffers = true;
    receiving.prepare_receive(pair.first);
    on.start(receiving);
    std::string sent;
    on.suspend();
    for (int round = 0; round < 40; ++round) {
        elsewhere([&] {
            // More pieces than there are buffers on some drivers: then the receive rests starved.
            for (int piece = 0; piece < 30; ++piece) {
                const std::string text = pattern(100, static_cast<std::uint64_t>(sent.size()));
                CHECK(send_all(on, pair.second, text));
                sent += text;
                turn(on, 2);
            }
            on.suspend();
        });
        // Half of them here, while it rests, the others there.
        for (std::size_t half = receiving.kept.size() / 2; half > 0; --half) {
            on.give_back(receiving.kept.back());
            receiving.kept.pop_back();
        }
        if (round % 2 != 0) {
            elsewhere([&] {
                on.resume();
                receiving.give_back_all();
                on.suspend();
            });
        }
    }
    receiving.keep_buffers = false;
    receiving.give_back_all();
    CHECK(run_until(on, [&] { return receiving.bytes.size() == sent.size(); }));
    CHECK(receiving.bytes == sent);
    CHECK(on.stats().buffers_lent == 0);
    on.cancel(receiving);
    CHECK(receiving.run());
}

TEST_CASE("a receive that is starved when the loop leaves goes on elsewhere") {
    loop on(options_with_seed(seed()));
    socket_pair pair(on);
    probe receiving(on);
    receiving.keep_buffers = true;
    receiving.prepare_receive(pair.first);
    on.start(receiving);
    std::string sent;
    for (int piece = 0; piece < 5000 && on.stats().buffers_dry == 0; ++piece) {
        sent += pattern(10, static_cast<std::uint64_t>(piece));
        REQUIRE(send_all(on, pair.second, std::string_view(sent).substr(sent.size() - 10)));
        turn(on, 1);
    }
    CHECK(on.stats().buffers_dry > 0);
    on.suspend();
    elsewhere([&] {
        turn(on, 3);
        receiving.keep_buffers = false;
        receiving.give_back_all();
        CHECK(run_until(on, [&] { return receiving.bytes == sent; }));
        on.suspend();
    });
    on.cancel(receiving);
    CHECK(receiving.run());
    CHECK(on.stats().buffers_lent == 0);
}

TEST_CASE("connections that come while a loop rests are all accepted") {
    loop on(options_with_seed(seed()));
    listener door(on);
    probe accepting(on);
    accepting.prepare_accept(door.fd);
    on.start(accepting);
    std::vector<int> sockets;
    std::vector<std::unique_ptr<probe>> calls;
    for (int round = 0; round < 20; ++round) {
        for (int call = 0; call < 5; ++call) {
            sockets.push_back(on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value());
            calls.push_back(std::make_unique<probe>(on));
            door.prepare_connect(*calls.back(), sockets.back());
            on.start(*calls.back());
        }
        elsewhere([&] {
            turn(on, static_cast<std::uint64_t>(round % 3));
            on.suspend();
        });
    }
    CHECK(run_until(on, [&] { return accepting.results.size() == 100; }));
    CHECK(end_all(on, calls));
    for (const auto& each : calls) {
        CHECK(each->results == std::vector<std::int32_t>{0});
    }
    on.cancel(accepting);
    CHECK(accepting.run());
    CHECK(accepting.results.size() == 101);
    accepting.results.pop_back();
    for (const auto* list : {&sockets, &accepting.results}) {
        for (const int fd : *list) {
            on.driver().close(fd);
        }
    }
}

TEST_CASE("a connect that waits goes on through suspensions, and ends as it would have") {
    if (!real_kernel()) {
        return;
    }
    loop on;
    listener door(on, 1);
    std::vector<int> sockets;
    std::vector<std::unique_ptr<probe>> calls;
    for (int call = 0; call < 4; ++call) {  // more than the queue of the door holds
        sockets.push_back(on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value());
        calls.push_back(std::make_unique<probe>(on));
        door.prepare_connect(*calls.back(), sockets.back());
        on.start(*calls.back());
    }
    turn(on, 5);
    REQUIRE(calls.back()->active());
    on.suspend();
    for (int round = 0; round < 4; ++round) {
        elsewhere([&] {
            turn(on, 2);
            on.suspend();
        });
        on.suspend();
    }
    CHECK(calls.back()->active());
    const int refused = on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value();
    probe knocking(on);
    sockaddr_in nowhere = door.address;
    nowhere.sin_port = htons(1);  // nobody listens there
    knocking.prepare_connect(refused, reinterpret_cast<sockaddr*>(&nowhere), sizeof nowhere);
    on.start(knocking);
    on.suspend();
    probe accepting(on);
    accepting.prepare_accept(door.fd);
    on.start(accepting);
    CHECK(run_until(on, [&] { return accepting.results.size() == 4 && !knocking.active(); }));
    CHECK(end_all(on, calls));
    for (const auto& each : calls) {
        CHECK(each->results == std::vector<std::int32_t>{0});
    }
    CHECK(knocking.result() == -ECONNREFUSED);
    on.cancel(knocking);
    CHECK(knocking.run());
    on.cancel(accepting);
    CHECK(accepting.run());
    sockets.push_back(refused);
    for (const int fd : accepting.results) {
        if (fd >= 0) {
            sockets.push_back(fd);
        }
    }
    for (const int fd : sockets) {
        on.driver().close(fd);
    }
}

TEST_CASE("operations on files go on through suspensions and end once") {
    folder files;
    const std::string path = files.path() + "/file";
    loop on(options_with_seed(seed()));
    file_probe opening;
    opening.prepare_open_at(AT_FDCWD, path.c_str(), O_CREAT | O_RDWR, 0600);
    on.start(opening);
    on.suspend();
    CHECK(run_until(on, [&] { return !opening.active(); }, no_limit));
    REQUIRE(opening.result >= 0);
    on.suspend();
    const std::string block = pattern(100'000, 7);
    for (int round = 0; round < 20; ++round) {
        std::vector<file_probe> writes(8);
        file_probe syncing;
        elsewhere([&] {
            for (std::size_t i = 0; i < writes.size(); ++i) {
                writes[i].prepare_write_at(opening.result, block.data(), block.size(),
                                           i * block.size());
                on.start(writes[i]);
            }
            syncing.prepare_sync(opening.result, true);
            on.start(syncing);
            turn(on, static_cast<std::uint64_t>(round % 3));
            on.suspend();
        });
        CHECK(run_until(on, [&] { return on.stats().operations_live == 0; }, no_limit));
        for (const file_probe& each : writes) {
            CHECK(each.finals == 1);
            CHECK(each.result == static_cast<int>(block.size()));
        }
        CHECK(syncing.finals == 1);
        CHECK(syncing.result == 0);
        on.suspend();
    }
    CHECK(::lseek(opening.result, 0, SEEK_END) == static_cast<off_t>(8 * block.size()));
    ::close(opening.result);
}

TEST_CASE("a splice in which a thread of the kernel sits is begun anew") {
    real_pipe from;
    real_pipe to;
    loop on(options_with_seed(seed()));
    file_probe moving;
    moving.prepare_splice(from.ends[0], file_operation::current_offset, to.ends[1],
                          file_operation::current_offset, 1, 0);
    on.start(moving);
    for (int round = 0; round < 4; ++round) {
        elsewhere([&] {
            turn(on, static_cast<std::uint64_t>(round));
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
            on.suspend();
        });
    }
    CHECK(moving.active());
    REQUIRE(::write(from.ends[1], "b", 1) == 1);
    CHECK(run_until(on, [&] { return !moving.active(); }, no_limit));
    CHECK(moving.finals == 1);
    REQUIRE(moving.result == 1);
    char got = 0;
    CHECK(::read(to.ends[0], &got, 1) == 1);
    CHECK(got == 'b');
}

TEST_CASE("a read that waits is begun anew in each thread, and reads once") {
    real_pipe wire;
    loop on(options_with_seed(seed()));
    probe reading(on);
    char memory[8] = {};
    reading.prepare_read(wire.ends[0], memory, sizeof memory);
    on.start(reading);
    for (int round = 0; round < 5; ++round) {
        elsewhere([&] {
            turn(on, 2);
            on.suspend();
        });
    }
    CHECK(reading.active());
    REQUIRE(::write(wire.ends[1], "b", 1) == 1);
    CHECK(run_until(on, [&] { return !reading.active(); }, no_limit));
    CHECK(reading.results == std::vector<std::int32_t>{1});
    CHECK(std::string_view(memory) == "b");
}

TEST_CASE("work posted by another thread while a loop rests, or leaves, is done by its next turn") {
    loop on(options_with_seed(seed()));
    struct flag : work {
        flag() : work([](work& self) noexcept { static_cast<flag&>(self).done = true; }) {}
        bool done = false;
    };
    for (int round = 0; round < 200; ++round) {
        flag posted;
        std::thread poster([&] { on.post_from_thread(posted); });
        turn(on, static_cast<std::uint64_t>(round % 2));
        on.suspend();
        CHECK(run_until(on, [&] { return posted.done; }, no_limit));
        on.suspend();
        poster.join();
    }
}

TEST_CASE("a driver woken while it rests does not sleep in its next wait") {
    loop on(options_with_seed(seed()));
    on.run_once(false);
    for (int round = 0; round < 5; ++round) {
        on.suspend();
        on.driver().wake();
        if (round % 2 != 0) {
            elsewhere([&] {
                on.resume();
                on.driver().wait(wait_forever);
                on.suspend();
            });
        } else {
            on.resume();
            on.driver().wait(wait_forever);
        }
    }
    CHECK(on.stats().operations_live == 0);
}

TEST_CASE("a loop that ends while it rests tells every owner, in whatever thread") {
    const int before = open_descriptors();
    for (int round = 0; round < 40; ++round) {
        CAPTURE(round);
        real_pipe wire;
        auto on = std::make_unique<loop>(options_with_seed(seed() + static_cast<unsigned>(round)));
        probe polling(*on);
        probe reading(*on);
        probe idling(*on);
        char memory[8] = {};
        polling.prepare_poll(wire.ends[0], POLLIN, true);
        reading.prepare_read(wire.ends[0], memory, sizeof memory);
        idling.prepare_nop();
        on->start(polling);
        on->start(reading);
        if (round % 2 != 0) {
            turn(*on, static_cast<std::uint64_t>(round % 3));
        }
        if (round % 5 == 0) {
            on->cancel(reading);
            on->cancel(polling);
        }
        on->suspend();
        on->start(idling);
        if (round % 3 == 0) {
            on->cancel(idling);
            on->cancel(polling);
        }
        elsewhere([&] { on.reset(); });
        for (const probe* each : {&polling, &reading, &idling}) {
            CHECK(each->finals == 1);
        }
        CHECK(polling.result() == -ECANCELED);
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("a loop that rests is no thread's current loop") {
    loop on(options_with_seed(seed()));
    CHECK(loop::current() == &on);
    loop inner(options_with_seed(seed()));
    CHECK(loop::current() == &inner);
    inner.suspend();
    CHECK(loop::current() == &on);
    elsewhere([&] {
        inner.resume();
        CHECK(loop::current() == &inner);
        inner.suspend();
        CHECK(loop::current() == nullptr);
    });
    CHECK(loop::current() == &on);
}

TEST_CASE("thousands of operations rest and go on") {
    loop on(options_with_seed(seed()));
    real_pipe wire;
    std::vector<std::unique_ptr<probe>> polls;
    for (int i = 0; i < 3000; ++i) {
        polls.push_back(std::make_unique<probe>(on));
        polls.back()->prepare_poll(wire.ends[0], POLLIN, false);
        on.start(*polls.back());
    }
    on.suspend();
    for (int round = 0; round < 3; ++round) {
        elsewhere([&] {
            on.run_once(false);
            on.suspend();
        });
    }
    CHECK(on.stats().operations_live == 3000);
    REQUIRE(::write(wire.ends[1], "!", 1) == 1);
    CHECK(run_until_idle(on));
    for (const auto& each : polls) {
        CHECK(each->finals == 1);
        CHECK(each->result() == POLLIN);
    }
}

TEST_CASE("uring: a suspension costs nothing when the kernel has nothing, else one system call") {
    if (!on_uring()) {
        return;
    }
    loop on;
    real_pipe wire;
    probe polling(on);
    polling.prepare_poll(wire.ends[0], POLLIN, true);
    on.run_once(false);
    const std::uint64_t before = on.stats().enters;
    for (int round = 0; round < 10; ++round) {
        on.suspend();
        on.resume();
    }
    CHECK(on.stats().enters == before);
    on.start(polling);
    for (int round = 0; round < 10; ++round) {
        on.suspend();
        on.resume();
    }
    CHECK(on.stats().enters == before);  // the poll has not been entered yet
    for (int round = 0; round < 10; ++round) {
        on.run_once(false);
        on.suspend();
    }
    CHECK(on.stats().enters - before == 20);
    on.cancel(polling);
    CHECK(polling.run());
}

TEST_CASE("a loop that runs elsewhere without a suspension ends the program") {
    if (driver_name() == "epoll") {
        return;  // nothing is bound to a thread there
    }
    const std::string said = last_words([] {
        loop on;
        on.run_once(false);
        probe idling(on);
        idling.prepare_nop();
        on.start(idling);
        elsewhere([&] { on.run_once(false); });
    });
    CHECK(said.find("in a thread other than its own") != std::string::npos);
}
