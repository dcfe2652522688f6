#include "examples/crawler/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

namespace ringlet::crawler {
namespace {

std::runtime_error cannot_write(const std::string& name, int cause) {
    return std::runtime_error("cannot write " + name + ": " + std::strerror(cause));
}

// Gives the errno, 0 when all of it is written.
int write_all(std::FILE* to, std::string_view text) {
    errno = 0;
    const bool done = std::fwrite(text.data(), 1, text.size(), to) == text.size();
    return done && std::fflush(to) == 0 ? 0 : errno != 0 ? errno : EIO;
}

constexpr std::size_t error_class_bytes_max = 120;
constexpr std::size_t error_classes_max = 100;  // what is behind them counts as one

// A file of the run, by what its name leads to.
struct place {
    const char* option;
    struct stat at;
};

// The cause without what differs from page to page: the part before the second colon, and no URL.
std::string error_class(const std::string& text) {
    const std::size_t first = text.find(": ");
    const std::size_t end = text.find(": ", first == std::string::npos ? first : first + 2);
    std::string cause = text.substr(0, end);
    if (const std::size_t scheme = cause.find("://"); scheme != std::string::npos) {
        const std::size_t url = cause.rfind(' ', scheme) + 1;
        cause.replace(url, std::min(cause.find(' ', scheme), cause.size()) - url, "...");
    }
    return cause.substr(0, error_class_bytes_max);
}

std::string fixed(double value, int digits, const char* unit) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f %s", digits, value, unit);
    return text;
}

}  // namespace

fresh_files::~fresh_files() {
    for (const std::string& name : names) {
        ::unlink(name.c_str());
    }
}

output::output(const program_options& options)
    : options_(options), words_(options.output == "-" ? stderr : stdout) {
    const bool to_stdout = options.output == "-" || !options.quiet;
    if (to_stdout && (::fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) == O_RDONLY) {
        throw std::runtime_error(options.output == "-"
                                     ? "standard output, for --output -, is not open for writing"
                                     : "standard output, for the summary, is not open for "
                                       "writing; --quiet does without");
    }
    if (options.output == "-") {
        rows_.reset(stdout);
    } else if (!options.output.empty()) {
        rows_ = open(options.output);
    }
    if (!options.report.empty()) {
        report_ = open(options.report);
    }
    refuse_doubles();
    terminal_ = !options.quiet && ::isatty(STDERR_FILENO) == 1;
}

file_handle output::open(const std::string& name) {
    constexpr int flags = O_WRONLY | O_CREAT | O_CLOEXEC;
    int fd = ::open(name.c_str(), flags | O_EXCL, 0666);
    if (fd >= 0) {
        fresh_.names.push_back(name);
    } else if (errno == EEXIST) {
        fd = ::open(name.c_str(), flags, 0666);
    }
    file_handle opened(fd < 0 ? nullptr : ::fdopen(fd, "w"));
    if (!opened) {
        throw cannot_write(name, errno);
    }
    return opened;
}

// What is written must be neither read nor written for another purpose. Devices may serve many.
void output::refuse_doubles() const {
    std::vector<place> places;
    const auto add_read = [&](const char* option, const std::string& name) {
        place found{option, {}};
        if (!name.empty() && ::stat(name.c_str(), &found.at) == 0) {
            places.push_back(found);
        }
    };
    add_read("--urls", options_.urls_file);
    add_read("--cacert", options_.crawl.ca_file);
    const auto add_written = [&](const char* option, std::FILE* file) {
        place found{option, {}};
        if (file == nullptr || ::fstat(::fileno(file), &found.at) != 0 ||
            S_ISCHR(found.at.st_mode)) {
            return;
        }
        for (const place& other : places) {
            if (other.at.st_dev == found.at.st_dev && other.at.st_ino == found.at.st_ino) {
                throw std::runtime_error(std::string(other.option) + " and " + option +
                                         " are the same file; one of them would be lost");
            }
        }
        places.push_back(found);
    };
    add_written("--output", rows_.get());
    add_written("--report", report_.get());
    if (!options_.quiet && words_ == stdout) {
        add_written("standard output (for the summary)", stdout);
    }
}

void output::begin(loop& clock) {
    fresh_.names.clear();
    for (const auto& [file, name] :
         {std::pair(rows_.get(), &options_.output), std::pair(report_.get(), &options_.report)}) {
        struct stat found;
        if (file != nullptr && file != stdout && ::fstat(::fileno(file), &found) == 0 &&
            S_ISREG(found.st_mode) && ::ftruncate(::fileno(file), 0) != 0) {
            throw cannot_write(*name, errno);
        }
    }
    start_ = clock.read_clock();
}

double output::since_start(instant when) const noexcept {
    return when == 0 ? unknown_s : static_cast<double>(when - start_) / 1e9;
}

bool output::add(const row& what) {
    ++count_;
    bytes_ += what.bytes;
    if (what.error.empty()) {
        ++answered_;
    } else {
        std::string cause = error_class(what.error);
        if (errors_.size() >= error_classes_max && !errors_.contains(cause)) {
            cause = "other causes";
        }
        ++errors_[cause];
    }
    latencies_ms_.push_back(static_cast<float>(what.ms));
    if (rows_ != nullptr) {
        write_row(what);
    }
    if (report_ != nullptr) {
        recorded_.add(
            {.url = what.url,
             .start_s = since_start(what.begun),
             .end_s = since_start(what.ended),
             .queued_s = since_start(what.timings.begun),
             .resolved_s = since_start(what.timings.resolved),
             .connected_s = since_start(std::max(what.timings.connected, what.timings.secured)),
             .first_byte_s = since_start(what.timings.first_byte),
             .status = what.status,
             .bytes = what.bytes,
             .error = what.error});
    }
    return rows_failure_ == 0;
}

void output::write_row(const row& what) {
    using nlohmann::json;
    const json fields = {{"url", what.url},
                         {"final_url", what.final_url},
                         {"status", what.status},
                         {"bytes", what.bytes},
                         {"ms", std::round(what.ms * 1000) / 1000},
                         {"type", what.type},
                         {"depth", what.depth},
                         {"links", what.links},
                         {"error", what.error}};
    // Bytes that are no UTF-8 (a server's Content-Type may hold any) become U+FFFD.
    line_ = fields.dump(-1, ' ', false, json::error_handler_t::replace);
    line_ += '\n';
    if (rows_failure_ == 0 &&
        std::fwrite(line_.data(), 1, line_.size(), rows_.get()) != line_.size()) {
        rows_failure_ = errno;
    }
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
    const auto at =
        latencies_ms_.begin() +
        static_cast<std::ptrdiff_t>(share * static_cast<double>(latencies_ms_.size() - 1));
    std::nth_element(latencies_ms_.begin(), at, latencies_ms_.end());
    return static_cast<double>(*at);
}

void output::finish(const crawl& ended, instant now) {
    const double seconds = static_cast<double>(now - start_) / 1e9;
    if (terminal_) {
        std::fputs("\r\x1b[K", stderr);
    }
    std::string failures;
    const auto note = [&](const std::string& name, int cause) {
        if (cause != 0) {
            failures += failures.empty() ? "" : "; ";
            failures += cannot_write(name, cause).what();
        }
    };
    if (rows_ != nullptr) {
        const int flushed = write_all(rows_.get(), "");
        note(rows_.get() == stdout ? "the rows to standard output" : options_.output,
             rows_failure_ != 0 ? rows_failure_ : flushed);
    }
    if (report_ != nullptr) {
        note(options_.report, write_all(report_.get(), report_page(seconds)));
    }
    if (!options_.quiet) {
        note("the summary", write_all(words_, summary(ended, seconds)));
    }
    if (!failures.empty()) {
        throw std::runtime_error(failures);
    }
}

std::string output::summary(const crawl& ended, double seconds) {
    char* text = nullptr;
    std::size_t bytes = 0;
    std::FILE* const words = ::open_memstream(&text, &bytes);
    if (words == nullptr) {
        throw std::bad_alloc();
    }
    std::fprintf(words, "%zu pages in %.3f s: %zu answered, %zu failed, %.1f MB, %.0f pages/s\n",
                 count_, seconds, answered_, count_ - answered_, static_cast<double>(bytes_) / 1e6,
                 static_cast<double>(count_) / std::max(seconds, 1e-9));
    std::fprintf(words, "latency: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms\n", percentile_ms(0.5),
                 percentile_ms(0.9), percentile_ms(0.99));
    std::fprintf(words, "connections: %llu opened, %llu requests on a kept one\n",
                 static_cast<unsigned long long>(ended.client().stats().connections),
                 static_cast<unsigned long long>(ended.client().stats().reused));
    for (const auto& [cause, count] : errors_) {
        std::fprintf(words, "%6zu  %s\n", count, cause.c_str());
    }
    if (ended.waiting() > 0) {
        std::fprintf(words, "%6zu  pages known and not asked for\n", ended.waiting());
    }
    if (!options_.report.empty()) {
        std::fprintf(words, "report: %s\n", options_.report.c_str());
    }
    std::fclose(words);
    std::string whole(text, bytes);
    std::free(text);
    return whole;
}

std::string output::report_page(double seconds) {
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
    made.samples = std::move(recorded_.samples);
    made.totals = std::move(recorded_.totals);
    std::ostringstream text;
    write_report(text, made);
    return text.str();
}

}  // namespace ringlet::crawler
