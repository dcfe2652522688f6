// Inner parts of the client: a connection with its parser, and what is known of one host. Only
// client.cpp and client_pool.cpp use it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "coro/semaphore.h"
#include "http/client.h"
#include "http/response_parser.h"
#include "net/tcp_stream.h"

namespace ringlet::http::detail {

// `wait` after `now`; never, when that is beyond the clock.
inline instant later(instant now, nanoseconds wait) noexcept {
    return wait.count() > INT64_MAX - now ? INT64_MAX : now + wait.count();
}

// One origin (scheme, host, port): its limit and its idle connections, newest first.
struct host_entry {
    host_entry(std::string_view origin_text, std::size_t limit)
        : origin(origin_text), places(limit) {}

    std::string origin;
    semaphore places;
    client_connection* idle = nullptr;
    std::size_t users = 0;  // requests and idle connections that refer to this entry
};

class client_connection {
public:
    client_connection(tcp_stream connected, const limits& sizes) noexcept
        : stream(std::move(connected)), parser(sizes) {}

    tcp_stream stream;
    response_parser parser;
    chunk bytes;                // received, its front parsed
    std::size_t bytes_parsed = 0;

    // While idle: in the host's list and in the client's list by age.
    host_entry* host = nullptr;
    client_connection* host_next = nullptr;
    client_connection* older = nullptr;
    client_connection* newer = nullptr;
    instant idle_since = 0;
};

}  // namespace ringlet::http::detail
