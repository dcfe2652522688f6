#include "core/plain_calls.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <string>

using namespace ringlet;

namespace {

struct ends {
    explicit ends(int flags) { REQUIRE(::pipe2(fd, O_CLOEXEC | flags) == 0); }
    ~ends() {
        ::close(fd[0]);
        ::close(fd[1]);
    }
    int fd[2] = {-1, -1};
};

}  // namespace

TEST_CASE("a read or a write of a pipe never waits, whether its descriptor would or not") {
    for (const int flags : {0, O_NONBLOCK}) {
        const ends way(flags);
        char room[16] = {};
        operation reading([](operation&, const completion&) noexcept {});
        reading.prepare_read(way.fd[0], room, sizeof room);
        CHECK(detail::try_transfer(reading, sizeof room, false) == -EAGAIN);
        const std::string block(1'000'000, 'x');
        operation writing([](operation&, const completion&) noexcept {});
        writing.prepare_write(way.fd[1], block.data(), block.size());
        std::size_t taken = 0;
        int result = 0;
        for (int tries = 0; tries < 1000 && result >= 0; ++tries) {
            taken += static_cast<std::size_t>(result);
            result = detail::try_transfer(writing, block.size(), false);
        }
        CHECK(result == -EAGAIN);
        while (taken > 0) {
            const int bytes = detail::try_transfer(reading, 7, true);
            REQUIRE(bytes > 0);
            taken -= static_cast<std::size_t>(bytes);
        }
        CHECK(detail::try_transfer(reading, sizeof room, false) == -EAGAIN);
    }
}

TEST_CASE("what cannot be asked not to block is used only when it is ready, and a little") {
    // A terminal and a FIFO made by name know no RWF_NOWAIT on every kernel; /dev/null always goes.
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    char room[16] = {};
    operation reading([](operation&, const completion&) noexcept {});
    reading.prepare_read(null, room, sizeof room);
    CHECK(detail::try_transfer(reading, sizeof room, true) == 0);
    const std::string block(100'000, 'x');
    operation writing([](operation&, const completion&) noexcept {});
    writing.prepare_write(null, block.data(), block.size());
    CHECK(detail::try_transfer(writing, block.size(), true) >= PIPE_BUF);
    ::close(null);
    CHECK(detail::try_transfer(reading, sizeof room, true) == -EBADF);
}
