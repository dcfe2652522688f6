#include "http/client_pool.h"

#include <algorithm>

#include "coro/gather.h"
#include "http/serve.h"
#include "tests/http/hosts.h"

using namespace ringlet;
using namespace ringlet::test;
using http::client_options;
using http::client_request;
using http::client_response;
using http::method;
using http::phase;
using std::chrono::milliseconds;

namespace {

// Answers after a while, and counts how many it has to answer at a time.
struct counting {
    int now = 0;
    int most = 0;
    int all = 0;
};

struct slow_handler {
    counting* count;
    task<void> operator()(http::request&, http::response& out) const { return answer(*count, out); }
    static task<void> answer(counting& count, http::response& out) {
        ++count.all;
        count.most = std::max(count.most, ++count.now);
        co_await sleep_for(milliseconds(3));
        --count.now;
        co_await out.send(200, "a/b", "slow");
    }
};

task<void> get_and_check(http::client& web, std::string url, std::string body) {
    const client_response got = co_await web.get(std::move(url));
    CHECK(got.body == body);
}

client_request request_to(std::string url, method what, std::string body = {}) {
    client_request made;
    made.url = std::move(url);
    made.method = what;
    made.body = std::move(body);
    return made;
}

}  // namespace

TEST_CASE("servers never see more requests at a time than the limits allow") {
    tell(
        [](loop& owner) -> task<void> {
            counting one;
            counting two;
            http::service first(owner, slow_handler{&one});
            http::service second(owner, slow_handler{&two});
            const std::string urls[] = {"http://" + first.listen(address::loopback_v4(0)).text(),
                                        "http://" + second.listen(address::loopback_v4(0)).text()};
            client_options options;
            options.connections_max = 5;
            options.connections_per_host_max = 3;
            http::client web(owner, options);
            std::vector<task<void>> all;
            for (int number = 0; number < 60; ++number) {
                all.push_back(get_and_check(web, urls[number % 3 == 0 ? 1 : 0], "slow"));
            }
            co_await gather(std::move(all));
            CHECK(one.all + two.all == 60);
            CHECK(one.most <= 3);
            CHECK(two.most <= 3);
            CHECK(one.most > 1);
            CHECK(web.stats().requests == 60);
            CHECK(web.stats().reused == 60 - web.stats().connections);
            CHECK(web.stats().idle > 0);
            CHECK(web.stats().idle <= 5);
        },
        6);
}

TEST_CASE("the queue is left in order, in time, or by a cancel, and nobody else suffers") {
    tell([](loop& owner) -> task<void> {
        counting count;
        http::service here(owner, slow_handler{&count});
        const std::string url = "http://" + here.listen(address::loopback_v4(0)).text();
        for (const bool per_host : {false, true}) {
            client_options options;
            (per_host ? options.connections_per_host_max : options.connections_max) = 1;
            options.queue_timeout = milliseconds(50);
            http::client web(owner, options);
            {
                client_request what = request_to(url, method::get);
                http::incoming held = co_await web.open(std::move(what));
                const failure told = co_await failure_told(web.get(url));
                CHECK(told.phase == phase::queue);
                CHECK(told.code == errc::timed_out);
                CHECK(told.text == url + "/: queue: timed out after 50 ms");
                const std::error_code late =
                    co_await failure_of(with_timeout_task(milliseconds(10), web.get(url)));
                CHECK(late == errc::timed_out);
            }
            co_await get_and_check(web, url, "slow");
            CHECK(web.stats().connections <= 2);
        }
    });
}

TEST_CASE("an idle connection is used again, the newest first, and closed in time") {
    tell([](loop& owner) -> task<void> {
        site here(owner, [](http::exchange& at) { at.respond(200, "a/b", "x"); });
        const std::string url = "http://" + here.where.text();
        client_options options;
        options.idle_timeout = milliseconds(100);
        http::client web(owner, options);
        std::vector<task<void>> all;
        for (int number = 0; number < 4; ++number) {
            all.push_back(get_and_check(web, url, "x"));
        }
        co_await gather(std::move(all));
        CHECK(web.stats().idle == 4);
        for (int round = 0; round < 8; ++round) {
            co_await sleep_for(milliseconds(20));
            co_await get_and_check(web, url, "x");
        }
        CHECK(web.stats().connections == 4);
        CHECK(web.stats().idle == 1);  // the newest was used all the time
        co_await until([&] { return here.web->stats().open == 1; });
        co_await sleep_for(milliseconds(150));
        CHECK(web.stats().idle == 0);
        co_await until([&] { return here.web->stats().open == 0; });
        co_await get_and_check(web, url, "x");
        CHECK(web.stats().idle == 1);
        web.close_idle();
        CHECK(web.stats().idle == 0);
        co_await until([&] { return here.web->stats().open == 0; });
    });
}

TEST_CASE("the oldest idle connection makes room for a new one") {
    tell([](loop& owner) -> task<void> {
        std::vector<std::unique_ptr<site>> sites;
        client_options options;
        options.idle_connections_max = 3;
        http::client web(owner, options);
        for (int number = 0; number < 6; ++number) {
            sites.push_back(std::make_unique<site>(
                owner, [](http::exchange& at) { at.respond(200, "a/b", "x"); }));
            co_await get_and_check(web, "http://" + sites.back()->where.text(), "x");
            CHECK(web.stats().idle == static_cast<std::size_t>(std::min(number + 1, 3)));
        }
        for (int number = 0; number < 6; ++number) {
            co_await until(
                [&] { return sites[number]->web->stats().open == (number < 3 ? 0 : 1); });
        }
        client_options none;
        none.idle_connections_max = 0;
        http::client forgetful(owner, none);
        co_await get_and_check(forgetful, "http://" + sites[0]->where.text(), "x");
        CHECK(forgetful.stats().idle == 0);
        client_options ever;
        ever.idle_timeout = wait_forever;
        http::client keeper(owner, ever);
        co_await get_and_check(keeper, "http://" + sites[0]->where.text(), "x");
        CHECK(keeper.stats().idle == 1);
    });
}

TEST_CASE("kept connections and requests together stay within connections_max") {
    tell([](loop& owner) -> task<void> {
        std::vector<std::unique_ptr<site>> sites;
        std::vector<std::string> urls;
        for (int number = 0; number < 8; ++number) {
            sites.push_back(std::make_unique<site>(
                owner, [](http::exchange& at) { at.respond(200, "a/b", "x"); }));
            urls.push_back("http://" + sites.back()->where.text());
        }
        client_options options;
        options.connections_max = 3;
        http::client web(owner, options);
        for (int number = 0; number < 4; ++number) {
            co_await get_and_check(web, urls[number], "x");
            CHECK(web.stats().idle == static_cast<std::size_t>(std::min(number + 1, 3)));
        }
        std::vector<http::incoming> held;
        for (int number = 4; number < 7; ++number) {
            client_request what = request_to(urls[number], method::get);
            held.push_back(co_await web.open(std::move(what)));
            CHECK(web.stats().idle + held.size() == 3);
        }
        for (int number = 0; number < 8; ++number) {
            co_await until([&] {
                return sites[number]->web->stats().open == (number >= 4 && number < 7 ? 1 : 0);
            });
        }
        held.clear();
        co_await get_and_check(web, urls[7], "x");
        CHECK(web.stats().idle == 3);  // those held had got all of their answers
    });
}

TEST_CASE("a connection that the server has closed meanwhile is not used") {
    tell([](loop& owner) -> task<void> {
        http::limits sizes;
        sizes.keep_alive_timeout = milliseconds(40);
        site here(
            owner, [](http::exchange& at) { at.respond(200, "a/b", "x"); }, sizes);
        const std::string url = "http://" + here.where.text();
        http::client web(owner);
        for (int round = 0; round < 3; ++round) {
            const client_response got = co_await web.request(request_to(url, method::post, "y"));
            CHECK(got.body == "x");
            co_await until([&] { return here.web->stats().open == 0; });
            co_await pass_time();
        }
        CHECK(web.stats().connections == 3);
        CHECK(web.stats().retries == 0);
    });
}

TEST_CASE("a kept connection that dies under a request is retried once, on a fresh one") {
    tell_with_hosts(
        [](loop& owner, street& hosts) -> task<void> {
            // Each connection answers once, the first two together, and ends at its second request.
            for (const char end : {'c', 'r'}) {
                bool gone = false;
                int heads = 0;
                raw_host& host =
                    hosts.raw([&gone, &heads, end](raw_client& peer, int) -> task<void> {
                        return [](raw_client& to, bool& dead, int& count, char how) -> task<void> {
                            for (int round = 0;; ++round) {
                                const std::string head = co_await to.hear_to("\r\n\r\n");
                                if (head.empty()) {
                                    co_return;
                                }
                                ++count;
                                if (round > 0 || dead) {
                                    break;
                                }
                                co_await until([&] { return count >= 2; });
                                co_await to.say(sized_answer("x"));
                            }
                            if (how == 'r') {
                                to.stream.abort();
                            }
                        }(peer, gone, heads, end);
                    });
                http::client web(owner);
                // Two idle connections, both doomed.
                co_await gather(get_and_check(web, host.url, "x"),
                                get_and_check(web, host.url, "x"));
                CHECK(web.stats().idle == 2);
                co_await get_and_check(web, host.url, "x");
                CHECK(web.stats().retries == 1);
                CHECK(web.stats().connections == 3);
                // The fresh one stays dead too: one retry, then the error.
                gone = true;
                failure told = co_await failure_told(web.get(host.url));
                CHECK(told.phase == phase::head);
                CHECK(
                    (told.code == errc::end_of_stream || told.code == std::errc::connection_reset));
                CHECK(web.stats().retries == 2);
                CHECK(web.stats().connections == 4);
                // What is not safe to repeat is not repeated.
                const int before = heads;
                told =
                    co_await failure_told(web.request(request_to(host.url, method::post, "once")));
                CHECK(told.phase.has_value());
                CHECK(web.stats().retries == 2);
                CHECK(heads == before + 1);
                CHECK(web.stats().connections == 4);
                web.close_idle();
                co_await hosts.close();
            }
        },
        6);
}

TEST_CASE("a kept connection that dies in the middle of an answer is not retried") {
    tell_with_hosts([](loop& owner, street& hosts) -> task<void> {
        scripted_host& host = hosts.scripted({{sized_answer("first")}, {"HTTP/1.1 200", 'c'}});
        http::client web(owner);
        co_await get_and_check(web, host.url, "first");
        const failure told = co_await failure_told(web.get(host.url));
        CHECK(told.phase == phase::head);
        CHECK(told.code == errc::end_of_stream);
        CHECK(web.stats().retries == 0);
        CHECK(host.heads.size() == 2);
    });
}

TEST_CASE("cancelled at any moment, a request leaves nothing behind") {
    tell_with_hosts(
        [](loop& owner, street& hosts) -> task<void> {
            // Answers slowly, in pieces; every third connection not at all.
            raw_host& host = hosts.raw([](raw_client& peer, int number) -> task<void> {
                return [](raw_client& to, int which) -> task<void> {
                    for (;;) {
                        const std::string head = co_await to.hear_to("\r\n\r\n");
                        if (head.empty()) {
                            co_return;
                        }
                        if (which % 3 == 2) {
                            continue;
                        }
                        const std::string text =
                            head.starts_with("GET /again")
                                ? sized_answer("end")
                                : sized_answer("moved", "Location: /again\r\n", "302 Found");
                        for (const char byte : text) {
                            co_await to.say(std::string(1, byte));
                            co_await yield_now();
                        }
                    }
                }(peer, number);
            });
            client_options options;
            options.connections_max = 2;
            options.connections_per_host_max = 2;
            http::client web(owner, options);
            for (int turns = 0; turns < 60; ++turns) {
                {
                    scope jobs(owner);
                    const auto ask = [](http::client& from, std::string url) -> task<void> {
                        try {
                            (void)co_await from.request(
                                request_to(url, method::put, std::string(100'000, 'u')));
                        } catch (const http::client_error&) {
                        }
                    };
                    for (int number = 0; number < 4; ++number) {
                        jobs.spawn(ask(web, host.url));
                    }
                    for (int turn = 0; turn < turns; ++turn) {
                        co_await yield_now();
                    }
                    jobs.cancel();
                    try {
                        co_await jobs.join();
                    } catch (const cancelled&) {
                    }
                }
                CHECK(web.stats().idle <= 2);
            }
            // All places are free again: two requests at a time, both begun at once.
            web.close_idle();
            site here(owner, [](http::exchange& at) { at.respond(200, "a/b", "x"); });
            const std::string url = "http://" + here.where.text();
            const instant begun = owner.read_clock();
            client_request first = request_to(url, method::get);
            http::incoming one = co_await web.open(std::move(first));
            client_request second = request_to(url, method::get);
            http::incoming two = co_await web.open(std::move(second));
            CHECK(one.timings().granted >= begun);
            CHECK(two.status() == 200);
            CHECK(here.web->stats().open == 2);
        },
        4);
}

TEST_CASE("a cancelled look-up frees the place of its request") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        client_options options;
        options.connections_max = 1;
        options.resolver.look_up = [](const char*, std::vector<address>&) {
            usleep(300'000);
            return -2;
        };
        options.resolve_timeout = milliseconds(30);
        http::client web(owner, options);
        const failure told = co_await failure_told(web.get("http://slow.example/"));
        CHECK(told.text == "http://slow.example/: resolve: timed out after 30 ms");
        const std::error_code late = co_await failure_of(
            with_timeout_task(milliseconds(20), web.get("http://slow.example/")));
        CHECK(late == errc::timed_out);
        site here(owner, [](http::exchange& at) { at.respond(200, "a/b", "x"); });
        co_await get_and_check(web, "http://" + here.where.text(), "x");
        co_await sleep_for(milliseconds(400));  // the helper thread ends
    });
}
