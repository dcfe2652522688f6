#include "coro/callback.h"

#include <functional>
#include <optional>
#include <system_error>

#include "coro/event.h"
#include "coro/scope.h"
#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

// An API in the old style: remembers whom to tell.
class old_api {
public:
    template <class Done>
    void ask(Done done) {
        tell_ = [done](int value) { done(value); };
        refuse_ = [done](std::error_code code) { done.fail(code); };
        ++asked;
    }
    void answer(int value) { std::exchange(tell_, nullptr)(value); }
    void refuse(std::error_code code) { std::exchange(refuse_, nullptr)(code); }

    int asked = 0;

private:
    std::function<void(int)> tell_;
    std::function<void(std::error_code)> refuse_;
};

task<int> ask(old_api& api) {
    const counted held;
    const int value = co_await from_callback<int>([&api](auto done) { api.ask(done); });
    co_return value;
}

task<int> ask_with_cancel(old_api& api) {
    const counted held;
    const int value = co_await from_callback<int>(
        [&api](auto done) { api.ask(done); },
        [&api] { api.refuse(std::make_error_code(std::errc::operation_canceled)); });
    co_return value;
}

task<counted> wait_for(event& of, int number) {
    const counted held;
    co_await of.wait();
    co_return counted(number);
}

}  // namespace

TEST_SUITE_BEGIN("coro callback");

TEST_CASE("to_callback tells how the task ended, from the loop") {
    no_leaks check;
    loop on;
    std::string log;
    const auto tell = [&log](outcome<counted> result) { log += ending(std::move(result)) + ' '; };
    to_callback(on, after(0, 1), tell);
    CHECK(log.empty());
    to_callback(on, fail_after(0, "failed"), tell);
    to_callback(on, after(2, 1), tell);
    CHECK(run_until(on, [&] { return log == "value failed value "; }, 20));
}

TEST_CASE("to_callback takes tasks of void and callbacks that move only") {
    no_leaks check;
    loop on;
    bool told = false;
    to_callback(on, wait_passes(1),
                [&told, kept = std::make_unique<counted>()](outcome<void> result) {
                    told = result.has_value() && kept != nullptr;
                });
    finish_detached(on);
    CHECK(told);
}

TEST_CASE("a job that is cancelled by what its wait begins with is told") {
    no_leaks check;
    loop on;
    bool asked = false;
    const auto story = [](loop& owner, bool& told) -> task<void> {
        std::optional<done_callback<int>> done;
        scope all(owner);
        auto start = [&](done_callback<int> given) {
            done = given;
            all.cancel();
        };
        auto cancel = [&]() noexcept {
            told = true;
            done->fail(system_code(ECANCELED));
        };
        auto wait = [](auto& first, auto& second) -> task<void> {
            co_await from_callback<int>(std::ref(first), std::ref(second));
        };
        all.spawn(wait(start, cancel));
        co_await all.join();
    };
    run(on, story(on, asked));
    CHECK(asked);
}

TEST_CASE("starting an empty task ends the program with a sentence") {
    CHECK(contains(last_words([] {
                       loop on;
                       (void)to_future(on, task<int>());
                   }),
                   "an empty task was started"));
}

TEST_CASE("to_future gives the result of a task to coroutines and to callbacks") {
    no_leaks check;
    loop on;
    future<counted> at_once = to_future(on, after(0, 1));
    CHECK(at_once.ready());
    future<counted> later = to_future(on, after(2, 2));
    CHECK_FALSE(later.ready());
    auto both = [](future<counted> first, future<counted> second) -> task<int> {
        const counted one = co_await first;
        const counted two = co_await to_task(std::move(second));
        co_return one.number() * 10 + two.number();
    };
    CHECK(run(on, both(std::move(at_once), std::move(later))) == 12);
    std::string log;
    const future<void> ended = to_future(on, fail_after(1, "failed"))
                                   .then([&log](outcome<counted> result) {
                                       log = ending(std::move(result));
                                   });
    finish_detached(on);
    CHECK(log == "failed");
}

TEST_CASE("a future whose reader is gone still lets its task end") {
    no_leaks check;
    loop on;
    event ready;
    { const future<counted> dropped = to_future(on, wait_for(ready, 1)); }
    CHECK(counted::live == 1);
    ready.set();
    finish_detached(on);
}

TEST_CASE("a task that run cancels at its end breaks no promise: the future is cancelled") {
    no_leaks check;
    event never;
    loop on;
    future<counted> left;
    auto story = [&]() -> task<void> {
        left = to_future(on, wait_for(never, 1));
        co_return;
    };
    run(on, story());
    REQUIRE(left.ready());
    CHECK(ending_of(to_task(std::move(left))) == "cancelled");
}

TEST_CASE("from_callback waits until `done` is called, later") {
    no_leaks check;
    loop on;
    old_api api;
    hand_job<int> story(on, ask(api));
    story.start();
    CHECK(api.asked == 1);
    CHECK_FALSE(story.finished());
    api.answer(5);
    CHECK_FALSE(story.finished());  // not inside done
    CHECK(story.finish().get() == 5);
}

TEST_CASE("from_callback takes a `done` that is called at once, with nothing for void") {
    no_leaks check;
    auto story = []() -> task<int> {
        co_await from_callback<void>([](auto done) { done(); });
        const std::string text =
            co_await from_callback<std::string>([](auto done) { done("five5"); });
        int sum = static_cast<int>(text.size());
        for (int i = 0; i < 1000; ++i) {
            sum += co_await from_callback<int>([i](auto done) { done(i); });
        }
        co_return sum;
    };
    CHECK(play(story()) == 5 + 1000 * 999 / 2);
}

TEST_CASE("failures come as exceptions: told by the API, or thrown by the start") {
    no_leaks check;
    loop on;
    old_api api;
    hand_job<int> refused(on, ask(api));
    refused.start();
    api.refuse(std::make_error_code(std::errc::permission_denied));
    CHECK(contains(ending(refused.finish()), "Permission denied"));
    auto told = []() -> task<void> {
        co_await from_callback<void>([](auto done) {
            done.fail(std::make_exception_ptr(std::runtime_error("told")));
        });
    };
    CHECK(ending_of(told()) == "told");
    auto thrown = []() -> task<void> {
        const counted held;
        co_await from_callback<void>([](auto) { throw std::runtime_error("thrown"); });
    };
    CHECK(ending_of(thrown()) == "thrown");
}

TEST_CASE("without a way to cancel the API the wait goes on until `done`, and gives its value") {
    no_leaks check;
    loop on;
    old_api api;
    hand_job<int> story(on, ask(api));
    story.start();
    story.cancel();
    on.run_once(false);
    on.run_once(false);
    CHECK_FALSE(story.finished());
    api.answer(3);
    CHECK(story.finish().get() == 3);
}

TEST_CASE("with a way to cancel it is called, and the wait ends when the API says so") {
    no_leaks check;
    loop on;
    old_api api;
    hand_job<int> story(on, ask_with_cancel(api));
    story.start();
    story.cancel();
    CHECK_FALSE(story.finished());
    CHECK(ending(story.finish()) == "cancelled");
    hand_job<int> too_late(on, ask_with_cancel(api));
    too_late.start();
    api.answer(8);
    too_late.cancel();  // the API is not asked any more
    CHECK(too_late.finish().get() == 8);
}

TEST_CASE("a cancelled job does not start the API at all") {
    no_leaks check;
    loop on;
    old_api api;
    hand_job<int> story(on, ask(api));
    story.cancel();
    story.start();
    CHECK(ending(story.finish()) == "cancelled");
    CHECK(api.asked == 0);
}

TEST_CASE("a `done` that is called twice ends the program with a sentence") {
    CHECK(contains(last_words([] {
                       auto story = []() -> task<void> {
                           co_await from_callback<int>([](auto done) {
                               done(1);
                               done(2);
                           });
                       };
                       play(story());
                   }),
                   "a callback was called twice"));
}

TEST_SUITE_END();
