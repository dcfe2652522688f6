#include "net/descriptor.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/support/support.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

int open_null() { return ::open("/dev/null", O_RDWR | O_CLOEXEC); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

}  // namespace

TEST_CASE("a descriptor has one owner, moves, and is closed with it") {
    loop owner;
    const int fd = open_null();
    {
        owned_descriptor first(owner, fd);
        owned_descriptor second = std::move(first);
        CHECK(!first);
        CHECK(second.get() == fd);
        first = std::move(second);
        CHECK(first.get() == fd);
        CHECK(is_open(fd));
    }
    CHECK(!is_open(fd));
    owned_descriptor given(owner, open_null());
    const int released = given.release();
    CHECK(!given);
    CHECK(is_open(released));
    ::close(released);
    CHECK(given.release() == -1);
    given.close();
}

TEST_CASE("in use it can neither be closed nor moved, and closed it cannot be used") {
    const std::string closed = last_words([] {
        loop owner(options_with_seed(1));
        owned_descriptor one(owner, open_null());
        const owned_descriptor::use used(one);
        one.close();
    });
    CHECK(closed.find("while a coroutine waits for it") != std::string::npos);
    const std::string moved = last_words([] {
        loop owner(options_with_seed(1));
        owned_descriptor one(owner, open_null());
        const owned_descriptor::use used(one);
        owned_descriptor other = std::move(one);
    });
    CHECK(moved.find("while a coroutine waits for it") != std::string::npos);
    owned_descriptor none;
    CHECK_THROWS_AS(owned_descriptor::use{none}, error);
}
