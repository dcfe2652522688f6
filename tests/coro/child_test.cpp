#include "coro/child.h"

#include "coro/event.h"
#include "coro/gather.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

// Two children; notes who ended how.
class pair_wait final : public detail::fork_wait<pair_wait> {
public:
    static constexpr const char* wait_name = "pair";

    pair_wait(task<counted> first, task<counted> second, std::string& log)
        : branches_{detail::branch<counted>(std::move(first)),
                    detail::branch<counted>(std::move(second))},
          log_(log) {}

    int await_resume() {
        if (never_started()) {
            throw cancelled();
        }
        return branches_[0].take().number() + branches_[1].take().number();
    }
    void start_children(loop& where) {
        for (detail::branch<counted>& each : branches_) {
            add_child();
            each.start(where, *this, site());
        }
    }
    void cancel_children() noexcept {
        for (detail::branch<counted>& each : branches_) {
            each.cancel();
        }
    }

private:
    void child_finished(job& child, const std::exception_ptr& failure) noexcept override {
        log_ += branches_[0].is(&child) ? "first " : "second ";
        log_ += detail::cut_short(child, failure) ? "cut " : failure ? "failed " : "ended ";
        child_ended();
    }

    detail::branch<counted> branches_[2];
    std::string& log_;
};

task<int> both(task<counted> first, task<counted> second, std::string& log) {
    co_return co_await pair_wait(std::move(first), std::move(second), log);
}

task<counted> throw_cancelled() {
    throw cancelled();
    co_return counted();
}

}  // namespace

TEST_SUITE_BEGIN("coro child");

TEST_CASE("children that end at once, later or both end the wait with their last") {
    no_leaks check;
    for (const auto& [first, second] : {std::pair{0, 0}, {0, 3}, {3, 0}, {2, 3}, {3, 2}}) {
        std::string log;
        CHECK(play(both(after(first, 10), after(second, 20), log)) == 30);
        CHECK(log == (first <= second ? "first ended second ended " : "second ended first ended "));
    }
}

TEST_CASE("cancelling the wait cancels the children and waits for both") {
    no_leaks check;
    loop on;
    std::string log;
    hand_job<int> story(on, both(after(1'000'000, 1), after(1'000'000, 2), log));
    story.start();
    on.run_once(false);
    story.cancel();
    CHECK(log.empty());
    CHECK(ending(story.finish()) == "cancelled");
    CHECK(log == "first cut second cut ");
}

TEST_CASE("a wait in a cancelled job starts no child and destroys their tasks") {
    no_leaks check;
    loop on;
    std::string log;
    hand_job<int> story(on, both(after(0, 1), after(0, 2), log));
    story.cancel();
    story.start();
    CHECK(ending(story.finish()) == "cancelled");
    CHECK(log.empty());
}

TEST_CASE("a child that cancels the waiting job while children are started cancels them all") {
    no_leaks check;
    loop on;
    std::string log;
    hand_job<int>* waiting = nullptr;
    auto cancels = [](hand_job<int>*& job) -> task<counted> {
        job->cancel();
        co_await sleep_until(INT64_MAX);
        co_return counted(1);
    };
    hand_job<int> story(on, both(cancels(waiting), after(1'000'000, 2), log));
    waiting = &story;
    story.start();
    CHECK(ending(story.finish()) == "cancelled");
    CHECK(log == "second cut first cut ");  // the second was in the ready queue already
}

TEST_CASE("`cancelled` thrown by a child that nobody cancelled is a failure like any other") {
    no_leaks check;
    loop on;
    std::string log;
    hand_job<int> story(on, both(throw_cancelled(), after(1, 2), log));
    story.start();
    CHECK(ending(story.finish()) == "cancelled");
    CHECK(log == "first failed second ended ");
}

TEST_CASE("destroying a wait whose children live ends the program with a sentence") {
    const std::string words = last_words([] {
        loop on;
        event never;
        auto waits = [](event& of) -> task<void> { co_await of.wait(); };
        auto story = [&]() -> task<void> { co_await gather(waits(never), waits(never)); };
        hand_job<void> owner(on, story());
        owner.start();
    });
    CHECK(contains(words, "was destroyed while"));
}

TEST_SUITE_END();
