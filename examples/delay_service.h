// The book's server as a service: GET /add?name=N&delay=MS answers after MS milliseconds. Used by
// the delay_server and the experiment.
#pragma once

#include <charconv>
#include <memory>
#include <string>
#include <string_view>

#include "coro/suspension.h"
#include "http/serve.h"

namespace ringlet::examples {

// The value of `name` in a query, undecoded; empty when it is not there.
inline std::string_view query_value(std::string_view query, std::string_view name) {
    while (!query.empty()) {
        const std::string_view pair = query.substr(0, query.find('&'));
        query.remove_prefix(pair.size() < query.size() ? pair.size() + 1 : query.size());
        const std::size_t equals = pair.find('=');
        if (pair.substr(0, equals) == name) {
            return equals == std::string_view::npos ? "" : pair.substr(equals + 1);
        }
    }
    return {};
}

inline task<void> answer_late(http::request& in, http::response& out) {
    constexpr unsigned delay_ms_max = 60'000;
    constexpr std::string_view plain = "text/plain; charset=utf-8";
    if (in.path() != "/add") {
        co_await out.send(404, plain, "Try /add?name=N&delay=MS\n");
        co_return;
    }
    const std::string_view digits = query_value(in.query(), "delay");
    unsigned delay_ms = 0;
    const auto [end, failed] =
        std::from_chars(digits.data(), digits.data() + digits.size(), delay_ms);
    if (failed != std::errc() || end != digits.data() + digits.size() || delay_ms > delay_ms_max) {
        co_await out.send(400, plain, "delay is a number of milliseconds, at most 60000\n");
        co_return;
    }
    co_await sleep_for(std::chrono::milliseconds(delay_ms));
    const std::string text = "added " + std::string(query_value(in.query(), "name")) + "\n";
    co_await out.send(200, plain, text);
}

using delay_service = http::service<task<void> (*)(http::request&, http::response&)>;

inline std::unique_ptr<delay_service> make_delay_service(loop& owner) {
    http::limits sizes;
    sizes.requests_per_connection_max = 1'000'000;
    return std::make_unique<delay_service>(owner, &answer_late, sizes);
}

}  // namespace ringlet::examples
