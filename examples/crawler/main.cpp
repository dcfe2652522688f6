// crawler [options] URL...: see --help and the README.
#include <fcntl.h>

#include <cerrno>
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

// Otherwise the first sockets and files would be taken for them. What is written to standard output
// is not to vanish, so that there nothing can be written.
void fill_closed_descriptors() noexcept {
    for (const int fd : {0, 1, 2}) {
        if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            (void)::open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY);  // the lowest free one: fd
        }
    }
}

int crawl_with(const program_options& options) {
    url_list urls(options);
    loop events;
    output out(options);
    crawl* stoppable = nullptr;
    crawl running(
        events, options.crawl, [&](http::url& next) { return urls.next(next); },
        [&](const row& what) {
            if (!out.add(what)) {
                stoppable->stop();  // the rest of the crawl would be lost
            }
        });
    stoppable = &running;
    const signal_watch interrupt(
        events, {SIGINT, SIGTERM},
        [](void* to, int) noexcept {
            auto& what = *static_cast<crawl*>(to);
            what.stopped() ? what.cut() : what.stop();
        },
        &running);
    const dump_on_signal dumps(events);
    out.begin(events);
    run(events, crawl_to_end(events, running, out));
    out.finish(running, events.read_clock());
    if (!urls.failure().empty()) {
        throw std::runtime_error(urls.failure());
    }
    return running.stopped() ? exit_interrupted : exit_ok;
}

}  // namespace

int main(int count, char** arguments) {
    fill_closed_descriptors();
    std::signal(SIGPIPE, SIG_IGN);  // a reader that has gone is a failed write, with a sentence
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
