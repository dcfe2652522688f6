// What the suites of the client share: servers that say prepared bytes, and what a failed request
// was told.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/client.h"
#include "tests/http/talk.h"

namespace ringlet::test {

// A raw server: each connection is a job of `serve(peer, number)`.
class raw_host {
public:
    using script = std::function<task<void>(raw_client& peer, int number)>;

    raw_host(loop& owner, scope& jobs, script serve)
        : door_(owner, address::loopback_v4(0)), jobs_(jobs), serve_(std::move(serve)) {
        url = "http://" + door_.local_address().text();
        jobs_.spawn(accept_all());
    }

    std::string url;  // without a path
    int connections = 0;

private:
    task<void> accept_all() {
        for (;;) {
            raw_client peer(co_await door_.accept());
            jobs_.spawn(serve_one(std::move(peer), connections++));
        }
    }
    task<void> serve_one(raw_client peer, int number) { co_await serve_(peer, number); }

    tcp_listener door_;
    scope& jobs_;
    script serve_;
};

// What a scripted host answers to one request, and what it does then: 'k' keeps the connection,
// 'c' closes, 'r' resets it.
struct speech {
    std::string text;
    char then = 'k';
};

// A raw host that answers each request, on whatever connection, by the next speech.
class scripted_host {
public:
    scripted_host(loop& owner, scope& jobs, std::vector<speech> lines)
        : lines_(std::move(lines)),
          host_(owner, jobs, [this](raw_client& peer, int) { return speak(peer); }),
          url(host_.url) {}

    std::vector<std::string> heads;  // of all requests
    int connections() const { return host_.connections; }

private:
    task<void> speak(raw_client& peer) {
        for (;;) {
            const std::string head = co_await peer.hear_to("\r\n\r\n");
            if (!head.ends_with("\r\n\r\n")) {
                co_return;
            }
            heads.push_back(head);
            if (next_ == lines_.size()) {
                continue;
            }
            const speech line = lines_[next_++];
            co_await peer.say(line.text);
            if (line.then == 'r') {
                peer.stream.abort();
            }
            if (line.then != 'k') {
                co_return;
            }
        }
    }

    std::vector<speech> lines_;
    std::size_t next_ = 0;
    raw_host host_;

public:
    std::string url;
};

// The hosts of a story; they live until their jobs have ended. A story whose hosts use variables of
// its own closes them itself.
class street {
public:
    explicit street(loop& owner) : jobs_(owner) {}

    raw_host& raw(raw_host::script serve) {
        return *raw_.emplace_back(
            std::make_unique<raw_host>(jobs_.loop(), jobs_, std::move(serve)));
    }
    scripted_host& scripted(std::vector<speech> lines) {
        return *scripted_.emplace_back(
            std::make_unique<scripted_host>(jobs_.loop(), jobs_, std::move(lines)));
    }
    void spawn(task<void> job) { jobs_.spawn(std::move(job)); }
    task<void> close() {
        jobs_.cancel();
        try {
            co_await jobs_.join();
        } catch (const cancelled&) {
        }
    }

private:
    scope jobs_;
    std::vector<std::unique_ptr<raw_host>> raw_;
    std::vector<std::unique_ptr<scripted_host>> scripted_;
};

template <class Story>
task<void> with_street(loop& owner, Story story) {
    street hosts(owner);
    std::exception_ptr failure;
    try {
        co_await story(owner, hosts);
    } catch (...) {
        failure = std::current_exception();
    }
    co_await hosts.close();
    if (failure) {
        std::rethrow_exception(failure);
    }
}

template <class Story>
void tell_with_hosts(Story story, int fake_seeds = 12) {
    tell([&](loop& owner) { return with_street(owner, story); }, fake_seeds);
}

inline std::string sized_answer(std::string_view body, std::string_view more = {},
                                std::string_view status = "200 OK") {
    return "HTTP/1.1 " + std::string(status) + "\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n" + std::string(more) + "\r\n" + std::string(body);
}

struct failure {
    std::string text;  // empty: it did not fail
    std::string cause;
    std::error_code code;
    std::optional<http::phase> phase;
};

// What awaiting `what` failed with.
template <class T>
task<failure> failure_told(task<T> what) {
    try {
        (void)co_await std::move(what);
    } catch (const http::client_error& told) {
        co_return failure{told.what(), told.cause(), told.code(), told.phase()};
    } catch (const cancelled&) {
        co_return failure{"cancelled", {}, std::make_error_code(std::errc::operation_canceled), {}};
    }
    co_return failure{};
}

}  // namespace ringlet::test
