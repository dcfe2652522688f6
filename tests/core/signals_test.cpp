#include "core/signals.h"

#include <doctest/doctest.h>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "tests/support/support.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

struct told {
    std::vector<int> numbers;
    std::unique_ptr<signal_watch>* to_destroy = nullptr;
};

void note(void* context, int number) noexcept {
    auto& to = *static_cast<told*>(context);
    to.numbers.push_back(number);
    if (to.to_destroy != nullptr) {
        to.to_destroy->reset();
    }
}

bool blocked(int number) {
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return sigismember(&mask, number) == 1;
}

std::string refusal(loop& owner, std::initializer_list<int> numbers) {
    told notes;
    try {
        signal_watch(owner, numbers, &note, &notes);
    } catch (const error& failure) {
        return failure.what();
    }
    return {};
}

}  // namespace

TEST_CASE("a signal is told to the callback, and the mask is as before when the watch has gone") {
    const int before = open_descriptors();
    {
        loop owner(options_with_seed(seed()));
        told notes;
        REQUIRE(!blocked(SIGUSR1));
        {
            signal_watch watch(owner, {SIGUSR1, SIGUSR2}, &note, &notes);
            CHECK(blocked(SIGUSR1));
            CHECK(blocked(SIGUSR2));
            ::kill(::getpid(), SIGUSR1);
            CHECK(notes.numbers.empty());
            CHECK(run_until(owner, [&] { return !notes.numbers.empty(); }));
            ::kill(::getpid(), SIGUSR2);
            CHECK(run_until(owner, [&] { return notes.numbers.size() == 2; }));
            CHECK(notes.numbers == std::vector<int>{SIGUSR1, SIGUSR2});
        }
        CHECK(!blocked(SIGUSR1));
        CHECK(!blocked(SIGUSR2));
        CHECK(run_until_idle(owner));
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("a signal that comes twice before it was told is told once, and later ones again") {
    loop owner(options_with_seed(seed()));
    told notes;
    signal_watch watch(owner, {SIGUSR1}, &note, &notes);
    for (std::size_t round = 1; round <= 20; ++round) {
        ::kill(::getpid(), SIGUSR1);
        ::kill(::getpid(), SIGUSR1);
        REQUIRE(run_until(owner, [&] { return notes.numbers.size() >= round; }));
        CHECK(notes.numbers.size() == round);
    }
}

TEST_CASE("watches of different signals live side by side, in any order of their ends") {
    loop owner(options_with_seed(seed()));
    told first;
    told second;
    auto one = std::make_unique<signal_watch>(owner, std::initializer_list<int>{SIGUSR1}, &note,
                                              &first);
    auto two = std::make_unique<signal_watch>(owner, std::initializer_list<int>{SIGUSR2}, &note,
                                              &second);
    ::kill(::getpid(), SIGUSR2);
    CHECK(run_until(owner, [&] { return !second.numbers.empty(); }));
    CHECK(first.numbers.empty());
    one.reset();
    CHECK(!blocked(SIGUSR1));
    CHECK(blocked(SIGUSR2));
    ::kill(::getpid(), SIGUSR2);
    CHECK(run_until(owner, [&] { return second.numbers.size() == 2; }));
    two.reset();
    CHECK(!blocked(SIGUSR2));
    // Free again: a new watch of the same signals may be made.
    one = std::make_unique<signal_watch>(owner, std::initializer_list<int>{SIGUSR1, SIGUSR2}, &note,
                                         &first);
    ::kill(::getpid(), SIGUSR1);
    CHECK(run_until(owner, [&] { return first.numbers.size() == 1; }));
    one.reset();
    CHECK(run_until_idle(owner));
}

TEST_CASE("a callback may destroy its watch; a signal that was not told is dropped") {
    const int before = open_descriptors();
    {
        loop owner(options_with_seed(seed()));
        told notes;
        auto watch = std::make_unique<signal_watch>(
            owner, std::initializer_list<int>{SIGUSR1, SIGUSR2}, &note, &notes);
        notes.to_destroy = &watch;
        ::kill(::getpid(), SIGUSR1);
        ::kill(::getpid(), SIGUSR2);  // would end the process if it stayed pending
        CHECK(run_until(owner, [&] { return !watch; }));
        CHECK(notes.numbers.size() == 1);
        CHECK(!blocked(SIGUSR1));
        CHECK(run_until_idle(owner));
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("a signal that was blocked before stays blocked") {
    loop owner(options_with_seed(seed()));
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &one, nullptr);
    told notes;
    { const signal_watch watch(owner, {SIGUSR1, SIGUSR2}, &note, &notes); }
    CHECK(blocked(SIGUSR1));
    CHECK(!blocked(SIGUSR2));
    ::pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
}

TEST_CASE("what cannot be watched is refused by number, and leaves nothing blocked") {
    const int before = open_descriptors();
    {
        loop owner(options_with_seed(seed()));
        CHECK(refusal(owner, {SIGUSR1, SIGKILL}).find("signal 9 cannot be watched") == 0);
        CHECK(refusal(owner, {SIGSEGV}).find("signal 11 cannot be watched") == 0);
        CHECK(refusal(owner, {0}).find("signal 0 cannot be watched") == 0);
        CHECK(refusal(owner, {-1}).find("signal -1 cannot be watched") == 0);
        CHECK(refusal(owner, {1000}).find("signal 1000 cannot be watched") == 0);
        told notes;
        const signal_watch watch(owner, {SIGUSR1}, &note, &notes);
        CHECK(refusal(owner, {SIGUSR2, SIGUSR1}).find("is watched already") != std::string::npos);
        CHECK(!blocked(SIGUSR2));
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("the loop may end while the kernel still polls for a watch that has gone") {
    for (int turns = 0; turns < 4; ++turns) {
        const int before = open_descriptors();
        {
            loop owner(options_with_seed(seed() + static_cast<std::uint64_t>(turns)));
            told notes;
            const signal_watch watch(owner, {SIGUSR1}, &note, &notes);
            for (int turn = 0; turn < turns; ++turn) {
                owner.run_once(false);
            }
        }
        CHECK(open_descriptors() == before);
        CHECK(!blocked(SIGUSR1));
    }
}
