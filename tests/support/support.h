// What every suite shares: which driver the suite runs on, its seed, and turns with an end. The
// driver and the seed come from the environment and are printed by main, so that a failed run can
// be repeated as it was.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
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
        look(loop& owner, Predicate& condition, const bool& late)
            : work([](work& self) noexcept {
                  look& mine = static_cast<look&>(self);
                  if (mine.check() || mine.too_late) {
                      mine.at.post(mine);
                  }
              }),
              at(owner),
              check(condition),
              too_late(late) {}
        loop& at;
        Predicate& check;
        const bool& too_late;
    } looking(on, done, guard.passed);
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

// What `body` says on stderr on its way to abort(), tried in a child process; else empty.
inline std::string last_words(const std::function<void()>& body) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        return {};
    }
    std::cout.flush();
    const pid_t child = ::fork();
    if (child == 0) {
        const rlimit no_core{0, 0};
        ::setrlimit(RLIMIT_CORE, &no_core);
        std::signal(SIGABRT, SIG_DFL);
        ::dup2(ends[1], STDERR_FILENO);
        body();
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string said;
    char block[512];
    for (ssize_t got = 0; (got = ::read(ends[0], block, sizeof block)) > 0;) {
        said.append(block, static_cast<std::size_t>(got));
    }
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    const bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    return aborted ? said : std::string();
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
