// slow_store PORT [--host ADDRESS] [--file PATH] [--delay MS]: the slow database of the book's
// chapter on batching, an HTTP server over SQLite. POST /rows takes whole numbers, one on a line,
// and answers when they are stored for good, but never in less than the delay, however many they
// are: 50 ms by default. GET /rows gives them all, in order. Stops on SIGINT or SIGTERM.
#include <sqlite3.h>

#include <charconv>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "coro/mutex.h"
#include "coro/on_helper.h"
#include "coro/suspension.h"
#include "examples/arguments.h"
#include "http/serve.h"

namespace {

using namespace ringlet;

constexpr std::string_view plain = "text/plain; charset=utf-8";

// The table. Its calls block; one thread at a time.
class table {
public:
    explicit table(const std::string& path) {
        if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK) {
            fail(path);
        }
        execute("PRAGMA journal_mode = WAL");
        execute("CREATE TABLE IF NOT EXISTS numbers (value INTEGER PRIMARY KEY)");
        prepare("INSERT OR IGNORE INTO numbers VALUES (?)", insert_);
        prepare("SELECT value FROM numbers ORDER BY value", select_);
    }
    table(const table&) = delete;
    table& operator=(const table&) = delete;
    ~table() {
        sqlite3_finalize(insert_);
        sqlite3_finalize(select_);
        sqlite3_close(db_);
    }

    void insert(const std::vector<std::int64_t>& values) {
        execute("BEGIN");
        try {
            for (const std::int64_t value : values) {
                sqlite3_bind_int64(insert_, 1, value);
                const bool stored = sqlite3_step(insert_) == SQLITE_DONE;
                sqlite3_reset(insert_);
                if (!stored) {
                    fail("INSERT");
                }
            }
            execute("COMMIT");
        } catch (...) {
            sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
            throw;
        }
    }
    std::string all() {
        std::string text;
        while (sqlite3_step(select_) == SQLITE_ROW) {
            text += std::to_string(sqlite3_column_int64(select_, 0)) + "\n";
        }
        if (sqlite3_reset(select_) != SQLITE_OK) {
            fail("SELECT");
        }
        return text;
    }

private:
    [[noreturn]] void fail(const std::string& what) {
        throw error(std::make_error_code(std::errc::io_error),
                    "SQLite: " + what + ": " + sqlite3_errmsg(db_));
    }
    void execute(const char* statement) {
        if (sqlite3_exec(db_, statement, nullptr, nullptr, nullptr) != SQLITE_OK) {
            fail(statement);
        }
    }
    void prepare(const char* statement, sqlite3_stmt*& into) {
        if (sqlite3_prepare_v2(db_, statement, -1, &into, nullptr) != SQLITE_OK) {
            fail(statement);
        }
    }

    sqlite3* db_ = nullptr;
    sqlite3_stmt* insert_ = nullptr;
    sqlite3_stmt* select_ = nullptr;
};

// The table for coroutines: it works on a helper thread, and whoever comes to write while it does
// is written together with all others that came, in one transaction.
class store {
public:
    store(const std::string& path, std::chrono::milliseconds delay) : rows_(path), delay_(delay) {}

    task<void> save(std::vector<std::int64_t> values) {
        co_await sleep_for(delay_);
        waiting_.insert(waiting_.end(), values.begin(), values.end());
        const std::uint64_t mine = ++came_;
        const mutex::guard turn = co_await writing_.lock();
        if (written_ >= mine) {
            co_return;  // by one who came later and was served earlier
        }
        const std::uint64_t up_to = came_;
        const std::vector<std::int64_t> group = std::exchange(waiting_, {});
        auto write = [&] { rows_.insert(group); };
        try {
            co_await on_helper(write);
        } catch (...) {
            // Each of the others tries it for itself.
            waiting_.insert(waiting_.begin(), group.begin(), group.end());
            throw;
        }
        written_ = up_to;
    }
    task<std::string> all() {
        const mutex::guard turn = co_await writing_.lock();
        auto read = [this] { return rows_.all(); };
        co_return co_await on_helper(read);
    }

private:
    table rows_;
    std::chrono::milliseconds delay_;
    mutex writing_;
    std::vector<std::int64_t> waiting_;  // not written yet
    std::uint64_t came_ = 0;             // calls of save that have put theirs there
    std::uint64_t written_ = 0;          // and how many of those are written
};

// False when there is anything but whole numbers, one on a line.
bool parse_numbers(std::string_view text, std::vector<std::int64_t>& into) {
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        std::int64_t value = 0;
        const auto [end, failed] = std::from_chars(line.data(), line.data() + line.size(), value);
        if (failed != std::errc() || end != line.data() + line.size()) {
            return false;
        }
        into.push_back(value);
        text.remove_prefix(line.size() < text.size() ? line.size() + 1 : line.size());
    }
    return true;
}

// Its jobs share the store, which so lives as long as they do.
struct answer_request {
    std::shared_ptr<store> rows;

    task<void> operator()(http::request& in, http::response& out) const {
        return answer(rows, in, out);
    }

    static task<void> answer(std::shared_ptr<store> rows, http::request& in, http::response& out) {
        if (in.path() != "/rows" || (in.method() != "POST" && in.method() != "GET")) {
            co_await out.send(404, plain, "Try GET or POST /rows\n");
            co_return;
        }
        if (in.method() == "GET") {
            const std::string text = co_await rows->all();
            co_await out.send(200, plain, text);
            co_return;
        }
        std::vector<std::int64_t> values;
        const std::string body = co_await in.body();
        if (!parse_numbers(body, values)) {
            co_await out.send(400, plain, "The body has to be whole numbers, one on a line.\n");
            co_return;
        }
        const std::string text = "stored " + std::to_string(values.size()) + "\n";
        co_await rows->save(std::move(values));
        co_await out.send(200, plain, text);
    }
};

}  // namespace

int main(int count, char** arguments) {
    std::string path = ":memory:";
    unsigned delay_ms = 50;
    return examples::serve_main(
        count, arguments, "slow_store",
        [&](loop& events) {
            http::limits sizes;
            sizes.requests_per_connection_max = 1'000'000;
            const auto rows =
                std::make_shared<store>(path, std::chrono::milliseconds(delay_ms));
            return std::make_unique<http::service<answer_request>>(events, answer_request{rows},
                                                                   sizes);
        },
        [&](CLI::App& app) {
            app.add_option("--file", path, "the database; without it, it is in memory only");
            app.add_option("--delay", delay_ms, "milliseconds that a write takes at least (50)")
                ->check(CLI::Range(0, 60'000));
        });
}
