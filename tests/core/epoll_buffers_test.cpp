#include "core/epoll_buffers.h"

#include <doctest/doctest.h>

#include <set>
#include <vector>

using ringlet::lent_buffer;
using ringlet::detail::epoll_buffers;

TEST_CASE("the buffer given back last is lent next") {
    epoll_buffers buffers;
    const lent_buffer first = buffers.take();
    const lent_buffer second = buffers.take();
    REQUIRE(first.data != nullptr);
    REQUIRE(second.data != nullptr);
    CHECK(first.data != second.data);
    CHECK(buffers.lent() == 2);
    buffers.give_back(first.id);
    CHECK(buffers.take().data == first.data);
    buffers.give_back(second.id);
    buffers.give_back(first.id);
    CHECK(buffers.take().data == first.data);
    CHECK(buffers.lent() == 1);
}

TEST_CASE("there is an end to lending, and a way back from it") {
    epoll_buffers buffers;
    std::set<std::byte*> places;
    std::vector<lent_buffer> lent;
    while (!buffers.dry()) {
        lent.push_back(buffers.take());
        REQUIRE(lent.back().data != nullptr);
        lent.back().data[epoll_buffers::bytes - 1] = std::byte{1};
        places.insert(lent.back().data);
    }
    CHECK(lent.size() == epoll_buffers::count_max);
    CHECK(places.size() == lent.size());
    CHECK(buffers.take().data == nullptr);
    buffers.give_back(lent.front().id);
    CHECK_FALSE(buffers.dry());
    CHECK(buffers.take().data == lent.front().data);
}
