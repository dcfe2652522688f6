#include "core/live_link.h"

#include <doctest/doctest.h>

#include <optional>

using ringlet::live_link;

namespace {

int length(const live_link& head) {
    int count = 0;
    for (const live_link* at = head.next(); at != &head; at = at->next()) {
        ++count;
    }
    return count;
}

}  // namespace

TEST_CASE("links join at the end and leave from anywhere") {
    live_link head;
    CHECK(length(head) == 0);
    std::optional<live_link> first(std::in_place, head);
    std::optional<live_link> second(std::in_place, head);
    std::optional<live_link> third(std::in_place, head);
    CHECK(head.next() == &*first);
    CHECK(first->next() == &*second);
    second.reset();
    CHECK(first->next() == &*third);
    CHECK(length(head) == 2);
    first.reset();
    third.reset();
    CHECK(length(head) == 0);
}

TEST_CASE("a group stands in a list and has members of its own") {
    live_link groups;
    std::optional<ringlet::live_group> group(std::in_place, groups);
    const live_link member(group->members);
    CHECK(length(groups) == 1);
    CHECK(length(group->members) == 1);
    group->members.clear();
    group.reset();
    CHECK(length(groups) == 0);
}

TEST_CASE("links that a cleared head let go of leave without it") {
    std::optional<live_link> head;
    head.emplace();
    live_link first(*head);
    live_link second(*head);
    head->clear();
    CHECK(length(*head) == 0);
    head.reset();
    CHECK(first.next() == &first);
    CHECK(second.next() == &second);
}
