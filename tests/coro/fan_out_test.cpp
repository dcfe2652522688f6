#include "coro/fan_out.h"

#include <forward_list>
#include <functional>
#include <iterator>
#include <set>
#include <sstream>

#include "coro/timeout.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

// Counts how many are inside at once.
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
        co_return number * 10;
    }
};

// 0, 1, 2, ... without end, made while it is read; single-pass, by value.
class counting {
public:
    struct iterator {
        using difference_type = std::ptrdiff_t;
        using value_type = int;
        int operator*() const { return range->next; }
        iterator& operator++() {
            ++range->next;
            return *this;
        }
        void operator++(int) { ++*this; }
        counting* range;
    };
    iterator begin() { return {this}; }
    std::unreachable_sentinel_t end() const { return {}; }
    int next = 0;
};

task<std::string> twice(const std::string& text) {
    const counted held;
    co_await yield_now();  // the text must still be there
    co_return text + text;
}

std::vector<int> numbers(int count) {
    std::vector<int> all;
    for (int i = 0; i < count; ++i) {
        all.push_back(i);
    }
    return all;
}

}  // namespace

TEST_SUITE_BEGIN("coro fan_out");

TEST_CASE("results come in the order of the items, at most `limit` run at a time") {
    no_leaks check;
    for (const std::size_t limit : {1, 2, 7, 30, 1000}) {
        crowd room;
        auto story = [&]() -> task<std::vector<int>> {
            co_return co_await fan_out(numbers(30), limit, [&](int number) {
                return room.visit(number, (number * 7) % 5);
            });
        };
        const std::vector<int> results = play(story());
        REQUIRE(results.size() == 30);
        for (int i = 0; i < 30; ++i) {
            CHECK(results[static_cast<std::size_t>(i)] == i * 10);
        }
        CHECK(room.most <= static_cast<int>(limit));
        CHECK(room.entered == 30);
        CHECK(room.inside == 0);
    }
}

TEST_CASE("the limit is used up when the tasks take a while") {
    crowd room;
    auto story = [&]() -> task<void> {
        co_await fan_out(numbers(100), 8, [&](int number) { return room.visit(number, 5); });
    };
    play(story());
    CHECK(room.most == 8);
}

TEST_CASE("an empty range gives an empty vector and calls nothing") {
    int calls = 0;
    auto story = [&]() -> task<void> {
        auto visit = [&](int number) {
            ++calls;
            return after(0, number);
        };
        const std::vector<counted> results = co_await fan_out(std::vector<int>(), 3, visit);
        CHECK(results.empty());
    };
    play(story());
    CHECK(calls == 0);
}

TEST_CASE("a limit of 0 is an error that says so") {
    crowd room;
    auto visit = [&](int number) { return room.visit(number, 0); };
    CHECK_THROWS_WITH_AS(static_cast<void>(fan_out(numbers(3), 0, visit)),
                         "fan_out needs a limit of at least 1: Invalid argument", error);
    CHECK_THROWS_AS(static_cast<void>(fan_out(numbers(3), 0, visit, [](std::size_t, int) {})),
                    error);
    CHECK(room.entered == 0);
}

TEST_CASE("items of an lvalue range are given by reference, and the range is not copied") {
    no_leaks check;
    std::vector<counted> items(5);
    const int live_before = counted::live;
    auto story = [&]() -> task<void> {
        auto touch = [&](counted& item) -> task<int> {
            CHECK(counted::live < live_before + 5);
            item = counted(77);
            co_return 1;
        };
        const std::vector<int> done = co_await fan_out(items, 2, std::ref(touch));
        CHECK(done.size() == 5);
    };
    play(story());
    for (const counted& each : items) {
        CHECK(each.number() == 77);
    }
}

TEST_CASE("an rvalue range, the function and the consumer live as long as the fan-out") {
    no_leaks check;
    auto make = [](std::string& log) -> task<void> {
        auto kept = std::make_shared<counted>(1);
        return fan_out(
            std::vector<std::string>{"a", "b", "c"}, 2,
            [kept](const std::string& text) -> task<std::string> {
                const std::string doubled = co_await twice(text);
                co_return doubled + std::to_string(kept->number());
            },
            [&log, kept](std::size_t, std::string text) -> task<void> {
                co_await yield_now();
                log += text + std::to_string(kept->number()) + " ";
            });
    };
    std::string log;
    task<void> story = make(log);
    CHECK(counted::live == 1);
    play(std::move(story));
    CHECK(log == "aa11 bb11 cc11 ");
}

TEST_CASE("items of a single-pass range are kept beside their tasks") {
    no_leaks check;
    std::istringstream words("one two three four five");
    struct word_range {
        std::istream_iterator<std::string> first;
        std::istream_iterator<std::string> begin() const { return first; }
        std::istream_iterator<std::string> end() const { return {}; }
    };
    auto story = [&]() -> task<std::vector<std::string>> {
        word_range range{std::istream_iterator<std::string>(words)};
        co_return co_await fan_out(std::move(range), 3, twice);
    };
    CHECK(play(story()) == std::vector<std::string>{"oneone", "twotwo", "threethree", "fourfour",
                                                    "fivefive"});
}

TEST_CASE("ranges of other kinds: lists, sets, const ones, proxies") {
    const std::forward_list<int> list{1, 2, 3};
    const std::set<int> set{4, 5};
    std::vector<bool> bits{true, false, true};
    crowd room;
    auto story = [&]() -> task<void> {
        auto visit = [&](const int& number) { return room.visit(number, 1); };
        const std::vector<int> from_list = co_await fan_out(list, 2, visit);
        CHECK(from_list == std::vector<int>{10, 20, 30});
        const std::vector<int> from_set = co_await fan_out(set, 2, visit);
        CHECK(from_set == std::vector<int>{40, 50});
        const std::vector<int> from_bits =
            co_await fan_out(bits, 2, [&](bool bit) { return room.visit(bit ? 1 : 0, 1); });
        CHECK(from_bits == std::vector<int>{10, 0, 10});
        int array[] = {6, 7};
        const std::vector<int> from_array = co_await fan_out(array, 1, visit);
        CHECK(from_array == std::vector<int>{60, 70});
    };
    play(story());
}

TEST_CASE("an endless range is read only as far as workers are free") {
    no_leaks check;
    counting endless;
    crowd room;
    int consumed = 0;
    auto story = [&]() -> task<void> {
        co_await fan_out(
            endless, 4, [&](int number) { return room.visit(number, 2); },
            [&](std::size_t index, int value) {
                CHECK(value == static_cast<int>(index) * 10);
                if (++consumed == 100) {
                    throw std::runtime_error("enough");
                }
            });
    };
    CHECK(ending_of(story()) == "enough");
    CHECK(consumed == 100);
    CHECK(endless.next <= 104);
    CHECK(room.most == 4);
    CHECK(room.inside == 0);
}

TEST_CASE("results come as they are ready, with the place of their item") {
    no_leaks check;
    std::string log;
    auto story = [&]() -> task<void> {
        const std::vector<int> passes{9, 1, 5, 0};
        co_await fan_out(
            passes, 4, [](int each) { return after(each, each); },
            [&](std::size_t index, counted value) {
                log += std::to_string(index) + ":" + std::to_string(value.number()) + " ";
            });
    };
    play(story());
    CHECK(log == "3:0 1:1 2:5 0:9 ");
}

TEST_CASE("a consumer that waits is called one at a time and holds the workers back") {
    no_leaks check;
    int inside = 0;
    int most = 0;
    int sum = 0;
    crowd room;
    int most_ahead = 0;
    int consumed = 0;
    auto story = [&]() -> task<void> {
        co_await fan_out(
            numbers(40), 3, [&](int number) { return room.visit(number, 0); },
            [&](std::size_t, int value) -> task<void> {
                most = std::max(most, ++inside);
                most_ahead = std::max(most_ahead, room.entered - consumed);
                co_await yield_now();
                co_await yield_now();
                sum += value;
                ++consumed;
                --inside;
            });
    };
    play(story());
    CHECK(most == 1);
    CHECK(sum == 10 * 40 * 39 / 2);
    CHECK(most_ahead <= 3);
}

TEST_CASE("tasks of void need no results, and their consumer gets the index alone") {
    no_leaks check;
    std::string log;
    auto story = [&]() -> task<void> {
        auto work = [](int passes) { return wait_passes(passes); };
        static_assert(std::is_same_v<decltype(fan_out(numbers(3), 2, work)), task<void>>);
        co_await fan_out(numbers(5), 2, work);
        co_await fan_out(numbers(3), 3, work,
                         [&](std::size_t index) { log += std::to_string(index); });
        co_await fan_out(numbers(3), 3, work, [&](std::size_t index) -> task<void> {
            co_await yield_now();
            log += std::to_string(index);
        });
    };
    play(story());
    CHECK(log == "012012");
}

TEST_CASE("the first failure cancels what runs, waits for it, and nothing new is begun") {
    no_leaks check;
    crowd room;
    auto story = [&]() -> task<void> {
        co_await fan_out(numbers(100), 5, [&](int number) -> task<int> {
            if (number == 7) {
                throw std::runtime_error("seven");
            }
            const int result = co_await room.visit(number, number < 7 ? 1 : 1'000'000);
            co_return result;
        });
    };
    CHECK(ending_of(story()) == "seven");
    CHECK(room.inside == 0);
    CHECK(room.entered < 15);
}

TEST_CASE("failures of the function itself and of the range are failures like any other") {
    no_leaks check;
    auto throwing = [](int number) {  // no coroutine: it throws before there is a task
        if (number == 2) {
            throw std::runtime_error("no task for two");
        }
        return after(0, number);
    };
    struct broken {
        struct iterator {
            using difference_type = std::ptrdiff_t;
            using value_type = int;
            int operator*() const { return at; }
            iterator& operator++() {
                if (++at == 3) {
                    throw std::runtime_error("cannot go on");
                }
                return *this;
            }
            void operator++(int) { ++*this; }
            bool operator==(const iterator&) const { return false; }
            int at = 0;
        };
        iterator begin() { return {}; }
        iterator end() { return {}; }
    };
    crowd room;
    auto story = [&]() -> task<void> { co_await fan_out(numbers(5), 2, throwing); };
    CHECK(ending_of(story()) == "no task for two");
    auto range = [&]() -> task<void> {
        co_await fan_out(broken(), 2, [&](int number) { return room.visit(number, 3); });
    };
    CHECK(ending_of(range()) == "cannot go on");
    CHECK(room.inside == 0);
}

TEST_CASE("a consumer that fails while it waits cancels the workers") {
    no_leaks check;
    crowd room;
    auto story = [&]() -> task<void> {
        co_await fan_out(
            numbers(50), 6, [&](int number) { return room.visit(number, number == 0 ? 0 : 100); },
            [](std::size_t, int) -> task<void> {
                co_await yield_now();
                throw std::runtime_error("the consumer");
            });
    };
    CHECK(ending_of(story()) == "the consumer");
    CHECK(room.inside == 0);
    CHECK(room.entered <= 6);
}

TEST_CASE("a deadline around a fan-out reaches the operations in flight and waits for them") {
    no_leaks check;
    loop on;
    {
        silence quiet[] = {silence(on), silence(on), silence(on)};
        bool ended[3] = {};
        auto story = [&]() -> task<void> {
            auto all = fan_out(numbers(3), 3, [&](int number) {
                return receive_forever(quiet[number].fd(), &ended[number]);
            });
            co_await with_timeout(2ms, std::move(all));
        };
        CHECK_THROWS_AS(run(on, story()), error);
        CHECK(ended[0]);
        CHECK(ended[1]);
        CHECK(ended[2]);
        CHECK(on.stats().operations_live == 0);
    }
}

TEST_CASE("a fan-out in a cancelled job begins with nothing it does not cancel") {
    no_leaks check;
    loop on;
    crowd room;
    auto story = [&]() -> task<void> {
        co_await fan_out(numbers(50), 3, [&](int number) { return room.visit(number, 9); });
    };
    hand_job<void> job(on, story());
    job.cancel();
    job.start();
    CHECK(ending(job.finish()) == "cancelled");
    CHECK(room.inside == 0);
    CHECK(room.entered <= 3);
}

TEST_CASE("a hundred thousand items through a hundred workers") {
    no_leaks check;
    counting endless;
    int sum = 0;
    auto story = [&]() -> task<void> {
        struct first_numbers {
            counting& source;
            struct end_at {
                int number;
                bool operator==(const counting::iterator& at) const {
                    return at.range->next == number;
                }
            };
            counting::iterator begin() { return source.begin(); }
            end_at end() { return {100'000}; }
        };
        co_await fan_out(
            first_numbers{endless}, 100,
            [](int number) -> task<int> {
                co_await yield_now();
                co_return number & 1;
            },
            [&](std::size_t, int odd) { sum += odd; });
    };
    play(story());
    CHECK(sum == 50'000);
    CHECK(endless.next == 100'000);
}

TEST_SUITE_END();
