#include "net/chunk.h"

#include <algorithm>
#include <string>
#include <vector>

#include "tests/net/stories.h"
#include "tests/support/probe.h"

using namespace ringlet;
using namespace ringlet::test;

TEST_CASE("a chunk of its own copies the bytes") {
    std::string text = "hello";
    chunk copy(std::as_bytes(std::span(text)));
    text = "HELLO";
    CHECK(copy);
    CHECK(copy.text() == "hello");
    CHECK(copy.size() == 5);
    CHECK(copy.bytes().size() == 5);
}

TEST_CASE("an empty chunk is false, also after it was moved from") {
    chunk none;
    CHECK(!none);
    CHECK(none.text().empty());
    chunk some(std::as_bytes(std::span("x", 1)));
    none = std::move(some);
    CHECK(none.text() == "x");
    CHECK(!some);
    chunk third(std::move(none));
    CHECK(!none);
    CHECK(third.text() == "x");
    auto& self = third;
    third = std::move(self);
    CHECK(third.text() == "x");
}

TEST_CASE("a lent buffer goes back when its chunk dies or is written over") {
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        chunk kept;
        for (const char* letter : {"a", "b", "c"}) {
            co_await both.client.send(letter);
            kept = co_await both.server.receive();
            CHECK(owner.stats().buffers_lent == 1);
            CHECK(kept.text() == letter);
        }
        {
            const chunk moved = std::move(kept);
            CHECK(owner.stats().buffers_lent == 1);
        }
        CHECK(owner.stats().buffers_lent == 0);
    });
}

TEST_CASE("a chunk may lie in the room before a lent buffer, and touches no other") {
    loop owner;
    socket_pair sockets(owner);
    probe receiving(owner);
    receiving.keep_buffers = true;
    receiving.prepare_receive(sockets.first);
    owner.start(receiving);
    for (std::size_t got = 1; got <= 3; ++got) {
        REQUIRE(send_all(owner, sockets.second, "x"));
        REQUIRE(run_until(owner, [&] { return receiving.bytes.size() == got; }));
    }
    owner.cancel(receiving);
    REQUIRE(receiving.run());
    REQUIRE(receiving.kept.size() == 3);
    std::vector<chunk> texts;
    for (char letter = 'a'; const lent_buffer& buffer : receiving.kept) {
        std::byte* const begin = buffer.data - lent_buffer::room_before;
        texts.emplace_back(owner, buffer, std::span(begin, lent_buffer::room_before + 1));
        std::fill_n(begin, lent_buffer::room_before, std::byte(letter++));
    }
    for (char letter = 'a'; const chunk& text : texts) {
        CHECK(text.text() == std::string(lent_buffer::room_before, letter++) + 'x');
    }
    texts.clear();
    CHECK(owner.stats().buffers_lent == 0);
}

TEST_CASE("chunks that are kept while buffers grow scarce become copies, and starve nobody") {
    tell([](loop& owner) -> task<void> {
        stream_pair both = co_await connected_pair(owner);
        std::vector<chunk> kept;
        std::string text;
        for (int round = 0; round < 1500; ++round) {
            const char letter = static_cast<char>('a' + round % 26);
            co_await both.client.send(std::string_view(&letter, 1));
            kept.push_back(co_await both.server.receive());
        }
        CHECK(owner.stats().buffers_lent < 1500);
        for (std::size_t at = 0; at < kept.size(); ++at) {
            CHECK(kept[at].text() == std::string(1, static_cast<char>('a' + at % 26)));
        }
    }, 3);
}

TEST_CASE("blocks of dead chunks serve later ones of any size they hold") {
    detail::fake_random random(seed());
    std::vector<chunk> alive;
    std::vector<char> marks;
    for (int round = 0; round < 3000; ++round) {
        if (alive.size() > 100 || (!alive.empty() && random.chance(50))) {
            const std::size_t at = random.below(static_cast<std::uint32_t>(alive.size()));
            CHECK(alive[at].text() == std::string(alive[at].size(), marks[at]));
            alive.erase(alive.begin() + static_cast<std::ptrdiff_t>(at));
            marks.erase(marks.begin() + static_cast<std::ptrdiff_t>(at));
        } else {
            chunk fresh(std::size_t{1} + random.below(40'000));
            marks.push_back(static_cast<char>('a' + round % 26));
            std::fill_n(fresh.data(), fresh.size(), static_cast<std::byte>(marks.back()));
            alive.push_back(std::move(fresh));
        }
    }
}
