// What the suites of the client share: servers that say prepared bytes, and what a failed request
// was told.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/client.h"
#include "tests/http/talk.h"

namespace ringlet::test {

// A raw server: each connection is a task of `serve(stream, number)`, cancelled with the host.
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
    std::vector<std::string> heads;  // of the requests that `hear_head` has heard

    // The next request's head on that connection; empty at the end of stream.
    task<std::string> hear_head(raw_client& peer) {
        std::string head = co_await peer.hear_to("\r\n\r\n");
        if (head.ends_with("\r\n\r\n")) {
            heads.push_back(head);
        } else {
            head.clear();
        }
        co_return head;
    }

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

// A host whose connections answer each request by the next text, and then do as the last letter
// says: 'k' keep reading, 'c' close, 'r' reset.
struct speech {
    std::string text;
    char then = 'k';
};

class scripted_host : public raw_host {
public:
    scripted_host(loop& owner, scope& jobs, std::vector<speech> lines)
        : raw_host(owner, jobs, [this](raw_client& peer, int) { return speak(peer); }),
          lines_(std::move(lines)) {}

private:
    task<void> speak(raw_client& peer) {
        for (;;) {
            const std::string head = co_await hear_head(peer);
            if (head.empty()) {
                co_return;
            }
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
};

// A story with jobs of its own, cancelled at its end.
template <class Story>
task<void> with_jobs(loop& owner, Story story) {
    scope jobs(owner);
    std::exception_ptr failure;
    try {
        co_await story(owner, jobs);
    } catch (...) {
        failure = std::current_exception();
    }
    jobs.cancel();
    try {
        co_await jobs.join();
    } catch (const cancelled&) {
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
}

template <class Story>
void tell_with_jobs(Story story, int fake_seeds = 12) {
    tell([&](loop& owner) { return with_jobs(owner, story); }, fake_seeds);
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
