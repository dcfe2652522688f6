// What every suite shares: which driver the suite runs on, its seed, and turns with an end.
#pragma once

#include <dirent.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/loop.h"

namespace ringlet::test {

// The driver that a default-made loop gets in this process: RINGLET_DRIVER, else uring or epoll.
inline const std::string& driver_name() {
    static const std::string name = make_driver({})->name();
    return name;
}

// False on the fake driver, whose sockets exist in its own memory only: a case that needs a real
// socket, a second loop or a second process to talk to begins with `if (!real_kernel()) return;`.
inline bool real_kernel() { return driver_name() != "fake"; }

// RINGLET_SEED, else 1. Printed by main, so that a failed run can be repeated.
inline std::uint64_t seed() {
    const char* text = std::getenv("RINGLET_SEED");
    const std::uint64_t value = text != nullptr ? std::strtoull(text, nullptr, 10) : 0;
    return value != 0 ? value : 1;
}

// Options for a loop on this process's driver; a fake one gets `fake_seed`.
inline loop_options options_with_seed(std::uint64_t fake_seed) {
    loop_options options;
    options.driver.name = driver_name();
    options.driver.seed = fake_seed;
    return options;
}

// For run_until where other threads take part: the fake driver's time would overtake them.
constexpr int no_limit = 0;

// Turns the loop until `done()`; false when that has not come about after `seconds` of its time
// (which on the fake driver pass at once when nothing else can happen).
template <class Predicate>
bool run_until(loop& on, Predicate done, int seconds = 20) {
    struct limit : timer {
        limit() : timer([](timer& self) noexcept { static_cast<limit&>(self).passed = true; }) {}
        bool passed = false;
    } guard;
    // Looks again after ready work and timers, so that the turn that did it does not sleep.
    struct look : work {
        look(loop& owner, Predicate& condition)
            : work([](work& self) noexcept {
                  look& mine = static_cast<look&>(self);
                  if (mine.check()) {
                      mine.at.post(mine);
                  }
              }),
              at(owner),
              check(condition) {}
        loop& at;
        Predicate& check;
    } looking(on, done);
    if (seconds != no_limit) {
        on.start_timer(guard, on.read_clock() + seconds * instant{1'000'000'000});
    }
    while (!done() && !guard.passed) {
        on.post_flush(looking);
        on.run_once();
        on.forget(looking);
    }
    on.cancel_timer(guard);
    return done();
}

// Turns the loop until nothing is active and nothing more comes of it.
inline bool run_until_idle(loop& on) {
    return run_until(on, [&] { return on.stats().operations_live == 0; });
}

// How many descriptors this process has open, without the one used for counting.
inline int open_descriptors() {
    int count = 0;
    if (DIR* directory = ::opendir("/proc/self/fd")) {
        while (::readdir(directory) != nullptr) {
            ++count;
        }
        ::closedir(directory);
    }
    return count - 3;
}

}  // namespace ringlet::test
