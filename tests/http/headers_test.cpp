#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "http/headers.h"

using namespace ringlet::http;

namespace {

std::string text_of(const headers& list) {
    std::string text;
    for (const header_view& field : list)
        text.append(field.name).append("=").append(field.value).append(";");
    return text;
}

}  // namespace

TEST_CASE("names are found without regard to case and keep their spelling") {
    headers list;
    list.add("Content-Type", "text/html");
    list.add("X-\xc3\x89", "1");
    CHECK(list.value("content-type") == "text/html");
    CHECK(list.value("CONTENT-TYPE") == "text/html");
    CHECK(list.find("Content_Type") == nullptr);
    CHECK(list.find("Content-Typ") == nullptr);
    CHECK(list.value("x-\xc3\xa9").empty());
    CHECK(list[0].name == "Content-Type");
    CHECK(list.value("missing").empty());
    CHECK(equals_ignoring_case("", ""));
    CHECK_FALSE(equals_ignoring_case("@", "`"));
    CHECK_FALSE(equals_ignoring_case("[", "{"));
}

TEST_CASE("fields of one name are kept in order, replaced together and erased together") {
    headers list;
    list.add("A", "1");
    list.add("B", "2");
    list.add("a", "3");
    CHECK(list.get_all("A") == std::vector<std::string_view>{"1", "3"});
    list.set("a", "4");
    CHECK(text_of(list) == "a=4;B=2;");
    list.set("C", "5");
    CHECK(text_of(list) == "a=4;B=2;C=5;");
    list.add("b", "6");
    CHECK(list.erase("B") == 2);
    CHECK(list.erase("B") == 0);
    CHECK(text_of(list) == "a=4;C=5;");
    list.clear();
    CHECK(list.empty());
}

TEST_CASE("arguments may be views into the list itself, however it grows") {
    headers list;
    list.add("Name", std::string(200, 'v'));
    for (int i = 0; i < 100; ++i) {
        list.add(list[0].name, list[0].value);
        list.set("Other", list[0].value.substr(0, static_cast<std::size_t>(i)));
    }
    CHECK(list.size() == 102);
    for (const std::string_view value : list.get_all("name"))
        CHECK(value == std::string(200, 'v'));
    CHECK(list.value("other") == std::string(99, 'v'));
    list.assign(list.views().subspan(1, 2));
    CHECK(list.size() == 2);
    CHECK(list[1].value == std::string(99, 'v'));
}

TEST_CASE("a list that is changed for ever does not grow for ever") {
    headers list;
    for (int i = 0; i < 100'000; ++i)
        list.set("Name", std::to_string(i));
    CHECK(list.size() == 1);
    CHECK(list.value("name") == "99999");
}

TEST_CASE("copies and moves own their text") {
    headers list;
    list.add("A", "1");
    headers copy = list;
    list.set("A", "2");
    CHECK(copy.value("a") == "1");
    headers moved = std::move(list);
    CHECK(moved.value("a") == "2");
    copy = moved;
    moved.clear();
    CHECK(copy.value("a") == "2");
    const headers& same = copy;
    copy = same;
    CHECK(text_of(copy) == "A=2;");
}

TEST_CASE("a token is found in a comma separated list") {
    CHECK(list_has_token("close", "close"));
    CHECK(list_has_token("TE , Close\t, x", "close"));
    CHECK(list_has_token(",,close,", "close"));
    CHECK_FALSE(list_has_token("closed", "close"));
    CHECK_FALSE(list_has_token("not close", "close"));
    CHECK_FALSE(list_has_token("", "close"));
}
