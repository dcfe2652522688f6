// Where the rows go: JSON lines, the samples of the report, the progress line and the summary. One
// object per run, on the loop's thread. Files are opened before the first request, emptied when the
// crawl is certain to begin, and written to their end by `finish`. No file serves two ends: names
// are compared by what they lead to. What cannot be written is a sentence, never a silent loss.
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

struct file_closer {
    void operator()(std::FILE* file) const noexcept {
        if (file != stdout) {
            std::fclose(file);
        }
    }
};
using file_handle = std::unique_ptr<std::FILE, file_closer>;

// Removes the files of these names again, unless it is told to keep them.
struct fresh_files {
    std::vector<std::string> names;
    ~fresh_files();
};

class output {
public:
    // Opens everything that will be written, and changes nothing yet: a run that is refused leaves
    // all files as they were. Throws std::runtime_error with a sentence.
    explicit output(const program_options& options);

    // Empties the files; then the crawl's time begins (emptying a long one takes milliseconds).
    void begin(loop& clock);
    // False when no more rows can be written.
    bool add(const row& what);
    // On a terminal, at most ten times a second.
    void show_progress(const crawl& running, instant now);
    // Ends the rows, writes the report and the summary, each whatever became of the others. Throws
    // std::runtime_error when something could not be written.
    void finish(const crawl& ended, instant now);

private:
    file_handle open(const std::string& name);
    void refuse_doubles() const;
    void write_row(const row& what);
    std::string summary(const crawl& ended, double seconds);
    std::string report_page(double seconds);
    double percentile_ms(double share);
    double since_start(instant when) const noexcept;

    const program_options& options_;
    instant start_ = 0;
    fresh_files fresh_;
    file_handle rows_;
    file_handle report_;
    std::FILE* words_;       // summary: stdout, unless the rows go there
    int rows_failure_ = 0;  // the errno of the first row that could not be written
    bool terminal_ = false;
    instant last_progress_ = 0;
    std::size_t count_ = 0;
    std::size_t answered_ = 0;
    std::uint64_t bytes_ = 0;
    std::map<std::string, std::size_t> errors_;
    std::vector<float> latencies_ms_;
    run_recorder recorded_;
    std::string line_;
};

}  // namespace ringlet::crawler
