#include "coro/generator.h"

#include <algorithm>
#include <array>
#include <ranges>

#include "coro/fiber.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

static_assert(std::ranges::input_range<generator<int>>);
static_assert(std::ranges::view<generator<std::string>>);
static_assert(!std::ranges::forward_range<generator<int>>);
static_assert(!std::copyable<generator<int>>);
static_assert(std::is_same_v<std::ranges::range_reference_t<generator<int&>>, int&>);
static_assert(std::is_same_v<std::ranges::range_reference_t<generator<int>>, int&&>);

generator<int> below(int end) {
    const counted held;
    for (int i = 0; i < end; ++i) {
        co_yield i;
    }
}

// A full binary tree in order, each level a generator of its own.
generator<int> tree(int depth) {
    const counted held;
    if (depth > 0) {
        co_yield elements_of(tree(depth - 1));
        co_yield depth;
        co_yield elements_of(tree(depth - 1));
    }
}

// Each is nested in the one before it: the value comes from the innermost.
generator<int> nested(int depth, int values) {
    if (depth == 0) {
        for (int i = 0; i < values; ++i) {
            co_yield i;
        }
    } else {
        co_yield elements_of(nested(depth - 1, values));
    }
}

generator<int> fails_after(int values) {
    const counted held;
    for (int i = 0; i < values; ++i) {
        co_yield i;
    }
    throw std::runtime_error("after " + std::to_string(values));
}

generator<std::string> words() {
    const std::string kept = "kept";
    co_yield kept;
    CHECK(kept == "kept");  // the reader got a copy, whatever it did to it
    std::string own = "given";
    co_yield std::move(own);
    CHECK(own == "changed");  // the reader got this one
    co_yield "literal";
}

std::vector<int> all_of(generator<int> source) {
    std::vector<int> values;
    for (const int each : source) {
        values.push_back(each);
    }
    return values;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int many = 200'000;
constexpr int depth = 1'000;
#else
constexpr int many = 20'000'000;
constexpr int depth = 10'000;
#endif

}  // namespace

TEST_SUITE_BEGIN("coro generator");

TEST_CASE("values come one at a time, each made when it is asked for") {
    no_leaks check;
    std::string log;
    auto source = [](std::string& into) -> generator<int> {
        for (int i = 0; i < 3; ++i) {
            into += "make" + std::to_string(i) + " ";
            co_yield i;
        }
        into += "end";
    };
    generator<int> made = source(log);
    CHECK(log.empty());
    for (const int each : made) {
        log += "read" + std::to_string(each) + " ";
    }
    CHECK(log == "make0 read0 make1 read1 make2 read2 end");
}

TEST_CASE("a generator without values, a default-made and a moved one are empty ranges") {
    no_leaks check;
    CHECK(all_of(below(0)).empty());
    CHECK(all_of({}).empty());
    generator<int> first = below(3);
    generator<int> second = std::move(first);
    CHECK(all_of(std::move(first)).empty());
    CHECK(all_of(std::move(second)) == std::vector<int>{0, 1, 2});
    second = below(2);
    second = below(1);
    CHECK(all_of(std::move(second)) == std::vector<int>{0});
}

TEST_CASE("a generator that is not read to its end, or not at all, destroys what is in it") {
    no_leaks check;
    {
        const generator<int> unread = below(5);
        CHECK(counted::live == 0);
    }
    for (const int each : below(1'000'000'000)) {
        CHECK(counted::live == 1);
        if (each == 10) {
            break;
        }
    }
    CHECK(counted::live == 0);
    for (const int each : tree(9)) {
        CHECK(counted::live == 9);
        CHECK(each == 1);
        break;
    }
}

TEST_CASE("lvalues are copied, rvalues are given as they are") {
    std::vector<std::string> seen;
    for (std::string&& each : words()) {
        seen.push_back(each);
        each = "changed";
    }
    CHECK(seen == std::vector<std::string>{"kept", "given", "literal"});
}

TEST_CASE("a generator of references gives the objects themselves") {
    std::vector<int> numbers{1, 2, 3};
    auto each_of = [](std::vector<int>& all) -> generator<int&> {
        for (int& each : all) {
            co_yield each;
        }
    };
    for (int& each : each_of(numbers)) {
        each *= 10;
    }
    CHECK(numbers == std::vector<int>{10, 20, 30});
    auto constant = [](const std::vector<int>& all) -> generator<const int&> {
        for (const int& each : all) {
            co_yield each;
        }
        co_yield 7;
    };
    int sum = 0;
    for (const int& each : constant(numbers)) {
        sum += each;
    }
    CHECK(sum == 67);
}

TEST_CASE("what only moves can be yielded and taken") {
    auto boxes = []() -> generator<std::unique_ptr<int>> {
        for (int i = 0; i < 3; ++i) {
            co_yield std::make_unique<int>(i);
        }
    };
    std::vector<std::unique_ptr<int>> taken;
    for (std::unique_ptr<int>&& each : boxes()) {
        taken.push_back(std::move(each));
    }
    REQUIRE(taken.size() == 3);
    CHECK(*taken[2] == 2);
}

TEST_CASE("a generator is a range to the algorithms and views of the standard library") {
    no_leaks check;
    generator<int> numbers = below(100);
    CHECK(std::ranges::count_if(numbers, [](int each) { return each % 7 == 0; }) == 15);
#if !defined(__clang__) || __clang_major__ > 15  // which cannot compile libstdc++'s views
    int sum = 0;
    for (const int each : below(100) | std::views::filter([](int i) { return i % 2 == 1; }) |
                              std::views::transform([](int i) { return i * 10; }) |
                              std::views::take(3)) {
        sum += each;
    }
    CHECK(sum == 10 + 30 + 50);
#endif
}

TEST_CASE("elements_of gives all values of another generator, recursively and in order") {
    no_leaks check;
    CHECK(all_of(tree(3)) == std::vector<int>{1, 2, 1, 3, 1, 2, 1});
    auto several = []() -> generator<int> {
        co_yield elements_of(below(2));
        co_yield elements_of(below(0));
        co_yield elements_of(generator<int>());
        generator<int> kept = below(1);
        co_yield elements_of(std::move(kept));
        co_yield 5;
    };
    CHECK(all_of(several()) == std::vector<int>{0, 1, 0, 5});
}

TEST_CASE("an exception comes out of the read that met it, and ends the generator") {
    no_leaks check;
    for (const int values : {0, 1, 5}) {
        generator<int> source = fails_after(values);
        int read = 0;
        std::string said;
        try {
            for (const int each : source) {
                CHECK(each == read);
                ++read;
            }
        } catch (const std::runtime_error& failure) {
            said = failure.what();
        }
        CHECK(read == values);
        CHECK(said == "after " + std::to_string(values));
    }
    generator<int> source = fails_after(1);
    auto at = source.begin();
    CHECK_THROWS_AS(++at, std::runtime_error);
    CHECK((at == source.end()));
    ++at;  // nothing more happens
    CHECK((at == source.end()));
}

TEST_CASE("an exception of a nested generator can be caught by the one around it") {
    no_leaks check;
    auto outer = []() -> generator<int> {
        bool failed = false;
        try {
            co_yield elements_of(fails_after(2));
        } catch (const std::runtime_error&) {
            failed = true;
        }
        co_yield failed ? 77 : 78;
        co_yield elements_of(fails_after(1));
    };
    std::vector<int> values;
    try {
        for (const int each : outer()) {
            values.push_back(each);
        }
    } catch (const std::runtime_error&) {
        values.push_back(-1);
    }
    CHECK(values == std::vector<int>{0, 1, 77, 0, -1});
}

TEST_CASE("an exception of the reader destroys the generator where it stands") {
    no_leaks check;
    auto read = [] {
        for (const int each : tree(5)) {
            if (each == 3) {
                throw std::runtime_error("reader");
            }
        }
    };
    CHECK_THROWS_WITH(read(), "reader");
}

TEST_CASE("millions of values, and of generators that end at once, use no stack") {
    long sum = 0;
    for (const int each : below(many)) {
        sum += each & 1;
    }
    CHECK(sum == many / 2);
    auto many_nested = []() -> generator<int> {
        for (int i = 0; i < many / 4; ++i) {
            co_yield elements_of(nested(0, i & 1));
        }
    };
    sum = 0;
    for (const int each : many_nested()) {
        sum += each + 1;
    }
    CHECK(sum == many / 8);
}

TEST_CASE("a value costs the same at any depth, and the way there uses no stack") {
    int values = 0;
    for (const int each : nested(depth, many / 10)) {
        values += each >= 0 ? 1 : 0;
    }
    CHECK(values == many / 10);
}

TEST_CASE("a generator that is read in a fiber may wait there") {
    auto story = []() -> task<int> {
        auto plain = [] {
            auto slow = []() -> generator<int> {
                for (int i = 0; i < 4; ++i) {
                    await(yield_now());
                    co_yield i;
                }
            };
            int sum = 0;
            for (const int each : slow()) {
                sum += each;
                await(yield_now());
            }
            return sum;
        };
        co_return co_await run_fiber(plain);
    };
    CHECK(play(story()) == 6);
}

TEST_CASE("reading a generator twice ends the program with a sentence") {
    const auto twice = [] {
        generator<int> source = below(3);
        static_cast<void>(source.begin());
        static_cast<void>(source.begin());
    };
    CHECK(contains(test::last_words(twice), "a generator can be read once only"));
    const auto nested_after_begin = [] {
        generator<int> source = below(3);
        static_cast<void>(source.begin());
        auto outer = [](generator<int> begun) -> generator<int> {
            co_yield elements_of(std::move(begun));
        };
        static_cast<void>(all_of(outer(std::move(source))));
    };
    CHECK(contains(test::last_words(nested_after_begin), "a generator can be read once only"));
}

TEST_SUITE_END();
