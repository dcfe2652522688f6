// The fake driver itself: that its time is virtual, its runs repeatable and its faults real.
// These cases make a fake loop of their own, whatever driver the suite runs on.
#include <doctest/doctest.h>

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/fake.h"
#include "tests/support/probe.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

loop_options on_fake(std::uint64_t fake_seed) {
    loop_options options;
    options.driver.name = "fake";
    options.driver.seed = fake_seed;
    return options;
}

struct alarm_clock : timer {
    alarm_clock()
        : timer([](timer& self) noexcept { static_cast<alarm_clock&>(self).rang = true; }) {}
    bool rang = false;
};

// What one seed makes of a transfer: every completion, in order, with its time.
std::string trace(std::uint64_t fake_seed) {
    loop on(on_fake(fake_seed));
    socket_pair pair(on);
    std::string story;
    probe receiving(on);
    receiving.on_completion = [&](const completion& what) {
        story += std::to_string(on.driver().now()) + ":" + std::to_string(what.result) + " ";
    };
    receiving.prepare_receive(pair.first);
    on.start(receiving);
    const std::string text = pattern(100'000);
    send_all(on, pair.second, text);
    on.driver().shutdown(pair.second, SHUT_WR);
    receiving.run();
    CHECK((receiving.bytes == text));
    return story;
}

}  // namespace

TEST_CASE("fake: the same seed gives the same run, another one another") {
    std::set<std::string> stories;
    for (std::uint64_t fake_seed = 1; fake_seed <= 20; ++fake_seed) {
        CAPTURE(fake_seed);
        const std::string story = trace(fake_seed);
        CHECK((story == trace(fake_seed)));
        stories.insert(story);
    }
    CHECK(stories.size() == 20);
}

TEST_CASE("fake: an hour passes at once when nothing else can happen") {
    const auto before = std::chrono::steady_clock::now();
    loop on(on_fake(seed()));
    alarm_clock late;
    const instant start = on.read_clock();
    on.start_timer(late, start + instant{3'600'000'000'000});
    CHECK(run_until(on, [&] { return late.rang; }, 7200));
    CHECK(on.now() >= start + instant{3'600'000'000'000});
    CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(5));
}

TEST_CASE("fake: time does not overtake a real descriptor that is polled") {
    loop on(on_fake(seed()));
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    probe polling(on);
    polling.prepare_poll(ends[0], POLLIN, false);
    on.start(polling);
    alarm_clock late;
    on.start_timer(late, on.read_clock() + instant{20'000'000'000});
    std::thread writer([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        CHECK(::write(ends[1], "x", 1) == 1);
    });
    run_until(on, [&] { return late.rang || !polling.active(); }, no_limit);
    writer.join();
    CHECK_FALSE(late.rang);
    CHECK(polling.result() == POLLIN);
    on.cancel_timer(late);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("fake: sends are short, receives split and buffers lack in some run") {
    bool short_send = false;
    bool split_receive = false;
    bool no_buffer = false;
    for (std::uint64_t fake_seed = 1; fake_seed <= 40; ++fake_seed) {
        loop on(on_fake(fake_seed));
        socket_pair pair(on);
        probe receiving(on);
        receiving.prepare_receive(pair.first);
        on.start(receiving);
        for (int i = 0; i < 20; ++i) {
            probe sending(on);
            sending.prepare_send(pair.second, "0123456789", 10);
            on.start(sending);
            CHECK(sending.run());
            short_send = short_send || (sending.result() > 0 && sending.result() < 10);
        }
        on.driver().shutdown(pair.second, SHUT_WR);
        CHECK(receiving.run());
        for (const std::int32_t each : receiving.results) {
            split_receive = split_receive || (each > 0 && each < 10);
        }
        no_buffer = no_buffer || on.stats().buffers_dry > 0;
    }
    CHECK(short_send);
    CHECK(split_receive);
    CHECK(no_buffer);
}

TEST_CASE("fake: a cancel may come late, and may lose") {
    bool late = false;
    bool lost = false;
    for (std::uint64_t fake_seed = 1; fake_seed <= 200; ++fake_seed) {
        loop on(on_fake(fake_seed));
        socket_pair pair(on);
        probe quiet(on);
        quiet.prepare_receive(pair.first);
        on.start(quiet);
        on.run_once(false);
        on.cancel(quiet);
        on.run_once(false);
        late = late || quiet.active();
        CHECK(quiet.run());
        CHECK(send_all(on, pair.second, "data"));
        char memory[4];
        probe reading(on);
        reading.prepare_receive_into(pair.first, memory, sizeof memory);
        on.start(reading);
        on.cancel(reading);
        CHECK(reading.run());
        lost = lost || reading.result() > 0;
    }
    CHECK(late);
    CHECK(lost);
}

TEST_CASE("fake: descriptors overtake each other, one direction never does") {
    std::set<std::string> orders;
    for (std::uint64_t fake_seed = 1; fake_seed <= 60; ++fake_seed) {
        loop on(on_fake(fake_seed));
        socket_pair first(on);
        socket_pair second(on);
        std::string order;
        probe at_first(on);
        probe at_second(on);
        at_first.on_completion = [&](const completion&) { order += "1"; };
        at_second.on_completion = [&](const completion&) { order += "2"; };
        char memory[2];
        at_first.prepare_receive_into(first.first, memory, 1);
        at_second.prepare_receive_into(second.first, memory + 1, 1);
        on.start(at_first);
        on.start(at_second);
        probe to_first(on);
        probe to_second(on);
        to_first.prepare_send(first.second, "x", 1);
        to_second.prepare_send(second.second, "x", 1);
        on.start(to_first);
        on.start(to_second);
        CHECK(run_until_idle(on));
        orders.insert(order);
    }
    CHECK(orders == std::set<std::string>{"12", "21"});

    for (std::uint64_t fake_seed = 1; fake_seed <= 60; ++fake_seed) {
        CAPTURE(fake_seed);
        loop on(on_fake(fake_seed));
        socket_pair pair(on);
        std::vector<std::unique_ptr<probe>> sends;
        const std::string digits = "0123456789";
        for (std::size_t i = 0; i < digits.size(); ++i) {
            sends.push_back(std::make_unique<probe>(on));
            sends.back()->prepare_send(pair.first, digits.data() + i, 1);
            on.start(*sends.back());
        }
        probe receiving(on);
        receiving.prepare_receive(pair.second);
        on.start(receiving);
        CHECK(run_until(on, [&] { return receiving.bytes.size() == digits.size(); }));
        CHECK(receiving.bytes == digits);
        on.cancel(receiving);
        CHECK(receiving.run());
    }
}

TEST_CASE("fake: real descriptors can be polled and nothing else") {
    loop on(on_fake(seed()));
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    probe receiving(on);
    receiving.prepare_receive(ends[0]);
    on.start(receiving);
    CHECK(receiving.run());
    CHECK(receiving.result() == -ENOTSOCK);
    probe polling(on);
    polling.prepare_poll(ends[0], POLLIN, true);
    on.start(polling);
    on.run_once(false);
    on.cancel(polling);
    CHECK(polling.run());
    CHECK(polling.result() == -ECANCELED);
    on.driver().close(ends[0]);
    on.driver().close(ends[1]);
}
