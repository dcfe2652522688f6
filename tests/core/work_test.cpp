#include "core/work.h"

#include <doctest/doctest.h>

#include <deque>

namespace {

struct item : ringlet::work {
    item() : work([](work&) noexcept {}) {}
};

}  // namespace

TEST_CASE("work comes out in the order it went in") {
    ringlet::work_queue queue;
    item first;
    item second;
    item third;
    CHECK(queue.empty());
    CHECK(queue.pop() == nullptr);
    queue.push(first);
    queue.push(second);
    queue.push(third);
    CHECK(first.queued());
    CHECK(queue.pop() == &first);
    CHECK_FALSE(first.queued());
    queue.push(first);
    CHECK(queue.pop() == &second);
    CHECK(queue.pop() == &third);
    CHECK(queue.pop() == &first);
    CHECK(queue.pop() == nullptr);
    CHECK(queue.empty());
}

TEST_CASE("work can be taken out from every place of a queue") {
    for (std::size_t removed = 0; removed < 3; ++removed) {
        CAPTURE(removed);
        ringlet::work_queue queue;
        std::deque<item> items(4);
        for (std::size_t i = 0; i < 3; ++i) {
            queue.push(items[i]);
        }
        queue.remove(items[removed]);
        CHECK_FALSE(items[removed].queued());
        queue.remove(items[3]);
        queue.push(items[3]);
        for (std::size_t i = 0; i < 4; ++i) {
            if (i != removed) {
                CHECK(queue.pop() == &items[i]);
            }
        }
        CHECK(queue.empty());
    }
}
