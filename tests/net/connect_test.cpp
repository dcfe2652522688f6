#include "net/connect.h"

#include <sys/socket.h>
#include <unistd.h>

#include <memory>

#include "tests/net/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

// An address that neither answers nor refuses: a listener whose backlog is full.
struct dead_end {
    std::unique_ptr<tcp_listener> door;
    std::vector<tcp_stream> fillers;
    address where;
};

task<dead_end> make_dead_end(loop& owner, const address& at) {
    dead_end made;
    listen_options tiny;
    tiny.backlog = 0;
    made.door = std::make_unique<tcp_listener>(owner, at, tiny);
    made.where = made.door->local_address();
    for (int tries = 0; tries < 8; ++tries) {
        try {
            made.fillers.push_back(co_await with_timeout(std::chrono::milliseconds(60),
                                                         connect(owner, only(made.where))));
        } catch (const error& failure) {
            REQUIRE(failure.code() == errc::timed_out);
            co_return made;
        }
    }
    FAIL("the backlog does not fill");
    co_return made;
}

// A port on which nobody listens.
address refusing(loop& owner, bool v6 = false) {
    return tcp_listener(owner, v6 ? address::loopback_v6(0) : address::loopback_v4(0))
        .local_address();
}

template <class... Addresses>
std::vector<address> list(const Addresses&... each) {
    return std::vector<address>{each...};
}

task<std::string> failure_text(task<tcp_stream> what) {
    try {
        (void)co_await std::move(what);
    } catch (const error& failure) {
        co_return failure.what();
    }
    co_return std::string();
}

connect_options with_delay(nanoseconds delay) {
    connect_options options;
    options.attempt_delay = delay;
    return options;
}

int resolve_to_loopback(const char*, std::vector<address>& found) {
    found.push_back(address::loopback_v6(0));
    found.push_back(address::loopback_v4(0));
    return 0;
}

}  // namespace

TEST_CASE("a single address costs one operation and no timer") {
    tell([](loop& owner) -> task<void> {
        tcp_listener door(owner, address::loopback_v4(0));
        const std::vector<address> there = only(door.local_address());
        const std::uint64_t before = owner.stats().completions;
        tcp_stream made = co_await connect(owner, there);
        CHECK(made);
        CHECK(made.peer_address() == there.front());
        CHECK(owner.stats().completions == before + 1);
        CHECK(owner.stats().timers_pending == 1);  // the story's own limit
    });
}

TEST_CASE("a refused connection names the address and the cause") {
    tell([](loop& owner) -> task<void> {
        const address nobody = refusing(owner);
        co_await pass_time(std::chrono::milliseconds(1));
        const std::string text = co_await failure_text(connect(owner, only(nobody)));
        CHECK(text == "connect to " + nobody.text() + ": Connection refused");
        const std::error_code code = co_await failure_of(connect(owner, only(nobody)));
        CHECK(code == std::errc::connection_refused);
        const std::error_code none = co_await failure_of(connect(owner, std::vector<address>()));
        CHECK(none == errc::resolve_failed);
    });
}

TEST_CASE("after a failed attempt the next begins at once, however long the delay") {
    tell([](loop& owner) -> task<void> {
        tcp_listener door(owner, address::loopback_v4(0));
        const address here = door.local_address();
        const std::vector<address> all =
            list(refusing(owner), refusing(owner, true), refusing(owner), here);
        co_await pass_time(std::chrono::milliseconds(1));
        const instant before = owner.read_clock();
        tcp_stream made = co_await connect(owner, all, with_delay(std::chrono::hours(1)));
        CHECK(made.peer_address() == here);
        CHECK(owner.read_clock() - before < 10'000'000'000);
    });
}

TEST_CASE("an address that does not answer is passed by after the delay, and left without trace") {
    tell([](loop& owner) -> task<void> {
        dead_end dead = co_await make_dead_end(owner, address::loopback_v6(0));
        tcp_listener door(owner, address::loopback_v4(0));
        const address here = door.local_address();
        const int lowest = lowest_free(owner);
        const std::vector<address> all = list(dead.where, here);
        const instant before = owner.read_clock();
        tcp_stream made =
            co_await connect(owner, all, with_delay(std::chrono::milliseconds(50)));
        const instant took = owner.read_clock() - before;
        CHECK(made.peer_address() == here);
        CHECK(took >= 50'000'000);
        CHECK(took < 900'000'000);
        CHECK(made.descriptor() != lowest);  // that was the dead one's
        CHECK(lowest_free(owner) == lowest);
    });
}

TEST_CASE("families alternate, beginning with the first") {
    tell([](loop& owner) -> task<void> {
        tcp_listener door(owner, address::loopback_v6(0));
        const address here = door.local_address();
        dead_end first = co_await make_dead_end(owner, address::loopback_v4(0));
        // Were they tried as they stand, ten attempts would come before the good one.
        std::vector<address> all(10, first.where);
        all.push_back(here);
        const instant before = owner.read_clock();
        tcp_stream made =
            co_await connect(owner, all, with_delay(std::chrono::milliseconds(40)));
        CHECK(made.peer_address() == here);
        CHECK(owner.read_clock() - before < 160'000'000);
    }, 4);
}

TEST_CASE("when all attempts fail the error names each with its cause, and the telling code") {
    tell([](loop& owner) -> task<void> {
        const address first = refusing(owner, true);
        const address second = refusing(owner);
        co_await pass_time(std::chrono::milliseconds(1));
        const std::string text = co_await failure_text(connect(owner, list(first, second)));
        CHECK(text == "connect to " + first.text() + " (Connection refused), " + second.text() +
                          " (Connection refused): Connection refused");
        connect_options from_v4;
        from_v4.local = address::loopback_v4(0);
        const std::vector<address> both = list(first, second);
        const std::string mixed = co_await failure_text(connect(owner, both, from_v4));
        CHECK(mixed.find(first.text() + " (Address family not supported") != std::string::npos);
        CHECK(mixed.find("): Connection refused") != std::string::npos);
        const std::string many = co_await failure_text(
            connect(owner, std::vector<address>(1000, second)));
        CHECK(many.find(" and 24 more: Connection refused") != std::string::npos);
        CHECK(many.size() < 600);
    });
}

TEST_CASE("a local address is connected from, and only its family is tried") {
    tell([](loop& owner) -> task<void> {
        tcp_listener four(owner, address::loopback_v4(0));
        tcp_listener six(owner, address::loopback_v6(0));
        connect_options options;
        options.local = address::parse("127.0.0.5", 0).value();
        const std::vector<address> both = list(six.local_address(), four.local_address());
        tcp_stream made = co_await connect(owner, both, options);
        CHECK(made.local_address().host_text() == "127.0.0.5");
        CHECK(made.peer_address() == four.local_address());
        tcp_stream single = co_await connect(owner, only(four.local_address()), options);
        CHECK(single.local_address().host_text() == "127.0.0.5");
    });
}

TEST_CASE("a cancelled connect leaves no descriptor and no operation behind") {
    tell([](loop& owner) -> task<void> {
        dead_end four = co_await make_dead_end(owner, address::loopback_v4(0));
        dead_end six = co_await make_dead_end(owner, address::loopback_v6(0));
        const int lowest = lowest_free(owner);
        const int open = open_descriptors();
        const std::uint64_t live = owner.stats().operations_live;
        for (int round = 0; round < 6; ++round) {
            const bool single = round % 2 == 0;
            const std::vector<address> all =
                single ? only(four.where) : list(four.where, six.where, four.where, six.where);
            const std::error_code code = co_await failure_of(with_timeout_task(
                std::chrono::milliseconds(2 + 4 * round),
                connect(owner, all, with_delay(std::chrono::milliseconds(3)))));
            CHECK(code == errc::timed_out);
            CHECK(owner.stats().operations_live == live);
            CHECK(lowest_free(owner) == lowest);
            CHECK(open_descriptors() == open);
        }
    }, 6);
}

TEST_CASE("a connect that is cancelled at any moment keeps its stream or leaves nothing") {
    tell([](loop& owner) -> task<void> {
        tcp_listener door(owner, address::loopback_v4(0));
        const std::vector<address> all =
            list(refusing(owner, true), door.local_address(), refusing(owner));
        co_await pass_time(std::chrono::milliseconds(1));
        const int lowest = lowest_free(owner);
        for (int round = 0; round < 60; ++round) {
            {
                scope parts(owner);
                parts.spawn([](loop& on, std::vector<address> to) -> task<void> {
                    (void)co_await connect(on, std::move(to));
                }(owner, all));
                for (int turn = 0; turn < round % 6; ++turn) {
                    co_await yield_now();
                }
                parts.cancel();
                (void)co_await failure_of(
                    [](scope& of) -> task<void> { co_await of.join(); }(parts));
            }
            for (int turn = 0; turn < 8; ++turn) {
                co_await sleep_for(nanoseconds(1));
            }
            CHECK(lowest_free(owner) == lowest);
        }
        const tcp_stream after = co_await connect(owner, all);
        CHECK(after.peer_address() == door.local_address());
    }, 6);
}

TEST_CASE("a host name is resolved and connected to, over whichever family answers") {
    tell([](loop& owner) -> task<void> {
        resolver_options options;
        options.hosts_path = "/nonexistent";
        options.look_up = &resolve_to_loopback;
        resolver names(owner, options);
        tcp_listener door(owner, address::loopback_v4(0));
        const std::uint16_t port = door.local_address().port();
        for (const char* host : {"some.example", "localhost", "127.0.0.1"}) {
            tcp_stream made = co_await connect(owner, names, host, port);
            CHECK(made.peer_address() == door.local_address());
        }
        const std::error_code bad = co_await failure_of(connect(owner, names, "a b", port));
        CHECK(bad == errc::resolve_failed);
    }, 3);
}

TEST_CASE("a loop may end while attempts are under way") {
    for (int round = 0; round < 4; ++round) {
        const int before = open_descriptors();
        {
            loop owner(options_with_seed(seed() + static_cast<std::uint64_t>(round)));
            run(owner, [](loop& on, int turns) -> task<void> {
                dead_end dead = co_await make_dead_end(on, address::loopback_v4(0));
                scope parts(on);
                parts.spawn([](loop& with, std::vector<address> to) -> task<void> {
                    (void)co_await connect(with, std::move(to));
                }(on, list(dead.where, dead.where, dead.where)));
                for (int turn = 0; turn < turns; ++turn) {
                    co_await yield_now();
                }
                parts.cancel();
                (void)co_await failure_of(
                    [](scope& of) -> task<void> { co_await of.join(); }(parts));
            }(owner, round));
        }
        CHECK(open_descriptors() == before);
    }
}
