// Counts what the library asks for, and makes one such request fail. The numbers lie in memory that
// the runner shares with the process it has made for the case. Any thread; allocates nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ringlet::faults {

enum class kind : std::uint8_t { memory, call, entry, buffer };
constexpr std::array kind_names{"memory", "call", "entry", "buffer"};
constexpr std::size_t kinds = kind_names.size();

struct plan {
    static constexpr std::size_t places_max = 100'000;

    kind what = kind::memory;
    std::uint64_t fail_at = 0;  // 0: only counts
    std::atomic<bool> struck{false};
    std::array<std::atomic<std::uint64_t>, kinds> counts{};
    // Where each request came from, for those that choose among them.
    std::array<std::array<std::uint64_t, places_max>, kinds> places;
    char test_case[200] = {};  // the one that ran
    unsigned cases = 0;        // that there are, where these were counted
};

// The exit codes of a process that ended in good order: the case passed, it failed, or it was left
// by an exception without tidying up what was the test's own.
constexpr int case_passed = 0, case_failed = 3, breached_by_test = 4;

// Has std::terminate say where it was called, and end with breached_by_test where a test did it.
void blame_terminations() noexcept;

// From the beginning of a test case to its end, in the process that runs it.
void arm(plan& shared) noexcept;
void disarm() noexcept;
bool is_armed() noexcept;
// Whether the one request has failed, and the case goes on with that.
bool has_struck() noexcept;

// Counts one request of the library's. True when it has to fail. `name` is for the report.
// Requests that come about in the same way are the same only when their `detail` is, too.
bool strikes(kind what, const char* name, std::uint64_t detail = 0) noexcept;

}  // namespace ringlet::faults
