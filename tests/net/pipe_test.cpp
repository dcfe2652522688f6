#include "net/pipe.h"

#include <sys/ioctl.h>
#include <sys/stat.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "tests/net/stories.h"
#include "tests/support/folder.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<void> write_and_close(pipe_writer& to, std::string_view text) {
    co_await to.write(text);
    to.close();
}

task<std::size_t> read_some_of(pipe_reader& from, std::span<std::byte> into) {
    co_return co_await from.read_some(into);
}

task<void> read_all_of(pipe_reader& from, std::string& into) {
    into = co_await from.read_all(10'000'000);
}

bool is_blocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

std::span<std::byte> bytes_of(std::string& text) {
    return std::as_writable_bytes(std::span(text));
}

}  // namespace

TEST_CASE("bytes go through a pipe whole and in order, and its end is seen") {
    tell([](loop& owner) -> task<void> {
        detail::fake_random random(seed());
        pipe_pair ends = make_pipe(owner);
        const std::string text = random_text(random, 1'000'003);
        std::string got;
        scope parts(owner);
        parts.spawn(read_all_of(ends.reader, got));
        parts.spawn(write_and_close(ends.writer, text));
        co_await parts.join();
        CHECK(got == text);
        std::byte more;
        const std::size_t none = co_await ends.reader.read_some(std::span(&more, 1));
        CHECK(none == 0);
    }, 6);
}

TEST_CASE("a read that is cancelled loses nothing, and the pipe can be used on") {
    tell([](loop& owner) -> task<void> {
        pipe_pair ends = make_pipe(owner);
        std::string into(100, '\0');
        for (int round = 0; round < 5; ++round) {
            const std::error_code code = co_await failure_of(with_timeout_task(
                std::chrono::milliseconds(round), read_some_of(ends.reader, bytes_of(into))));
            CHECK(code == errc::timed_out);
        }
        co_await ends.writer.write("still here");
        std::string got;
        while (got.size() < 10) {
            const std::size_t bytes = co_await ends.reader.read_some(bytes_of(into));
            got.append(into, 0, bytes);
        }
        CHECK(got == "still here");
    });
}

TEST_CASE("a write waits for room, can be cancelled then, and goes on when there is some") {
    tell([](loop& owner) -> task<void> {
        pipe_pair ends = make_pipe(owner);
        const std::string text(200'000, 'x');
        const std::error_code code = co_await failure_of(
            with_timeout_task(std::chrono::milliseconds(20), ends.writer.write(text)));
        CHECK(code == errc::timed_out);
        int waiting = 0;
        REQUIRE(::ioctl(ends.reader.descriptor(), FIONREAD, &waiting) == 0);
        CHECK(waiting > 0);
        std::string into(text.size(), '\0');
        std::size_t got = 0;
        while (got < static_cast<std::size_t>(waiting)) {
            got += co_await ends.reader.read_some(bytes_of(into));
        }
        CHECK(got == static_cast<std::size_t>(waiting));
        co_await ends.writer.wait_writable();
        co_await ends.writer.write("more");
        const std::size_t more = co_await ends.reader.read_some(bytes_of(into));
        CHECK(more > 0);
    });
}

TEST_CASE("writing to a pipe that nobody reads is an error and no signal") {
    tell([](loop& owner) -> task<void> {
        pipe_pair ends = make_pipe(owner);
        ends.reader.close();
        const std::error_code code = co_await failure_of(ends.writer.write("into the void"));
        CHECK(code == std::errc::broken_pipe);

        pipe_pair later = make_pipe(owner);
        const std::string text(1'000'000, 'x');
        std::error_code cut;
        scope parts(owner);
        parts.spawn([](pipe_writer& to, std::string_view all, std::error_code& into) -> task<void> {
            into = co_await failure_of(to.write(all));
        }(later.writer, text, cut));
        co_await pass_time();
        later.reader.close();
        co_await parts.join();
        CHECK(cut == std::errc::broken_pipe);
    });
}

TEST_CASE("a limit on what is read to the end is kept to the byte") {
    tell([](loop& owner) -> task<void> {
        for (const std::size_t limit : {std::size_t{0}, std::size_t{9}, std::size_t{10}}) {
            pipe_pair ends = make_pipe(owner);
            co_await ends.writer.write("0123456789");
            ends.writer.close();
            const std::error_code code = co_await failure_of(ends.reader.read_all(limit));
            CHECK((limit < 10 ? code == errc::limit_exceeded : !code));
        }
        pipe_pair ends = make_pipe(owner);
        co_await ends.writer.write("0123456789");
        ends.writer.close();
        const std::string all = co_await ends.reader.read_all(SIZE_MAX);  // that is: no limit
        CHECK(all == "0123456789");
    });
}

TEST_CASE("a descriptor taken over keeps its O_NONBLOCK, whichever it has") {
    tell([](loop& owner) -> task<void> {
        for (const int flags : {0, O_NONBLOCK}) {
            int ends[2];
            REQUIRE(::pipe2(ends, O_CLOEXEC | flags) == 0);
            pipe_reader reader(owner, ends[0]);
            pipe_writer writer(owner, ends[1]);
            const std::string text(300'000, 'y');
            std::string got;
            scope parts(owner);
            parts.spawn(read_all_of(reader, got));
            co_await pass_time();
            parts.spawn(write_and_close(writer, text));
            co_await parts.join();
            CHECK(got == text);
            CHECK(is_blocking(ends[0]) == (flags == 0));
        }
    }, 4);
}

TEST_CASE("an end given away is blocking, and the loop has let go of it") {
    tell([](loop& owner) -> task<void> {
        pipe_pair ends = make_pipe(owner);
        CHECK(!is_blocking(ends.reader.descriptor()));
        std::string into(10, '\0');
        co_await ends.writer.write("ab");
        std::size_t got = 0;
        while (got < 2) {
            got += co_await ends.reader.read_some(bytes_of(into));
        }
        const int given = ends.reader.release();
        CHECK(!ends.reader);
        CHECK(is_blocking(given));
        co_await ends.writer.write("cd");
        CHECK(::read(given, into.data(), 10) == 2);
        ::close(given);
        // The number is used again, and works from the beginning.
        pipe_pair again = make_pipe(owner);
        co_await again.writer.write("e");
        const std::size_t one = co_await again.reader.read_some(bytes_of(into));
        CHECK(one == 1);
    });
}

TEST_CASE("a closed end says so") {
    tell([](loop& owner) -> task<void> {
        pipe_pair ends = make_pipe(owner);
        ends.reader.close();
        std::string into(10, '\0');
        const std::error_code code =
            co_await failure_of(read_some_of(ends.reader, bytes_of(into)));
        CHECK(code == errc::closed);
        const std::size_t none = co_await ends.reader.read_some({});
        CHECK(none == 0);
    });
}

TEST_CASE("copies of a standard descriptor, of a file and of /dev/null can be read and written") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string path = here.path("text");
        const int fd = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        REQUIRE(fd >= 0);
        pipe_writer to_file = pipe_writer::copy_of(owner, fd);
        co_await to_file.write("in a file");
        REQUIRE(::lseek(fd, 3, SEEK_SET) == 3);
        pipe_reader from_file = pipe_reader::copy_of(owner, fd);
        const std::string got = co_await from_file.read_all(100);
        CHECK(got == "a file");
        ::close(fd);

        const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        pipe_writer to_nothing = pipe_writer::copy_of(owner, nothing);
        co_await to_nothing.write("gone");
        pipe_reader from_nothing(owner, nothing);
        const std::string empty = co_await from_nothing.read_all(100);
        CHECK(empty.empty());

        CHECK_THROWS_AS(pipe_reader::copy_of(owner, 1'000'000), error);
    });
}

TEST_CASE("a terminal is read as it becomes ready") {
    tell([](loop& owner) -> task<void> {
        const int manager = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (manager < 0 || ::grantpt(manager) != 0 || ::unlockpt(manager) != 0) {
            MESSAGE("no pseudo-terminal can be had here");
            co_return;
        }
        const int terminal = ::open(::ptsname(manager), O_RDWR | O_NOCTTY | O_CLOEXEC);
        REQUIRE(terminal >= 0);
        pipe_reader keyboard(owner, terminal);
        std::string into(100, '\0');
        const std::error_code code = co_await failure_of(with_timeout_task(
            std::chrono::milliseconds(20), read_some_of(keyboard, bytes_of(into))));
        CHECK(code == errc::timed_out);
        REQUIRE(::write(manager, "typed\n", 6) == 6);
        std::size_t got = 0;
        while (got < 6) {
            got += co_await keyboard.read_some(bytes_of(into).subspan(got));
        }
        CHECK(into.substr(0, got) == "typed\n");
        CHECK(is_blocking(terminal));
        ::close(manager);
    }, 4);
}

TEST_CASE("a FIFO's reader waits for its first writer, and sees the end of the last") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string path = here.path("fifo");
        REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
        pipe_reader reader = co_await open_fifo_reader(owner, path);
        std::string into(100, '\0');
        const std::error_code code = co_await failure_of(with_timeout_task(
            std::chrono::milliseconds(20), read_some_of(reader, bytes_of(into))));
        CHECK(code == errc::timed_out);
        pipe_writer writer = co_await open_fifo_writer(owner, path);
        co_await writer.write("hello");
        writer.close();
        const std::string got = co_await reader.read_all(100);
        CHECK(got == "hello");
    });
}

TEST_CASE("opening a FIFO for writing waits for a reader, and can be given up") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string path = here.path("fifo");
        REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
        const std::error_code code = co_await failure_of(with_timeout_task(
            std::chrono::milliseconds(30), open_fifo_writer(owner, path)));
        CHECK(code == errc::timed_out);
        std::atomic<bool> opening{false};
        std::thread reader([&path, &opening] {
            opening = true;
            const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
            char byte = 0;
            CHECK(::read(fd, &byte, 1) == 1);
            ::close(fd);
        });
        while (!opening) {
            std::this_thread::yield();
        }
        pipe_writer writer = co_await open_fifo_writer(owner, path);
        co_await writer.write("x");
        reader.join();
    }, 4);
}

TEST_CASE("opening what is no FIFO, or nothing, is an error that names the path") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        std::string said;
        try {
            (void)co_await open_fifo_reader(owner, here.path("nothing"));
        } catch (const error& failure) {
            said = failure.what();
        }
        CHECK(said.find(here.path("nothing")) != std::string::npos);
        const std::error_code code =
            co_await failure_of(open_fifo_reader(owner, "/dev/null"));
        CHECK(code == std::errc::invalid_argument);
    });
}

TEST_CASE("closing an end while a coroutine waits for it ends the program with a sentence") {
    const std::string said = last_words([] {
        loop owner(options_with_seed(1));
        pipe_pair ends = make_pipe(owner);
        std::string got;
        scope parts(owner);
        parts.spawn(read_all_of(ends.reader, got));
        ends.reader.close();
    });
    CHECK(said.find("while a coroutine waits for it") != std::string::npos);
}

TEST_CASE("a read given up just before its loop ends leaves nothing behind") {
    const int before = open_descriptors();
    {
        loop owner(options_with_seed(seed()));
        run(owner, [](loop& on) -> task<void> {
            pipe_pair ends = make_pipe(on);
            std::string got;
            const std::error_code code = co_await failure_of(with_timeout_task(
                std::chrono::milliseconds(1), ends.reader.read_all(10)));
            CHECK(code == errc::timed_out);
        }(owner));
    }
    CHECK(open_descriptors() == before);
}
