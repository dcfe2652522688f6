#include "coro/wait_list.h"

#include "tests/coro/stories.h"

using namespace ringlet;

namespace {

struct a_wait : detail::wait_link {
    explicit a_wait(int number_of_it) : number(number_of_it) {}
    int number;
};

std::string all_of(detail::wait_list<a_wait>& list) {
    std::string numbers;
    while (const a_wait* const oldest = list.pop()) {
        numbers += std::to_string(oldest->number);
    }
    return numbers;
}

}  // namespace

TEST_SUITE_BEGIN("coro wait_list");

TEST_CASE("waits come out in the order in which they went in") {
    detail::wait_list<a_wait> list;
    a_wait a(1), b(2), c(3);
    CHECK(list.empty());
    CHECK(list.pop() == nullptr);
    list.push(a);
    list.push(b);
    list.push(c);
    CHECK_FALSE(list.empty());
    CHECK(all_of(list) == "123");
    CHECK(list.empty());
}

TEST_CASE("a wait can be taken out at the front, in the middle and at the back") {
    for (int gone = 0; gone < 3; ++gone) {
        detail::wait_list<a_wait> list;
        a_wait waits[] = {a_wait(1), a_wait(2), a_wait(3)};
        for (a_wait& each : waits) {
            list.push(each);
        }
        list.remove(waits[gone]);
        a_wait late(4);
        list.push(late);
        const std::string left[] = {"234", "134", "124"};
        CHECK(all_of(list) == left[gone]);
    }
}

TEST_CASE("the only wait can be taken out and put back") {
    detail::wait_list<a_wait> list;
    a_wait only(1);
    list.push(only);
    list.remove(only);
    CHECK(list.empty());
    list.push(only);
    CHECK(all_of(list) == "1");
}

TEST_SUITE_END();
