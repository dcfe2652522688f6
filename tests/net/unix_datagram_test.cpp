#include "net/unix_datagram.h"

#include <fcntl.h>

#include "net/pipe.h"
#include "tests/net/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

std::span<std::byte> room_in(std::string& text) { return std::as_writable_bytes(std::span(text)); }
std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

unix_address fresh_address() {
    static int count = 0;
    return unix_address::abstract("ringlet-datagram-" + std::to_string(::getpid()) + '-' +
                                  std::to_string(++count));
}

task<void> send_many(unix_datagram_socket& from, unix_address to, int count) {
    for (int i = 0; i < count; ++i) {
        const std::string text = std::to_string(i) + std::string(2000, ' ');
        co_await from.send_to(bytes_of(text), to);
    }
}

task<void> send_many_connected(unix_datagram_socket& from, int count) {
    for (int i = 0; i < count; ++i) {
        const std::string text = std::to_string(i) + std::string(2000, ' ');
        co_await from.send(bytes_of(text));
    }
}

}  // namespace

TEST_CASE("messages come whole with their sender, and can be answered") {
    tell([](loop& owner) -> task<void> {
        unix_datagram_socket server(owner, fresh_address());
        unix_datagram_socket client(owner, fresh_address());
        co_await client.connect(server.local_address());
        co_await client.send(bytes_of("question"));
        std::string room(100, '\0');
        const unix_message asked = co_await server.receive(room_in(room));
        CHECK(room.substr(0, asked.bytes) == "question");
        CHECK(asked.sender == client.local_address());
        co_await server.send_to(bytes_of("answer"), asked.sender);
        const unix_message answered = co_await client.receive(room_in(room));
        CHECK(room.substr(0, answered.bytes) == "answer");
        unix_datagram_socket nameless(owner);
        co_await nameless.send_to(bytes_of("from nobody"), server.local_address());
        std::string small(4, '\0');
        const unix_message cut = co_await server.receive(room_in(small));
        CHECK(cut.sender.is_unnamed());
        CHECK(cut.truncated);
        CHECK(small == "from");
    });
}

TEST_CASE("a full queue makes the sender wait, and nothing is dropped") {
    tell([](loop& owner) -> task<void> {
        unix_datagram_socket server(owner, fresh_address());
        unix_datagram_socket client(owner);
        constexpr int count = 500;
        scope sender(owner);
        sender.spawn(send_many(client, server.local_address(), count));
        std::string room(3000, '\0');
        for (int i = 0; i < count; ++i) {
            const unix_message found = co_await server.receive(room_in(room));
            CHECK(found.bytes > 2000);
            CHECK(std::stoi(room) == i);
        }
        co_await sender.join();
    }, 4);
}

TEST_CASE("a connected sender waits for a full queue, too, and its messages stay whole") {
    tell([](loop& owner) -> task<void> {
        unix_datagram_socket server(owner, fresh_address());
        unix_datagram_socket client(owner);
        co_await client.connect(server.local_address());
        constexpr int count = 500;
        scope sender(owner);
        sender.spawn(send_many_connected(client, count));
        std::string room(3000, '\0');
        int wrong = 0;
        for (int i = 0; i < count; ++i) {
            if (i % 50 == 0) {
                co_await sleep_for(std::chrono::milliseconds(1));
            }
            const unix_message found = co_await server.receive(room_in(room));
            wrong += found.bytes != 2000 + std::to_string(i).size() || std::stoi(room) != i ? 1 : 0;
        }
        CHECK(wrong == 0);
        co_await sender.join();
    }, 4);
}

TEST_CASE("what is queued arrives in order, also where the receiver is slow") {
    tell([](loop& owner) -> task<void> {
        unix_datagram_socket server(owner, fresh_address());
        unix_datagram_socket client(owner);
        co_await client.connect(server.local_address());
        constexpr int count = 300;
        for (int i = 0; i < count; ++i) {
            client.queue(bytes_of(std::to_string(i) + ' '));
        }
        std::string room(100, '\0');
        int wrong = 0;
        for (int i = 0; i < count; ++i) {
            if (i % 20 == 0) {
                co_await sleep_for(std::chrono::milliseconds(1));  // its queue is full by then
            }
            const unix_message found = co_await server.receive(room_in(room));
            wrong += room.substr(0, found.bytes) != std::to_string(i) + ' ' ? 1 : 0;
        }
        CHECK(wrong == 0);
        co_await client.flush();
    }, 4);
}

TEST_CASE("sending where nobody is, is an error") {
    tell([](loop& owner) -> task<void> {
        unix_datagram_socket client(owner);
        const std::error_code code =
            co_await failure_of(client.send_to(bytes_of("x"), fresh_address()));
        CHECK(code == std::errc::connection_refused);
        const unix_address taken = fresh_address();
        unix_datagram_socket first(owner, taken);
        std::string said;
        try {
            unix_datagram_socket second(owner, taken);
        } catch (const error& failure) {
            said = failure.what();
        }
        CHECK(said.find(taken.text()) != std::string::npos);
    });
}

TEST_CASE("descriptors travel with messages") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        unix_datagram_socket server(owner, fresh_address());
        unix_datagram_socket client(owner);
        pipe_pair way = make_pipe(owner);
        const int sent[] = {way.reader.descriptor()};
        co_await client.send_to(bytes_of("x"), server.local_address(), sent);
        std::string room(10, '\0');
        unix_message found = co_await server.receive(room_in(room));
        REQUIRE(found.descriptors.size() == 1);
        CHECK((::fcntl(found.descriptors[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
        co_await way.writer.write("hello");
        way.writer.close();
        pipe_reader reader(owner, found.descriptors[0].release());
        const std::string got = co_await reader.read_all(10);
        CHECK(got == "hello");
    });
}
