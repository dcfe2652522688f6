#include "net/connection.h"

#include <memory>

#include "tests/net/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

// What one connection was told; outlives it.
struct diary {
    std::string received;
    std::error_code end_code;
    std::error_code send_code;
    int ends = 0;
    int sents = 0;
    int failures = 0;
    bool destroyed = false;
};

class told_connection final : public connection {
public:
    told_connection(ringlet::loop& owner, int fd, diary& notes)
        : connection(owner, fd), notes_(notes) {}

    bool echoes = false;
    bool closes_on_receive = false;
    bool closes_on_end = false;
    bool closes_on_sent = false;

private:
    ~told_connection() override { notes_.destroyed = true; }
    void on_received(chunk bytes) noexcept override {
        notes_.received += bytes.text();
        if (echoes) {
            output() += bytes.text();
            flush();
        }
        if (closes_on_receive) {
            close();
        }
    }
    void on_end(std::error_code code) noexcept override {
        ++notes_.ends;
        notes_.end_code = code;
        if (closes_on_end) {
            close();
        }
    }
    void on_sent() noexcept override {
        ++notes_.sents;
        if (closes_on_sent) {
            close();
        }
    }
    void on_send_failed(std::error_code code) noexcept override {
        ++notes_.failures;
        notes_.send_code = code;
    }

    diary& notes_;
};

// A connection of ours and a stream at its other end.
struct meeting {
    told_connection* ours = nullptr;
    tcp_stream peer;
};

void take(void* context, int fd) noexcept { *static_cast<int*>(context) = fd; }

task<meeting> meet(loop& owner, diary& notes) {
    tcp_listener door(owner, address::loopback_v4(0));
    int fd = -1;
    door.on_accept(&take, &fd);
    meeting made;
    made.peer = co_await connect(owner, only(door.local_address()));
    while (fd < 0) {
        co_await yield_now();
    }
    made.ours = new told_connection(owner, fd, notes);
    co_return made;
}

task<void> until(const bool& flag) {
    while (!flag) {
        co_await yield_now();
    }
}

}  // namespace

TEST_CASE("what is collected during a turn is sent at once at its end") {
    tell([](loop& owner) -> task<void> {
        diary notes;
        meeting both = co_await meet(owner, notes);
        both.ours->output() += "one ";
        both.ours->flush();
        both.ours->output() += "two ";
        both.ours->flush();
        both.ours->output() += "three";
        both.ours->flush();
        CHECK(both.ours->unsent_bytes() == 13);
        CHECK(both.ours->sending());
        std::string got(13, '\0');
        co_await both.peer.read_exactly(std::as_writable_bytes(std::span(got)));
        CHECK(got == "one two three");
        while (notes.sents == 0) {
            co_await yield_now();
        }
        CHECK(notes.sents == 1);
        CHECK(!both.ours->sending());
        CHECK(both.ours->unsent_bytes() == 0);
        both.ours->close();
        co_await until(notes.destroyed);
        CHECK(notes.ends == 0);
    });
}

TEST_CASE("output added while a send is in flight follows it, and on_sent comes after all of it") {
    tell([](loop& owner) -> task<void> {
        diary notes;
        meeting both = co_await meet(owner, notes);
        const std::string large(20'000'000, 'l');
        both.ours->output() += large;
        both.ours->flush();
        co_await pass_time(std::chrono::milliseconds(2));
        CHECK(notes.sents == 0);
        both.ours->output() += "tail";
        both.ours->flush();
        std::string got(large.size() + 4, '\0');
        co_await both.peer.read_exactly(std::as_writable_bytes(std::span(got)));
        CHECK(got == large + "tail");
        while (notes.sents == 0) {
            co_await yield_now();
        }
        CHECK(notes.sents == 1);
        both.ours->close();
        co_await until(notes.destroyed);
    }, 4);
}

TEST_CASE("a paused connection gets no more, and everything once it goes on") {
    tell([](loop& owner) -> task<void> {
        diary notes;
        meeting both = co_await meet(owner, notes);
        both.ours->start_receiving();
        co_await both.peer.send("one");
        while (notes.received.size() < 3) {
            co_await yield_now();
        }
        both.ours->pause_receiving();
        CHECK(!both.ours->receiving());
        co_await pass_time(std::chrono::milliseconds(2));
        co_await both.peer.send("two");
        co_await pass_time(std::chrono::milliseconds(5));
        CHECK(notes.received == "one");
        both.ours->start_receiving();
        both.ours->pause_receiving();
        both.ours->start_receiving();  // while the cancel is under way
        both.peer.shutdown_send();
        while (notes.ends == 0) {
            co_await yield_now();
        }
        CHECK(notes.received == "onetwo");
        CHECK(!notes.end_code);
        both.ours->start_receiving();
        CHECK(!both.ours->receiving());
        both.ours->close();
        co_await until(notes.destroyed);
        CHECK(notes.ends == 1);
    });
}

TEST_CASE("a connection may close itself in every callback") {
    tell([](loop& owner) -> task<void> {
        for (int which = 0; which < 3; ++which) {
            CAPTURE(which);
            diary notes;
            meeting both = co_await meet(owner, notes);
            both.ours->closes_on_receive = which == 0;
            both.ours->closes_on_sent = which == 1;
            both.ours->closes_on_end = which == 2;
            both.ours->echoes = true;
            both.ours->start_receiving();
            // The send may fail: a part of it is enough for the first one to close.
            (void)co_await failure_of(
                [](tcp_stream& to) -> task<void> { co_await to.send("ping"); }(both.peer));
            if (which == 2) {
                both.peer.shutdown_send();
            }
            co_await until(notes.destroyed);
            CHECK(!notes.received.empty());
        }
    });
}

TEST_CASE("closing with a send in flight frees its memory only after the kernel let go") {
    tell([](loop& owner) -> task<void> {
        diary notes;
        meeting both = co_await meet(owner, notes);
        both.ours->output().append(20'000'000, 'z');
        both.ours->flush();
        both.ours->start_receiving();
        co_await pass_time(std::chrono::milliseconds(5));
        CHECK(notes.sents == 0);
        both.ours->close();
        both.ours->close();
        CHECK(both.ours->closed());
        CHECK(!notes.destroyed);  // never inside the call
        co_await until(notes.destroyed);
        CHECK(notes.sents == 0);
        CHECK(notes.failures == 0);
        const std::error_code end = co_await failure_of(
            [](tcp_stream& from) -> task<void> { (void)co_await read_all(from); }(both.peer));
        CHECK((!end || end == std::errc::connection_reset));
    }, 4);
}

TEST_CASE("closing in the same turn as a flush sends nothing and frees all") {
    tell([](loop& owner) -> task<void> {
        diary notes;
        meeting both = co_await meet(owner, notes);
        both.ours->output() += "never sent";
        both.ours->flush();
        both.ours->close();
        co_await until(notes.destroyed);
        const std::string got = co_await read_all(both.peer);
        CHECK(got.empty());
    });
}

TEST_CASE("a cancelled send is told as such, and later output has no trace of it") {
    tell([](loop& owner) -> task<void> {
        diary notes;
        meeting both = co_await meet(owner, notes);
        both.ours->output().append(20'000'000, 'c');
        both.ours->flush();
        co_await pass_time(std::chrono::milliseconds(5));
        CHECK(notes.sents == 0);
        both.ours->cancel_send();
        while (notes.failures == 0) {
            co_await yield_now();
        }
        CHECK(notes.send_code == std::errc::operation_canceled);
        for (int round = 0; round < 2; ++round) {
            both.ours->output() += round == 0 ? "END" : "LAST";
            both.ours->flush();
            const int before = notes.sents;
            std::string last(1, '\0');
            while (last != (round == 0 ? "D" : "T")) {
                const chunk next = co_await both.peer.receive();
                last = next.text().back();
            }
            while (notes.sents == before) {
                co_await yield_now();
            }
        }
        both.ours->close();
        const std::string rest = co_await read_all(both.peer);
        CHECK(rest.empty());
        co_await until(notes.destroyed);
    }, 4);
}

TEST_CASE("an abort resets, a peer's reset is an end with its cause") {
    tell([](loop& owner) -> task<void> {
        diary notes;
        meeting both = co_await meet(owner, notes);
        both.ours->start_receiving();
        both.peer.abort();
        while (notes.ends == 0) {
            co_await yield_now();
        }
        CHECK(notes.end_code == std::errc::connection_reset);
        both.ours->close();
        co_await until(notes.destroyed);

        diary second;
        meeting other = co_await meet(owner, second);
        other.ours->start_receiving();
        other.ours->abort();
        co_await until(second.destroyed);
        CHECK(second.ends == 0);
        const std::error_code code = co_await failure_of(
            [](tcp_stream& from) -> task<void> { (void)co_await from.receive(); }(other.peer));
        CHECK(code == std::errc::connection_reset);
    });
}

TEST_CASE("the loop may end right after a close, with operations in flight") {
    for (int round = 0; round < 10; ++round) {
        const int before = open_descriptors();
        diary notes;
        {
            loop owner(options_with_seed(seed() + static_cast<std::uint64_t>(round)));
            run(owner, [](loop& on, diary& into, int turns) -> task<void> {
                meeting both = co_await meet(on, into);
                both.ours->start_receiving();
                both.ours->output().append(10'000'000, 'x');
                both.ours->flush();
                for (int turn = 0; turn < turns; ++turn) {
                    co_await yield_now();
                }
                both.ours->close();
            }(owner, notes, round));
        }
        CHECK(notes.destroyed);
        CHECK(open_descriptors() == before);
    }
}
