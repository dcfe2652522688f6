#include "net/unix_socket.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "net/pipe.h"
#include "tests/net/stories.h"
#include "tests/support/folder.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

std::span<std::byte> room_in(std::string& text) { return std::as_writable_bytes(std::span(text)); }
std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

struct pair_through {
    unix_stream client;
    unix_stream server;
};

task<pair_through> connected(loop& owner, const unix_address& where) {
    unix_listener door(owner, where);
    pair_through made;
    made.client = co_await connect(owner, where);
    made.server = co_await door.accept();
    co_return made;
}

// An address of its own for every story; the fake kernel's are in memory.
unix_address fresh_address() {
    static int count = 0;
    return unix_address::abstract("ringlet-test-" + std::to_string(::getpid()) + '-' +
                                  std::to_string(++count));
}

task<void> send_and_end(unix_stream& to, std::string_view text) {
    co_await to.send(text);
    to.shutdown_send();
}

task<std::string> everything(unix_stream& from) {
    std::string text;
    while (const chunk bytes = co_await from.receive()) {
        text += bytes.text();
    }
    co_return text;
}

std::string what_is_thrown(loop& owner, const unix_address& where,
                           const unix_listen_options& options = {}) {
    try {
        unix_listener door(owner, where, options);
    } catch (const error& failure) {
        return failure.what();
    }
    return {};
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

}  // namespace

TEST_CASE("bytes go both ways between unix streams, and the end is seen") {
    tell([](loop& owner) -> task<void> {
        pair_through both = co_await connected(owner, fresh_address());
        detail::fake_random random(seed());
        const std::string text = random_text(random, 400'000);
        scope parts(owner);
        parts.spawn(send_and_end(both.client, text));
        const std::string got = co_await everything(both.server);
        CHECK(got == text);
        co_await parts.join();
        co_await both.server.send("back");
        both.server.close();
        const std::string back = co_await everything(both.client);
        CHECK(back == "back");
    }, 6);
}

TEST_CASE("addresses of both ends are what was bound, and clients have none") {
    tell([](loop& owner) -> task<void> {
        const unix_address where = fresh_address();
        const pair_through both = co_await connected(owner, where);
        CHECK(both.server.local_address() == where);
        CHECK(both.client.peer_address() == where);
        CHECK(both.client.local_address().is_unnamed());
        CHECK(both.server.peer_address().is_unnamed());
    }, 3);
}

TEST_CASE("connecting where nobody listens is refused, and to a full queue it waits") {
    tell([](loop& owner) -> task<void> {
        const unix_address where = fresh_address();
        const std::error_code nobody = co_await failure_of(connect(owner, where));
        CHECK(nobody == std::errc::connection_refused);
        unix_listen_options narrow;
        narrow.backlog = 1;
        unix_listener door(owner, where, narrow);
        std::vector<unix_stream> waiting;
        std::error_code code;
        for (int tries = 0; tries < 10 && !code; ++tries) {
            try {
                waiting.push_back(co_await with_timeout_task(std::chrono::milliseconds(30),
                                                             connect(owner, where)));
            } catch (const error& failure) {
                code = failure.code();
            }
        }
        CHECK(code == errc::timed_out);
        CHECK(!waiting.empty());
        unix_stream late;
        scope parts(owner);
        parts.spawn([](loop& on, unix_address to, unix_stream& made) -> task<void> {
            made = co_await connect(on, to);
        }(owner, where, late));
        while (!late) {
            (void)co_await door.accept();
            co_await pass_time(std::chrono::milliseconds(10));
        }
        co_await parts.join();
    }, 4);
}

TEST_CASE("the kernel says who the peer is") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        const unix_stream_pair both = make_unix_pair(owner);
        const peer_credentials who = both.first.credentials();
        CHECK(who.process == ::getpid());
        CHECK(who.user == ::geteuid());
        CHECK(who.group == ::getegid());
        co_return;
    });
}

TEST_CASE("a stale path is replaced on request only, and one in use never") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string path = here.path("socket");
        const unix_address where = unix_address::at_path(path);
        unix_listen_options replacing;
        replacing.replace_stale = true;
        {
            unix_listener first(owner, where);
            CHECK(what_is_thrown(owner, where, replacing).find(path) != std::string::npos);
            const unix_stream still = co_await connect(owner, where);
        }
        co_await pass_time();
        CHECK(exists(path));
        CHECK(what_is_thrown(owner, where).find("in use") != std::string::npos);
        unix_listener second(owner, where, replacing);
        const unix_stream client = co_await connect(owner, where);
        const unix_stream served = co_await second.accept();

        const std::string plain = here.path("file");
        ::close(::open(plain.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        CHECK(!what_is_thrown(owner, unix_address::at_path(plain), replacing).empty());
        CHECK(exists(plain));
    });
}

TEST_CASE("a path is removed at the end when asked, unless it is somebody else's by then") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string path = here.path("socket");
        const unix_address where = unix_address::at_path(path);
        unix_listen_options tidy;
        tidy.remove_on_close = true;
        tidy.permissions = 0622;
        {
            unix_listener door(owner, where, tidy);
            struct stat made = {};
            REQUIRE(::stat(path.c_str(), &made) == 0);
            CHECK((made.st_mode & 0777) == 0622);
            unix_listener moved = std::move(door);
            CHECK(exists(path));
        }
        CHECK(!exists(path));
        {
            unix_listener door(owner, where, tidy);
            REQUIRE(::unlink(path.c_str()) == 0);
            ::close(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        }
        CHECK(exists(path));
        co_return;
    });
}

TEST_CASE("descriptors travel with bytes, close-on-exec, and work on the other side") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        unix_stream_pair both = make_unix_pair(owner);
        pipe_pair way = make_pipe(owner);
        const int sent[] = {way.writer.descriptor(), way.reader.descriptor()};
        co_await both.first.send_with_descriptors(bytes_of("two"), sent);
        std::string room(10, '\0');
        received_message found = co_await both.second.receive_with_descriptors(room_in(room));
        CHECK(found.bytes == 3);
        CHECK(!found.descriptors_lost);
        REQUIRE(found.descriptors.size() == 2);
        for (const owned_descriptor& each : found.descriptors) {
            CHECK((::fcntl(each.get(), F_GETFD) & FD_CLOEXEC) != 0);
        }
        way.writer.close();
        pipe_writer writer(owner, found.descriptors[0].release());
        co_await writer.write("through");
        writer.close();
        const std::string got = co_await way.reader.read_all(100);
        CHECK(got == "through");
        // The second one is closed with the message; the story checks that nothing is left.
        co_await both.first.send("plain");
        found = co_await both.second.receive_with_descriptors(room_in(room));
        CHECK(found.bytes == 5);
        CHECK(found.descriptors.empty());
        both.first.close();
        found = co_await both.second.receive_with_descriptors(room_in(room));
        CHECK(found.bytes == 0);
    });
}

TEST_CASE("as many descriptors as the kernel takes go at once, and more are refused in words") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        unix_stream_pair both = make_unix_pair(owner);
        pipe_pair way = make_pipe(owner);
        std::vector<int> many(descriptors_per_message_max, way.reader.descriptor());
        co_await both.first.send_with_descriptors(bytes_of("x"), many);
        std::string room(10, '\0');
        {
            const received_message all =
                co_await both.second.receive_with_descriptors(room_in(room));
            CHECK(all.descriptors.size() == descriptors_per_message_max);
        }
        many.push_back(many.front());
        const std::error_code more =
            co_await failure_of(both.first.send_with_descriptors(bytes_of("x"), many));
        CHECK(more == errc::limit_exceeded);
        const std::error_code none = co_await failure_of(
            both.first.send_with_descriptors({}, std::span(many).first(1)));
        CHECK(none == std::errc::invalid_argument);
        const int closed[] = {-1};
        const std::error_code bad =
            co_await failure_of(both.first.send_with_descriptors(bytes_of("x"), closed));
        CHECK(bad == std::errc::bad_file_descriptor);
        // What nobody takes is closed by whoever receives it otherwise.
        co_await both.first.send_with_descriptors(bytes_of("y"), std::span(many).first(5));
        const chunk plain = co_await both.second.receive();
        CHECK(plain.text() == "y");
    });
}

TEST_CASE("descriptors for which there is no room are lost, and that is told") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        unix_stream_pair both = make_unix_pair(owner);
        pipe_pair way = make_pipe(owner);
        const std::vector<int> many(20, way.reader.descriptor());
        co_await both.first.send_with_descriptors(bytes_of("x"), many);
        rlimit before = {};
        ::getrlimit(RLIMIT_NOFILE, &before);
        const rlimit tight{static_cast<rlim_t>(::dup(0) + 4), before.rlim_max};
        ::close(static_cast<int>(tight.rlim_cur) - 4);
        ::setrlimit(RLIMIT_NOFILE, &tight);
        std::string room(10, '\0');
        const received_message found =
            co_await both.second.receive_with_descriptors(room_in(room));
        ::setrlimit(RLIMIT_NOFILE, &before);
        CHECK(found.bytes == 1);
        CHECK(found.descriptors_lost);
        CHECK(found.descriptors.size() < 20);
    });
}

TEST_CASE("a cancelled wait for descriptors loses none") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        unix_stream_pair both = make_unix_pair(owner);
        std::string room(10, '\0');
        const std::error_code code = co_await failure_of(with_timeout_task(
            std::chrono::milliseconds(5), both.second.receive_with_descriptors(room_in(room))));
        CHECK(code == errc::timed_out);
        const int sent[] = {0};
        co_await both.first.send_with_descriptors(bytes_of("x"), sent);
        const received_message found =
            co_await both.second.receive_with_descriptors(room_in(room));
        CHECK(found.descriptors.size() == 1);
    });
}
