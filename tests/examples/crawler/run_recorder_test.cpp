#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "examples/crawler/report.h"

namespace {

using namespace ringlet::crawler;

sample request(double start_s, double end_s, std::string error = {}) {
    sample made;
    made.start_s = start_s;
    made.end_s = end_s;
    made.status = error.empty() ? 200 : 0;
    made.error = std::move(error);
    return made;
}

TEST_CASE("causes beyond the limit are counted as one") {
    run_recorder all;
    for (std::size_t i = 0; i < report_causes_max + 5; ++i) {
        all.add(request(0, 1, "cause " + std::to_string(i)));
    }
    CHECK(all.totals.causes.size() == report_causes_max + 1);
    CHECK(all.totals.causes["other causes"].count == 5);
}

TEST_CASE("slices of time grow with the run, and lose nothing") {
    run_recorder all;
    for (const double at : {0.0, 0.0015, 3.0, 1e5, 1e5, -1.0, 1e300}) {
        all.add(request(at, at));
        CHECK(all.totals.slices.size() <= report_slices_max);
    }
    all.add(request(std::numeric_limits<double>::quiet_NaN(), 0));
    std::size_t started = 0;
    std::size_t ended = 0;
    for (const run_totals::slice& each : all.totals.slices) {
        started += each.started;
        ended += each.ended;
    }
    CHECK(started == 8);
    CHECK(ended == 8);
    CHECK(all.totals.count == 8);
    CHECK(all.totals.slices.back().ended == 1);
}

}  // namespace
