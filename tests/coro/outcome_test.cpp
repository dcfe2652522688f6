#include "coro/outcome.h"

#include "core/result.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

std::exception_ptr failure(const char* why) {
    return std::make_exception_ptr(std::runtime_error(why));
}

struct throws_when_made {
    throws_when_made() { throw std::runtime_error("cannot be made"); }
};

}  // namespace

TEST_SUITE_BEGIN("coro outcome");

TEST_CASE("an outcome is empty, then holds a value, which moves out once") {
    no_leaks check;
    outcome<counted> result;
    CHECK(result.empty());
    CHECK_FALSE(result.has_value());
    CHECK(result.exception() == nullptr);
    result.set_value(3);
    CHECK(result.has_value());
    CHECK(result.get().number() == 3);
    CHECK(result.get().number() == -1);
}

TEST_CASE("an outcome that holds an exception throws it, also after a move") {
    outcome<counted> result(failure("why"));
    CHECK_FALSE(result.has_value());
    CHECK_FALSE(result.empty());
    outcome<counted> moved = std::move(result);
    CHECK_THROWS_WITH(moved.get(), "why");
    CHECK_THROWS_WITH(moved.get(), "why");
}

TEST_CASE("an exception replaces a value and destroys it") {
    no_leaks check;
    outcome<counted> result;
    result.set_value(1);
    result.set_exception(failure("late"));
    CHECK(counted::live == 0);
    CHECK_THROWS_WITH(result.get(), "late");
}

TEST_CASE("assignment destroys what was there, and assigning to itself changes nothing") {
    no_leaks check;
    outcome<counted> first;
    first.set_value(1);
    outcome<counted> second;
    second.set_value(2);
    first = std::move(second);
    CHECK(first.get().number() == 2);
    outcome<std::string> text;
    text.set_value("kept");
    outcome<std::string>& same = text;
    text = std::move(same);
    CHECK(text.get() == "kept");
    first = outcome<counted>(failure("gone"));
    CHECK_FALSE(first.has_value());
}

TEST_CASE("an outcome stays empty when its value cannot be made") {
    outcome<throws_when_made> result;
    CHECK_THROWS_WITH(result.set_value(), "cannot be made");
    CHECK(result.empty());
}

TEST_CASE("an outcome of void and of a reference") {
    outcome<void> done;
    done.set_value();
    CHECK(done.has_value());
    done.get();
    int target = 1;
    outcome<int&> alias;
    alias.set_value(target);
    alias.get() = 4;
    CHECK(target == 4);
}

TEST_CASE("only the type cancelled counts as a cancellation") {
    CHECK(detail::is_cancellation(std::make_exception_ptr(cancelled())));
    CHECK_FALSE(detail::is_cancellation(failure("cancelled")));
    CHECK_FALSE(detail::is_cancellation(
        std::make_exception_ptr(error(std::make_error_code(std::errc::operation_canceled)))));
    CHECK_FALSE(detail::is_cancellation(std::make_exception_ptr(5)));
}

TEST_SUITE_END();
