// What is still to be crawled: per host a queue and a count of requests in flight, hosts served in
// turn, each URL admitted once. Memory: 8 bytes of hash per URL ever seen, the text only of those
// that wait. Loop thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "examples/crawler/robots.h"
#include "http/url.h"

namespace ringlet::crawler {

struct host {
    enum class robots_state { unknown, asked, known };

    std::string origin;
    std::deque<std::pair<std::string, unsigned>> waiting;  // URL and depth
    std::size_t active = 0;
    robots_state robots = robots_state::unknown;
    robots_policy policy;
    std::string robots_failure;  // why robots.txt could not be had; empty when it could
    bool in_turn = false;  // stands in the frontier's list of hosts with something waiting
};

struct page {
    std::string url;
    unsigned depth;
    host* site;
};

class frontier {
public:
    explicit frontier(std::size_t per_host_max) noexcept : per_host_max_(per_host_max) {}

    // False when the URL was admitted before.
    bool add(const http::url& where, unsigned depth);
    // Marks as seen without queueing; false when it was seen before.
    bool mark(std::string_view url) { return seen_.insert(hash(url)).second; }
    // The next page of a host that may have one more request in flight; its host's count goes up.
    std::optional<page> take();
    void finished(host& site) noexcept { --site.active; }

    host& host_of(const http::url& where);
    std::size_t waiting() const noexcept { return waiting_; }

private:
    static std::uint64_t hash(std::string_view text) noexcept;
    bool ready(const host& site) const noexcept {
        return site.active < per_host_max_ && site.robots != host::robots_state::asked;
    }

    std::size_t per_host_max_;
    std::size_t waiting_ = 0;
    std::unordered_set<std::uint64_t> seen_;
    std::unordered_map<std::string, std::unique_ptr<host>> hosts_;
    std::list<host*> turn_;
};

}  // namespace ringlet::crawler
