#include "core/uring_buffers.h"

#include <doctest/doctest.h>
#include <liburing.h>

#include "tests/support/support.h"

TEST_CASE("a ring of buffers counts what is lent, and refuses a count that is no power of two") {
    io_uring ring = {};
    if (ringlet::test::driver_name() != "uring") {
        return;  // this kernel, or a filter, refuses rings
    }
    REQUIRE(io_uring_queue_init(8, &ring, 0) == 0);
    {
        ringlet::detail::uring_buffers bad;
        CHECK(bad.set_up(ring, 0, 12, 4096) == -EINVAL);
        CHECK_FALSE(bad.ready());

        ringlet::detail::uring_buffers buffers;
        REQUIRE(buffers.set_up(ring, 1, 16, 4096) == 0);
        CHECK(buffers.ready());
        CHECK(buffers.lent() == 0);
        std::byte* const third = buffers.take(3);
        std::byte* const fourth = buffers.take(4);
        CHECK(fourth - third == ringlet::lent_buffer::room_before + 4096);
        third[4095] = std::byte{1};  // its own memory to the last byte
        CHECK(buffers.lent() == 2);
        buffers.give_back(3);
        buffers.give_back(4);
        CHECK(buffers.lent() == 0);
        io_uring_queue_exit(&ring);  // before the memory is freed
    }
}
