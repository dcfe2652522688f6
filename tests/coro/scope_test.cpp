#include "coro/scope.h"

#include "coro/event.h"
#include "coro/semaphore.h"
#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

task<void> log_after(int passes, std::string& log, char name) {
    const counted held;
    for (int i = 0; i < passes; ++i) {
        co_await yield_now();
    }
    log += name;
}

task<void> wait_for(event& of) {
    const counted held;
    co_await of.wait();
}

task<void> log_cancel(event& never, std::string& log) {
    const counted held;
    try {
        co_await never.wait();
    } catch (const cancelled&) {
        log += "cancelled ";
        throw;
    }
}

// Each child spawns the next before it waits.
task<void> spawn_chain(scope& in, int left) {
    const counted held;
    if (left > 0) {
        in.spawn(spawn_chain(in, left - 1));
    }
    co_await yield_now();
}

// What a server looks like: a scope that lives in an object.
class server {
public:
    explicit server(loop& on) : children_(on) {}
    void take(task<void> connection) { children_.spawn(std::move(connection)); }
    task<void> shut_down() {
        children_.cancel();
        co_await children_.join();
    }
    std::size_t open() const { return children_.size(); }

private:
    scope children_;
};

}  // namespace

TEST_SUITE_BEGIN("coro scope");

TEST_CASE("scoped waits for the body and for everything it spawned") {
    no_leaks check;
    std::string log;
    auto story = [](std::string& all) -> task<void> {
        co_await scoped([&all](scope& children) -> task<void> {
            const counted held;
            children.spawn(log_after(3, all, 'c'));
            children.spawn(log_after(0, all, 'a'));
            children.spawn(log_after(1, all, 'b'));
            CHECK(children.size() == 3);  // with the body, without the one that has ended
            all += '.';
            co_await yield_now();
        });
        all += '!';
    };
    play(story(log));
    CHECK(log == "a.bc!");
}

TEST_CASE("a body without children, and children of children") {
    no_leaks check;
    auto story = []() -> task<void> {
        co_await scoped([](scope&) -> task<void> { co_return; });
        co_await scoped([](scope& in) -> task<void> {
            in.spawn(spawn_chain(in, 200));
            co_return;
        });
    };
    play(story());
}

TEST_CASE("the first child that fails cancels body and children, all are waited for") {
    no_leaks check;
    std::string log;
    event never;
    auto story = [&]() -> task<void> {
        co_await scoped([&](scope& children) -> task<void> {
            children.spawn(log_cancel(never, log));
            children.spawn(fail_void_after(2, "first"));
            children.spawn(fail_void_after(3, "second"));
            co_await log_cancel(never, log);
        });
    };
    CHECK(ending_of(story()) == "first");
    CHECK(log == "cancelled cancelled ");
}

TEST_CASE("a body that fails cancels its children") {
    no_leaks check;
    std::string log;
    event never;
    auto story = [&]() -> task<void> {
        co_await scoped([&](scope& children) -> task<void> {
            children.spawn(log_cancel(never, log));
            co_await yield_now();
            throw std::runtime_error("the body");
        });
    };
    CHECK(ending_of(story()) == "the body");
    CHECK(log == "cancelled ");
}

TEST_CASE("a child that fails inside spawn cancels the rest; later spawns do not start") {
    no_leaks check;
    bool started = false;
    event never;
    auto sets = [](bool& flag, counted) -> task<void> {
        flag = true;
        co_return;
    };
    auto story = [&]() -> task<void> {
        co_await scoped([&](scope& children) -> task<void> {
            children.spawn(wait_for(never));
            children.spawn(fail_void_after(0, "at once"));
            CHECK(children.is_cancelled());
            children.spawn(sets(started, counted()));
            co_return;
        });
    };
    CHECK(ending_of(story()) == "at once");
    CHECK_FALSE(started);
}

TEST_CASE("a scope that cancels itself ends well") {
    no_leaks check;
    std::string log;
    event never;
    auto story = [&]() -> task<void> {
        co_await scoped([&](scope& children) -> task<void> {
            children.spawn(log_cancel(never, log));
            children.cancel();
            co_await log_cancel(never, log);
        });
        log += "went on";
    };
    CHECK(ending_of(story()) == "value");
    CHECK(log == "cancelled cancelled went on");
}

TEST_CASE("a cancel from outside reaches operations in flight and waits for them") {
    no_leaks check;
    loop on;
    {
        silence quiet(on);
        bool ended = false;
        auto story = [](int fd, bool* flag) -> task<void> {
            co_await scoped([&](scope& children) -> task<void> {
                children.spawn(receive_nothing(fd, flag));
                co_return;
            });
        };
        hand_job<void> job(on, story(quiet.fd(), &ended));
        job.start();
        on.run_once(false);
        job.cancel();
        CHECK_FALSE(job.finished());
        CHECK(ending(job.finish()) == "cancelled");
        CHECK(ended);
    }
}

TEST_CASE("a timeout around a scope waits for the children before it throws") {
    no_leaks check;
    std::string log;
    event never;
    auto story = [&]() -> task<void> {
        co_await with_timeout(1ms, scoped([&](scope& children) -> task<void> {
            children.spawn(log_cancel(never, log));
            children.spawn(log_cancel(never, log));
            co_return;
        }));
    };
    CHECK(contains(ending_of(story()), "the deadline passed"));
    CHECK(log == "cancelled cancelled ");
}

TEST_CASE("a cancel that cuts nothing short is not told by the join") {
    no_leaks check;
    loop on;
    event ready;
    auto story = [&]() -> task<void> {
        co_await scoped([&](scope& children) -> task<void> {
            children.spawn(wait_for(ready));
            co_return;
        });
    };
    hand_job<void> job(on, story());
    job.start();
    ready.set();
    job.cancel();
    CHECK(ending(job.finish()) == "value");
}

TEST_CASE("a long-lived scope takes children, is cancelled, joined and used again") {
    no_leaks check;
    std::string log;
    event never;
    auto story = [&](loop& on) -> task<void> {
        server serving(on);
        serving.take(log_cancel(never, log));
        serving.take(log_after(0, log, 'x'));
        CHECK(serving.open() == 1);
        co_await serving.shut_down();
        CHECK(serving.open() == 0);
        CHECK(log == "xcancelled ");
        serving.take(log_after(1, log, 'y'));
        CHECK(serving.open() == 1);
        co_await serving.shut_down();
        co_await serving.shut_down();  // nothing to wait for
    };
    loop on;
    run(on, story(on));
    CHECK(log == "xcancelled y");
}

TEST_CASE("the first failure in a long-lived scope is kept for its join and told once") {
    no_leaks check;
    std::string log;
    event never;
    auto story = [&](loop& on) -> task<void> {
        scope children(on);
        children.spawn(log_cancel(never, log));
        children.spawn(fail_void_after(1, "kept"));
        while (children.size() > 0) {
            co_await yield_now();
        }
        std::string met;
        try {
            co_await children.join();
        } catch (const std::runtime_error& failure) {
            met = failure.what();
        }
        CHECK(met == "kept");
        CHECK_FALSE(children.is_cancelled());
        co_await children.join();
    };
    loop on;
    run(on, story(on));
    CHECK(log == "cancelled ");
}

TEST_CASE("joining in a job that is cancelled already cancels the children and waits for them") {
    no_leaks check;
    loop on;
    scope children(on);
    std::string log;
    event never;
    children.spawn(log_cancel(never, log));
    auto story = [&]() -> task<void> { co_await children.join(); };
    hand_job<void> joiner(on, story());
    joiner.cancel();
    joiner.start();
    CHECK_FALSE(joiner.finished());
    CHECK(ending(joiner.finish()) == "cancelled");
    CHECK(log == "cancelled ");
}

TEST_CASE("a child may spawn, and cancel its scope, while it ends") {
    no_leaks check;
    std::string log;
    struct spawns_when_destroyed {
        spawns_when_destroyed(scope& to, std::string& told) : in(&to), all(&told) {}
        spawns_when_destroyed(spawns_when_destroyed&& other) noexcept
            : in(std::exchange(other.in, nullptr)), all(other.all) {}
        ~spawns_when_destroyed() {
            if (in != nullptr) {
                in->spawn(log_after(1, *all, 's'));
            }
        }
        scope* in;
        std::string* all;
    };
    auto child = [](spawns_when_destroyed) -> task<void> { co_await yield_now(); };
    auto story = [&](loop& on) -> task<void> {
        scope children(on);
        children.spawn(child(spawns_when_destroyed(children, log)));
        co_await children.join();
        CHECK(log == "s");
    };
    loop on;
    run(on, story(on));
}

TEST_CASE("ten thousand children cost no more than their frames") {
    no_leaks check;
    int done = 0;
    auto child = [](int& count) -> task<void> {
        co_await yield_now();
        ++count;
    };
    auto story = [&]() -> task<void> {
        co_await scoped([&](scope& children) -> task<void> {
            for (int i = 0; i < 10'000; ++i) {
                children.spawn(child(done));
            }
            co_return;
        });
    };
    play(story());
    CHECK(done == 10'000);
}

TEST_CASE("mistakes with scopes end the program with a sentence") {
    CHECK(contains(last_words([] {
                       loop on;
                       event never;
                       scope children(on);
                       children.spawn(wait_for(never));
                   }),
                   "a scope was destroyed while its children live"));
    CHECK(contains(last_words([] {
                       loop on;
                       scope children(on);
                       children.spawn({});
                   }),
                   "an empty task was spawned"));
    CHECK(contains(last_words([] {
                       loop on;
                       event never;
                       scope children(on);
                       children.spawn(wait_for(never));
                       auto joins = [](scope& all) -> task<void> { co_await all.join(); };
                       hand_job<void> first(on, joins(children));
                       hand_job<void> second(on, joins(children));
                       first.start();
                       second.start();
                   }),
                   "joined twice"));
}

TEST_SUITE_END();
