#include "coro/channel.h"

#include "coro/gather.h"
#include "coro/race.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<void> send_numbers(channel<counted>& to, int first, int count) {
    const counted held;
    for (int i = first; i < first + count; ++i) {
        co_await to.send(counted(i));
    }
}

task<void> send_and_close(channel<counted>& to, int count) {
    co_await send_numbers(to, 0, count);
    to.close();
}

task<std::vector<int>> receive_all(channel<counted>& from) {
    const counted held;
    std::vector<int> all;
    for (;;) {
        const std::optional<counted> value = co_await from.receive();
        if (!value) {
            break;
        }
        all.push_back(value->number());
    }
    co_return all;
}

task<int> receive_one(channel<counted>& from) {
    const counted held;
    const std::optional<counted> value = co_await from.receive();
    co_return value ? value->number() : -100;
}

task<void> send_one(channel<counted>& to, int number) {
    const counted held;
    co_await to.send(counted(number));
}

}  // namespace

TEST_SUITE_BEGIN("coro channel");

TEST_CASE("all values arrive once and in order, whatever the capacity") {
    no_leaks check;
    for (const std::size_t capacity : {0, 1, 2, 7, 1000}) {
        channel<counted> values(capacity);
        auto story = [&]() -> task<std::vector<int>> {
            auto both = co_await gather(send_and_close(values, 500), receive_all(values));
            co_return std::move(std::get<1>(both));
        };
        const std::vector<int> all = play(story());
        REQUIRE(all.size() == 500);
        for (int i = 0; i < 500; ++i) {
            CHECK(all[static_cast<std::size_t>(i)] == i);
        }
    }
}

TEST_CASE("several senders and receivers share a channel and lose nothing") {
    no_leaks check;
    for (const std::size_t capacity : {0, 3}) {
        channel<counted> values(capacity);
        auto senders = [](channel<counted>& to) -> task<void> {
            co_await gather(send_numbers(to, 0, 100), send_numbers(to, 100, 50),
                            send_numbers(to, 150, 150));
            to.close();
        };
        auto story = [&]() -> task<int> {
            auto all = co_await gather(senders(values), receive_all(values), receive_all(values));
            int sum = 0;
            for (const auto& part : {std::get<1>(all), std::get<2>(all)}) {
                for (const int number : part) {
                    sum += number;
                }
            }
            co_return sum;
        };
        CHECK(play(story()) == 300 * 299 / 2);
    }
}

TEST_CASE("a full channel holds the sender back until a value is taken") {
    no_leaks check;
    loop on;
    channel<counted> values(1);
    hand_job<void> first(on, send_one(values, 1));
    hand_job<void> second(on, send_one(values, 2));
    first.start();
    second.start();
    CHECK(first.finished());
    CHECK_FALSE(second.finished());
    CHECK(values.size() == 1);
    CHECK(values.try_receive()->number() == 1);
    CHECK(values.size() == 1);  // the waiting value has moved in
    second.finish().get();
    CHECK(values.try_receive()->number() == 2);
    CHECK_FALSE(values.try_receive().has_value());
}

TEST_CASE("with capacity 0 a send waits for its receiver, and the other way round") {
    no_leaks check;
    loop on;
    channel<counted> meeting(0);
    counted value(1);
    CHECK_FALSE(meeting.try_send(std::move(value)));
    CHECK(value.number() == 1);
    hand_job<int> receiver(on, receive_one(meeting));
    receiver.start();
    CHECK(meeting.try_send(std::move(value)));
    CHECK_FALSE(receiver.finished());
    CHECK(receiver.finish().get() == 1);
    hand_job<void> sender(on, send_one(meeting, 2));
    sender.start();
    CHECK_FALSE(sender.finished());
    CHECK(meeting.try_receive()->number() == 2);
    sender.finish().get();
}

TEST_CASE("waiting senders and receivers are served in the order they came") {
    no_leaks check;
    loop on;
    channel<counted> values(0);
    hand_job<int> a(on, receive_one(values));
    hand_job<int> b(on, receive_one(values));
    a.start();
    b.start();
    CHECK(values.try_send(counted(1)));
    CHECK(values.try_send(counted(2)));
    CHECK_FALSE(values.try_send(counted(3)));
    CHECK(b.finish().get() == 2);
    CHECK(a.finish().get() == 1);
    hand_job<void> c(on, send_one(values, 4));
    hand_job<void> d(on, send_one(values, 5));
    c.start();
    d.start();
    CHECK(values.try_receive()->number() == 4);
    CHECK(values.try_receive()->number() == 5);
    c.finish().get();
    d.finish().get();
}

TEST_CASE("a closed channel is drained, then empty; sending into it fails") {
    no_leaks check;
    loop on;
    channel<counted> values(2);
    CHECK(values.try_send(counted(1)));
    values.close();
    values.close();
    CHECK(values.is_closed());
    counted kept(9);
    CHECK_FALSE(values.try_send(std::move(kept)));
    CHECK(kept.number() == 9);
    CHECK(contains(ending_of(send_one(values, 2)), "already closed"));
    CHECK(run(on, receive_one(values)) == 1);
    CHECK(run(on, receive_one(values)) == -100);
    CHECK_FALSE(values.try_receive().has_value());
}

TEST_CASE("closing wakes everybody who waits: receivers with nothing, senders with an error") {
    no_leaks check;
    loop on;
    channel<counted> empty(0);
    hand_job<int> receiver(on, receive_one(empty));
    receiver.start();
    empty.close();
    CHECK(receiver.finish().get() == -100);
    channel<counted> full(1);
    CHECK(full.try_send(counted(1)));
    hand_job<void> sender(on, send_one(full, 2));
    sender.start();
    full.close();
    CHECK(contains(ending(sender.finish()), "already closed"));
    CHECK(full.try_receive()->number() == 1);
    CHECK_FALSE(full.try_receive().has_value());
}

TEST_CASE("a cancelled wait leaves its queue and takes its value along") {
    no_leaks check;
    loop on;
    channel<counted> values(0);
    hand_job<int> given_up(on, receive_one(values));
    hand_job<int> patient(on, receive_one(values));
    given_up.start();
    patient.start();
    given_up.cancel();
    CHECK(values.try_send(counted(1)));
    CHECK(ending(given_up.finish()) == "cancelled");
    CHECK(patient.finish().get() == 1);
    hand_job<void> sender(on, send_one(values, 2));
    hand_job<void> other(on, send_one(values, 3));
    sender.start();
    other.start();
    sender.cancel();
    CHECK(values.try_receive()->number() == 3);
    CHECK(ending(sender.finish()) == "cancelled");
    other.finish().get();
}

TEST_CASE("a value handed over before the cancel is delivered, a value taken counts as sent") {
    no_leaks check;
    loop on;
    channel<counted> values(0);
    hand_job<int> receiver(on, receive_one(values));
    receiver.start();
    CHECK(values.try_send(counted(1)));
    receiver.cancel();
    CHECK(receiver.finish().get() == 1);
    hand_job<void> sender(on, send_one(values, 2));
    sender.start();
    CHECK(values.try_receive()->number() == 2);
    sender.cancel();
    CHECK(ending(sender.finish()) == "value");
}

TEST_CASE("a receive that lost a race leaves its value in the channel") {
    no_leaks check;
    channel<counted> values(4);
    auto story = [&]() -> task<void> {
        const auto result = co_await race(receive_one(values), wait_passes(1));
        CHECK(result.index() == 1);
        co_await values.send(counted(6));
        const int got = co_await receive_one(values);
        CHECK(got == 6);
    };
    play(story());
}

TEST_CASE("values that nobody receives are destroyed with the channel") {
    no_leaks check;
    channel<counted> values(5);
    for (int i = 0; i < 5; ++i) {
        CHECK(values.try_send(counted(i)));
    }
    CHECK_FALSE(values.try_send(counted(5)));
    CHECK(counted::live == 5);
}

TEST_SUITE_END();
