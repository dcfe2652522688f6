// Build-wide macros, the only ones there are; their names begin with RINGLET_. A lifetime rule that
// is broken ends the program with a sentence, in every build mode: going on would corrupt memory.
// Any thread.
#pragma once

namespace ringlet::detail {

// Prints "ringlet: <sentence> (<file>:<line>)" on stderr and aborts. For mistakes of the program
// itself: a broken lifetime rule is never an error code, in no build mode.
[[noreturn]] void die(const char* sentence, const char* file, int line) noexcept;

// Which sanitizer this build has. GCC says so by a macro, clang by a feature.
#if defined(__has_feature)
constexpr bool address_sanitizer = __has_feature(address_sanitizer);
constexpr bool thread_sanitizer = __has_feature(thread_sanitizer);
#else
#if defined(__SANITIZE_ADDRESS__)
constexpr bool address_sanitizer = true;
#else
constexpr bool address_sanitizer = false;
#endif
#if defined(__SANITIZE_THREAD__)
constexpr bool thread_sanitizer = true;
#else
constexpr bool thread_sanitizer = false;
#endif
#endif

}  // namespace ringlet::detail

// Checked in every build: `condition` must hold, or the program ends with `sentence`.
#define RINGLET_REQUIRE(condition, sentence)                            \
    do {                                                                \
        if (!(condition)) [[unlikely]]                                  \
            ::ringlet::detail::die((sentence), __FILE__, __LINE__);     \
    } while (false)
