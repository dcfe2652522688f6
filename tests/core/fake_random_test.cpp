#include "core/fake_random.h"

#include <doctest/doctest.h>

using ringlet::detail::fake_random;

TEST_CASE("a seed decides the whole row of numbers") {
    fake_random first(7);
    fake_random again(7);
    fake_random other(8);
    int equal_to_other = 0;
    for (int i = 0; i < 1000; ++i) {
        const std::uint64_t value = first.next();
        CHECK(value == again.next());
        equal_to_other += value == other.next() ? 1 : 0;
    }
    CHECK(equal_to_other == 0);
}

TEST_CASE("numbers stay in their range and chances keep their promise roughly") {
    fake_random random(1);
    int hits = 0;
    bool in_range = true;
    for (int i = 0; i < 100'000; ++i) {
        const std::uint64_t value = random.one_to(6);
        in_range = in_range && value >= 1 && value <= 6 && random.below(3) < 3;
        hits += random.chance(64) ? 1 : 0;
    }
    CHECK(in_range);
    CHECK(hits > 23'000);
    CHECK(hits < 27'000);
    CHECK_FALSE(random.chance(0));
    CHECK(random.chance(256));
}
