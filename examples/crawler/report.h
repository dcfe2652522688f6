// Writes the picture of a run: one self-contained HTML file with charts and tables, that opens
// without a network and in any browser. The run's figures are embedded as JSON and drawn by a small
// script, so that the page fits its window and both colour schemes. Whatever the URLs and texts
// hold is escaped. Plain functions over plain values; a failed write shows in the stream's state,
// which is the caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace ringlet::crawler {

// An instant that is not known.
inline constexpr double unknown_s = -1;
// Up to here every request is an element of its own; above, all are painted on one canvas.
inline constexpr std::size_t report_elements_max = 2'000;
// Rows of the tables of slow pages and of errors.
inline constexpr std::size_t report_rows_max = 20;

// One request. Instants are seconds since the run's start.
struct sample {
    std::string url;
    double start_s = 0;
    double end_s = 0;
    double queued_s = unknown_s;      // it was asked for, and waited for its turn
    double resolved_s = unknown_s;    // the host's address was there
    double connected_s = unknown_s;   // a connection was there
    double first_byte_s = unknown_s;  // the answer began
    int status = 0;                   // 0: there was no answer
    std::uint64_t bytes = 0;
    std::string error;  // why it failed; empty if it did not
};

// Of a run of more requests the report keeps a sample, besides exact totals.
inline constexpr std::size_t report_samples_max = 20'000;
// Causes of errors told apart then; those behind them are one.
inline constexpr std::size_t report_causes_max = 1'000;
// Equal slices of time that are summed up; twice as long when the run outgrows them.
inline constexpr std::size_t report_slices_max = 2'000;

// Why it counts as an error, by its error or its status; empty if it does not.
std::string cause_of(const sample& one);

// What was summed up of a run of which only a sample is kept.
struct run_totals {
    struct slice {
        std::size_t started = 0;
        std::size_t ended = 0;
        std::uint64_t bytes = 0;
    };
    struct cause {
        std::size_t count = 0;
        std::string example;  // a URL
    };

    std::size_t count = 0;
    std::size_t every = 1;  // the sample holds one of so many
    double busy_s = 0;      // sum of all durations
    double slice_s = 1e-3;
    std::vector<slice> slices;
    std::map<std::int64_t, std::size_t> latencies;  // of answers, in µs, to 1.6 %
    std::map<std::string, cause> causes;
    std::vector<sample> slowest;  // a heap, the fastest of them in front
};

// Takes any number of requests in bounded memory.
class run_recorder {
public:
    void add(sample one);

    std::vector<sample> samples;
    run_totals totals;

private:
    run_totals::slice& slice_at(double seconds);
};

using name_values = std::vector<std::pair<std::string, std::string>>;

struct run_report {
    std::string title;
    name_values options;
    name_values summary;  // shown large, so a few and short
    std::vector<sample> samples;
    run_totals totals;  // used when totals.every > 1: `samples` is a sample
};

// A named run among several, shown by its timeline and its concurrency.
struct named_run {
    std::string name;
    std::string note;  // a sentence or two under the name; may be empty
    std::vector<sample> samples;
};

struct sweep_point {
    double concurrency = 1;
    double total_s = 0;
    double ideal_s = 0;
};

// Total time against the number of requests at a time. Both axes are logarithmic.
struct sweep_series {
    std::string name;
    std::vector<sweep_point> points;
};

struct experiment_report {
    std::string title;
    name_values options;
    name_values summary;
    std::vector<sweep_series> sweep;
    std::vector<named_run> runs;
};

void write_report(std::ostream& out, const run_report& report);
void write_experiment_report(std::ostream& out, const experiment_report& report);

}  // namespace ringlet::crawler
