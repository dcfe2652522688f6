#include "core/epoll_calls.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <string>

using namespace ringlet;

TEST_CASE("a call's outcome is its value or its errno, and a signal is no outcome") {
    int tries = 0;
    CHECK(detail::call_result([] { return 7; }) == 7);
    CHECK(detail::call_result([&] {
              errno = ++tries < 3 ? EINTR : EPIPE;
              return -1;
          }) == -EPIPE);
    CHECK(tries == 3);
}

TEST_CASE("a write into a full socket says EAGAIN, also when the socket blocks") {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    const std::string block(64 * 1024, 'x');
    operation op([](operation&, const completion&) noexcept {});
    op.prepare_send(ends[0], block.data(), block.size());
    int result = 0;
    for (int writes = 0; writes < 1000 && result >= 0; ++writes) {
        result = detail::try_write(op, true);
    }
    CHECK(result == -EAGAIN);
    CHECK(detail::end_connect(ends[0]) == 0);
    ::close(ends[0]);
    ::close(ends[1]);
    CHECK(detail::try_write(op, true) == -EBADF);
    CHECK(detail::end_connect(ends[0]) == -EBADF);
}
