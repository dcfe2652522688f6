// Host names to addresses. IP literals, localhost (RFC 6761) and the hosts file are answered at
// once, without a thread and without suspending; the rest by getaddrinfo on the loop's helper
// threads, through a bounded cache. Equal look-ups in flight are one look-up.
//
// Loop thread only. Nobody may be waiting when a resolver is destroyed; look-ups still running then
// end unheard. A cancelled wait ends at once and leaves its look-up to the others and the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/loop.h"
#include "coro/task.h"
#include "net/address.h"
#include "net/hosts_file.h"

namespace ringlet {

// Fills in the addresses of `host`, in order of preference; the port is not looked at. Returns 0 or
// an EAI_ code of getaddrinfo. Runs on a helper thread, several at a time.
using look_up_function = int (*)(const char* host, std::vector<address>& found);

// getaddrinfo for TCP, both families, as far as the machine has them.
int system_look_up(const char* host, std::vector<address>& found);

struct resolver_options {
    std::string hosts_path = "/etc/hosts";
    std::size_t cache_entries_max = 1024;
    nanoseconds cache_ttl = std::chrono::seconds(60);
    nanoseconds failure_ttl = std::chrono::seconds(5);
    std::size_t look_ups_max = 4096;  // in flight; one more is refused with errc::limit_exceeded
    look_up_function look_up = &system_look_up;
};

class resolver {
public:
    static constexpr std::size_t addresses_max = 32;  // of one answer; more are dropped

    explicit resolver(loop& owner, resolver_options options = {});
    resolver(const resolver&) = delete;
    resolver& operator=(const resolver&) = delete;
    ~resolver();

    // At least one address, each with `port`, in order of preference. `host` may be an IP literal,
    // with or without brackets. Throws error(errc::resolve_failed) that says the host and the
    // cause. Suspends only for a look-up; then resumed from the loop's ready queue.
    task<std::vector<address>> resolve(std::string host, std::uint16_t port);

    std::size_t cached() const noexcept { return cache_.size(); }
    std::size_t look_ups_in_flight() const noexcept { return in_flight_.size(); }
    // Forgets all answers; look-ups in flight go on.
    void clear_cache() noexcept;

private:
    struct answer;
    class look_up;
    class look_up_wait;
    using shared_answer = std::shared_ptr<const answer>;
    struct cache_entry {
        std::string host;
        shared_answer what;
        instant expires;
    };

    shared_answer find_cached(const std::string& host);
    look_up& join_look_up(const std::string& host);
    void look_up_done(look_up& ended) noexcept;
    void keep(const std::string& host, shared_answer what);

    loop& loop_;
    resolver_options options_;
    hosts_file hosts_;
    std::list<cache_entry> cache_;  // newest first
    std::unordered_map<std::string_view, std::list<cache_entry>::iterator> by_host_;
    std::unordered_map<std::string_view, look_up*> in_flight_;  // keys live in the look-ups
};

}  // namespace ringlet
