#include "core/stats.h"

#include <doctest/doctest.h>

#include "tests/support/probe.h"

using namespace ringlet;

TEST_CASE("completions per enter are zero before the first enter, and a quotient after it") {
    loop_stats stats;
    CHECK(stats.completions_per_enter() == 0.0);
    stats.enters = 4;
    stats.completions = 6;
    CHECK(stats.completions_per_enter() == 1.5);
}

TEST_CASE("a loop counts what it does") {
    loop on;
    const loop_stats before = on.stats();
    test::socket_pair pair(on);
    CHECK(test::send_all(on, pair.first, "hello"));
    test::probe receiving(on);
    receiving.keep_buffers = true;
    receiving.prepare_receive(pair.second);
    on.start(receiving);
    CHECK(on.stats().operations_live == 1);
    CHECK(test::run_until(on, [&] { return receiving.bytes == "hello"; }));
    const loop_stats after = on.stats();
    CHECK(after.turns > before.turns);
    CHECK(after.enters > before.enters);
    CHECK(after.completions > before.completions);
    CHECK(after.buffers_lent == receiving.kept.size());
    receiving.give_back_all();
    CHECK(on.stats().buffers_lent == 0);
    on.cancel(receiving);
    CHECK(receiving.run());
    CHECK(on.stats().operations_live == 0);
}
