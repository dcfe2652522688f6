#include "examples/crawler/options.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <stdexcept>

#include "http/writer.h"

namespace ringlet::crawler {
namespace {

constexpr const char* footer =
    "https: the system's CAs are trusted, or those that SSL_CERT_FILE and SSL_CERT_DIR name.\n"
    "Exit codes: 0 the crawl ended; 2 bad options, bad URLs or unwritable output;\n"
    "130 interrupted (Ctrl-C or SIGTERM: what is in flight ends and is written; a second\n"
    "time cuts it). Pages that fail have a row with the cause and change no exit code.\n"
    "So has a page of which links were lost, to a limit of ours; it counts as failed.\n"
    "No file is both read and written, nor written twice; when the rows can no longer be\n"
    "written the crawl ends, and report and summary tell of what it has got.";

int refuse(const std::string& sentence) {
    std::fprintf(stderr, "crawler: %s\n", sentence.c_str());
    return exit_usage;
}

void add_options(CLI::App& app, program_options& parsed, double& timeout_s, bool& any_site,
                 bool& ignore_robots) {
    crawl_options& crawl = parsed.crawl;
    const CLI::Range count(std::size_t{1}, std::size_t{100'000'000});
    app.add_option("URL", parsed.urls, "where to begin");
    app.add_option("--urls", parsed.urls_file, "a file of URLs, one per line");
    app.add_option("--depth", crawl.depth, "how many links away to go; 0: only the URLs given")
        ->check(CLI::Range(0U, 1'000'000U))
        ->capture_default_str();
    app.add_option("--max-pages", crawl.pages_max, "at most so many pages")->check(count);
    app.add_option("--concurrency", crawl.concurrency, "requests at a time")
        ->check(CLI::Range(std::size_t{1}, std::size_t{100'000}))
        ->capture_default_str();
    app.add_option("--per-host", crawl.per_host, "requests at a time to one host")
        ->check(CLI::Range(std::size_t{1}, std::size_t{100'000}))
        ->capture_default_str();
    app.add_option("--timeout", timeout_s, "SECONDS for each request")->capture_default_str();
    auto* const same = app.add_flag("--same-site", parsed.same_site_asked,
                                    "stay on the hosts given (the default)");
    app.add_flag("--any-site", any_site, "follow links to other hosts")->excludes(same);
    app.add_flag("--ignore-robots", ignore_robots, "do not ask for robots.txt");
    auto* const cacert = app.add_option(
        "--cacert", crawl.ca_file, "FILE (PEM) of the CAs to trust for https, and no others");
    app.add_flag("--insecure", crawl.insecure, "take any https server for the one that was meant")
        ->excludes(cacert);
    app.add_option("--user-agent", crawl.user_agent, "what to call ourselves")
        ->capture_default_str();
    app.add_option("--output", parsed.output, "FILE for the rows as JSON lines; - for stdout");
    app.add_option("--report", parsed.report, "FILE.html for the pictures");
    app.add_flag("--quiet", parsed.quiet, "no progress and no summary");
    app.footer(footer);
}

std::optional<int> check(program_options& parsed, double timeout_s) {
    if (parsed.urls.empty() && parsed.urls_file.empty()) {
        return refuse("give a URL or --urls FILE; --help tells the rest");
    }
    constexpr double timeout_s_max = 1e6;
    if (!(timeout_s > 0) || timeout_s > timeout_s_max) {
        return refuse("--timeout is a number of seconds above 0");
    }
    parsed.crawl.timeout = nanoseconds(std::llround(timeout_s * 1e9));
    if (parsed.report == "-") {
        return refuse("--report takes the name of a file; only --output may be - for stdout");
    }
    if (!http::is_field_value(parsed.crawl.user_agent)) {
        return refuse("--user-agent must be one line of text");
    }
    return std::nullopt;
}

}  // namespace

std::optional<int> parse_options(int count, char** arguments, program_options& parsed) {
    CLI::App app{"Crawls pages and follows their links, many at a time.", "crawler"};
    double timeout_s = 30;
    bool any_site = false;
    bool ignore_robots = false;
    add_options(app, parsed, timeout_s, any_site, ignore_robots);
    try {
        app.parse(count, arguments);
    } catch (const CLI::CallForHelp&) {
        if (std::fputs(app.help().c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
            return refuse("the help cannot be written to standard output");
        }
        return exit_ok;
    } catch (const CLI::ParseError& wrong) {
        return refuse(wrong.what());
    }
    parsed.crawl.same_site = !any_site;
    parsed.crawl.obey_robots = !ignore_robots;
    return check(parsed, timeout_s);
}

url_list::url_list(const program_options& options)
    : urls_(options.urls), name_(options.urls_file) {
    http::url where;
    for (const std::string& each : urls_) {
        if (const http::url_error bad = http::url::parse(each, where);
            bad != http::url_error::none) {
            throw std::runtime_error("'" + each.substr(0, 200) + "' is no URL to crawl: " +
                                     std::string(sentence(bad)));
        }
    }
    if (name_.empty()) {
        return;
    }
    file_.open(name_);
    std::error_code ignored;
    if (!file_ || std::filesystem::is_directory(name_, ignored)) {
        throw std::runtime_error("cannot read the list of URLs " + name_);
    }
    std::string line;
    while (next_line(line)) {
        if (const http::url_error bad = http::url::parse(line, where);
            bad != http::url_error::none) {
            throw std::runtime_error("'" + line.substr(0, 200) + "' in " + name_ +
                                     " is no URL to crawl: " + std::string(sentence(bad)));
        }
        ++lines_left_;
    }
    const bool whole = !file_.bad();
    file_.clear();
    file_.seekg(0);
    if (!whole) {
        throw std::runtime_error("cannot read the list of URLs " + name_ + " to its end");
    }
    if (!file_) {
        throw std::runtime_error("cannot read the list of URLs " + name_ + " twice");
    }
}

// The next line that holds something; blanks around it and lines that begin with '#' are dropped.
bool url_list::next_line(std::string& line) {
    while (std::getline(file_, line)) {
        const std::size_t begin = line.find_first_not_of(" \t\r");
        if (begin == std::string::npos || line[begin] == '#') {
            continue;
        }
        line = line.substr(begin, line.find_last_not_of(" \t\r") - begin + 1);
        return true;
    }
    return false;
}

bool url_list::next(http::url& where) {
    if (at_ < urls_.size()) {
        return http::url::parse(urls_[at_++], where) == http::url_error::none;
    }
    if (lines_left_ == 0) {
        return false;
    }
    std::string line;
    if (next_line(line) && http::url::parse(line, where) == http::url_error::none) {
        --lines_left_;
        return true;
    }
    failure_ = "the list of URLs " + name_ + " changed during the crawl: " +
               std::to_string(std::exchange(lines_left_, 0)) + " of its URLs are left out";
    return false;
}

}  // namespace ringlet::crawler
