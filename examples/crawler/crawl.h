// The crawl: workers take pages from the frontier, fetch them with one HTTP client, read their
// links as the body arrives, and hand a row per page to the caller. robots.txt is obeyed for every
// request, redirects included. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "coro/event.h"
#include "coro/scope.h"
#include "examples/crawler/frontier.h"
#include "http/client.h"

namespace ringlet::crawler {

struct crawl_options {
    unsigned depth = 2;
    std::size_t pages_max = SIZE_MAX;
    std::size_t concurrency = 100;
    std::size_t per_host = 8;
    nanoseconds timeout = std::chrono::seconds(30);  // per request
    bool same_site = true;
    bool obey_robots = true;
    std::string user_agent = "ringlet/0.1";
    std::uint64_t body_bytes_max = 32 * 1024 * 1024;
    unsigned redirects_max = 10;
    std::string ca_file;  // trusted instead of the system's
    bool insecure = false;
};

// What became of one page. Instants are of the loop's clock, 0 where a thing did not happen.
struct row {
    std::string url;
    std::string final_url;
    int status = 0;  // 0: no answer
    std::uint64_t bytes = 0;
    double ms = 0;
    std::string type;
    unsigned depth = 0;
    std::size_t links = 0;
    std::string error;  // also of a page that was answered, when links of it were lost
    instant queued = 0;
    instant begun = 0;
    instant ended = 0;
    http::client_timings timings;
};

// Gives the next URL to begin with, or nothing; called when workers would idle, so that a long list
// is never all in memory.
using seed_source = std::function<bool(http::url& next)>;
using row_sink = std::function<void(const row&)>;

class crawl {
public:
    // Throws `error` when the CA file cannot be used.
    crawl(loop& owner, crawl_options options, seed_source seeds, row_sink rows);

    // Ends when nothing is left, pages_max is reached, or after `stop`, when what was in flight
    // has ended.
    task<void> run();
    // Begins nothing new.
    void stop() noexcept;
    // Cuts what is in flight, too; it gets its rows.
    void cut() noexcept;

    std::size_t active() const noexcept { return active_; }
    std::size_t waiting() const noexcept { return frontier_.waiting(); }
    std::size_t begun() const noexcept { return begun_; }
    bool stopped() const noexcept { return stopped_; }
    const http::client& client() const noexcept { return client_; }

private:
    task<void> work();
    task<void> visit(page next);
    task<void> fetch(page& next, row& what);
    task<bool> allowed(const http::url& where);
    task<void> ask_robots(host& site, const http::url& where);
    task<void> read_page(http::incoming& answer, const http::url& base, row& what);
    task<void> skip_body(http::incoming& answer);
    bool found(const http::url& base, std::string_view reference_base, std::string_view text,
               unsigned depth);
    void refill();
    bool in_site(const http::url& where) const;

    loop& loop_;
    crawl_options options_;
    seed_source seeds_;
    row_sink rows_;
    http::client client_;
    frontier frontier_;
    event changed_;  // something was added, finished, or stopped
    scope* workers_ = nullptr;
    std::unordered_set<std::string> site_hosts_;
    http::url scratch_base_;
    http::url scratch_;
    std::size_t begun_ = 0;
    std::size_t active_ = 0;
    std::size_t workers_running_ = 0;
    bool seeds_left_ = true;
    bool stopped_ = false;
    bool cut_ = false;
};

// The text of a Content-Type without its parameters, in lower case.
std::string media_type(std::string_view content_type);

}  // namespace ringlet::crawler
