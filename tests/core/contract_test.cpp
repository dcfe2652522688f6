// The lifetime contract of operation.h and driver.h: whatever is asked and whenever it is called
// off, there is exactly one final completion, every buffer comes back, no descriptor leaks.
#include <doctest/doctest.h>

#include <poll.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "core/fake_random.h"
#include "tests/support/probe.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

constexpr opcode every_opcode[] = {opcode::nop,          opcode::accept,       opcode::connect,
                                   opcode::receive,      opcode::receive_into, opcode::send,
                                   opcode::send_message, opcode::poll};

enum class moment {
    at_once,           // in the step that started it, before anything was submitted
    in_flight,         // after some turns
    among_completions, // from another handler of a turn in which it may have completed already
    by_itself,         // from its own handler
    twice,             // in flight, and once more
    never,             // only the loop's destruction ends it
    at_the_end         // cancelled, and the loop destroyed before the answer came
};

constexpr moment every_moment[] = {moment::at_once,   moment::in_flight, moment::among_completions,
                                   moment::by_itself, moment::twice,     moment::never,
                                   moment::at_the_end};

// Everything an operation of any kind needs. `on` is destroyed first when the loop's end is tried,
// so descriptors are closed through the driver before that, or as plain ones after it.
struct stage {
    explicit stage(std::uint64_t seed)
        : on(std::make_unique<loop>(options_with_seed(seed))), door(*on, 1), pair(*on) {}

    std::unique_ptr<loop> on;
    listener door;
    socket_pair pair;
};

std::string describe(opcode code, moment when, bool ready, std::uint64_t seed) {
    return "opcode " + std::to_string(static_cast<int>(code)) + ", moment " +
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

struct trial {
    trial(std::uint64_t run_seed, opcode code_tried, bool is_ready)
        : random(run_seed),
          seed(run_seed),
          code(code_tried),
          ready(is_ready),
          on(options_with_seed(run_seed)) {}

    ~trial() {
        for (const int fd : accepted) {
            on.driver().close(fd);
        }
        if (caller >= 0) {
            on.driver().close(caller);
        }
    }

    detail::fake_random random;
    const std::uint64_t seed;
    const opcode code;
    const bool ready;
    loop on;
    listener door{on, 1};
    socket_pair pair{on};
    int caller = on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value();
    std::vector<int> accepted;
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
        case opcode::connect: return now.door.prepare_connect(tried, now.caller);
        case opcode::receive: return tried.prepare_receive(now.pair.first);
        case opcode::receive_into:
            return tried.prepare_receive_into(now.pair.first, now.memory, sizeof now.memory);
        case opcode::send:
            return tried.prepare_send(now.pair.first, now.memory, sizeof now.memory);
        case opcode::send_message:
            return tried.prepare_send_message(now.pair.first, &now.message);
        case opcode::poll:
            return tried.prepare_poll(now.pair.first, POLLIN, now.random.chance(128));
    }
}

// Makes it so that what is tried can happen (or, where it could by itself, that it cannot).
void set_scene(trial& now) {
    const bool writes = now.code == opcode::send || now.code == opcode::send_message;
    if (now.ready && !writes) {
        send_all(now.on, now.pair.second, "some bytes to find");
    } else if (!now.ready && writes) {
        fill(now.on, now.pair.first);
    }
}

// Runs one operation and calls it off at `when`.
void play(trial& now, probe& tried, moment when) {
    loop& on = now.on;
    probe other(on);
    other.prepare_nop();
    other.on_completion = [&](const completion&) { on.cancel(tried); };
    if (when == moment::by_itself) {
        tried.on_completion = [&](const completion&) { on.cancel(tried); };
    }
    on.start(tried);
    const auto turns = now.random.below(4);
    if (when != moment::at_once) {
        for (std::uint64_t turn = 0; turn < turns; ++turn) {
            on.run_once(false);
        }
    }
    if (when == moment::among_completions) {
        on.start(other);
    } else if (when != moment::by_itself || !now.ready || !tried.results.empty()) {
        on.cancel(tried);
    }
    if (when == moment::twice) {
        on.run_once(false);
        on.cancel(tried);
        on.cancel(tried);
    }
    CHECK(run_until_idle(on));
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
    if (now.code == opcode::receive_into && tried.result() > 0) {
        got.assign(now.memory, static_cast<std::size_t>(tried.result()));
    }
    now.on.driver().shutdown(now.pair.second, SHUT_WR);
    probe rest(now.on);
    rest.prepare_receive(now.pair.first);
    now.on.start(rest);
    CHECK(rest.run());
    CHECK(rest.result() == 0);
    CHECK(got + rest.bytes == sent);
}

void try_one(opcode code, moment when, bool ready, std::uint64_t seed) {
    CAPTURE(describe(code, when, ready, seed));
    trial now(seed, code, ready);
    set_scene(now);
    probe tried(now.on);
    prepare(now, tried);
    play(now, tried, when);

    CHECK(tried.finals == 1);
    CHECK_FALSE(tried.active());
    CHECK(acceptable(now, tried));
    CHECK(now.on.stats().operations_live == 0);
    CHECK(now.on.stats().buffers_lent == 0);
    if (code == opcode::accept) {
        for (const std::int32_t each : tried.results) {
            if (each >= 0) {
                now.accepted.push_back(each);
            }
        }
    }
    if (code == opcode::receive || code == opcode::receive_into || code == opcode::poll) {
        check_nothing_lost(now, tried);
    }
    // Done is done: asking once more changes nothing, and the same object can be used again.
    now.on.cancel(tried);
    tried.on_completion = nullptr;
    tried.prepare_nop();
    now.on.start(tried);
    CHECK(tried.run());
    CHECK(tried.result() == 0);
    CHECK(tried.finals == 2);
}

}  // namespace

TEST_CASE("every operation, called off at every moment, ends exactly once") {
    const int before = open_descriptors();
    const std::uint64_t rounds = real_kernel() ? 4 : 60;
    for (std::uint64_t round = 0; round < rounds; ++round) {
        for (const opcode code : every_opcode) {
            for (const moment when : every_moment) {
                if (when == moment::never || when == moment::at_the_end) {
                    continue;
                }
                try_one(code, when, true, seed() * 1000 + round);
                try_one(code, when, false, seed() * 1000 + round);
            }
        }
    }
    CHECK(open_descriptors() == before);
}
