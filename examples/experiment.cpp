// experiment [--urls N] [--delay MS] [--report FILE.html]: the book's chapter on concurrency. A
// server answers each request after a delay; the same requests are made one after the other (a
// sample, extrapolated and labelled so) and 100 at a time; then the total time is measured against
// the number of requests at a time. The server runs on a loop of its own in a second thread.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "coro/dump.h"
#include "coro/fan_out.h"
#include "coro/run.h"
#include "examples/crawler/report.h"
#include "examples/delay_service.h"
#include "http/client.h"

namespace {

using namespace ringlet;
using crawler::sample;

constexpr std::size_t serial_sample = 20;  // of the requests made one after the other
constexpr std::size_t rounds_min = 10;     // of each point of the sweep, until it is the whole

struct settings {
    std::size_t urls = 500;
    unsigned delay_ms = 100;
    std::string report;
};

// The delay server on a thread of its own; ends with the object.
class server_thread {
public:
    server_thread() : stop_work_([](work&) noexcept { loop::current()->stop(); }) {
        thread_ = std::thread([this] {
            loop events;
            const auto service = examples::make_delay_service(events);
            at_ = service->listen(address::loopback_v4(0));
            loop_ = &events;
            ready_.release();
            events.run();
        });
        ready_.acquire();
    }
    ~server_thread() {
        loop_->post_from_thread(stop_work_);
        thread_.join();
    }
    const address& at() const noexcept { return at_; }

private:
    work stop_work_;
    std::binary_semaphore ready_{0};
    address at_;
    loop* loop_ = nullptr;
    std::thread thread_;
};

struct measured {
    double seconds = 0;
    std::vector<sample> samples;
};

task<http::client_response> fetch(http::client& web, const std::string& prefix, std::size_t name) {
    http::client_response answer = co_await web.get(prefix + std::to_string(name));
    if (answer.status != 200) {
        throw std::runtime_error("the delay server answered " + std::to_string(answer.status));
    }
    co_return answer;
}

// `count` requests, `limit` at a time, on fresh connections.
task<measured> measure(loop& events, std::string prefix, std::size_t count, std::size_t limit) {
    http::client_options options;
    options.connections_max = limit;
    options.idle_connections_max = limit;
    http::client web(events, options);
    measured what;
    what.samples.resize(count);
    const instant start = events.read_clock();
    auto seconds = [start](instant when) {
        return when == 0 ? crawler::unknown_s : static_cast<double>(when - start) / 1e9;
    };
    auto one = [&](std::size_t name) { return fetch(web, prefix, name); };
    auto keep = [&](std::size_t index, http::client_response answer) {
        const http::client_timings& t = answer.timings;
        what.samples[index] = {.url = prefix + std::to_string(index),
                               .start_s = seconds(t.begun),
                               .end_s = seconds(t.ended),
                               .connected_s = seconds(t.connected),
                               .first_byte_s = seconds(t.first_byte),
                               .status = answer.status,
                               .bytes = answer.body.size(),
                               .error = {}};
    };
    std::vector<std::size_t> names(count);
    std::iota(names.begin(), names.end(), std::size_t{0});
    co_await fan_out(names, limit, one, keep);
    what.seconds = seconds(events.read_clock());
    co_return what;
}

class experiment {
public:
    experiment(loop& events, const settings& wanted, const address& server)
        : events_(events),
          wanted_(wanted),
          prefix_("http://" + server.text() + "/add?delay=" + std::to_string(wanted.delay_ms) +
                  "&name=") {}

    task<void> run() {
        std::printf("%zu URLs, each answered after %u ms\n\n", wanted_.urls, wanted_.delay_ms);
        std::printf("%-28s %10s %10s\n", "requests at a time", "total s", "ideal s");
        std::fflush(stdout);
        co_await serial();
        co_await together();
        co_await sweep();
    }

    void write_report() const {
        std::ofstream out(wanted_.report);
        crawler::experiment_report made;
        made.title = "The book's experiment: " + std::to_string(wanted_.urls) + " requests of " +
                     std::to_string(wanted_.delay_ms) + " ms";
        made.options = {{"URLs", std::to_string(wanted_.urls)},
                        {"delay", std::to_string(wanted_.delay_ms) + " ms"},
                        {"driver", events_.driver().name()}};
        char speed[32];
        std::snprintf(speed, sizeof speed, "%.0f times", serial_s_ / together_s_);
        made.summary = {{"one after the other", text_s(serial_s_)},
                        {"100 at a time", text_s(together_s_)},
                        {"faster", speed}};
        made.sweep = {points_};
        made.runs = runs_;
        write_experiment_report(out, made);
        if (!out.flush()) {
            throw std::runtime_error("cannot write " + wanted_.report);
        }
    }

private:
    static std::string text_s(double seconds) {
        char text[32];
        std::snprintf(text, sizeof text, "%.3f s", seconds);
        return text;
    }

    double ideal_s(std::size_t limit) const {
        const double rounds =
            std::ceil(static_cast<double>(wanted_.urls) / static_cast<double>(limit));
        return rounds * wanted_.delay_ms / 1000;
    }

    static void print(const std::string& name, double total, double ideal) {
        std::printf("%-28s %10.3f %10.3f\n", name.c_str(), total, ideal);
        std::fflush(stdout);
    }

    task<void> serial() {
        const std::size_t count = std::min(serial_sample, wanted_.urls);
        measured got = co_await measure(events_, prefix_, count, 1);
        serial_s_ = got.seconds * static_cast<double>(wanted_.urls) / static_cast<double>(count);
        print("1 (from " + std::to_string(count) + " requests)", serial_s_, ideal_s(1));
        runs_.push_back({"One after the other",
                         "A sample of " + std::to_string(count) + " requests; all " +
                             std::to_string(wanted_.urls) + " would take " + text_s(serial_s_) +
                             " (extrapolated).",
                         std::move(got.samples)});
    }

    task<void> together() {
        measured got = co_await measure(events_, prefix_, wanted_.urls, 100);
        together_s_ = got.seconds;
        print("100", got.seconds, ideal_s(100));
        runs_.push_back(
            {"100 at a time",
             "All " + std::to_string(wanted_.urls) + " requests took " + text_s(got.seconds) + ".",
             std::move(got.samples)});
    }

    task<void> sweep() {
        std::printf("\nThe sweep (points marked * are extrapolated from 10 rounds)\n");
        points_.name = std::to_string(wanted_.delay_ms) + " ms per request";
        for (const std::size_t limit :
             {1, 2, 3, 5, 8, 12, 20, 30, 50, 75, 100, 150, 200, 250, 300, 350, 400, 450, 500}) {
            const std::size_t count = std::min(wanted_.urls, limit * rounds_min);
            const measured got = co_await measure(events_, prefix_, count, limit);
            const double total =
                got.seconds * static_cast<double>(wanted_.urls) / static_cast<double>(count);
            print(std::to_string(limit) + (count < wanted_.urls ? " *" : ""), total,
                  ideal_s(limit));
            points_.points.push_back({static_cast<double>(limit), total, ideal_s(limit)});
        }
    }

    loop& events_;
    const settings& wanted_;
    std::string prefix_;
    double serial_s_ = 0;
    double together_s_ = 0;
    crawler::sweep_series points_;
    std::vector<crawler::named_run> runs_;
};

}  // namespace

int main(int count, char** arguments) {
    settings wanted;
    CLI::App app{"The book's experiment: many slow requests, serially and at once.", "experiment"};
    app.add_option("--urls", wanted.urls, "how many requests")->check(CLI::Range(1, 100'000));
    app.add_option("--delay", wanted.delay_ms, "MS until each is answered")
        ->check(CLI::Range(0, 60'000));
    app.add_option("--report", wanted.report, "FILE.html for the pictures");
    try {
        app.parse(count, arguments);
    } catch (const CLI::ParseError& wrong) {
        return app.exit(wrong) == 0 ? 0 : 2;
    }
    try {
        loop events;
        const dump_on_signal dumps(events);
        const server_thread server;  // its thread has the signal blocked, as this one then
        experiment chapter(events, wanted, server.at());
        run(events, chapter.run());
        if (!wanted.report.empty()) {
            chapter.write_report();
            std::printf("\nreport: %s\n", wanted.report.c_str());
        }
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "experiment: %s\n", failure.what());
        return 2;
    }
    return 0;
}
