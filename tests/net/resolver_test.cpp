#include "net/resolver.h"

#include <netdb.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "tests/net/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

// The look-up that stands in for getaddrinfo. Helper threads read these, the tests write them
// while no look-up runs.
std::atomic<int> calls{0};
std::atomic<int> delay_ms{0};
std::atomic<int> answer_code{0};
std::atomic<int> answer_count{1};

int counted_look_up(const char* host, std::vector<address>& found) {
    ++calls;
    std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
    const std::string name = host;
    for (int at = 0; at < answer_count; ++at) {
        found.push_back(address::parse("192.0.2." + std::to_string(at + 1), 0).value());
    }
    if (name == "throws.example") {
        throw std::bad_alloc();
    }
    if (answer_code == EAI_SYSTEM) {
        errno = EIO;
    }
    return answer_code;
}

resolver_options counted(nanoseconds ttl = std::chrono::seconds(60)) {
    calls = 0;
    delay_ms = 0;
    answer_code = 0;
    answer_count = 1;
    resolver_options options;
    options.hosts_path = "/nonexistent";
    options.cache_ttl = ttl;
    options.look_up = &counted_look_up;
    return options;
}

std::string texts(const std::vector<address>& list) {
    std::string all;
    for (const address& each : list) {
        all += all.empty() ? "" : " ";
        all += each.text();
    }
    return all;
}

task<std::string> resolved(resolver& names, std::string host, std::uint16_t port = 80) {
    try {
        const std::vector<address> list = co_await names.resolve(std::move(host), port);
        co_return texts(list);
    } catch (const error& failure) {
        co_return std::string("error: ") + failure.what();
    }
}

task<void> resolve_into(std::vector<std::string>& into, resolver& names, std::string host,
                        std::uint16_t port) {
    into.push_back(co_await resolved(names, std::move(host), port));
}

}  // namespace

TEST_CASE("literals and localhost are answered at once, without a look-up or a thread") {
    tell([](loop& owner) -> task<void> {
        resolver names(owner, counted());
        const std::uint64_t turns = owner.stats().turns;
        std::vector<std::string> got;
        for (const char* host : {"127.0.0.1", "::1", "[::1]", "fe80::1%1", "localhost",
                                 "LocalHost.", "a.b.localhost"}) {
            got.push_back(co_await resolved(names, host));
        }
        CHECK(owner.stats().turns == turns);
        CHECK(got == std::vector<std::string>{
                         "127.0.0.1:80", "[::1]:80", "[::1]:80", "[fe80::1%1]:80",
                         "[::1]:80 127.0.0.1:80", "[::1]:80 127.0.0.1:80",
                         "[::1]:80 127.0.0.1:80"});
        CHECK(calls == 0);
        CHECK(names.cached() == 0);
    });
}

TEST_CASE("the hosts file is answered at once, and the rest is looked up") {
    std::string path = "/tmp/ringlet_resolver_XXXXXX";
    const int fd = ::mkstemp(path.data());
    REQUIRE(fd >= 0);
    ::close(fd);
    std::ofstream(path) << "198.51.100.1 Known.Example\n2001:db8::7 known.example\n";
    static std::string hosts_path;
    hosts_path = path;
    tell([](loop& owner) -> task<void> {
        resolver_options options = counted();
        options.hosts_path = hosts_path;
        resolver names(owner, options);
        const std::uint64_t turns = owner.stats().turns;
        const std::string known = co_await resolved(names, "KNOWN.example.", 443);
        CHECK(known == "198.51.100.1:443 [2001:db8::7]:443");
        CHECK(owner.stats().turns == turns);
        CHECK(calls == 0);
        const std::string other = co_await resolved(names, "unknown.example", 443);
        CHECK(other == "192.0.2.1:443");
        CHECK(calls == 1);
    }, 2);
    ::unlink(path.c_str());
}

TEST_CASE("an answer is kept for its time, for every port and case of letters") {
    tell([](loop& owner) -> task<void> {
        resolver names(owner, counted(std::chrono::milliseconds(40)));
        const std::string first = co_await resolved(names, "some.example", 80);
        const std::uint64_t turns = owner.stats().turns;
        const std::string second = co_await resolved(names, "SOME.example", 81);
        CHECK(first == "192.0.2.1:80");
        CHECK(second == "192.0.2.1:81");
        CHECK(owner.stats().turns == turns);
        CHECK(calls == 1);
        CHECK(names.cached() == 1);
        co_await sleep_for(std::chrono::milliseconds(45));
        const std::string third = co_await resolved(names, "some.example", 80);
        CHECK(third == "192.0.2.1:80");
        CHECK(calls == 2);
        names.clear_cache();
        CHECK(names.cached() == 0);
        (void)co_await resolved(names, "some.example");
        CHECK(calls == 3);
    }, 3);
}

TEST_CASE("a failure says host and cause, and is kept for its own, shorter time") {
    tell([](loop& owner) -> task<void> {
        resolver_options options = counted();
        options.failure_ttl = std::chrono::milliseconds(30);
        resolver names(owner, options);
        answer_code = EAI_NONAME;
        for (int round = 0; round < 3; ++round) {
            const std::string text = co_await resolved(names, "no.example");
            CHECK(text == std::string("error: no.example: ") + ::gai_strerror(EAI_NONAME) +
                              ": the host name has no address");
        }
        CHECK(calls == 1);
        co_await sleep_for(std::chrono::milliseconds(35));
        answer_code = EAI_SYSTEM;
        const std::string text = co_await resolved(names, "no.example");
        CHECK(text.find("Input/output error") != std::string::npos);
        CHECK(calls == 2);
        answer_code = 0;
        answer_count = 0;
        const std::string none = co_await resolved(names, "empty.example");
        CHECK(none.find("empty.example: the answer holds no address") != std::string::npos);
        const std::string thrown = co_await resolved(names, "throws.example");
        CHECK(thrown.find("throws.example: ") != std::string::npos);
        const std::error_code code =
            co_await failure_of(names.resolve("throws.example", 1));
        CHECK(code == errc::resolve_failed);
    }, 3);
}

TEST_CASE("equal look-ups in flight are one, and different ones run side by side") {
    tell([](loop& owner) -> task<void> {
        resolver names(owner, counted());
        delay_ms = 30;
        std::vector<std::string> got;
        scope several(owner);
        for (std::uint16_t port = 1; port <= 50; ++port) {
            const char* const host = port % 2 == 0 ? "a.example" : "A.Example";
            several.spawn(resolve_into(got, names, host, port));
        }
        several.spawn(resolve_into(got, names, "b.example", 99));
        CHECK(names.look_ups_in_flight() == 2);
        co_await several.join();
        CHECK(calls == 2);
        REQUIRE(got.size() == 51);
        CHECK(names.look_ups_in_flight() == 0);
    }, 2);
}

TEST_CASE("a cancelled wait ends at once and leaves its look-up to the others and the cache") {
    tell([](loop& owner) -> task<void> {
        resolver names(owner, counted());
        delay_ms = 60;
        std::vector<std::string> got;
        scope patient(owner);
        patient.spawn(resolve_into(got, names, "slow.example", 1));
        const std::error_code code = co_await failure_of(
            with_timeout_task(std::chrono::milliseconds(5), names.resolve("slow.example", 2)));
        CHECK(code == errc::timed_out);
        CHECK(got.empty());
        co_await patient.join();
        CHECK(got == std::vector<std::string>{"192.0.2.1:1"});
        const std::error_code alone = co_await failure_of(
            with_timeout_task(std::chrono::milliseconds(5), names.resolve("other.example", 2)));
        CHECK(alone == errc::timed_out);
        CHECK(names.look_ups_in_flight() == 1);
        while (names.look_ups_in_flight() > 0) {
            co_await sleep_for(std::chrono::milliseconds(5));
        }
        const std::string cached = co_await resolved(names, "other.example", 3);
        CHECK(cached == "192.0.2.1:3");
        CHECK(calls == 2);
    }, 2);
}

TEST_CASE("a resolver may go while its look-ups run") {
    tell([](loop& owner) -> task<void> {
        {
            resolver names(owner, counted());
            delay_ms = 40;
            for (const char* host : {"one.example", "two.example"}) {
                const std::error_code code = co_await failure_of(
                    with_timeout_task(std::chrono::milliseconds(2), names.resolve(host, 2)));
                CHECK(code == errc::timed_out);
            }
            CHECK(names.look_ups_in_flight() == 2);
        }
        co_await sleep_for(std::chrono::milliseconds(100));
        CHECK(calls == 2);
    }, 2);
}

TEST_CASE("resolver and loop may go while look-ups run") {
    const int before = open_descriptors();
    {
        loop owner(options_with_seed(seed()));
        resolver names(owner, counted());
        delay_ms = 40;
        run(owner, [](resolver& from) -> task<void> {
            for (const char* host : {"one.example", "two.example", "three.example", "four.example",
                                     "five.example", "six.example"}) {
                const std::error_code code = co_await failure_of(
                    with_timeout_task(std::chrono::milliseconds(1), from.resolve(host, 2)));
                CHECK(code == errc::timed_out);
            }
        }(names));
    }
    CHECK(calls == 6);
    CHECK(open_descriptors() == before);
}

TEST_CASE("the cache is bounded: the answer not used for longest goes first") {
    tell([](loop& owner) -> task<void> {
        resolver_options options = counted();
        options.cache_entries_max = 3;
        resolver names(owner, options);
        for (const char* host : {"a.example", "b.example", "c.example", "a.example", "d.example"}) {
            (void)co_await resolved(names, host);
        }
        CHECK(names.cached() == 3);
        CHECK(calls == 4);
        (void)co_await resolved(names, "a.example");
        CHECK(calls == 4);
        (void)co_await resolved(names, "b.example");
        CHECK(calls == 5);
        CHECK(names.cached() == 3);
    }, 2);
}

TEST_CASE("without room in the cache every look-up is made") {
    tell([](loop& owner) -> task<void> {
        resolver_options options = counted();
        options.cache_entries_max = 0;
        resolver names(owner, options);
        (void)co_await resolved(names, "a.example");
        (void)co_await resolved(names, "a.example");
        CHECK(calls == 2);
        CHECK(names.cached() == 0);
    }, 2);
}

TEST_CASE("look-ups in flight are bounded, and so are the addresses of an answer") {
    tell([](loop& owner) -> task<void> {
        resolver_options options = counted();
        options.look_ups_max = 2;
        resolver names(owner, options);
        delay_ms = 20;
        answer_count = 100;
        std::vector<std::string> got;
        scope several(owner);
        several.spawn(resolve_into(got, names, "a.example", 1));
        several.spawn(resolve_into(got, names, "b.example", 1));
        const std::error_code code = co_await failure_of(names.resolve("c.example", 1));
        CHECK(code == errc::limit_exceeded);
        several.spawn(resolve_into(got, names, "a.example", 1));
        co_await several.join();
        CHECK(calls == 2);
        const std::vector<address> many = co_await names.resolve("a.example", 1);
        CHECK(many.size() == resolver::addresses_max);
    }, 2);
}

TEST_CASE("bad host names are refused with a sentence and without a look-up") {
    tell([](loop& owner) -> task<void> {
        resolver names(owner, counted());
        const std::string label(64, 'x');
        std::string longest;
        while (longest.size() < 254) {
            longest += "abc.";
        }
        const std::pair<std::string, const char*> bad[] = {
            {"", "it is empty"},
            {".", "it is empty"},
            {"a b", "a space is in it"},
            {std::string("a\0b", 3), "a NUL is in it"},
            {"a\nb", "a control character is in it"},
            {"a\x7f", "a control character is in it"},
            {label + ".example", "longer than 63"},
            {longest + "example", "longer than 253"},
            {"a..b", "a label of it is empty"},
            {".a", "a label of it is empty"},
            {"a...", "a label of it is empty"},
            {"127.1", "ends in a number"},
            {"2130706433", "ends in a number"},
            {"0x7f000001", "ends in a number"},
            {"0X7F.1", "ends in a number"},
            {"a.0x", "ends in a number"},
            {"1.2.3.256", "ends in a number"},
            {"[127.0.0.1]", "a character is in it"},
            {"[::1", "a character is in it"},
            {"::g", "a character is in it"},
            {"user:pass", "a character is in it"},
            {"fe80::1%nosuchinterface0", "a character is in it"},
        };
        for (const auto& [host, cause] : bad) {
            const std::string text = co_await resolved(names, host);
            CAPTURE(text);
            CHECK(text.find(cause) != std::string::npos);
            CHECK(text.find('\n') == std::string::npos);
            CHECK(text.find('\0') == std::string::npos);
            CHECK(text.size() < 300);
        }
        CHECK(calls == 0);
        const std::string just = std::string(63, 'x') + ".example";
        const std::string good = co_await resolved(names, just);
        CHECK(good == "192.0.2.1:80");
    }, 1);
}

TEST_CASE("the system's look-up knows the names of this machine") {
    std::vector<address> found;
    CHECK(system_look_up("127.0.0.1", found) == 0);
    REQUIRE(found.size() == 1);
    CHECK(found[0].host_text() == "127.0.0.1");
    found.clear();
    CHECK(system_look_up("no such name", found) != 0);
    CHECK(found.empty());
}
