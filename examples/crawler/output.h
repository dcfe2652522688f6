// Where the rows go: JSON lines, the samples of the report, the progress line and the summary. One
// object per run, on the loop's thread. Files are opened before the first request and written to
// their end by `finish`; what cannot be written is a sentence, never a silent loss.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "examples/crawler/crawl.h"
#include "examples/crawler/options.h"
#include "examples/crawler/report.h"

namespace ringlet::crawler {

class output {
public:
    // Opens everything that will be written; then the crawl's time begins (truncating a long file
    // takes milliseconds). Throws std::runtime_error with a sentence.
    output(const program_options& options, loop& clock);
    ~output();

    void add(const row& what);
    // On a terminal, at most ten times a second.
    void show_progress(const crawl& running, instant now);
    // Ends the rows, writes the report and the summary. Throws std::runtime_error when something
    // could not be written.
    void finish(const crawl& ended, instant now);

private:
    void write_row(const row& what);
    void write_summary(const crawl& ended, double seconds);
    void write_report_file(double seconds);
    double percentile_ms(double share);
    double since_start(instant when) const noexcept;

    const program_options& options_;
    instant start_ = 0;
    std::FILE* rows_ = nullptr;
    std::FILE* report_ = nullptr;
    std::FILE* words_;  // summary: stdout, unless the rows go there
    bool terminal_ = false;
    instant last_progress_ = 0;
    std::size_t count_ = 0;
    std::size_t answered_ = 0;
    std::uint64_t bytes_ = 0;
    std::map<std::string, std::size_t> errors_;
    std::vector<float> latencies_ms_;
    std::vector<sample> samples_;
    std::string line_;
};

}  // namespace ringlet::crawler
