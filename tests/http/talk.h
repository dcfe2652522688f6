// What the suites of the server and the client share: a raw client that says bytes and hears whole
// answers, a server whose handler is any callable, and a listener that writes down what it is told.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "http/response_parser.h"
#include "http/server.h"
#include "tests/net/stories.h"
#include "tests/support/probe.h"

namespace ringlet::test {

// Looks a millisecond at a time until the condition holds. Under an injected fault it may never
// hold: then it throws, after ten seconds.
template <class Condition>
task<void> until(Condition holds) {
    co_await with_timeout(std::chrono::seconds(10), [](Condition looked_at) -> task<void> {
        while (!looked_at()) {
            co_await sleep_for(std::chrono::milliseconds(1));
        }
    }(std::move(holds)));
}

struct answer {
    int status = 0;  // 0: the stream ended first
    http::headers headers;
    std::string body;
    bool complete = false;
};

// Answers with our own parser, which has its own suite.
class raw_client final : private http::response_events {
public:
    explicit raw_client(tcp_stream connected) : stream(std::move(connected)) {
        sizes_->body_bytes_max = 1'000'000'000;
        sizes_->header_bytes_max = 1'000'000;
    }
    raw_client(raw_client&& other) noexcept
        : stream(std::move(other.stream)), sizes_(std::move(other.sizes_)) {}

    tcp_stream stream;
    std::string unread;         // received, not part of an answer yet
    std::string informational;  // statuses of the 1xx answers
    std::error_code code;       // why it ended; none: orderly, or it has not
    bool ended = false;
    int receives = 0;

    task<void> say(std::string text) {
        try {
            co_await stream.send(text);
        } catch (const error& failure) {
            code = failure.code();
        }
    }

    task<bool> receive() {
        try {
            const chunk bytes = co_await stream.receive();
            ++receives;
            unread += bytes.text();
            ended = !bytes;
        } catch (const error& failure) {
            code = failure.code();
            ended = true;
        }
        co_return !ended;
    }

    // The next whole answer to a request of that method.
    task<answer> hear(http::method asked = http::method::get) {
        http::response_parser parser(*sizes_);
        parser.start(asked);
        heard_ = {};
        std::size_t parsed = 0;
        for (;;) {
            parsed += parser.feed(std::string_view(unread).substr(parsed), *this);
            CHECK(!parser.failed());
            if (parser.complete() || parser.failed()) {
                break;
            }
            const bool more = co_await receive();
            if (!more) {
                parser.finish(*this);
                break;
            }
        }
        heard_.complete = parser.complete();
        unread.erase(0, parsed);
        co_return std::move(heard_);
    }

    // The bytes up to and with `mark`.
    task<std::string> hear_to(std::string mark) {
        while (unread.find(mark) == std::string::npos) {
            const bool more = co_await receive();
            if (!more) {
                co_return std::exchange(unread, {});
            }
        }
        const std::size_t end = unread.find(mark) + mark.size();
        std::string text = unread.substr(0, end);
        unread.erase(0, end);
        co_return text;
    }

    // All that still comes, without what was heard.
    task<std::string> rest() {
        for (bool more = !ended; more;) {
            more = co_await receive();
        }
        co_return std::exchange(unread, {});
    }

private:
    void on_informational(const http::response_head& head) override {
        informational += std::to_string(head.status) + " ";
    }
    void on_head(const http::response_head& head) override {
        heard_.status = head.status;
        heard_.headers.assign(head.headers);
    }
    void on_body(std::string_view bytes) override { heard_.body += bytes; }
    void on_complete(std::span<const http::header_view>) override {}

    std::unique_ptr<http::limits> sizes_ = std::make_unique<http::limits>();
    answer heard_;
};

// A server for one story.
class site {
public:
    using handler = std::function<void(http::exchange&)>;

    site(loop& owner, handler handle, const http::limits& sizes = {})
        : handle_(std::move(handle)), web(std::in_place, owner, &site::call, this, sizes) {
        where = web->listen(address::loopback_v4(0));
    }

    task<raw_client> visit() {
        tcp_stream stream = co_await connect(web->owner(), only(where));
        co_return raw_client(std::move(stream));
    }
    // One request on a connection of its own: everything that comes back.
    task<std::string> ask(std::string text) {
        raw_client peer = co_await visit();
        co_await peer.say(text);
        co_return co_await peer.rest();
    }

private:
    static void call(void* self, http::exchange& at) noexcept {
        static_cast<site*>(self)->handle_(at);
    }

    handler handle_;

public:
    std::optional<http::server> web;
    address where;
};

// Takes an exchange and tells what came; answers by the story's hand or by `on_end`.
struct reader final : http::exchange_listener {
    explicit reader(http::exchange& taken) : at(&taken) { taken.take(*this); }
    reader(const reader&) = delete;
    virtual ~reader() = default;

    http::exchange* at;
    std::string body;
    int pieces = 0;
    int ends = 0;
    int writables = 0;
    int aborts = 0;
    std::error_code why;
    std::function<void(reader&)> on_piece;
    std::function<void(reader&)> on_end;
    std::function<void(reader&)> on_room;

private:
    void on_body(std::string_view bytes) noexcept override {
        body += bytes;
        ++pieces;
        if (on_piece) {
            on_piece(*this);
        }
    }
    void on_body_end() noexcept override {
        ++ends;
        if (on_end) {
            on_end(*this);
        }
    }
    void on_writable() noexcept override {
        ++writables;
        if (on_room) {
            on_room(*this);
        }
    }
    void on_aborted(std::error_code code) noexcept override {
        ++aborts;
        why = code;
    }
};

inline std::string get_text(std::string_view target, std::string_view more = {}) {
    return "GET " + std::string(target) + " HTTP/1.1\r\nHost: here\r\n" + std::string(more) +
           "\r\n";
}

inline std::string post_text(std::string_view target, std::string_view body) {
    return "POST " + std::string(target) +
           " HTTP/1.1\r\nHost: here\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + std::string(body);
}

}  // namespace ringlet::test
