// The place in the source where a task was spawned, for dump_tasks. Taken by a defaulted argument
// of whatever spawns (`spawn_site at = spawn_site::here()`), so callers write nothing; a function
// that spawns for others takes one itself and passes it on.
//
// A stand-in for std::source_location, which clang has from 15 on only. Two constants that travel
// in registers: spawning costs about 10 ns, so a third word (the function) would be seen.
#pragma once

namespace ringlet {

struct spawn_site {
    const char* file = nullptr;  // null: nobody said
    unsigned line = 0;

    static constexpr spawn_site here(const char* file = __builtin_FILE(),
                                     unsigned line = __builtin_LINE()) noexcept {
        return {file, line};
    }
};

}  // namespace ringlet
