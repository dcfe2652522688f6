#include "tests/faults/injector.h"

#include <pthread.h>

#include <cstdio>

#include "tests/faults/call_sites.h"

namespace ringlet::faults {
namespace {

std::atomic<plan*> armed{nullptr};
thread_local bool looking = false;  // what looking needs is not counted

}  // namespace

void arm(plan& shared) noexcept {
    // A process that a test makes is not the one that was asked to fail.
    static const int once = ::pthread_atfork(nullptr, nullptr, [] { armed = nullptr; });
    static_cast<void>(once);
    armed = &shared;
}

void disarm() noexcept { armed = nullptr; }

bool is_armed() noexcept { return armed != nullptr; }

bool has_struck() noexcept {
    const plan* const shared = armed;
    return shared != nullptr && shared->struck;
}

bool strikes(kind what, const char* name, std::uint64_t detail) noexcept {
    plan* const shared = armed;
    if (shared == nullptr || looking || shared->struck) {
        return false;
    }
    looking = true;
    const call_site site = find_call_site();
    bool now = false;
    if (site.library) {
        const auto index = static_cast<std::size_t>(what);
        const std::uint64_t number = ++shared->counts[index];
        if (number <= plan::places_max) {
            shared->places[index][number - 1] = site.place + detail * 0x9e3779b97f4a7c15U;
        }
        now = what == shared->what && number == shared->fail_at;
    }
    if (now) {
        shared->struck = true;
        std::fprintf(stderr, "fail_nth: %s fails in\n", name);
        print(site);
    }
    looking = false;
    return now;
}

}  // namespace ringlet::faults
