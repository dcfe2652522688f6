#include "core/loop.h"

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "core/helper_pool.h"
#include "tests/support/probe.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

constexpr instant millisecond = 1'000'000;

struct task : work {
    explicit task(std::function<void()> body)
        : work([](work& self) noexcept { static_cast<task&>(self).action(); }),
          action(std::move(body)) {}
    std::function<void()> action;
};

struct alarm_clock : timer {
    explicit alarm_clock(std::function<void()> body = {})
        : timer([](timer& self) noexcept {
              alarm_clock& mine = static_cast<alarm_clock&>(self);
              ++mine.rung;
              if (mine.action) {
                  mine.action();
              }
          }),
          action(std::move(body)) {}
    int rung = 0;
    std::function<void()> action;
};

}  // namespace

TEST_CASE("one turn runs ready work, timers, flushes and completions, in this order") {
    loop on;
    std::string order;
    probe nop(on);
    nop.on_completion = [&](const completion&) { order += "completion "; };
    task flush([&] { order += "flush "; });
    alarm_clock due([&] { order += "timer "; });
    task ready([&] {
        order += "ready ";
        on.post_flush(flush);
    });
    nop.prepare_nop();
    on.start(nop);
    on.start_timer(due, on.now());
    on.post(ready);
    on.run_once(false);
    CHECK(order.starts_with("ready timer flush "));
    CHECK(nop.run());
    CHECK(order == "ready timer flush completion ");
}

TEST_CASE("a chain of ready work without end starves neither completions nor timers") {
    loop on;
    socket_pair pair(on);
    int links = 0;
    task chain([&] {
        ++links;
        on.post(chain);
    });
    alarm_clock soon;
    probe receiving(on);
    receiving.prepare_receive(pair.first);
    on.start(receiving);
    CHECK(send_all(on, pair.second, "through"));
    on.post(chain);
    on.start_timer(soon, on.read_clock() + millisecond);
    CHECK(run_until(on, [&] { return receiving.bytes == "through" && soon.rung == 1; }));
    CHECK(links > 0);
    on.forget(chain);
    on.cancel(receiving);
    CHECK(receiving.run());
}

TEST_CASE("a flush that asks for another one waits for the next turn") {
    loop on;
    int flushes = 0;
    task flush([&] {
        ++flushes;
        on.post_flush(flush);
    });
    on.post_flush(flush);
    on.run_once();
    CHECK(flushes == 1);
    on.run_once();
    CHECK(flushes == 2);
    on.forget(flush);
}

TEST_CASE("timers ring at or after their deadline, in order, and not when cancelled") {
    loop on;
    const instant start = on.read_clock();
    std::string order;
    alarm_clock first([&] { order += "1"; });
    alarm_clock second([&] { order += "2"; });
    alarm_clock third([&] { order += "3"; });
    alarm_clock never;
    on.start_timer(third, start + 3 * millisecond);
    on.start_timer(never, start + 2 * millisecond);
    on.start_timer(first, start + 50'000 * millisecond);
    on.start_timer(second, start + 2 * millisecond);
    on.start_timer(first, start + millisecond);
    on.cancel_timer(never);
    CHECK(on.stats().timers_pending == 3);
    CHECK(run_until(on, [&] { return third.rung == 1; }));
    CHECK(order == "123");
    CHECK(never.rung == 0);
    CHECK(on.now() >= start + 3 * millisecond);
    CHECK(on.stats().timers_expired == 3);
}

TEST_CASE("a deadline at either end of time rings at once or stays pending") {
    loop on;
    alarm_clock earliest;
    alarm_clock latest;
    on.start_timer(latest, INT64_MAX);
    on.start_timer(earliest, INT64_MIN);
    CHECK(run_until(on, [&] { return earliest.rung == 1; }));
    on.run_once(false);
    CHECK(latest.rung == 0);
    CHECK(on.stats().timers_pending == 1);
    on.cancel_timer(latest);
}

TEST_CASE("stop ends run at the end of the turn, also when it came first") {
    loop on;
    int turns = 0;
    task stopper([&] {
        ++turns;
        on.stop();
    });
    on.post(stopper);
    on.run();
    CHECK(turns == 1);
    on.stop();
    on.run();
    CHECK(turns == 1);
    task again([&] { on.stop(); });
    std::thread other([&] { on.post_from_thread(again); });
    on.run();
    other.join();
}

TEST_CASE("what is to be flushed can be handed over without a turn") {
    loop on;
    int flushes = 0;
    task flush([&] { ++flushes; });
    on.post_flush(flush);
    on.hand_over();
    CHECK(flushes == 1);
    on.run_once(false);
    CHECK(flushes == 1);
}

TEST_CASE("the hooks stand in pairs around waits that may block, and only there") {
    struct counts {
        int before = 0;
        int after = 0;
    } seen;
    loop on;
    on.set_wait_hooks({[](void* at) { ++static_cast<counts*>(at)->before; },
                       [](void* at) { ++static_cast<counts*>(at)->after; }, &seen});
    on.run_once(false);
    task busy([] {});
    task flush([&] { on.post(busy); });
    on.post_flush(flush);
    on.run_once();
    CHECK(seen.before == 0);
    CHECK(seen.after == 0);

    alarm_clock soon;
    on.start_timer(soon, on.read_clock() + 2 * millisecond);
    CHECK(run_until(on, [&] { return soon.rung == 1; }));
    CHECK(seen.before >= 1);
    CHECK(seen.after == seen.before);
    CHECK(on.stats().waits == static_cast<std::uint64_t>(seen.before));
    on.set_wait_hooks({});
}

TEST_CASE("the current loop is the one that runs, else the one made last") {
    CHECK(loop::current() == nullptr);
    {
        loop outer;
        CHECK(loop::current() == &outer);
        {
            loop inner;
            CHECK(loop::current() == &inner);
            task look([&] { CHECK(loop::current() == &outer); });
            outer.post(look);
            outer.run_once(false);
            CHECK(loop::current() == &inner);
        }
        CHECK(loop::current() == &outer);
    }
    CHECK(loop::current() == nullptr);
}

TEST_CASE("a loop's end forgets queued work and pending timers") {
    alarm_clock pending;
    task ready([] {});
    task flush([] {});
    task from_thread([] {});
    {
        loop on;
        on.start_timer(pending, on.now() + 1000 * millisecond);
        on.post(ready);
        on.post_flush(flush);
        on.post_from_thread(from_thread);
    }
    CHECK_FALSE(pending.pending());
    CHECK_FALSE(ready.queued());
    CHECK_FALSE(flush.queued());
    CHECK_FALSE(from_thread.queued());
    CHECK(pending.rung == 0);
}

TEST_CASE("forgotten work does not run") {
    loop on;
    int runs = 0;
    task forgotten([&] { ++runs; });
    task kept([&] { runs += 10; });
    on.post(forgotten);
    on.post(kept);
    on.forget(forgotten);
    on.forget(forgotten);
    on.run_once(false);
    CHECK(runs == 10);
}

TEST_CASE("a loop made in one thread can be run in another") {
    loop on;
    std::int32_t outcome = -1;
    std::thread runner([&] {
        probe nop(on);
        nop.prepare_nop();
        on.start(nop);
        nop.run();
        outcome = nop.result();
    });
    runner.join();
    CHECK(outcome == 0);
}

TEST_CASE("a child process is told that the loop is its parent's, and can leave it") {
    auto on = std::make_unique<loop>();
    socket_pair pair(*on);
    probe receiving(*on);
    receiving.prepare_receive(pair.first);
    on->start(receiving);
    on->run_once(false);
    std::cout.flush();
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        int status = 1;
        try {
            on->run();
        } catch (const error& failure) {
            status = failure.code() == errc::forked && on->forked() ? 0 : 2;
        }
        on->cancel(receiving);
        auto* const late = new probe(*on);  // the child ends without ends of operations
        late->prepare_receive(pair.first);
        on->start(*late);
        on.reset();
        ::_exit(status);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    // The parent's loop has not suffered.
    CHECK_FALSE(on->forked());
    CHECK(send_all(*on, pair.second, "still here"));
    CHECK(run_until(*on, [&] { return receiving.bytes == "still here"; }));
    on->cancel(receiving);
    CHECK(receiving.run());
}

TEST_CASE("a child process can leave a loop whose helper threads stayed with the parent") {
    struct counted : helper_job {
        counted()
            : helper_job([](helper_job&) noexcept {},
                         [](work& item) noexcept { static_cast<counted&>(item).done = true; }) {}
        bool done = false;
    };
    auto on = std::make_unique<loop>();
    counted job;
    on->helpers().submit(job);
    REQUIRE(run_until(*on, [&] { return job.done; }));
    std::cout.flush();
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::alarm(10);
        on.reset();
        ::_exit(0);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
}

TEST_CASE("a signal in the middle of a wait ends nothing") {
    static volatile std::sig_atomic_t signals = 0;
    struct sigaction action {};
    struct sigaction old {};
    action.sa_handler = [](int) { signals = signals + 1; };
    REQUIRE(::sigaction(SIGUSR1, &action, &old) == 0);
    loop on;
    task stopper([&] { on.stop(); });
    const pthread_t here = ::pthread_self();
    std::thread sender([&] {
        for (int i = 0; i < 20; ++i) {
            ::pthread_kill(here, SIGUSR1);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        on.post_from_thread(stopper);
    });
    on.run();
    sender.join();
    CHECK(signals > 0);
    REQUIRE(::sigaction(SIGUSR1, &old, nullptr) == 0);
}

TEST_CASE("a wake from a signal handler is allowed") {
    static loop* woken = nullptr;
    loop on;
    woken = &on;
    struct sigaction action {};
    struct sigaction old {};
    action.sa_handler = [](int) { woken->driver().wake(); };
    REQUIRE(::sigaction(SIGUSR1, &action, &old) == 0);
    const pthread_t here = ::pthread_self();
    std::thread sender([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        ::pthread_kill(here, SIGUSR1);
    });
    on.run_once();
    sender.join();
    REQUIRE(::sigaction(SIGUSR1, &old, nullptr) == 0);
    CHECK(on.stats().turns >= 1);
}
