// Whose fault an abort is. A test unwound by the exception that a fault became may leave behind
// what it had promised to end: its own scope unjoined, its own operation in flight. A test's own
// handler may throw where it may not. Those processes end with `breached_by_test`; when the library
// does such a thing, they abort.
#include <unistd.h>
#include <unwind.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

#include "tests/faults/call_sites.h"
#include "tests/faults/injector.h"

namespace {

// What only the owner of the object can do wrong.
constexpr std::string_view owners_duties[] = {
    "an operation was destroyed while the kernel still owns it",
    "a scope was destroyed while its children live: join it first",
    "a coroutine was destroyed while it waits",
    "a coroutine was destroyed while it waits for a stream",
    "a pending timer was destroyed",
    "a fiber was destroyed before its end: cancel it and wait for that",
    "queued work was destroyed before it ran",
    "a resolver was destroyed while a coroutine waits for it",
    "a stream was closed while a coroutine waits for it",
    "something was destroyed while a coroutine waits for it",
};

// Where the unwinder has looked last: in the end, the function that no exception may leave, unless
// there was none and it got to the end of the stack.
thread_local std::uintptr_t last_looked_at = 0;
thread_local bool is_stopped_there = false;

[[noreturn]] void blame_test(const char* what) {
    std::fprintf(stderr, "fail_nth: the test's own doing: %s\n", what);
    std::fflush(nullptr);
    ::_exit(ringlet::faults::breached_by_test);
}

}  // namespace

// ringlet::detail::die(const char*, const char*, int), led here by the linker.
extern "C" {
[[noreturn]] void __real__ZN7ringlet6detail3dieEPKcS2_i(const char* sentence, const char* file,
                                                        int line);
[[noreturn]] void __wrap__ZN7ringlet6detail3dieEPKcS2_i(const char* sentence, const char* file,
                                                        int line);
void __wrap__ZN7ringlet6detail3dieEPKcS2_i(const char* sentence, const char* file, int line) {
    const ringlet::faults::call_site owner = ringlet::faults::find_owner_of_destroyed();
    for (const std::string_view duty : owners_duties) {
        if (sentence == duty && ringlet::faults::is_armed() && owner.tests) {
            blame_test(sentence);
        }
    }
    std::fputs("fail_nth: the program is ended in\n", stderr);
    print(owner);
    __real__ZN7ringlet6detail3dieEPKcS2_i(sentence, file, line);
}

// What the unwinder asks of each frame of ours, led here as well.
_Unwind_Reason_Code __real___gxx_personality_v0(int version, _Unwind_Action actions,
                                                _Unwind_Exception_Class kind,
                                                _Unwind_Exception* thrown,
                                                _Unwind_Context* frame);
_Unwind_Reason_Code __wrap___gxx_personality_v0(int version, _Unwind_Action actions,
                                                _Unwind_Exception_Class kind,
                                                _Unwind_Exception* thrown,
                                                _Unwind_Context* frame) {
    last_looked_at = static_cast<std::uintptr_t>(_Unwind_GetIP(frame));
    const _Unwind_Reason_Code verdict =
        __real___gxx_personality_v0(version, actions, kind, thrown, frame);
    is_stopped_there = verdict != _URC_CONTINUE_UNWIND;
    return verdict;
}
}

namespace ringlet::faults {

void blame_terminations() noexcept {
    std::set_terminate([] {
        if (!is_stopped_there && is_thread_of_tests() && is_armed()) {
            blame_test("it lets an exception end its own thread");
        }
        const call_site site = find_call_site_above(last_looked_at);
        if ((site.tests || site.called_tests) && is_armed()) {
            blame_test("it throws where that ends the program");
        }
        std::fputs("terminate called in\n", stderr);
        print(site);
        std::abort();
    });
}

}  // namespace ringlet::faults
