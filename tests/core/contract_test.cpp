// The lifetime contract of operation.h and driver.h: whatever is asked and whenever it is called
// off, and whether its loop rests on the way and goes on elsewhere, there is exactly one final
// completion, every buffer comes back, no descriptor leaks.
#include <doctest/doctest.h>

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/fake_random.h"
#include "tests/support/probe.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

constexpr opcode every_opcode[] = {opcode::nop,          opcode::accept,       opcode::connect,
                                   opcode::receive,      opcode::receive_into, opcode::send,
                                   opcode::send_message, opcode::poll,
                                   opcode::receive_message, opcode::read, opcode::write};

enum class moment {
    at_once,            // in the step that started it, before anything was submitted
    in_flight,          // after some turns
    among_completions,  // from another handler of a turn in which it may have completed already
    by_itself,          // from its own handler
    twice,              // in flight, and once more
    never,              // only the loop's destruction ends it
    at_the_end          // cancelled, and the loop destroyed before the answer came
};

constexpr moment every_moment[] = {moment::at_once, moment::in_flight, moment::among_completions,
                                   moment::by_itself, moment::twice};

// Whether the loop is suspended between all steps of a case, and where it then goes on.
enum class rests { never, here, anywhere };

std::string describe(opcode code, moment when, bool ready, rests resting, std::uint64_t seed) {
    return "resting " + std::to_string(static_cast<int>(resting)) + ", opcode " +
           std::to_string(static_cast<int>(code)) + ", moment " +
           std::to_string(static_cast<int>(when)) + (ready ? ", ready" : ", waiting") + ", seed " +
           std::to_string(seed);
}

// Fills the way from `fd` until a send has to wait.
void fill(loop& on, int fd) {
    const std::string block(std::size_t{1} << 20, 'f');
    for (;;) {
        probe sending(on);
        sending.prepare_send(fd, block.data(), block.size());
        on.start(sending);
        for (int turn = 0; turn < 50 && sending.active(); ++turn) {
            on.run_once(false);
        }
        const bool stuck = sending.active();
        on.cancel(sending);
        sending.run();
        if (stuck && sending.result() == -ECANCELED) {
            return;
        }
    }
}

// Everything an operation of any kind needs.
struct trial {
    trial(std::uint64_t run_seed, opcode code_tried, bool is_ready, rests is_resting)
        : random(run_seed),
          seed(run_seed),
          code(code_tried),
          ready(is_ready),
          resting(is_resting),
          on(std::make_unique<loop>(options_with_seed(run_seed))) {}

    ~trial() {
        end_calls();
        for (const int fd : sockets) {
            on->driver().close(fd);
        }
    }

    // Ends the loop while operations are active, and closes the descriptors after it.
    void end_loop() {
        for (int* fd : {&door.fd, &pair.first, &pair.second}) {
            sockets.push_back(std::exchange(*fd, -1));
        }
        const bool real = real_kernel();
        on.reset();
        for (const int fd : std::exchange(sockets, {})) {
            if (real) {
                ::close(fd);
            }
        }
    }

    // Perhaps suspends the loop; perhaps goes on at once, else the next turn will.
    void breathe() {
        if (resting == rests::never || random.chance(64)) {
            return;
        }
        on->suspend();
        if (resting == rests::anywhere && random.chance(128)) {
            const auto turns = random.below(3);
            std::thread([this, turns] {
                for (std::uint64_t turn = 0; turn < turns; ++turn) {
                    on->run_once(false);
                }
                on->suspend();
            }).join();
        }
        if (random.chance(128)) {
            on->resume();
        }
    }
    void turn_once() {
        on->run_once(false);
        breathe();
    }

    int open_socket() {
        sockets.push_back(on->driver().open_socket(AF_INET, SOCK_STREAM, 0).value());
        return sockets.back();
    }

    // Connects to the door `times` times, and does not wait for it.
    void call(int times) {
        for (int i = 0; i < times; ++i) {
            calls.push_back(std::make_unique<probe>(*on));
            door.prepare_connect(*calls.back(), open_socket());
            on->start(*calls.back());
        }
    }
    void end_calls() {
        for (const auto& each : calls) {
            on->cancel(*each);
            each->run();
        }
    }

    detail::fake_random random;
    const std::uint64_t seed;
    const opcode code;
    const bool ready;
    const rests resting;
    std::unique_ptr<loop> on;
    listener door{*on, 1};
    socket_pair pair{*on};
    std::vector<int> sockets;  // closed at the end
    std::vector<std::unique_ptr<probe>> calls;
    char memory[64] = {};
    iovec parts[2] = {{memory, 32}, {memory + 32, 32}};
    msghdr message{};
};

void prepare(trial& now, probe& tried) {
    now.message.msg_iov = now.parts;
    now.message.msg_iovlen = 2;
    switch (now.code) {
        case opcode::nop: return tried.prepare_nop();
        case opcode::accept: return tried.prepare_accept(now.door.fd);
        case opcode::connect: return now.door.prepare_connect(tried, now.open_socket());
        case opcode::receive: return tried.prepare_receive(now.pair.first);
        case opcode::receive_into:
            return tried.prepare_receive_into(now.pair.first, now.memory, sizeof now.memory);
        case opcode::send:
            return tried.prepare_send(now.pair.first, now.memory, sizeof now.memory);
        case opcode::send_message:
            return tried.prepare_send_message(now.pair.first, &now.message);
        case opcode::poll:
            return tried.prepare_poll(now.pair.first, POLLIN, now.random.chance(128));
        case opcode::receive_message:
            return tried.prepare_receive_message(now.pair.first, &now.message);
        case opcode::read:
            return tried.prepare_read(now.pair.first, now.memory, sizeof now.memory);
        case opcode::write:
            return tried.prepare_write(now.pair.first, now.memory, sizeof now.memory);
        default: FAIL("no operation for files is tried here");
    }
}

bool reads_once(opcode code) {
    return code == opcode::receive_into || code == opcode::receive_message || code == opcode::read;
}

// Makes it so that what is tried can happen (or, where it could by itself, that it cannot).
void set_scene(trial& now) {
    const bool writes = now.code == opcode::send || now.code == opcode::send_message ||
                        now.code == opcode::write;
    if (real_kernel() && (writes || reads_once(now.code)) && now.random.chance(128)) {
        ::fcntl(now.pair.first, F_SETFL, O_NONBLOCK);  // makes no difference
    }
    if (now.code == opcode::accept && now.ready) {
        now.call(1);
    } else if (now.code == opcode::connect && !now.ready) {
        now.call(3);  // more than the queue of the door holds
        for (int turn = 0; turn < 10; ++turn) {
            now.on->run_once(false);
        }
    } else if (now.ready && !writes) {
        send_all(*now.on, now.pair.second, "some bytes to find");
    } else if (!now.ready && writes) {
        fill(*now.on, now.pair.first);
    }
}

// Runs one operation and calls it off at `when`.
void play(trial& now, probe& tried, moment when) {
    loop& on = *now.on;
    probe other(on);
    other.prepare_nop();
    other.on_completion = [&](const completion&) { on.cancel(tried); };
    if (when == moment::by_itself) {
        tried.on_completion = [&](const completion&) { on.cancel(tried); };
    }
    on.start(tried);
    now.breathe();
    const auto turns = now.random.below(4);
    if (when != moment::at_once) {
        for (std::uint64_t turn = 0; turn < turns; ++turn) {
            now.turn_once();
        }
    }
    if (when == moment::among_completions) {
        on.start(other);
    } else if (when != moment::by_itself || !now.ready || !tried.results.empty()) {
        on.cancel(tried);
    }
    now.breathe();
    if (when == moment::twice) {
        now.turn_once();
        on.cancel(tried);
        on.cancel(tried);
        now.breathe();
    }
    CHECK(run_until(on, [&] { return !tried.active() && !other.active(); }));
    now.end_calls();
}

bool acceptable(const trial& now, const probe& tried) {
    const std::int32_t last = tried.result();
    if (last == -ECANCELED) {
        return true;
    }
    switch (now.code) {
        case opcode::nop:
        case opcode::connect: return last == 0;
        case opcode::accept:
        case opcode::receive: return false;
        case opcode::poll: return (last & POLLIN) != 0;
        default: return last > 0;
    }
}

// After a cancelled receive nothing may be missing: what it did not bring is still there.
void check_nothing_lost(trial& now, probe& tried) {
    const std::string sent = now.ready ? "some bytes to find" : "";
    std::string got = tried.bytes;
    if (reads_once(now.code) && tried.result() > 0) {
        got.assign(now.memory, static_cast<std::size_t>(tried.result()));
    }
    now.on->driver().shutdown(now.pair.second, SHUT_WR);
    probe rest(*now.on);
    rest.prepare_receive(now.pair.first);
    now.on->start(rest);
    CHECK(rest.run());
    CHECK(rest.result() == 0);
    CHECK(got + rest.bytes == sent);
}

void try_one(opcode code, moment when, bool ready, rests resting, std::uint64_t seed) {
    CAPTURE(describe(code, when, ready, resting, seed));
    trial now(seed, code, ready, resting);
    set_scene(now);
    now.breathe();
    probe tried(*now.on);
    prepare(now, tried);
    play(now, tried, when);

    CHECK(tried.finals == 1);
    CHECK_FALSE(tried.active());
    CHECK(acceptable(now, tried));
    CHECK(now.on->stats().operations_live == 0);
    CHECK(now.on->stats().buffers_lent == 0);
    if (code == opcode::accept) {
        for (const std::int32_t each : tried.results) {
            if (each >= 0) {
                now.sockets.push_back(each);
            }
        }
    }
    if (code == opcode::receive || reads_once(code) || code == opcode::poll) {
        check_nothing_lost(now, tried);
    }
    // Done is done: asking once more changes nothing, and the same object can be used again.
    now.on->cancel(tried);
    tried.on_completion = nullptr;
    tried.prepare_nop();
    now.on->start(tried);
    CHECK(tried.run());
    CHECK(tried.result() == 0);
    CHECK(tried.finals == 2);
}

void try_all(rests resting) {
    const int before = open_descriptors();
    const std::uint64_t rounds = real_kernel() ? 4 : 60;
    for (std::uint64_t round = 0; round < rounds; ++round) {
        for (const opcode code : every_opcode) {
            for (const moment when : every_moment) {
                try_one(code, when, true, resting, seed() * 1000 + round);
                try_one(code, when, false, resting, seed() * 1000 + round);
            }
        }
    }
    CHECK(open_descriptors() == before);
}

}  // namespace

TEST_CASE("every operation, called off at every moment, ends exactly once") {
    try_all(rests::never);
}

TEST_CASE("every operation ends exactly once, whenever its loop rests") { try_all(rests::here); }

TEST_CASE("every operation ends exactly once, whenever its loop goes to another thread") {
    try_all(rests::anywhere);
}

TEST_CASE("a descriptor that the driver has let go of is closed when it is closed") {
    loop on;
    if (!on.driver().has_real_sockets()) {
        return;
    }
    listener listening(on);
    probe accepting(on);
    accepting.prepare_accept(listening.fd);
    on.start(accepting);
    on.run_once(false);
    on.cancel(accepting);
    on.driver().let_go();
    on.driver().close(std::exchange(listening.fd, -1));
    const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(::connect(client, reinterpret_cast<const sockaddr*>(&listening.address),
                    sizeof listening.address) == -1);
    CHECK(errno == ECONNREFUSED);
    ::close(client);
    CHECK(accepting.run());
    CHECK(accepting.result() == -ECANCELED);
}

TEST_CASE("letting go before the first turn leaves the loop free to run in any thread") {
    loop on;
    listener listening(on);
    probe accepting(on);
    accepting.prepare_accept(listening.fd);
    on.start(accepting);
    on.cancel(accepting);
    on.driver().let_go();
    std::thread([&] {
        CHECK(accepting.run());
        on.driver().let_go();
        on.suspend();
    }).join();
    CHECK(accepting.result() == -ECANCELED);
}

TEST_CASE("a loop's end waits for the last completion of everything that was active") {
    const int before = open_descriptors();
    const std::uint64_t rounds = real_kernel() ? 4 : 60;
    for (std::uint64_t round = 0; round < rounds * std::size(every_opcode) * 4; ++round) {
        const opcode code = every_opcode[round / 4 % std::size(every_opcode)];
        const moment when = (round & 1) != 0 ? moment::never : moment::at_the_end;
        const bool ready = (round & 2) != 0;
        const auto resting = static_cast<rests>(round % 3);
        CAPTURE(describe(code, when, ready, resting, seed() * 1000 + round));
        trial now(seed() * 1000 + round, code, ready, resting);
        set_scene(now);
        probe tried(*now.on);
        prepare(now, tried);
        now.on->start(tried);
        for (auto turns = now.random.below(3); turns > 0; --turns) {
            now.turn_once();
        }
        if (when == moment::at_the_end) {
            now.on->cancel(tried);
        }
        now.breathe();
        now.end_loop();
        CHECK(tried.finals == 1);
        CHECK_FALSE(tried.active());
        for (const std::int32_t each : tried.results) {
            if (code == opcode::accept && each >= 0 && real_kernel()) {
                ::close(each);
            }
        }
        now.calls.clear();
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("operations that end in one turn may call each other off from their handlers") {
    for (std::uint64_t round = 0; round < (real_kernel() ? 20U : 300U); ++round) {
        CAPTURE(round);
        loop on(options_with_seed(seed() * 1000 + round));
        detail::fake_random random(round);
        std::vector<std::unique_ptr<socket_pair>> pairs;
        std::vector<std::unique_ptr<probe>> probes;
        for (int i = 0; i < 8; ++i) {
            pairs.push_back(std::make_unique<socket_pair>(on));
            probes.push_back(std::make_unique<probe>(on));
            probes.back()->prepare_receive(pairs.back()->first);
        }
        for (const auto& each : probes) {
            each->on_completion = [&](const completion&) { on.cancel(*probes[random.below(8)]); };
            on.start(*each);
        }
        for (const auto& pair : pairs) {
            CHECK(send_all(on, pair->second, "bytes"));
        }
        for (int turn = 0; turn < 20; ++turn) {
            on.run_once(false);
        }
        for (const auto& each : probes) {
            on.cancel(*each);
            CHECK(each->run());
            CHECK(each->finals == 1);
            CHECK(std::string_view("bytes").starts_with(each->bytes));
        }
        CHECK(on.stats().buffers_lent == 0);
    }
}
