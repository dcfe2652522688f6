// primes [--to N] [--delay MS] [--repeat N] [--file PATH] [--json]: the book's batching exercise.
// The primes up to N (8192) are computed, and each is saved in a slow store: a server of its own
// (slow_store, started as a child process), whose every write takes 50 ms. Three ways to do it:
//   serial      compute one, save it, compute the next (a sample of that, and what all would take)
//   batched     compute a hundred, save them, compute the next hundred
//   overlapped  the same batches, but the computing goes on while they are being saved
// The last should take what the computing takes, plus one write. The rows are checked at the end.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "coro/dump.h"
#include "coro/run.h"
#include "coro/scope.h"
#include "coro/timeout.h"
#include "http/client.h"
#include "net/process.h"

namespace {

using namespace ringlet;

constexpr std::size_t batch_primes = 100;  // saved by one write
constexpr std::size_t sample_primes = 20;  // saved one by one
constexpr int numbers_per_turn = 64;       // tried before the loop is let to its other work
constexpr nanoseconds start_timeout = std::chrono::seconds(20);

struct plan {
    int to = 8192;
    unsigned delay_ms = 50;
    unsigned repeat = 3;
    std::string file;
    bool json = false;
};

// Tries each smaller number, as the book does: computing is meant to take a while.
bool is_prime(int number) {
    for (int divisor = 2; divisor < number; ++divisor) {
        if (number % divisor == 0) {
            return false;
        }
    }
    return number >= 2;
}

using primes = std::vector<int>;

class store_client {
public:
    store_client(loop& owner, std::string url) : web_(owner), url_(std::move(url)) {}

    task<void> save(primes batch) {
        http::client_request request;
        request.url = url_;
        request.method = http::method::post;
        for (const int each : batch) {
            request.body += std::to_string(each) + "\n";
        }
        const http::client_response answer = co_await web_.request(std::move(request));
        check(answer);
    }
    task<std::string> all() {
        const http::client_response answer = co_await web_.get(url_);
        check(answer);
        co_return answer.body;
    }

private:
    static void check(const http::client_response& answer) {
        if (answer.status != 200) {
            throw error(std::make_error_code(std::errc::io_error),
                        "the store answered " + std::to_string(answer.status) + ": " + answer.body);
        }
    }

    http::client web_;
    std::string url_;
};

task<void> save_serially(store_client& store, std::size_t count) {
    for (int number = 2; count > 0; ++number) {
        if (is_prime(number)) {
            co_await store.save(primes(1, number));
            --count;
        }
    }
}

task<void> save_batched(store_client& store, int to) {
    primes batch;
    for (int number = 2; number <= to; ++number) {
        if (is_prime(number)) {
            batch.push_back(number);
        }
        if (batch.size() == batch_primes || (number == to && !batch.empty())) {
            co_await store.save(std::exchange(batch, {}));
        }
    }
}

// As above; but a batch is saved by a task of its own, and the loop now and then gets its turn.
task<void> save_overlapped(store_client& store, int to) {
    auto body = [&](scope& saves) -> task<void> {
        primes batch;
        for (int number = 2; number <= to; ++number) {
            if (is_prime(number)) {
                batch.push_back(number);
            }
            if (batch.size() == batch_primes || (number == to && !batch.empty())) {
                saves.spawn(store.save(std::exchange(batch, {})));
            }
            if (number % numbers_per_turn == 0) {
                co_await yield_now();
            }
        }
    };
    co_await scoped(body);
}

// What `work` takes.
task<double> seconds_of(loop& owner, task<void> work) {
    const instant begin = owner.read_clock();
    co_await std::move(work);
    co_return static_cast<double>(owner.read_clock() - begin) / 1e9;
}

task<void> compute_only(int to, std::size_t& count) {
    count = 0;
    for (int number = 2; number <= to; ++number) {
        count += is_prime(number) ? 1 : 0;
    }
    co_return;
}

// The URL that slow_store says it is at.
task<std::string> url_of(process& store) {
    std::string said;
    std::byte piece[256];
    while (said.find('\n') == std::string::npos) {
        const std::size_t bytes = co_await store.output.read_some(piece);
        if (bytes == 0) {
            throw error(errc::end_of_stream, "slow_store ended: " + said);
        }
        said.append(reinterpret_cast<const char*>(piece), bytes);
    }
    const std::size_t begin = said.find("http://");
    co_return said.substr(begin, said.find(' ', begin) - begin) + "rows";
}

process start_store(loop& owner, const plan& what) {
    process_options options;
    const auto here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    options.arguments = {(here / "slow_store").string(), "0", "--delay",
                         std::to_string(what.delay_ms)};
    if (!what.file.empty()) {
        options.arguments.insert(options.arguments.end(), {"--file", what.file});
    }
    options.output = child_stream::pipe();
    options.group = process_group::own;  // a Ctrl-C is ours to pass on
    return process(owner, options);
}

struct figures {
    std::size_t count = 0;
    double computing = 0;
    double serial_sample = 0;
    double batched = 0;
    double overlapped = 0;
    bool rows_right = false;

    double serial() const {
        return computing + serial_sample / static_cast<double>(sample_primes) *
                               static_cast<double>(count);
    }
    double ideal(const plan& what) const { return computing + what.delay_ms / 1e3; }
};

std::string expected_rows(int to) {
    std::string all;
    for (int number = 2; number <= to; ++number) {
        all += is_prime(number) ? std::to_string(number) + "\n" : "";
    }
    return all;
}

task<figures> measure(loop& owner, const plan& what) {
    process store_process = start_store(owner, what);
    store_client store(owner,
                       co_await with_timeout(start_timeout, url_of(store_process)));
    figures found;
    for (unsigned round = 0; round < what.repeat; ++round) {
        const auto least = [round](double& so_far, double seconds) {
            so_far = round == 0 ? seconds : std::min(so_far, seconds);
        };
        const double computing = co_await seconds_of(owner, compute_only(what.to, found.count));
        least(found.computing, computing);
        const double overlapped = co_await seconds_of(owner, save_overlapped(store, what.to));
        least(found.overlapped, overlapped);
    }
    found.batched = co_await seconds_of(owner, save_batched(store, what.to));
    found.serial_sample = co_await seconds_of(owner, save_serially(store, sample_primes));
    const std::string rows = co_await store.all();
    found.rows_right = rows == expected_rows(what.to);
    (void)co_await store_process.terminate(std::chrono::seconds(5));
    co_return found;
}

void print(const figures& found, const plan& what) {
    const double ratio = found.overlapped / found.ideal(what);
    if (what.json) {
        const nlohmann::json all = {{"primes", found.count},
                                    {"computing_s", found.computing},
                                    {"ideal_s", found.ideal(what)},
                                    {"serial_extrapolated_s", found.serial()},
                                    {"batched_s", found.batched},
                                    {"overlapped_s", found.overlapped},
                                    {"ratio", ratio},
                                    {"rows_right", found.rows_right}};
        std::printf("%s\n", all.dump().c_str());
        return;
    }
    std::printf("%zu primes up to %d, a write takes %u ms\n", found.count, what.to, what.delay_ms);
    std::printf("computing alone  %8.3f s\n", found.computing);
    std::printf("serial           %8.3f s  extrapolated from %zu saved one by one in %.3f s\n",
                found.serial(), sample_primes, found.serial_sample);
    std::printf("batched by %zu   %8.3f s\n", batch_primes, found.batched);
    std::printf("overlapped       %8.3f s  %.2f x the ideal, which is computing and one write\n",
                found.overlapped, ratio);
    std::printf("rows in the store: %s\n", found.rows_right ? "all there, once each" : "WRONG");
}

}  // namespace

int main(int count, char** arguments) {
    plan what;
    CLI::App app{"primes: computes and saves them, three ways", "primes"};
    app.add_option("--to", what.to, "the last number tried (8192)")->check(CLI::Range(50, 100'000));
    app.add_option("--delay", what.delay_ms, "milliseconds that a write takes (50)")
        ->check(CLI::Range(0, 60'000));
    app.add_option("--repeat", what.repeat, "the best of so many runs (3)")
        ->check(CLI::Range(1, 1000));
    app.add_option("--file", what.file, "the store's database, kept; else it is in memory only");
    app.add_flag("--json", what.json, "the figures as one line of JSON");
    try {
        app.parse(count, arguments);
    } catch (const CLI::ParseError& wrong) {
        return app.exit(wrong) == 0 ? 0 : 2;
    }
    try {
        loop events;
        const dump_on_signal dumps(events);
        const figures found = run(events, measure(events, what));
        print(found, what);
        return found.rows_right ? 0 : 1;
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "primes: %s\n", failure.what());
        return 1;
    }
}
