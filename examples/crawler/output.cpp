#include "examples/crawler/output.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

namespace ringlet::crawler {
namespace {

std::FILE* open_for_writing(const std::string& name) {
    std::FILE* const file = std::fopen(name.c_str(), "w");
    if (file == nullptr) {
        throw std::runtime_error("cannot write " + name + ": " + std::strerror(errno));
    }
    return file;
}

// The cause without what differs from page to page: the part before the second colon.
std::string error_class(const std::string& text) {
    const std::size_t first = text.find(": ");
    const std::size_t end = text.find(": ", first == std::string::npos ? first : first + 2);
    return text.substr(0, std::min<std::size_t>(end, 120));
}

std::string fixed(double value, int digits, const char* unit) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f %s", digits, value, unit);
    return text;
}

}  // namespace

output::output(const program_options& options, loop& clock)
    : options_(options), words_(stdout) {
    if (options.output == "-") {
        rows_ = stdout;
        words_ = stderr;
    } else if (!options.output.empty()) {
        rows_ = open_for_writing(options.output);
    }
    if (!options.report.empty()) {
        report_ = open_for_writing(options.report);
    }
    terminal_ = !options.quiet && ::isatty(STDERR_FILENO) == 1;
    start_ = clock.read_clock();
}

output::~output() {
    if (rows_ != nullptr && rows_ != stdout) {
        std::fclose(rows_);
    }
    if (report_ != nullptr) {
        std::fclose(report_);
    }
}

double output::since_start(instant when) const noexcept {
    return when == 0 ? unknown_s : static_cast<double>(when - start_) / 1e9;
}

void output::add(const row& what) {
    ++count_;
    bytes_ += what.bytes;
    if (what.error.empty()) {
        ++answered_;
    } else {
        ++errors_[error_class(what.error)];
    }
    latencies_ms_.push_back(static_cast<float>(what.ms));
    if (rows_ != nullptr) {
        write_row(what);
    }
    if (report_ != nullptr) {
        samples_.push_back({.url = what.url,
                            .start_s = since_start(what.begun),
                            .end_s = since_start(what.ended),
                            .queued_s = since_start(what.timings.begun),
                            .resolved_s = since_start(what.timings.resolved),
                            .connected_s = since_start(std::max(what.timings.connected,
                                                                what.timings.secured)),
                            .first_byte_s = since_start(what.timings.first_byte),
                            .status = what.status,
                            .bytes = what.bytes,
                            .error = what.error});
    }
}

void output::write_row(const row& what) {
    using nlohmann::json;
    const json fields = {{"url", what.url},       {"final_url", what.final_url},
                         {"status", what.status}, {"bytes", what.bytes},
                         {"ms", std::round(what.ms * 1000) / 1000},
                         {"type", what.type},     {"depth", what.depth},
                         {"links", what.links},   {"error", what.error}};
    // Bytes that are no UTF-8 (a server's Content-Type may hold any) become U+FFFD.
    line_ = fields.dump(-1, ' ', false, json::error_handler_t::replace);
    line_ += '\n';
    std::fwrite(line_.data(), 1, line_.size(), rows_);
}

void output::show_progress(const crawl& running, instant now) {
    constexpr instant every = 100'000'000;
    if (!terminal_ || now - last_progress_ < every) {
        return;
    }
    last_progress_ = now;
    const double seconds = static_cast<double>(now - start_) / 1e9;
    std::fprintf(stderr, "\r\x1b[K%zu pages, %zu in flight, %zu waiting, %zu failed, %.0f/s",
                 count_, running.active(), running.waiting(), count_ - answered_,
                 static_cast<double>(count_) / std::max(seconds, 1e-3));
    std::fflush(stderr);
}

double output::percentile_ms(double share) {
    if (latencies_ms_.empty()) {
        return 0;
    }
    const auto at = latencies_ms_.begin() +
                    static_cast<std::ptrdiff_t>(share *
                                                static_cast<double>(latencies_ms_.size() - 1));
    std::nth_element(latencies_ms_.begin(), at, latencies_ms_.end());
    return static_cast<double>(*at);
}

void output::finish(const crawl& ended, instant now) {
    const double seconds = static_cast<double>(now - start_) / 1e9;
    if (terminal_) {
        std::fputs("\r\x1b[K", stderr);
    }
    if (rows_ != nullptr && (std::fflush(rows_) != 0 || std::ferror(rows_) != 0)) {
        throw std::runtime_error("cannot write " + options_.output + ": " +
                                 std::strerror(errno));
    }
    if (report_ != nullptr) {
        write_report_file(seconds);
    }
    if (!options_.quiet) {
        write_summary(ended, seconds);
    }
}

void output::write_summary(const crawl& ended, double seconds) {
    std::fprintf(words_, "%zu pages in %.3f s: %zu answered, %zu failed, %.1f MB, %.0f pages/s\n",
                 count_, seconds, answered_, count_ - answered_,
                 static_cast<double>(bytes_) / 1e6,
                 static_cast<double>(count_) / std::max(seconds, 1e-9));
    std::fprintf(words_, "latency: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms\n", percentile_ms(0.5),
                 percentile_ms(0.9), percentile_ms(0.99));
    std::fprintf(words_, "connections: %llu opened, %llu requests on a kept one\n",
                 static_cast<unsigned long long>(ended.client().stats().connections),
                 static_cast<unsigned long long>(ended.client().stats().reused));
    for (const auto& [cause, count] : errors_) {
        std::fprintf(words_, "%6zu  %s\n", count, cause.c_str());
    }
    if (ended.waiting() > 0) {
        std::fprintf(words_, "%6zu  pages known and not asked for\n", ended.waiting());
    }
    if (!options_.report.empty()) {
        std::fprintf(words_, "report: %s\n", options_.report.c_str());
    }
}

void output::write_report_file(double seconds) {
    run_report made;
    made.title = options_.urls.empty() ? "Crawl of " + options_.urls_file
                                       : "Crawl of " + options_.urls.front();
    made.options = {{"depth", std::to_string(options_.crawl.depth)},
                    {"concurrency", std::to_string(options_.crawl.concurrency)},
                    {"per host", std::to_string(options_.crawl.per_host)},
                    {"robots.txt", options_.crawl.obey_robots ? "obeyed" : "ignored"},
                    {"sites", options_.crawl.same_site ? "the ones given" : "any"}};
    made.summary = {{"pages", std::to_string(count_)},
                    {"time", fixed(seconds, 3, "s")},
                    {"failed", std::to_string(count_ - answered_)},
                    {"received", fixed(static_cast<double>(bytes_) / 1e6, 1, "MB")},
                    {"median", fixed(percentile_ms(0.5), 1, "ms")},
                    {"p99", fixed(percentile_ms(0.99), 1, "ms")}};
    made.samples = std::move(samples_);
    std::ostringstream text;
    write_report(text, made);
    const std::string page = text.str();
    std::fwrite(page.data(), 1, page.size(), report_);
    if (std::fflush(report_) != 0 || std::ferror(report_) != 0) {
        throw std::runtime_error("cannot write " + options_.report + ": " + std::strerror(errno));
    }
}

}  // namespace ringlet::crawler
