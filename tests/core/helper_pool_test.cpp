#include "core/helper_pool.h"

#include <doctest/doctest.h>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <deque>
#include <thread>

#include "tests/support/support.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

struct job : helper_job {
    explicit job(std::chrono::milliseconds length = {})
        : helper_job(
              [](helper_job& self) noexcept {
                  job& mine = static_cast<job&>(self);
                  std::this_thread::sleep_for(mine.duration);
                  mine.ran_on = std::this_thread::get_id();
              },
              [](work& self) noexcept {
                  job& mine = static_cast<job&>(self);
                  mine.done_on = std::this_thread::get_id();
                  mine.done = true;
              }),
          duration(length) {}

    std::chrono::milliseconds duration;
    std::thread::id ran_on;
    std::thread::id done_on;
    bool done = false;
};

}  // namespace

TEST_CASE("a job runs on another thread and is reported on the loop's") {
    loop on;
    job one;
    on.helpers().submit(one);
    CHECK(run_until(on, [&] { return one.done; }, no_limit));
    CHECK(one.ran_on != std::this_thread::get_id());
    CHECK(one.done_on == std::this_thread::get_id());
}

TEST_CASE("more jobs than threads are all done") {
    std::deque<job> jobs;
    loop on;  // dies first, and waits for the jobs
    for (int i = 0; i < 200; ++i) {
        on.helpers().submit(jobs.emplace_back(std::chrono::milliseconds(i % 3)));
    }
    for (const job& each : jobs) {
        run_until(on, [&] { return each.done; }, no_limit);
    }
    // The last helper may still be between its post and its count.
    for (int tries = 0; on.helpers().outstanding() != 0 && tries < 1000; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(on.helpers().outstanding() == 0);
}

TEST_CASE("a timer does not overtake a job that is quicker") {
    struct alarm : timer {
        alarm() : timer([](timer& self) noexcept { static_cast<alarm&>(self).rang = true; }) {}
        bool rang = false;
    };
    loop on;
    job slow(std::chrono::milliseconds(50));
    alarm late;
    on.start_timer(late, on.read_clock() + 20'000'000'000);
    on.helpers().submit(slow);
    run_until(on, [&] { return slow.done || late.rang; }, no_limit);
    CHECK(slow.done);
    CHECK_FALSE(late.rang);
    on.cancel_timer(late);
}

TEST_CASE("the loop's end waits for the jobs, and they are reported all the same") {
    std::deque<job> jobs;
    {
        loop on;
        for (int i = 0; i < 10; ++i) {
            on.helpers().submit(jobs.emplace_back(std::chrono::milliseconds(5)));
        }
    }
    for (const job& each : jobs) {
        CHECK(each.ran_on != std::thread::id());
        CHECK(each.done);
        CHECK_FALSE(each.queued());
    }
}

TEST_CASE("helper threads take no signal, so that it reaches the loop's thread") {
    struct mask_reader : helper_job {
        mask_reader()
            : helper_job(
                  [](helper_job& self) noexcept {
                      auto& mine = static_cast<mask_reader&>(self);
                      ::pthread_sigmask(SIG_SETMASK, nullptr, &mine.mask);
                  },
                  [](work& self) noexcept { static_cast<mask_reader&>(self).done = true; }) {}
        sigset_t mask;
        bool done = false;
    };
    sigset_t before;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
    loop on;
    mask_reader reader;
    on.helpers().submit(reader);
    CHECK(run_until(on, [&] { return reader.done; }, no_limit));
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGALRM, SIGPIPE}) {
        CAPTURE(number);
        CHECK(sigismember(&reader.mask, number) == 1);
    }
    CHECK(sigismember(&reader.mask, SIGSEGV) == 0);
    sigset_t after;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
    CHECK(sigismember(&before, SIGINT) == sigismember(&after, SIGINT));
    // With the loop's thread blocking it as well, a signal to the process stays pending.
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &one, nullptr);
    ::kill(::getpid(), SIGUSR1);
    const timespec limit = {10, 0};
    CHECK(::sigtimedwait(&one, nullptr, &limit) == SIGUSR1);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("a job is taken back as long as no thread has begun it") {
    loop on;
    std::deque<job> jobs;
    for (int i = 0; i < 30; ++i) {
        on.helpers().submit(jobs.emplace_back(std::chrono::milliseconds(10)));
    }
    std::size_t withdrawn = 0;
    for (job& each : jobs) {
        withdrawn += on.helpers().withdraw(each);
    }
    CHECK(withdrawn >= jobs.size() - helper_pool::threads_max);
    for (job& each : jobs) {
        CHECK_FALSE(on.helpers().withdraw(each));
    }
    const auto all_done = [&] {
        return static_cast<std::size_t>(std::count_if(
                   jobs.begin(), jobs.end(), [](const job& each) { return each.done; })) ==
               jobs.size() - withdrawn;
    };
    CHECK(run_until(on, all_done, no_limit));
}
