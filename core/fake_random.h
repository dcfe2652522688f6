// The fake driver's dice: splitmix64, so that one 64-bit seed decides a whole run, the same on
// every machine and with every standard library. Good enough for tests, and for nothing else.
// Never fails; owned and used by one thread.
#pragma once

#include <cstdint>

namespace ringlet::detail {

class fake_random {
public:
    explicit fake_random(std::uint64_t seed) noexcept : state_(seed) {}

    std::uint64_t next() noexcept {
        state_ += 0x9e3779b97f4a7c15U;
        std::uint64_t mixed = state_;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
        return mixed ^ (mixed >> 31);
    }

    // Uniform in [0, bound). Requires: bound > 0.
    std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }
    // Uniform in [1, most]. Requires: most > 0.
    std::uint64_t one_to(std::uint64_t most) noexcept { return 1 + below(most); }
    // True in `in_256` of 256 cases.
    bool chance(unsigned in_256) noexcept { return in_256 != 0 && (next() >> 56) < in_256; }

private:
    std::uint64_t state_;
};

}  // namespace ringlet::detail
