#include "net/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "net/directory.h"
#include "tests/net/stories.h"
#include "tests/support/folder.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

constexpr open_flags read_and_write =
    open_flags::read | open_flags::write | open_flags::create;

std::span<std::byte> room_in(std::string& text) { return std::as_writable_bytes(std::span(text)); }
std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

task<std::string> what_open_says(loop& owner, std::string path, open_flags how) {
    try {
        (void)co_await file::open(owner, std::move(path), how);
    } catch (const error& failure) {
        co_return failure.what();
    }
    co_return std::string();
}

task<void> write_piece(file& to, std::uint64_t at, std::string_view piece) {
    co_await to.write_at(at, bytes_of(piece));
}

}  // namespace

TEST_CASE("what is written at a place is read there again, also by many at once") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        detail::fake_random random(seed());
        const std::string text = random_text(random, 3'000'001);
        file both = co_await file::open(owner, here.path("text"), read_and_write);
        scope writers(owner);
        for (std::size_t at = 0; at < text.size(); at += 300'000) {
            writers.spawn(write_piece(both, at, std::string_view(text).substr(at, 300'000)));
        }
        co_await writers.join();
        co_await both.sync();
        co_await both.sync_data();
        std::string got(text.size() + 10, '\0');
        const std::size_t bytes = co_await both.read_at(0, room_in(got));
        CHECK(bytes == text.size());
        got.resize(bytes);
        CHECK(got == text);
        std::string middle(1000, '\0');
        CHECK(co_await both.read_at(1'500'000, room_in(middle)) == 1000);
        CHECK(middle == text.substr(1'500'000, 1000));
        for (const std::uint64_t nowhere : {UINT64_MAX, UINT64_MAX - 1}) {
            const std::error_code read =
                co_await failure_of(both.read_at(nowhere, room_in(middle)));
            CHECK(read == std::errc::invalid_argument);
            const std::error_code written =
                co_await failure_of(both.write_at(nowhere, bytes_of("x")));
            CHECK(written == std::errc::invalid_argument);
        }
        CHECK(co_await both.read_at(4'000'000, room_in(middle)) == 0);
        CHECK(co_await both.read_at(0, {}) == 0);
        co_await both.close();
        CHECK(!both);
    }, 3);
}

TEST_CASE("reads and writes at the file's own position follow each other") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        file both = co_await file::open(owner, here.path("text"), read_and_write);
        co_await both.write("one ");
        co_await both.write("two ");
        CHECK(both.position() == 8);
        both.seek(4);
        std::string got(3, '\0');
        CHECK(co_await both.read(room_in(got)) == 3);
        CHECK(got == "two");
        co_await both.truncate(5);
        const file_status now = co_await both.status();
        CHECK(now.size == 5);
        both.seek(0);
        const std::string all = co_await both.read_all(5);
        CHECK(all == "one t");
        both.seek(1);
        const std::error_code code = co_await failure_of(both.read_all(3));
        CHECK(code == errc::limit_exceeded);

        file end = co_await file::open(owner, here.path("text"),
                                       open_flags::write | open_flags::append);
        co_await end.write("!");
        const std::string after = co_await read_file(owner, here.path("text"), 100);
        CHECK(after == "one t!");
        const std::string unlimited = co_await read_file(owner, here.path("text"), SIZE_MAX);
        CHECK(unlimited == "one t!");
    }, 3);
}

TEST_CASE("the ways of opening do what they say, and senseless ones are refused in words") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string path = here.path("text");
        using f = open_flags;
        const std::string missing = co_await what_open_says(owner, path, f::read);
        CHECK(missing.find(path) != std::string::npos);
        CHECK(missing.find("No such file") != std::string::npos);
        const std::string made = co_await what_open_says(owner, path, f::write | f::create);
        CHECK(made.empty());
        const std::string again =
            co_await what_open_says(owner, path, f::write | f::create | f::exclusive);
        CHECK(again.find("exists") != std::string::npos);
        for (const open_flags senseless :
             {f::create, f::read | f::truncate, f::read | f::append, f::read | f::exclusive}) {
            const std::string refused = co_await what_open_says(owner, path, senseless);
            CHECK(refused.find("for") != std::string::npos);
        }
        REQUIRE(::symlink(path.c_str(), here.path("link").c_str()) == 0);
        const std::string followed =
            co_await what_open_says(owner, here.path("link"), f::read | f::no_follow);
        CHECK(!followed.empty());
        file kept = co_await file::open(owner, path, f::write);
        co_await kept.write("text");
        file emptied = co_await file::open(owner, path, open_to_replace);
        const file_status now = co_await emptied.status();
        CHECK(now.size == 0);
        CHECK((::fcntl(kept.descriptor(), F_GETFD) & FD_CLOEXEC) != 0);
        std::string room(1, '\0');
        const std::error_code code = co_await failure_of(emptied.read(room_in(room)));
        CHECK(code == std::errc::bad_file_descriptor);
    }, 3);
}

TEST_CASE("a FIFO where a file was expected keeps nobody waiting") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        co_await make_fifo(owner, here.path("fifo"), 0600);
        for (const open_flags how : {open_flags::read, open_flags::read | open_flags::write}) {
            const std::error_code code =
                co_await failure_of(file::open(owner, here.path("fifo"), how));
            CHECK(code == std::errc::invalid_seek);
        }
        std::string room(1, '\0');
        file null = co_await file::open(owner, "/dev/null", read_and_write);
        CHECK(co_await null.read(room_in(room)) == 0);
        const std::string process = co_await read_file(owner, "/proc/self/status", 100'000);
        CHECK(process.find("Pid:") != std::string::npos);
    }, 3);
}

TEST_CASE("a job that is cancelled reads no more, and what had begun has ended") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        file both = co_await file::open(owner, here.path("text"), read_and_write);
        co_await both.truncate(200'000'000);
        std::string got(200'000'000, '\0');
        const std::error_code code = co_await failure_of(
            with_timeout_task(std::chrono::milliseconds(1), both.read_at(0, room_in(got))));
        CHECK((!code || code == errc::timed_out));
        CHECK(co_await both.read_at(0, room_in(got).first(10)) == 10);
    }, 2);
}

TEST_CASE("many reads cancelled at random moments leave a file that works") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        detail::fake_random random(seed());
        file both = co_await file::open(owner, here.path("text"), read_and_write);
        const std::string text = random_text(random, 100'000);
        co_await both.write(text);
        std::vector<std::string> rooms(20, std::string(text.size(), '\0'));
        for (int round = 0; round < 5; ++round) {
            scope readers(owner);
            for (std::string& each : rooms) {
                readers.spawn([](file& from, std::string& into) -> task<void> {
                    (void)co_await from.read_at(0, std::as_writable_bytes(std::span(into)));
                }(both, each));
            }
            for (auto turns = random.below(3); turns > 0; --turns) {
                co_await yield_now();
            }
            readers.cancel();
            try {
                co_await readers.join();
            } catch (const cancelled&) {
            }
        }
        both.seek(0);
        CHECK(co_await both.read_all(text.size()) == text);
    }, 3);
}

TEST_CASE("closing a file is awaited, and a closed one says so") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        file both = co_await file::open(owner, here.path("text"), read_and_write);
        const int fd = both.descriptor();
        co_await both.close();
        CHECK(::fcntl(fd, F_GETFD) == -1);
        co_await both.close();
        const std::error_code code = co_await failure_of(both.write("x"));
        CHECK(code == errc::closed);
        // A close in a job that is cancelled is done all the same.
        file other = co_await file::open(owner, here.path("text"));
        const int second = other.descriptor();
        scope closing(owner);
        closing.spawn([](file& which) -> task<void> {
            co_await sleep_for(std::chrono::hours(1));
            co_await which.close();
        }(other));
        closing.spawn([](file& which) -> task<void> {
            try {
                co_await sleep_for(std::chrono::hours(1));
            } catch (const cancelled&) {
            }
            co_await which.close();
        }(other));
        closing.cancel();
        const std::error_code cut = co_await failure_of([](scope& all) -> task<void> {
            co_await all.join();
        }(closing));
        CHECK((!cut || is_cancelled(cut)));
        CHECK(::fcntl(second, F_GETFD) == -1);
    }, 3);
}

TEST_CASE("a full disk is an error, not a loss") {
    tell([](loop& owner) -> task<void> {
        file full = co_await file::open(owner, "/dev/full", open_flags::write);
        const std::error_code code = co_await failure_of(full.write("x"));
        CHECK(code == std::errc::no_space_on_device);
    }, 2);
}

TEST_CASE("a status tells kind, size, permissions and time") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        file made = co_await file::open(owner, here.path("text"),
                                        open_flags::write | open_flags::create, 0640);
        co_await made.write("12345");
        const file_status now = co_await made.status();
        CHECK(now.kind == file_kind::regular);
        CHECK(now.size == 5);
        CHECK((now.permissions & 0137) == 0);
        CHECK(now.links == 1);
        CHECK(now.owner == ::geteuid());
        const auto age = std::chrono::system_clock::now() - now.modified;
        CHECK(age < std::chrono::minutes(5));
        CHECK(age > std::chrono::minutes(-5));
        struct stat plain = {};
        REQUIRE(::fstat(made.descriptor(), &plain) == 0);
        CHECK(plain.st_ino == now.inode);
        CHECK(plain.st_dev == now.device);
    }, 2);
}
