#include "coro/async_generator.h"

#include "coro/event.h"
#include "coro/fiber.h"
#include "coro/gather.h"
#include "coro/race.h"
#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

// Waits before each value whose number is a multiple of `every` (0: never).
async_generator<int> below(int end, int every) {
    const counted held;
    for (int i = 0; i < end; ++i) {
        if (every != 0 && i % every == 0) {
            co_await yield_now();
        }
        co_yield i;
    }
}

async_generator<int> fails_after(int values, bool waits) {
    const counted held;
    for (int i = 0; i < values; ++i) {
        co_yield i;
    }
    if (waits) {
        co_await yield_now();
    }
    throw std::runtime_error("after " + std::to_string(values));
}

// Asks for nothing after `most` values.
task<long> sum_of(async_generator<int> source, int most) {
    const counted held;
    long sum = 0;
    for (int read = 0; read < most; ++read) {
        const int* const value = co_await source.next();
        if (value == nullptr) {
            break;
        }
        sum += *value;
    }
    co_return sum;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int many = 100'000;
#else
constexpr int many = 20'000'000;
#endif

}  // namespace

TEST_SUITE_BEGIN("coro async_generator");

TEST_CASE("values come one at a time, whether the generator waits or not, and then null") {
    no_leaks check;
    for (const int every : {0, 1, 3, 100}) {
        CHECK(play(sum_of(below(10, every), 100)) == 45);
    }
    auto after_the_end = []() -> task<void> {
        async_generator<int> source = below(1, 1);
        CHECK(*co_await source.next() == 0);
        for (int i = 0; i < 3; ++i) {
            CHECK(co_await source.next() == nullptr);
        }
        async_generator<int> none;
        CHECK(co_await none.next() == nullptr);
        async_generator<int> empty = below(0, 0);
        CHECK(co_await empty.next() == nullptr);
    };
    play(after_the_end());
}

TEST_CASE("nothing is made before it is asked for") {
    no_leaks check;
    std::string log;
    auto source = [](std::string& into) -> async_generator<int> {
        for (int i = 0; i < 2; ++i) {
            co_await yield_now();
            into += "make ";
            co_yield i;
        }
        into += "end";
    };
    auto story = [&]() -> task<void> {
        async_generator<int> made = source(log);
        co_await yield_now();
        CHECK(log.empty());
        while (co_await made.next() != nullptr) {
            log += "read ";
            co_await yield_now();
        }
    };
    play(story());
    CHECK(log == "make read make read end");
}

TEST_CASE("lvalues are copied, rvalues and references are given as they are") {
    auto words = []() -> async_generator<std::string> {
        const std::string kept = "kept";
        co_yield kept;
        CHECK(kept == "kept");
        std::string own = "given";
        co_await yield_now();
        co_yield std::move(own);
        CHECK(own == "changed");
        co_yield "literal";
    };
    auto same = [](std::string& original) -> async_generator<std::string&> {
        co_yield original;
        co_await yield_now();
        co_yield original;
    };
    auto boxes = []() -> async_generator<std::unique_ptr<int>> {
        co_yield std::make_unique<int>(4);
    };
    auto story = [&]() -> task<void> {
        std::vector<std::string> seen;
        async_generator<std::string> source = words();
        while (std::string* const each = co_await source.next()) {
            seen.push_back(*each);
            *each = "changed";
        }
        CHECK(seen == std::vector<std::string>{"kept", "given", "literal"});
        std::string original = "x";
        async_generator<std::string&> references = same(original);
        while (std::string* const each = co_await references.next()) {
            CHECK(each == &original);
            *each += "y";
        }
        CHECK(original == "xyy");
        async_generator<std::unique_ptr<int>> made = boxes();
        std::unique_ptr<int>* const box = co_await made.next();
        const std::unique_ptr<int> four = std::move(*box);
        CHECK(*four == 4);
    };
    play(story());
}

TEST_CASE("a generator may be destroyed before, between and after its values") {
    no_leaks check;
    for (const int every : {0, 1, 2}) {
        for (int most = 0; most <= 6; ++most) {
            const long sum = play(sum_of(below(5, every), most));
            CHECK(sum == (most >= 5 ? 10 : most * (most - 1) / 2));
            CHECK(counted::live == 0);
        }
    }
    { const async_generator<int> unread = below(3, 1); }
    auto moved = []() -> task<void> {
        async_generator<int> source = below(9, 1);
        CHECK(*co_await source.next() == 0);
        async_generator<int> other = std::move(source);
        CHECK(co_await source.next() == nullptr);
        CHECK(*co_await other.next() == 1);
        other = below(3, 0);
        CHECK(*co_await other.next() == 0);
    };
    play(moved());
}

TEST_CASE("the reader may destroy the generator that resumed it") {
    no_leaks check;
    auto story = []() -> task<void> {
        auto source = std::make_unique<async_generator<int>>(below(5, 1));
        CHECK(*co_await source->next() == 0);
        CHECK(*co_await source->next() == 1);
        source.reset();  // inside the co_yield that brought this here
        co_await yield_now();
    };
    play(story());
}

TEST_CASE("an exception of the generator comes out of `next`, which then gives null") {
    no_leaks check;
    for (const bool waits : {false, true}) {
        for (const int values : {0, 1, 3}) {
            auto story = [](int good, bool slow) -> task<void> {
                async_generator<int> source = fails_after(good, slow);
                for (int i = 0; i < good; ++i) {
                    CHECK(*co_await source.next() == i);
                }
                std::string said;
                try {
                    co_await source.next();
                } catch (const std::runtime_error& failure) {
                    said = failure.what();
                }
                CHECK(said == "after " + std::to_string(good));
                CHECK(co_await source.next() == nullptr);
                CHECK(counted::live == 0);
            };
            play(story(values, waits));
        }
    }
}

TEST_CASE("an exception of the reader destroys the generator where it stands") {
    no_leaks check;
    auto story = [](int every) -> task<void> {
        async_generator<int> source = below(100, every);
        while (const int* const value = co_await source.next()) {
            if (*value == 7) {
                throw std::runtime_error("reader");
            }
        }
    };
    CHECK(ending_of(story(0)) == "reader");
    CHECK(ending_of(story(1)) == "reader");
}

TEST_CASE("a cancel of the reader's job ends the wait of the generator, and unwinds both") {
    no_leaks check;
    loop on;
    event never;
    bool cleaned = false;
    auto source = [](event& gate, bool& saw) -> async_generator<int> {
        const counted held;
        co_yield 1;
        try {
            co_await gate.wait();
        } catch (const cancelled&) {
            saw = true;
            throw;
        }
    };
    hand_job<long> story(on, sum_of(source(never, cleaned), 100));
    story.start();
    CHECK(counted::live == 2);
    story.cancel();
    CHECK_FALSE(cleaned);
    CHECK(ending(story.finish()) == "cancelled");
    CHECK(cleaned);
}

TEST_CASE("a generator of a cancelled job goes on until its next wait") {
    no_leaks check;
    loop on;
    auto story = [](int* read) -> task<void> {
        async_generator<int> source = below(10, 5);
        while (co_await source.next() != nullptr) {
            ++*read;
        }
    };
    int read = 0;
    hand_job<void> job(on, story(&read));
    job.start();
    job.cancel();  // the wait before the first value has ended already, the one before the sixth
                   // not
    CHECK(ending(job.finish()) == "cancelled");
    CHECK(read == 5);
}

TEST_CASE("a deadline reaches the operation that a generator has in flight, and waits for it") {
    no_leaks check;
    loop on;
    {
        silence quiet(on);
        bool ended = false;
        auto bytes = [](int fd, bool* done) -> async_generator<int> {
            const counted received = co_await receive_forever(fd, done);
            co_yield received.number();
        };
        auto story = [&]() -> task<void> {
            co_await with_timeout(2ms, sum_of(bytes(quiet.fd(), &ended), 5));
        };
        CHECK_THROWS_AS(run(on, story()), error);
        CHECK(ended);
        CHECK(on.stats().operations_live == 0);
    }
}

TEST_CASE("generators read generators, side by side, and fibers read them") {
    no_leaks check;
    auto doubled = [](async_generator<int> source) -> async_generator<int> {
        while (const int* const value = co_await source.next()) {
            co_yield *value * 2;
        }
    };
    auto story = [&]() -> task<void> {
        async_generator<int> chain = below(100, 3);
        for (int i = 0; i < 10; ++i) {
            chain = doubled(std::move(chain));
        }
        auto [left, right, other] =
            co_await gather(sum_of(std::move(chain), 1000), sum_of(below(50, 1), 1000),
                            sum_of(doubled(below(10, 0)), 1000));
        CHECK(left == 4950 * 1024);
        CHECK(right == 1225);
        CHECK(other == 90);
        auto plain = [] {
            async_generator<int> source = below(10, 2);
            int sum = 0;
            while (const int* const value = await(source.next())) {
                sum += *value;
            }
            return sum;
        };
        CHECK(co_await run_fiber(plain) == 45);
    };
    play(story());
}

TEST_CASE("millions of values use no stack, whether they come at once or after a wait") {
    no_leaks check;
    CHECK(play(sum_of(below(many, 0), many)) == static_cast<long>(many) * (many - 1) / 2);
    const int fewer = many / 10;
    CHECK(play(sum_of(below(fewer, 1), fewer)) == static_cast<long>(fewer) * (fewer - 1) / 2);
    CHECK(play(sum_of(below(fewer, 1000), fewer)) == static_cast<long>(fewer) * (fewer - 1) / 2);
}

TEST_CASE("two reads of one generator at once end the program with a sentence") {
    CHECK(contains(test::last_words([] {
                       auto story = []() -> task<void> {
                           async_generator<int> source = below(5, 1);
                           auto read = [](async_generator<int>& from) -> task<void> {
                               co_await from.next();
                           };
                           co_await gather(read(source), read(source));
                       };
                       play(story());
                   }),
                   "next of an async_generator was called while another"));
}

TEST_CASE("destroying a generator that is awaited ends the program with a sentence") {
    CHECK(contains(test::last_words([] {
                       auto story = []() -> task<void> {
                           async_generator<int> source = below(5, 1);
                           auto read = [](async_generator<int>& from) -> task<void> {
                               co_await from.next();
                           };
                           auto destroy = [](async_generator<int>& from) -> task<void> {
                               from = {};
                               co_return;
                           };
                           co_await gather(read(source), destroy(source));
                       };
                       play(story());
                   }),
                   "an async_generator was destroyed while it is awaited"));
}

TEST_SUITE_END();
