#include "coro/dump.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <exception>
#include <functional>
#include <memory>
#include <new>

#include "coro/as_completed.h"
#include "coro/callback.h"
#include "coro/channel.h"
#include "coro/event.h"
#include "coro/fan_out.h"
#include "coro/fiber.h"
#include "coro/gather.h"
#include "coro/mutex.h"
#include "coro/pipeline.h"
#include "coro/race.h"
#include "coro/scope.h"
#include "coro/signals.h"
#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

// The job of `story`, seen after it has begun to wait; then it is cancelled.
struct seen {
    std::vector<live_job> lines;
    std::string text;
    std::string json;

    const wait_description& wait(std::size_t line = 0) const { return lines.at(line).wait; }
};

seen look_at(loop& on, task<void> story, const std::function<void()>& before_the_end = {}) {
    seen found;
    hand_job<void> waits(on, std::move(story));
    waits.start();
    std::exception_ptr failure;
    try {
        found.lines = live_jobs(on);
        found.text = dump_tasks(on);
        found.json = dump_tasks_json(on);
    } catch (const std::bad_alloc&) {
        failure = std::current_exception();
    }
    if (before_the_end) {
        before_the_end();
    }
    waits.cancel();
    (void)waits.finish();
    if (failure) {
        std::rethrow_exception(failure);
    }
    CHECK(live_jobs(on).size() == 1);  // `waits` itself
    return found;
}

task<void> wait_for_event(event& of) { co_await of.wait(); }
task<int> seven_after(event& of) {
    co_await of.wait();
    co_return 7;
}

task<int> eight() { co_return 8; }

// The line on which this is called, less `lines`.
unsigned line_before(unsigned lines, unsigned line = __builtin_LINE()) { return line - lines; }

}  // namespace

TEST_SUITE_BEGIN("coro dump");

TEST_CASE("a loop without tasks has an empty dump") {
    loop on;
    CHECK(live_jobs(on).empty());
    CHECK(dump_tasks(on).find("0 live tasks, 0 operations, 0 timers, driver " + driver_name()) ==
          0);
    CHECK(contains(dump_tasks_json(on), "\"tasks\": []}"));
}

TEST_CASE("a sleep says when it ends, and how long it has waited") {
    loop on;
    const auto story = []() -> task<void> { co_await sleep_for(3600s); };
    const seen found = look_at(on, story());
    REQUIRE(found.lines.size() == 1);
    CHECK(found.lines[0].waits);
    CHECK(std::string(found.wait().kind) == "sleep");
    CHECK(found.wait().until > on.now() + 3'000'000'000'000);
    CHECK(contains(found.text, "- task, waits 0.0"));
    CHECK(contains(found.text, " s for sleep, at most 3"));
    CHECK(contains(found.json, "\"kind\": \"sleep\""));
    CHECK(contains(found.json, "\"ends_in_s\": 3"));
}

TEST_CASE("since when a task waits is the loop's time at the begin of the wait") {
    loop on;
    event never;
    hand_job<void> waits(on, wait_for_event(never));
    waits.start();
    const instant begin = waits.since();
    CHECK(begin == on.now());
    timer late([](timer&) noexcept {});
    on.start_timer(late, on.read_clock() + 20'000'000);
    CHECK(run_until(on, [&] { return !late.pending(); }));
    CHECK(waits.since() == begin);
    CHECK(on.read_clock() - begin >= 20'000'000);
    CHECK_FALSE(contains(dump_tasks(on), "waits 0.00 s"));
    waits.cancel();
    (void)waits.finish();
}

TEST_CASE("semaphore, mutex, event, channel, future and callback each have their name") {
    loop on;
    semaphore none(0);
    const auto acquire = [](semaphore& of) -> task<void> { (void)co_await of.acquire(); };
    CHECK(std::string(look_at(on, acquire(none)).wait().kind) == "semaphore");

    mutex taken;
    {
        const mutex::guard held = taken.try_lock();
        const auto lock = [](mutex& of) -> task<void> { (void)co_await of.lock(); };
        CHECK(std::string(look_at(on, lock(taken)).wait().kind) == "mutex");
    }
    event never;
    CHECK(std::string(look_at(on, wait_for_event(never)).wait().kind) == "event");

    channel<int> values(0);
    const auto send = [](channel<int>& to) -> task<void> { co_await to.send(1); };
    const auto receive = [](channel<int>& from) -> task<void> { (void)co_await from.receive(); };
    CHECK(std::string(look_at(on, send(values)).wait().kind) == "channel send");
    CHECK(std::string(look_at(on, receive(values)).wait().kind) == "channel receive");

    promise<int> later(on);
    future<int> comes = later.get_future();
    const auto await_it = [](future<int>& of) -> task<void> { (void)co_await of; };
    CHECK(std::string(look_at(on, await_it(comes)).wait().kind) == "future");

    const auto call = [](std::optional<done_callback<int>>& kept) -> task<void> {
        (void)co_await from_callback<int>([&kept](done_callback<int> done) { kept.emplace(done); });
    };
    std::optional<done_callback<int>> kept;
    const seen found = look_at(on, call(kept), [&] { (*kept)(1); });
    CHECK(std::string(found.wait().kind) == "callback");
}

TEST_CASE("a signal stream names its signals") {
    loop on;
    {
        signals watched(on, {SIGUSR1, SIGHUP, SIGRTMIN + 3});
        const auto next = [](signals& of) -> task<void> { (void)co_await of.next(); };
        const seen found = look_at(on, next(watched));
        CHECK(std::string(found.wait().kind) == "signal");
        CHECK(found.wait().detail == "SIGHUP, SIGUSR1, " + std::to_string(SIGRTMIN + 3));
    }
    CHECK(run_until_idle(on));
}

TEST_CASE("an operation is named by what it asks for, with its descriptor") {
    loop on;
    silence quiet(on);
    bool ended = false;
    const seen found = look_at(on, receive_nothing(quiet.fd(), &ended));
    CHECK(std::string(found.wait().kind) == "receive");
    CHECK(found.wait().descriptor == quiet.fd());
    CHECK(contains(found.text, (", descriptor " + std::to_string(quiet.fd())).c_str()));

    const auto poll = [](loop& owner, int fd) -> task<void> {
        operation_wait polled(owner);
        polled.prepare_poll(fd, 1, false);
        (void)co_await polled;
    };
    CHECK(std::string(look_at(on, poll(on, quiet.fd())).wait().kind) == "poll");
}

TEST_CASE("what has been woken is ready, and who asks is running") {
    loop on;
    const auto yield = []() -> task<void> { co_await yield_now(); };
    CHECK(std::string(look_at(on, yield()).wait().kind) == "ready");

    std::string mine;
    const auto ask = [](loop& owner, std::string& to) -> task<void> {
        to = dump_tasks(owner);
        co_return;
    };
    run(on, ask(on, mine));
    CHECK(contains(mine, "1 live tasks"));
    CHECK(contains(mine, "tests/coro") == false);
    CHECK(contains(mine, "coro/dump_test.cpp:"));
    CHECK(contains(mine, ", running, or in an await"));
}

TEST_CASE("gather, race and with_timeout are told with their children below them") {
    loop on;
    event never;
    unsigned line = 0;
    const auto gathers = [](event& of, unsigned& at) -> task<void> {
        at = line_before(0) + 1;
        co_await gather(wait_for_event(of), seven_after(of));
    };
    const seen all = look_at(on, gathers(never, line));
    REQUIRE(all.lines.size() == 3);
    CHECK(std::string(all.wait().kind) == "gather");
    CHECK(all.wait().detail == "2 children");
    for (const std::size_t child : {1U, 2U}) {
        CHECK(all.lines[child].depth == 1);
        CHECK(std::string(all.wait(child).kind) == "event");
    }
    const std::string place = "coro/dump_test.cpp:" + std::to_string(line);
    CHECK(contains(all.text, ("\n  - task, spawned at " + place).c_str()));

    const auto races = [](event& of) -> task<void> {
        std::vector<task<void>> both;
        both.push_back(wait_for_event(of));
        both.push_back(wait_for_event(of));
        (void)co_await race(std::move(both));
    };
    const seen first = look_at(on, races(never));
    CHECK(first.lines.size() == 3);
    CHECK(std::string(first.wait().kind) == "race");

    const auto times = [](event& of) -> task<void> {
        co_await with_timeout(3600s, wait_for_event(of));
    };
    const seen timed = look_at(on, times(never));
    REQUIRE(timed.lines.size() == 2);
    CHECK(std::string(timed.wait().kind) == "with_timeout");
    CHECK(timed.wait().detail == "1 child");
    CHECK(timed.wait().until > on.now());
    CHECK(timed.lines[1].depth == 1);
}

TEST_CASE("a joined scope is the parent of its children, an unjoined one has none") {
    loop on;
    event never;
    const auto nested = [](event& of) -> task<void> {
        co_await scoped([&of](scope& outer) -> task<void> {
            outer.spawn(wait_for_event(of));
            co_await scoped([&of](scope& inner) -> task<void> {
                inner.spawn(wait_for_event(of));
                co_return;
            });
        });
    };
    const seen found = look_at(on, nested(never));
    REQUIRE(found.lines.size() == 4);  // the job, the body, the child, the inner child
    CHECK(std::string(found.wait().kind) == "join");
    CHECK(found.wait().detail == "2 children");
    CHECK(found.lines[1].depth == 1);
    CHECK(found.lines[1].wait.detail == "1 child");
    CHECK(found.lines[2].depth == 2);
    CHECK(found.lines[3].depth == 1);

    scope kept(on);
    kept.spawn(wait_for_event(never));
    REQUIRE(live_jobs(on).size() == 1);
    CHECK(live_jobs(on)[0].depth == 0);
    const auto join = [](scope& of) -> task<void> { co_await of.join(); };
    const seen joined = look_at(on, join(kept));
    REQUIRE(joined.lines.size() == 2);
    CHECK(std::string(joined.wait(0).kind) == "join");
    CHECK(std::string(joined.wait(1).kind) == "event");
    CHECK(joined.lines[1].depth == 1);
}

TEST_CASE("workers of fan_out and as_completed were spawned where that was called") {
    loop on;
    event never;
    unsigned line = 0;
    const auto fans = [](event& of, unsigned& at) -> task<void> {
        std::vector<int> items{1, 2, 3};
        auto wait = [&of](int) { return wait_for_event(of); };
        at = line_before(0) + 1;
        co_await fan_out(items, 2, wait);
    };
    const seen found = look_at(on, fans(never, line));
    REQUIRE(found.lines.size() == 3);
    CHECK(contains(found.text, ("\n  - task, spawned at coro/dump_test.cpp:" +
                                std::to_string(line) + ", waits").c_str()));
    CHECK(found.lines[2].depth == 1);

    const auto completes = [](event& of) -> task<void> {
        std::vector<task<int>> roots;
        roots.push_back(seven_after(of));
        co_await as_completed(std::move(roots), [](std::size_t, int) {});
    };
    CHECK(look_at(on, completes(never)).lines.size() == 2);
}

TEST_CASE("detached jobs are told, and a cancelled one says so") {
    loop on;
    event never;
    future<int> comes = to_future(on, seven_after(never));
    to_callback(on, wait_for_event(never), [](outcome<void>) {});
    REQUIRE(live_jobs(on).size() == 2);
    CHECK(std::string(live_jobs(on)[0].which->spawned().file).find("dump_test") !=
          std::string::npos);
    const auto stubborn = [](event& of) -> task<void> {
        try {
            co_await of.wait();
        } catch (const cancelled&) {
        }
    };
    hand_job<void> told(on, stubborn(never));
    told.start();
    told.cancel();
    const std::string text = dump_tasks(on);
    CHECK(contains(text, "for ready; cancelled\n"));
    (void)told.finish();
    finish_detached(on);
}

TEST_CASE("what a text brings in is escaped in the JSON") {
    struct odd final : job {
        explicit odd(ringlet::loop& on) : job(on, {"a\"b\\c\x01\n", 7}) {}
        std::string describe() const override { return "\"quoted\"\t"; }
        void root_finished() noexcept override {}
    };
    loop on;
    const odd one(on);
    const std::string json = dump_tasks_json(on);
    CHECK(contains(json, "\"file\": \"a\\\"b\\\\c\\u0001\\u000a\", \"line\": 7}"));
    CHECK(contains(json, "\"what\": \"\\\"quoted\\\"\\u0009\""));
    CHECK(contains(json, "\"parent\": null"));
    CHECK(contains(json, "\"waits\": null"));
    CHECK(contains(dump_tasks(on), "- \"quoted\"?, spawned at a\"b\\c??:7,"));
}

TEST_CASE("bytes that are no UTF-8 are replaced in the JSON, each by itself") {
    struct odd final : job {
        explicit odd(ringlet::loop& on) : job(on, {}) {}
        std::string describe() const override { return text; }
        void root_finished() noexcept override {}
        std::string text;
    };
    const std::string put = "\\ufffd";
    const std::pair<std::string, std::string> cases[] = {
        {"a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z", "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z"},
        {"a\xe4z", "a" + put + "z"},
        {"\xc3", put},
        {"\x80\xbf", put + put},
        {"\xe2\x82", put + put},
        {"\xc0\xaf", put + put},                  // longer than need be
        {"\xe0\x9f\xbf", put + put + put},
        {"\xed\xa0\x80", put + put + put},        // a half of a pair
        {"\xf0\x8f\xbf\xbf", put + put + put + put},
        {"\xf4\x90\x80\x80", put + put + put + put},  // above the last one
        {"\xf5\xff\xfe", put + put + put},
        {"\x7f", "\x7f"}};
    loop on;
    odd one(on);
    for (const auto& [said, told] : cases) {
        one.text = said;
        CHECK(contains(dump_tasks_json(on), ("\"what\": \"" + told + "\"").c_str()));
    }
}

TEST_CASE("jobs that are each other's parents are told once each") {
    struct knot final : job {
        explicit knot(ringlet::loop& on) : job(on) {}
        const job* parent() const noexcept override { return other; }
        void root_finished() noexcept override {}
        const job* other = nullptr;
    };
    loop on;
    knot one(on);
    knot two(on);
    one.other = &two;
    two.other = &one;
    const std::vector<live_job> lines = live_jobs(on);
    REQUIRE(lines.size() == 2);
    CHECK(lines[0].which != lines[1].which);
}

TEST_CASE("a job may outlive its loop's list, and a thousand are told in a moment") {
    auto on = std::make_unique<loop>();
    struct idle final : job {
        using job::job;
        void root_finished() noexcept override {}
    };
    std::vector<std::unique_ptr<idle>> many;
    for (int i = 0; i < 1000; ++i) {
        many.push_back(std::make_unique<idle>(*on));
    }
    CHECK(live_jobs(*on).size() == 1000);
    many.erase(many.begin() + 100, many.begin() + 600);
    CHECK(live_jobs(*on).size() == 500);
    on.reset();
}

TEST_CASE("a signal writes the dump on stderr") {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const int kept = ::dup(STDERR_FILENO);
    {
        loop on;
        event never;
        hand_job<void> waits(on, wait_for_event(never));
        waits.start();
        const dump_on_signal asked(on);
        ::dup2(ends[1], STDERR_FILENO);
        ::kill(::getpid(), SIGUSR1);
        struct come : timer {
            come() : timer([](timer&) noexcept {}) {}
        } limit;
        on.start_timer(limit, on.read_clock() + 200'000'000);
        run_until(on, [&] { return !limit.pending(); });
        ::dup2(kept, STDERR_FILENO);
        waits.cancel();
        (void)waits.finish();
    }
    ::close(ends[1]);
    char text[512] = {};
    CHECK(::read(ends[0], text, sizeof text - 1) > 0);
    CHECK(contains(text, "1 live tasks, 1 operations"));
    CHECK(contains(text, "for event\n"));
    ::close(ends[0]);
    ::close(kept);
}

TEST_CASE("a fiber is a line of its own, with the place of run_fiber and what it waits for") {
    loop on;
    event never;
    const unsigned here = line_before(0);
    auto plain = [&] { await(gather(wait_for_event(never), wait_for_event(never))); };
    const seen found = look_at(on, run_fiber(plain));
    REQUIRE(found.lines.size() == 4);
    CHECK(found.wait(0).kind == std::string("fiber"));
    CHECK(found.lines[1].depth == 1);
    CHECK(found.wait(1).kind == std::string("gather"));
    CHECK(found.lines[2].depth == 2);
    CHECK(found.wait(3).kind == std::string("event"));
    auto spawned = [here](const char* what, unsigned line) {
        return "- " + std::string(what) +
               ", spawned at coro/dump_test.cpp:" + std::to_string(here + line) + ",";
    };
    CHECK(contains(found.text, spawned("fiber", 2).c_str()));
    CHECK(contains(found.text, spawned("task", 1).c_str()));
}

TEST_CASE("the jobs of a pipeline were spawned where it was written") {
    loop on;
    event never;
    auto wait = [&never](int number) { return number == 0 ? seven_after(never) : eight(); };
    const std::vector<int> numbers{0, 1, 2, 3};
    const unsigned here = line_before(0);
    task<void> story = from(numbers) | parallel(3, wait, ordered) | for_each([](int) {});
    const seen found = look_at(on, std::move(story));
    REQUIRE(found.lines.size() == 5);  // the pipeline, its source and three items
    CHECK(found.wait(0).kind == std::string("join"));
    CHECK(contains(found.text, "turn in a pipeline"));
    const std::string place = "spawned at coro/dump_test.cpp:" + std::to_string(here + 1) + ",";
    std::size_t times = 0;
    for (std::size_t at = 0; (at = found.text.find(place, at)) != std::string::npos; ++at) {
        ++times;
    }
    CHECK(times == 4);
}

TEST_SUITE_END();
