// four_ways URL [--only coroutine|callback|future|fiber]: one and the same fetch written in the
// four ways Ringlet has. Each gets the page; when the server is busy (status 503) it waits a moment
// and tries again, three times in all. Each prints its answer and its figures, which are the same.
#include <CLI/CLI.hpp>
#include <cinttypes>
#include <cstdio>
#include <string>

#include "coro/callback.h"
#include "coro/dump.h"
#include "coro/fiber.h"
#include "coro/run.h"
#include "coro/suspension.h"
#include "http/client.h"

namespace {

using namespace ringlet;

constexpr int status_busy = 503;
constexpr unsigned tries_max = 3;
constexpr nanoseconds pause = std::chrono::milliseconds(20);

struct answer {
    int status = 0;
    std::size_t bytes = 0;
    std::uint64_t fingerprint = 14695981039346656037U;  // FNV-1a of the body
    unsigned tries = 0;
};

bool try_again(const http::client_response& got, unsigned tries) {
    return got.status == status_busy && tries < tries_max;
}

answer answer_of(const http::client_response& got, unsigned tries) {
    answer made{.status = got.status, .bytes = got.body.size(), .tries = tries};
    for (const char each : got.body) {
        made.fingerprint = (made.fingerprint ^ static_cast<unsigned char>(each)) * 1099511628211U;
    }
    return made;
}

// The coroutine: plain control flow, and co_await where it waits.
task<answer> coroutine_fetch(http::client& web, std::string url) {
    for (unsigned tries = 1;; ++tries) {
        const http::client_response got = co_await web.get(url);
        if (!try_again(got, tries)) {
            co_return answer_of(got, tries);
        }
        co_await sleep_for(pause);
    }
}

// The fiber: plain control flow in a plain function, which waits by `await`.
answer fiber_fetch(http::client& web, const std::string& url) {
    for (unsigned tries = 1;; ++tries) {
        const http::client_response got = await(web.get(url));
        if (!try_again(got, tries)) {
            return answer_of(got, tries);
        }
        await(sleep_for(pause));
    }
}

// The future chain: each step begins the next one and hands on its future.
future<answer> future_fetch(http::client& web, std::string url, unsigned tries = 1) {
    return to_future(web.owner(), web.get(url))
        .then([&web, url, tries](const http::client_response& got) {
            if (!try_again(got, tries)) {
                promise<answer> here(web.owner());
                future<answer> ready = here.get_future();
                here.set_value(answer_of(got, tries));
                return ready;
            }
            auto wait = []() -> task<void> { co_await sleep_for(pause); };
            return to_future(web.owner(), wait()).then([&web, url, tries] {
                return future_fetch(web, url, tries + 1);
            });
        });
}

// The callbacks: an object holds what the other ways keep in variables, until it calls `done`.
template <class Done>
class callback_fetch : private timer {
public:
    static void begin(http::client& web, std::string url, Done done) {
        (new callback_fetch(web, std::move(url), std::move(done)))->attempt();
    }

private:
    callback_fetch(http::client& web, std::string url, Done done)
        : timer([](timer& self) noexcept { static_cast<callback_fetch&>(self).attempt(); }),
          web_(web),
          url_(std::move(url)),
          done_(std::move(done)) {}

    void attempt() noexcept {
        ++tries_;
        to_callback(web_.owner(), web_.get(url_),
                    [this](outcome<http::client_response> got) noexcept { got_answer(got); });
    }
    void got_answer(outcome<http::client_response>& result) noexcept {
        try {
            const http::client_response got = result.get();
            if (try_again(got, tries_)) {
                web_.owner().start_timer(*this, web_.owner().read_clock() + pause.count());
                return;
            }
            done_(answer_of(got, tries_));
        } catch (...) {
            done_.fail(std::current_exception());
        }
        delete this;
    }

    http::client& web_;
    std::string url_;
    Done done_;
    unsigned tries_ = 0;
};

// Each way once more as a task, for the sake of one main.
task<answer> fetch(std::string way, http::client& web, std::string url) {
    if (way == "coroutine") {
        co_return co_await coroutine_fetch(web, url);
    }
    if (way == "fiber") {
        auto body = [&] { return fiber_fetch(web, url); };
        co_return co_await run_fiber(body);
    }
    if (way == "future") {
        future<answer> coming = future_fetch(web, url);
        co_return co_await coming;
    }
    auto start = [&](done_callback<answer> done) {
        callback_fetch<done_callback<answer>>::begin(web, url, done);
    };
    co_return co_await from_callback<answer>(start);
}

// False when it failed.
bool show(const char* way, loop& owner, const std::string& url) {
    http::client web(owner);  // a new one each time: the figures are those of this way alone
    try {
        const answer got = run(owner, fetch(way, web, url));
        std::printf("%-9s  status %d, %zu bytes, fingerprint %016" PRIx64 ", %u tries, %" PRIu64
                    " requests, %" PRIu64 " connections\n",
                    way, got.status, got.bytes, got.fingerprint, got.tries, web.stats().requests,
                    web.stats().connections);
        return true;
    } catch (const error& failure) {
        std::printf("%-9s  %s, %" PRIu64 " requests, %" PRIu64 " connections\n", way,
                    failure.what(), web.stats().requests, web.stats().connections);
        return false;
    }
}

}  // namespace

int main(int count, char** arguments) {
    std::string url;
    std::string only;
    CLI::App app{"One fetch, written in four ways", "four_ways"};
    app.add_option("url", url, "what to fetch")->required();
    app.add_option("--only", only, "one way alone")
        ->check(CLI::IsMember({"coroutine", "callback", "future", "fiber"}));
    CLI11_PARSE(app, count, arguments);
    try {
        loop owner;
        const dump_on_signal dumps(owner);
        bool good = true;
        for (const char* const way : {"coroutine", "callback", "future", "fiber"}) {
            if (only.empty() || only == way) {
                good = show(way, owner, url) && good;
            }
        }
        return good ? 0 : 1;
    } catch (const error& failure) {
        std::fprintf(stderr, "four_ways: %s\n", failure.what());
        return 2;
    }
}
