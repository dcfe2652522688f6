// The crawler's command line: parsed, checked, and turned into what the crawl needs. Every mistake
// is one sentence on stderr and exit code 2, before any request is sent.
#pragma once

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "examples/crawler/crawl.h"

namespace ringlet::crawler {

struct program_options {
    crawl_options crawl;
    std::vector<std::string> urls;
    std::string urls_file;
    std::string output;  // empty: no rows
    std::string report;  // empty: no report
    bool same_site_asked = false;  // said, not only meant
    bool quiet = false;
};

constexpr int exit_ok = 0;
constexpr int exit_usage = 2;
constexpr int exit_interrupted = 130;

// The exit code to leave with, or nothing: go on.
std::optional<int> parse_options(int count, char** arguments, program_options& parsed);

// The URLs of the command line, then those of the file, which is read as the crawl goes on. All of
// them have been checked: the constructor reads the file once. Throws std::runtime_error with a
// sentence naming the first bad one.
class url_list {
public:
    explicit url_list(const program_options& options);
    bool next(http::url& where);
    // Empty, or the sentence saying why `next` gave less than the constructor had checked.
    const std::string& failure() const noexcept { return failure_; }

private:
    bool next_line(std::string& line);

    std::vector<std::string> urls_;
    std::size_t at_ = 0;
    std::string name_;
    std::string failure_;
    std::size_t lines_left_ = 0;  // URLs of the file, not given yet
    std::ifstream file_;
};

}  // namespace ringlet::crawler
