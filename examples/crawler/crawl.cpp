#include "examples/crawler/crawl.h"

#include <algorithm>

#include "examples/crawler/links.h"

namespace ringlet::crawler {
namespace {

constexpr std::uint64_t skipped_bytes_max = 64 * 1024;  // of a redirect's body

http::client_options client_options_of(const crawl_options& options) {
    http::client_options made;
    made.connections_max = options.concurrency;
    made.idle_connections_max = options.concurrency;
    made.resolve_timeout = made.connect_timeout = made.tls_timeout = made.head_timeout =
        made.body_timeout = made.total_timeout = options.timeout;
    made.redirects_max = 0;  // followed here, because robots.txt is asked for each
    made.user_agent = options.user_agent;
    made.sizes.body_bytes_max = options.body_bytes_max;
    made.sizes.decoded_bytes_max = options.body_bytes_max;
    // A file that was named is read now, so that a bad one is refused; the system's certificates
    // take 40 ms, and the client reads them for the first https page.
    if (options.insecure || !options.ca_file.empty()) {
        tls_client_options secure;
        secure.verify = !options.insecure;
        secure.ca_file = options.ca_file;
        secure.protocols = {"http/1.1"};
        made.tls = tls_context::client(std::move(secure));
    }
    return made;
}

bool is_html(std::string_view type) noexcept {
    return type == "text/html" || type == "application/xhtml+xml";
}

std::string charset_of(std::string_view content_type) {
    const std::size_t at = content_type.find("charset=");
    if (at == std::string_view::npos) {
        return {};
    }
    std::string_view value = content_type.substr(at + 8);
    value = value.substr(0, value.find(';'));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
        value = value.substr(1, value.size() - 2);
    }
    return std::string(value);
}

bool is_redirect(int status) noexcept {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// What this machine lacks for the moment; it says nothing about the site.
bool is_own_failure(std::error_code code) noexcept {
    return code == std::errc::too_many_files_open ||
           code == std::errc::too_many_files_open_in_system || code == std::errc::no_buffer_space ||
           code == std::errc::not_enough_memory || code == std::errc::address_not_available;
}

// Empty when every link of the page was looked at.
std::string lost_links(const link_extractor& from, std::size_t too_long) {
    if (!from.stopped_because().empty()) {
        return "links: the rest of the page was not read: " + std::string(from.stopped_because());
    }
    too_long += from.overlong();
    return too_long == 0 ? "" : "links: too long to follow: " + std::to_string(too_long);
}

std::string describe(const http::client_error& failure) {
    return std::string(http::phase_text(failure.phase())) + ": " + failure.cause();
}

}  // namespace

std::string media_type(std::string_view content_type) {
    content_type = content_type.substr(0, content_type.find(';'));
    while (!content_type.empty() && content_type.back() == ' ') {
        content_type.remove_suffix(1);
    }
    std::string type(content_type);
    std::transform(type.begin(), type.end(), type.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return type;
}

crawl::crawl(loop& owner, crawl_options options, seed_source seeds, row_sink rows)
    : loop_(owner),
      options_(std::move(options)),
      seeds_(std::move(seeds)),
      rows_(std::move(rows)),
      client_(owner, client_options_of(options_)),
      frontier_(options_.per_host) {}

void crawl::stop() noexcept {
    stopped_ = true;
    changed_.set();
}

void crawl::cut() noexcept {
    cut_ = true;
    stop();
    if (workers_ != nullptr) {
        workers_->cancel();
    }
}

bool crawl::in_site(const http::url& where) const {
    return !options_.same_site || options_.depth == 0 ||
           site_hosts_.contains(std::string(where.host()));
}

// Takes in as many seeds as there may be use for.
void crawl::refill() {
    http::url next;
    while (seeds_left_ && frontier_.waiting() < 2 * options_.concurrency) {
        seeds_left_ = seeds_(next);
        if (seeds_left_) {
            if (options_.depth > 0) {
                site_hosts_.emplace(next.host());
            }
            frontier_.add(next, 0);
        }
    }
}

task<void> crawl::run() {
    refill();
    co_await scoped([this](scope& workers) -> task<void> {
        workers_ = &workers;
        // One worker to begin with; each that finds more work than workers brings the next.
        ++workers_running_;
        workers.spawn(work());
        co_return;
    });
    workers_ = nullptr;
}

task<void> crawl::work() {
    co_await yield_now();  // a worker is spawned inside another: not on its stack
    while (!stopped_) {
        if (seeds_left_ && frontier_.waiting() < options_.concurrency) {
            refill();
        }
        std::optional<page> next;
        if (begun_ < options_.pages_max) {
            next = frontier_.take();
        }
        if (!next) {
            if (active_ == 0 || workers_running_ > active_ + 1) {
                break;  // nothing can come any more, or another worker waits for it
            }
            changed_.reset();
            co_await changed_.wait();
            continue;
        }
        ++begun_;
        ++active_;
        if (workers_running_ < options_.concurrency && workers_running_ <= active_ &&
            workers_ != nullptr) {
            ++workers_running_;
            workers_->spawn(work());
        }
        host& site = *next->site;
        co_await visit(std::move(*next));
        --active_;
        frontier_.finished(site);
        changed_.set();
    }
    --workers_running_;
    changed_.set();
}

task<void> crawl::visit(page next) {
    row what;
    what.url = what.final_url = next.url;
    what.depth = next.depth;
    what.begun = loop_.read_clock();
    try {
        co_await fetch(next, what);
    } catch (const http::client_error& failure) {
        what.error = describe(failure);
    } catch (const cancelled&) {
        what.error = "interrupted";
    } catch (const std::exception& failure) {
        what.error = failure.what();
    }
    what.ended = loop_.read_clock();
    what.ms = static_cast<double>(what.ended - what.begun) / 1e6;
    rows_(what);
}

task<void> crawl::fetch(page& next, row& what) {
    http::url where;
    (void)http::url::parse(next.url, where);
    for (unsigned hops = 0;; ++hops) {
        what.final_url = where.without_fragment();
        const bool may = co_await allowed(where);
        if (!may) {
            const host& site = frontier_.host_of(where);
            what.error = site.robots_failure.empty()
                             ? "robots: disallowed by " + site.origin + "/robots.txt"
                             : site.robots_failure;
            co_return;
        }
        http::client_request request;
        request.url = what.final_url;
        http::incoming answer = co_await client_.open(std::move(request));
        what.status = answer.status();
        what.type = media_type(answer.header("Content-Type"));
        what.timings = answer.timings();
        const std::string_view location = answer.header("Location");
        if (!is_redirect(what.status) || location.empty()) {
            co_await read_page(answer, where, what);
            co_return;
        }
        http::url target;
        const http::url_error bad = http::url::resolve(where, location, target);
        if (bad != http::url_error::none) {
            what.error = "redirect: " + std::string(sentence(bad)) +
                         " Location: " + std::string(location.substr(0, 200));
            co_return;
        }
        if (hops == options_.redirects_max) {
            what.error = "redirect: more than " + std::to_string(hops) + " redirects";
            co_return;
        }
        co_await skip_body(answer);
        where = std::move(target);
    }
}

// The body, its links queued on the way; `what.bytes` counts also what came before a failure.
task<void> crawl::read_page(http::incoming& answer, const http::url& base, row& what) {
    const bool follow = is_html(what.type) && what.status == 200 && in_site(base);
    if (what.final_url != what.url) {
        frontier_.mark(what.final_url);
    }
    std::size_t too_long = 0;
    auto sink = [&](const reference& found_here) {
        ++what.links;
        if (what.depth < options_.depth && !found_here.nofollow) {
            too_long += !found(base, found_here.base, found_here.url, what.depth + 1);
        }
    };
    std::optional<link_extractor> extractor;
    if (follow) {
        extractor.emplace(sink, charset_of(answer.header("Content-Type")));
    }
    std::string piece;
    try {
        for (;;) {
            const bool more = co_await answer.read(piece);
            if (!more) {
                break;
            }
            if (extractor) {
                extractor->feed(piece);
            }
        }
    } catch (...) {
        what.bytes = answer.body_bytes();
        what.timings = answer.timings();
        throw;
    }
    if (extractor) {
        extractor->finish();
        what.error = lost_links(*extractor, too_long);
    }
    what.bytes = answer.body_bytes();
    what.timings = answer.timings();
}

// False when the URL is too long to be one.
bool crawl::found(const http::url& base, std::string_view reference_base, std::string_view text,
                  unsigned depth) {
    const http::url* from = &base;
    if (!reference_base.empty() &&
        http::url::resolve(base, reference_base, scratch_base_) == http::url_error::none) {
        from = &scratch_base_;
    }
    const http::url_error bad = http::url::resolve(*from, text, scratch_);
    if (bad == http::url_error::none && in_site(scratch_) && frontier_.add(scratch_, depth)) {
        changed_.set();
    }
    return bad != http::url_error::too_long;
}

task<void> crawl::skip_body(http::incoming& answer) {
    std::string piece;
    while (answer.body_bytes() < skipped_bytes_max) {
        const bool more = co_await answer.read(piece);
        if (!more) {
            co_return;
        }
    }
}

task<bool> crawl::allowed(const http::url& where) {
    if (!options_.obey_robots) {
        co_return true;
    }
    host& site = frontier_.host_of(where);
    while (site.robots == host::robots_state::asked) {
        changed_.reset();
        co_await changed_.wait();
    }
    if (site.robots == host::robots_state::unknown) {
        site.robots = host::robots_state::asked;
        std::exception_ptr failure;
        try {
            co_await ask_robots(site, where);
            site.robots = host::robots_state::known;
        } catch (...) {
            site.robots = host::robots_state::unknown;  // the next page asks again
            failure = std::current_exception();
        }
        changed_.set();
        if (failure) {
            std::rethrow_exception(failure);
        }
    }
    co_return site.policy.allows(where.target());
}

task<void> crawl::ask_robots(host& site, const http::url& where) {
    robots_outcome outcome;
    std::string body;
    http::url at;
    (void)http::url::resolve(where, "/robots.txt", at);
    try {
        for (; outcome.redirects <= robots_redirects_max; ++outcome.redirects) {
            http::client_request request;
            request.url = at.without_fragment();
            http::incoming answer = co_await client_.open(std::move(request));
            outcome.status = answer.status();
            const std::string_view location = answer.header("Location");
            http::url target;
            if (is_redirect(outcome.status) &&
                http::url::resolve(at, location, target) == http::url_error::none) {
                co_await skip_body(answer);
                at = std::move(target);
                continue;
            }
            std::string piece;
            while (body.size() < robots_bytes_max) {
                const bool more = co_await answer.read(piece);
                if (!more) {
                    break;
                }
                body += piece;
            }
            break;
        }
        outcome.body = body;
    } catch (const http::client_error& failure) {
        outcome.status = 0;
        site.robots_failure = "robots.txt: " + describe(failure);
        if (is_own_failure(failure.code())) {
            throw std::runtime_error(std::exchange(site.robots_failure, {}));
        }
    }
    if (outcome.status >= 500) {
        site.robots_failure = "robots: " + site.origin + "/robots.txt is unavailable (" +
                              std::to_string(outcome.status) + ")";
    }
    site.policy = robots_policy_for(outcome, options_.user_agent);
}

}  // namespace ringlet::crawler
