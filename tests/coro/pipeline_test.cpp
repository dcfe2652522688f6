#include "coro/pipeline.h"

#include <deque>
#include <list>
#include <numeric>

#include "coro/event.h"
#include "coro/fiber.h"
#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

generator<int> below(int end) {
    const counted held;
    for (int i = 0; i < end; ++i) {
        co_yield i;
    }
}

async_generator<int> slowly_below(int end) {
    const counted held;
    for (int i = 0; i < end; ++i) {
        co_await yield_now();
        co_yield i;
    }
}

task<int> tenfold(int number) {
    const counted held;
    co_await yield_now();
    co_return number * 10;
}

std::vector<int> numbers(int count) {
    std::vector<int> all(static_cast<std::size_t>(count));
    std::iota(all.begin(), all.end(), 0);
    return all;
}

// Counts how many are inside at once, each for a while of its own.
struct crowd {
    int inside = 0;
    int most = 0;
    int entered = 0;

    task<int> visit(int number, int passes) {
        const counted held;
        most = std::max(most, ++inside);
        ++entered;
        try {
            for (int i = 0; i < passes; ++i) {
                co_await yield_now();
            }
        } catch (...) {
            --inside;
            throw;
        }
        --inside;
        co_return number;
    }
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int many = 20'000;
#else
constexpr int many = 1'000'000;
#endif

}  // namespace

TEST_SUITE_BEGIN("coro pipeline");

TEST_CASE("items go from a source through stages into a sink") {
    no_leaks check;
    auto story = []() -> task<void> {
        std::string log;
        task<void> work = from(below(10)) | filter([](int i) { return i % 3 == 1; }) |
                          map([](int i) { return std::to_string(i); }) |
                          for_each([&](const std::string& text) { log += text + " "; });
        CHECK(log.empty());  // a task is lazy
        co_await std::move(work);
        CHECK(log == "1 4 7 ");
        const std::vector<int> same = co_await (from(numbers(4)) | to_vector());
        CHECK(same == numbers(4));
        const std::vector<int> none = co_await (from(numbers(0)) | to_vector());
        CHECK(none.empty());
    };
    play(story());
}

TEST_CASE("every stage takes plain functions and ones that wait, after sources that wait or not") {
    no_leaks check;
    auto odd_later = [](int i) -> task<bool> {
        co_await yield_now();
        co_return i % 2 == 1;
    };
    auto odd = [](int i) { return i % 2 == 1; };
    auto ten = [](int i) { return i * 10; };
    const std::vector<int> wanted{10, 30, 50};
    auto story = [&]() -> task<void> {
        const auto a = co_await (from(below(6)) | filter(odd) | map(ten) | to_vector());
        const auto b = co_await (from(below(6)) | filter(odd_later) | map(tenfold) | to_vector());
        const auto c = co_await (from(slowly_below(6)) | filter(odd) | map(tenfold) | to_vector());
        const auto d =
            co_await (from(slowly_below(6)) | filter(odd_later) | map(ten) | to_vector());
        CHECK(a == wanted);
        CHECK(b == wanted);
        CHECK(c == wanted);
        CHECK(d == wanted);
        std::vector<int> stored;
        auto store = [&stored](int i) -> task<void> {
            co_await yield_now();
            stored.push_back(i);
        };
        task<void> work = from(below(6)) | filter(odd) | map(ten) | for_each(store);
        co_await std::move(work);
        CHECK(stored == wanted);
    };
    play(story());
}

TEST_CASE(
    "sources: ranges of every kind, by value and in place, and a channel until it is closed") {
    no_leaks check;
    loop on;
    auto story = [&]() -> task<void> {
        std::vector<counted> items(3);
        const int before = counted::live;
        int seen = 0;
        auto touch = [&](counted& item) {
            CHECK(counted::live == before);  // nothing was copied
            item = counted(5);
            ++seen;
        };
        task<void> in_place = from(items) | for_each(touch);
        co_await std::move(in_place);
        CHECK(seen == 3);
        CHECK(items[2].number() == 5);
        const std::list<int> constant{1, 2};
        const auto listed = co_await (from(constant) | to_vector());
        CHECK(listed == std::vector<int>{1, 2});
        const std::vector<bool> bits{true, false};
        const auto copied =
            co_await (from(bits) | map([](bool bit) { return !bit; }) | to_vector());
        CHECK(copied == std::vector<bool>{false, true});
        channel<std::unique_ptr<int>> boxes(2);
        auto fill = [](channel<std::unique_ptr<int>>& into) -> task<void> {
            for (int i = 0; i < 10; ++i) {
                co_await into.send(std::make_unique<int>(i));
            }
            into.close();
        };
        scope others(on);
        others.spawn(fill(boxes));
        auto open = [](std::unique_ptr<int> box) { return *box; };
        const auto opened = co_await (from(boxes) | map(open) | to_vector());
        CHECK(opened == numbers(10));
        co_await others.join();
    };
    run(on, story());
}

TEST_CASE("what only moves passes through every stage") {
    no_leaks check;
    auto boxes = []() -> generator<std::unique_ptr<int>> {
        for (int i = 0; i < 20; ++i) {
            co_yield std::make_unique<int>(i);
        }
    };
    auto pass = [](std::unique_ptr<int> box) -> task<std::unique_ptr<int>> {
        co_await yield_now();
        co_return box;
    };
    auto story = [&]() -> task<void> {
        auto work = from(boxes()) | map(pass) | buffer(2) | parallel(3, pass, ordered) |
                    filter([](const std::unique_ptr<int>& box) { return *box % 2 == 0; }) |
                    map([](std::unique_ptr<int> box) { return *box; }) | to_vector();
        const std::vector<int> even = co_await std::move(work);
        CHECK(even == std::vector<int>{0, 2, 4, 6, 8, 10, 12, 14, 16, 18});
    };
    play(story());
}

TEST_CASE("expand puts the items of a range or of an async_generator in the place of each") {
    no_leaks check;
    auto story = []() -> task<void> {
        const std::vector<int> wanted{0, 0, 1, 0, 1, 2};
        const auto a = co_await (from(below(4)) | expand(below) | to_vector());
        const auto b = co_await (from(below(4)) | expand(slowly_below) | to_vector());
        const auto c = co_await (from(slowly_below(4)) | expand(numbers) | map(tenfold) |
                                 map([](int i) { return i / 10; }) | to_vector());
        CHECK(a == wanted);
        CHECK(b == wanted);
        CHECK(c == wanted);
    };
    play(story());
}

TEST_CASE("parallel runs at most `limit`, uses the limit up, and keeps the order if asked to") {
    no_leaks check;
    for (const std::size_t limit : {1, 2, 7, 100}) {
        for (const pipeline_order order : {ordered, unordered}) {
            crowd room;
            auto visit = [&room](int number) { return room.visit(number, 1 + (number * 7) % 5); };
            auto story = [&]() -> task<std::vector<int>> {
                auto work = from(below(60)) | parallel(limit, visit, order) | to_vector();
                co_return co_await std::move(work);
            };
            std::vector<int> results = play(story());
            if (order == unordered) {
                CHECK((limit == 1 || results != numbers(60)));
                std::sort(results.begin(), results.end());
            }
            CHECK(results == numbers(60));
            CHECK(room.most == static_cast<int>(std::min<std::size_t>(limit, 60)));
            CHECK(room.inside == 0);
        }
    }
}

TEST_CASE("parallel results of a stage that takes longest first") {
    no_leaks check;
    auto visit = [](int number) { return after(10 - number, number); };
    auto order_of = [&](pipeline_order order) -> task<std::string> {
        std::string log;
        task<void> work = from(below(6)) | parallel(4, visit, order) |
                          for_each([&log](counted each) { log += std::to_string(each.number()); });
        co_await std::move(work);
        co_return log;
    };
    CHECK(play(order_of(ordered)) == "012345");
    CHECK(play(order_of(unordered)) == "321054");
}

TEST_CASE("stages behind a parallel one get one item at a time") {
    no_leaks check;
    for (const pipeline_order order : {ordered, unordered}) {
        crowd room;
        auto story = [&]() -> task<void> {
            auto quick = [](int number) { return after(number % 3, number); };
            auto slow = [&room](counted item) { return room.visit(item.number(), 2); };
            std::vector<int> stored;
            task<void> work = from(below(30)) | parallel(8, quick, order) | map(slow) |
                              for_each([&stored](int number) { stored.push_back(number); });
            co_await std::move(work);
            CHECK(stored.size() == 30);
        };
        play(story());
        CHECK(room.most == 1);
        CHECK(room.entered == 30);
    }
}

TEST_CASE("parallel stages follow each other, and void ones give monostate") {
    no_leaks check;
    crowd first;
    crowd second;
    auto story = [&]() -> task<void> {
        int done = 0;
        task<void> work = from(slowly_below(40)) |
                          parallel(
                              5, [&](int number) { return first.visit(number, 3); }, unordered) |
                          parallel(
                              3, [&](int number) { return second.visit(number, 20); }, ordered) |
                          parallel(
                              4, [](int number) { return wait_passes(number % 4); }, unordered) |
                          for_each([&](std::monostate) { ++done; });
        co_await std::move(work);
        CHECK(done == 40);
    };
    play(story());
    CHECK(first.most <= 5);
    CHECK(second.most == 3);
}

TEST_CASE("nothing is made before there is room for it") {
    no_leaks check;
    int made = 0;
    int stored = 0;
    int ahead = 0;
    auto source = [&](int end) -> generator<int> {
        for (int i = 0; i < end; ++i) {
            ahead = std::max(ahead, ++made - stored);
            co_yield i;
        }
    };
    auto store = [&](int) -> task<void> {
        co_await yield_now();
        co_await yield_now();
        ++stored;
    };
    auto most_ahead = [&](auto stages) -> task<int> {
        made = stored = ahead = 0;
        task<void> work = stages(from(source(50)));
        co_await std::move(work);
        CHECK(stored == 50);
        co_return ahead;
    };
    auto plain = [&](auto begin) { return std::move(begin) | for_each(store); };
    CHECK(play(most_ahead(plain)) == 1);
    auto wide = [&](auto begin) {
        return std::move(begin) | parallel(4, tenfold, ordered) | for_each(store);
    };
    CHECK(play(most_ahead(wide)) == 4 + 1);  // and the one that waits for its place
    auto queued = [&](auto begin) { return std::move(begin) | buffer(3) | for_each(store); };
    CHECK(play(most_ahead(queued)) == 3 + 2);  // and one on either side
}

TEST_CASE("the first error of any stage ends all, after all has ended") {
    no_leaks check;
    crowd room;
    auto fails_at = [](int bad, const char* who) {
        return [bad, who](int number) {
            if (number == bad) {
                throw std::runtime_error(who);
            }
            return number;
        };
    };
    auto fails_later_at = [](int bad, const char* who) {
        return [bad, who](int number) {
            return [](int each, int refused, const char* name) -> task<int> {
                co_await yield_now();
                if (each == refused) {
                    throw std::runtime_error(name);
                }
                co_return each;
            }(number, bad, who);
        };
    };
    auto visit = [&](int number) { return room.visit(number, 3); };
    auto broken_source = []() -> generator<int> {
        co_yield 1;
        throw std::runtime_error("source");
    };
    auto sink = [](int) {};
    CHECK(ending_of(from(broken_source()) | parallel(3, visit, ordered) | for_each(sink)) ==
          "source");
    CHECK(ending_of(from(below(50)) | map(fails_at(20, "map")) | parallel(3, visit, ordered) |
                    for_each(sink)) == "map");
    CHECK(ending_of(from(below(50)) | parallel(3, visit, unordered) | map(fails_at(20, "after")) |
                    for_each(sink)) == "after");
    CHECK(ending_of(from(below(50)) | parallel(3, visit, ordered) |
                    parallel(5, fails_later_at(20, "second"), ordered) | for_each(sink)) ==
          "second");
    CHECK(ending_of(from(slowly_below(50)) | parallel(3, visit, ordered) | buffer(2) |
                    map(fails_later_at(20, "behind the buffer")) | to_vector()) ==
          "behind the buffer");
    CHECK(ending_of(from(below(50)) | parallel(3, visit, unordered) |
                    for_each(fails_later_at(30, "sink"))) == "sink");
    CHECK(ending_of(from(below(50)) | filter(fails_at(9, "filter")) | for_each(sink)) == "filter");
    CHECK(ending_of(from(below(50)) | expand([](int number) -> generator<int> {
                        if (number == 3) {
                            throw std::runtime_error("expand");
                        }
                        co_yield number;
                    }) |
                    for_each(sink)) == "expand");
    CHECK(room.inside == 0);
}

TEST_CASE("an error ends a pipeline whose source has no end and never waits") {
    no_leaks check;
    auto endless = []() -> generator<int> {
        const counted held;
        for (int i = 0;; i = (i + 1) % 1000) {
            co_yield i;
        }
    };
    auto fails_at_once = [](int number) -> task<int> {
        if (number == 5) {
            throw std::runtime_error("five");
        }
        co_return number;
    };
    auto fails_late = [](int number) -> task<int> {
        co_await yield_now();
        if (number == 5) {
            throw std::runtime_error("late five");
        }
        co_return number;
    };
    for (const pipeline_order order : {ordered, unordered}) {
        CHECK(ending_of(from(endless()) | parallel(3, fails_at_once, order) |
                        for_each([](int) {})) == "five");
        CHECK(ending_of(from(endless()) | parallel(3, fails_late, order) | for_each([](int) {})) ==
              "late five");
        CHECK(ending_of(from(endless()) | buffer(3) | parallel(9, fails_at_once, order) |
                        buffer(3) | for_each([](int) {})) == "five");
        CHECK(ending_of(from(below(1)) | expand([&](int) { return endless(); }) |
                        parallel(3, fails_at_once, order) | for_each([](int) {})) == "five");
    }
}

TEST_CASE("a deadline cancels a pipeline wherever it is, and waits for the kernel") {
    no_leaks check;
    loop on;
    {
        silence quiet[] = {silence(on), silence(on), silence(on)};
        bool ended[3] = {};
        auto receive = [&](int number) {
            return receive_forever(quiet[number].fd(), &ended[number]);
        };
        auto story = [&]() -> task<void> {
            task<void> work = from(below(3)) | parallel(3, receive, ordered) | buffer(1) |
                              for_each([](counted) {});
            co_await with_timeout(2ms, std::move(work));
        };
        CHECK_THROWS_AS(run(on, story()), error);
        CHECK(ended[0]);
        CHECK(ended[1]);
        CHECK(ended[2]);
        CHECK(on.stats().operations_live == 0);
    }
}

TEST_CASE("a cancel at every moment ends with `cancelled` or a whole result, and leaves nothing") {
    for (int moment = 0; moment < 60; ++moment) {
        no_leaks check;
        loop on;
        auto late = [](int number) { return after(number % 4, number); };
        auto work = from(slowly_below(8)) | parallel(3, late, ordered) | buffer(2) |
                    parallel(
                        2, [](counted item) { return after(1, item.number()); }, unordered) |
                    map([](counted item) { return tenfold(item.number()); }) | to_vector();
        hand_job<std::vector<int>> story(on, std::move(work));
        story.start();
        auto passes = [](int count) -> task<void> {
            for (int i = 0; i < count; ++i) {
                co_await yield_now();
            }
        };
        run(on, passes(moment));
        story.cancel();
        outcome<std::vector<int>> result = story.finish();
        if (result.has_value()) {
            CHECK(result.get().size() == 8);
        } else {
            CHECK(ending(std::move(result)) == "cancelled");
        }
    }
}

TEST_CASE("a pipeline that is never awaited does nothing and leaves nothing") {
    no_leaks check;
    bool touched = false;
    {
        auto kept = std::make_shared<counted>(1);
        const task<void> work = from(below(3)) | parallel(2, tenfold, ordered) |
                                for_each([kept, &touched](int) { touched = true; });
        CHECK(counted::live == 1);
    }
    CHECK_FALSE(touched);
}

TEST_CASE("no room is an error that says so") {
    CHECK_THROWS_WITH_AS(static_cast<void>(parallel(0, tenfold, ordered)),
                         "a pipeline's parallel needs room for at least 1 item: Invalid argument",
                         error);
    CHECK_THROWS_WITH_AS(static_cast<void>(buffer(0)),
                         "a pipeline's buffer needs room for at least 1 item: Invalid argument",
                         error);
}

TEST_CASE("fibers work in a parallel stage") {
    no_leaks check;
    auto in_fiber = [](int number) {
        return run_fiber([number] { return await(tenfold(number)) + await(tenfold(1)); });
    };
    auto story = [&]() -> task<std::vector<int>> {
        auto work = from(below(5)) | parallel(2, in_fiber, ordered) | to_vector();
        co_return co_await std::move(work);
    };
    CHECK(play(story()) == std::vector<int>{10, 20, 30, 40, 50});
}

TEST_CASE("a million items through every stage use no stack") {
    no_leaks check;
    long sum = 0;
    auto one = [](int number) -> task<int> { co_return number & 1; };
    auto story = [&]() -> task<void> {
        task<void> work = from(below(many)) | map(one) | parallel(3, one, ordered) | buffer(8) |
                          parallel(2, one, unordered) | for_each([&](int odd) { sum += odd; });
        co_await std::move(work);
    };
    play(story());
    CHECK(sum == many / 2);
}

TEST_SUITE_END();
