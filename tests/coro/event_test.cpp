#include "coro/event.h"

#include "tests/coro/stories.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<void> wait_and_log(event& of, std::string& log, char name) {
    const counted held;
    co_await of.wait();
    log += name;
}

}  // namespace

TEST_SUITE_BEGIN("coro event");

TEST_CASE("a set event lets everybody through, in order, from the loop") {
    no_leaks check;
    loop on;
    event ready;
    std::string log;
    hand_job<void> a(on, wait_and_log(ready, log, 'a'));
    hand_job<void> b(on, wait_and_log(ready, log, 'b'));
    a.start();
    b.start();
    CHECK_FALSE(ready.is_set());
    ready.set();
    CHECK(ready.is_set());
    CHECK(log.empty());
    b.finish().get();
    a.finish().get();
    CHECK(log == "ab");
    hand_job<void> late(on, wait_and_log(ready, log, 'c'));
    late.start();
    CHECK(late.finished());
    CHECK(log == "abc");
}

TEST_CASE("a reset right after a set holds back only those who come later") {
    no_leaks check;
    loop on;
    event pulse;
    std::string log;
    hand_job<void> early(on, wait_and_log(pulse, log, 'e'));
    early.start();
    pulse.set();
    pulse.reset();
    hand_job<void> late(on, wait_and_log(pulse, log, 'l'));
    late.start();
    early.finish().get();
    on.run_once(false);
    CHECK(log == "e");
    CHECK_FALSE(late.finished());
    pulse.set();
    late.finish().get();
    CHECK(log == "el");
}

TEST_CASE("an event can be set from its beginning and set twice") {
    event open(true);
    std::string log;
    play(wait_and_log(open, log, 'a'));
    open.set();
    open.set();
    play(wait_and_log(open, log, 'b'));
    CHECK(log == "ab");
}

TEST_CASE("a cancelled wait is out of the event, one already woken is not disturbed") {
    no_leaks check;
    loop on;
    event ready;
    std::string log;
    hand_job<void> given_up(on, wait_and_log(ready, log, 'x'));
    hand_job<void> woken(on, wait_and_log(ready, log, 'w'));
    given_up.start();
    woken.start();
    given_up.cancel();
    ready.set();
    woken.cancel();
    CHECK(ending(given_up.finish()) == "cancelled");
    CHECK(ending(woken.finish()) == "value");
    CHECK(log == "w");
}

TEST_SUITE_END();
