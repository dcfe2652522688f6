// crawler [options] URL...: see --help and the README.
#include <csignal>
#include <cstdio>
#include <stdexcept>

#include "core/signals.h"
#include "coro/dump.h"
#include "coro/run.h"
#include "examples/crawler/crawl.h"
#include "examples/crawler/options.h"
#include "examples/crawler/output.h"

namespace {

using namespace ringlet;
using namespace ringlet::crawler;

task<void> report_progress(loop& events, const crawl& running, output& out) {
    while (true) {
        co_await sleep_for(std::chrono::milliseconds(100));
        out.show_progress(running, events.now());
    }
}

task<void> crawl_to_end(loop& events, crawl& running, output& out) {
    co_await scoped([&](scope& both) -> task<void> {
        both.spawn(report_progress(events, running, out));
        co_await running.run();
        both.cancel();
    });
}

int crawl_with(const program_options& options) {
    url_list urls(options);
    loop events;
    output out(options, events);
    crawl running(
        events, options.crawl, [&](http::url& next) { return urls.next(next); },
        [&](const row& what) { out.add(what); });
    const signal_watch interrupt(
        events, {SIGINT, SIGTERM},
        [](void* to, int) noexcept {
            auto& what = *static_cast<crawl*>(to);
            what.stopped() ? what.cut() : what.stop();
        },
        &running);
    const dump_on_signal dumps(events);
    run(events, crawl_to_end(events, running, out));
    out.finish(running, events.read_clock());
    return running.stopped() ? exit_interrupted : exit_ok;
}

}  // namespace

int main(int count, char** arguments) {
    program_options options;
    if (const std::optional<int> leave = parse_options(count, arguments, options)) {
        return *leave;
    }
    try {
        return crawl_with(options);
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "crawler: %s\n", failure.what());
        return exit_usage;
    }
}
