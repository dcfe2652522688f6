#include "coro/awaitable.h"

#include "coro/event.h"
#include "coro/future.h"
#include "coro/gather.h"
#include "coro/generator.h"
#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using detail::awaitable;
using detail::awaited_t;

namespace {

struct by_function {
    int value;
};
struct value_awaiter {
    int value;
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    int await_resume() const noexcept { return value; }
};
value_awaiter operator co_await(by_function from) noexcept { return {from.value}; }

static_assert(awaitable<task<int>> && awaitable<future<int>&> && awaitable<std::suspend_never>);
static_assert(awaitable<by_function> && awaitable<yield_now> && awaitable<event::wait_until_set>);
static_assert(!awaitable<int> && !awaitable<std::string> && !awaitable<generator<int>>);
static_assert(!awaitable<task<int>&>, "a task is awaited as an rvalue");
static_assert(std::is_same_v<awaited_t<task<int>>, int>);
static_assert(std::is_same_v<awaited_t<task<int&>>, int&>);
static_assert(std::is_void_v<awaited_t<task<void>>>);
static_assert(std::is_same_v<awaited_t<by_function>, int>);
static_assert(std::is_same_v<awaited_t<const std::string&>, const std::string&>);

}  // namespace

TEST_SUITE_BEGIN("coro awaitable");

TEST_CASE("the awaiter of an object without an operator is the object itself") {
    value_awaiter itself{1};
    CHECK(&detail::awaiter_of(itself) == &itself);
    CHECK(detail::awaiter_of(by_function{7}).await_resume() == 7);
}

TEST_CASE("an awaiter that can be neither copied nor moved is made in place") {
    loop on;
    promise<int> made(on);
    future<int> there = made.get_future();
    made.set_value(3);
    auto&& wait = detail::awaiter_of(there);
    CHECK(wait.await_ready());
    CHECK(wait.await_resume() == 3);
}

TEST_SUITE_END();
