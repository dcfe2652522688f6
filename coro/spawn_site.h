// The place in the source where a task was spawned, for dump_tasks. Taken by a defaulted argument
// of whatever spawns (`spawn_site at = spawn_site::here()`), so callers write nothing; a function
// that spawns for others takes one itself and passes it on. Three words of constants: taking one
// calls nothing and allocates nothing.
//
// A stand-in for std::source_location, which clang has from 15 on only, with the function's plain
// name instead of its whole signature.
#pragma once

namespace ringlet {

struct spawn_site {
    const char* file = nullptr;  // null: nobody said
    const char* function = nullptr;
    unsigned line = 0;

    static constexpr spawn_site here(const char* file = __builtin_FILE(),
                                     const char* function = __builtin_FUNCTION(),
                                     unsigned line = __builtin_LINE()) noexcept {
        return {file, function, line};
    }
};

}  // namespace ringlet
