// Who calls: the stack at this moment, judged by the program's own symbol table. Faults are for
// what the library asks for. A fault in a test's own code would prove nothing, so the innermost
// function that belongs to either decides. The fake driver counts as the tests': it plays a kernel,
// and its lists are not the library's. Any thread; allocates nothing after `load_symbols`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ringlet::faults {

// Reads this program's symbols. Ends the program with a sentence when it has none.
void load_symbols();

struct call_site {
    static constexpr std::size_t depth_max = 48;

    std::array<std::uintptr_t, depth_max> frames;  // innermost first
    std::size_t depth = 0;
    bool library = false;     // the innermost function that is anybody's is the library's
    bool tests = false;       // or a test's
    bool called_tests = false;  // what stands just inside is a test's
    std::uint64_t place = 0;  // the same for calls that come about in the same way
};

call_site find_call_site() noexcept;
// The same without the frames inside the one that returns to `address`; of those it tells only
// whose the outermost is.
call_site find_call_site_above(std::uintptr_t address) noexcept;
// The same as the first, but destructors are nobody's: so it is whoever has destroyed something.
call_site find_owner_of_destroyed() noexcept;

// Whether the outermost function of this thread that is anybody's is a test's.
bool is_thread_of_tests() noexcept;

// The library's and the tests' functions on the way, innermost first, on stderr.
void print(const call_site& site) noexcept;

}  // namespace ringlet::faults
