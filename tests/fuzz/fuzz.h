// What the fuzz targets share. A target is one file that defines `fuzz(input)`; libFuzzer calls it
// with bytes of its own making, and whatever does not hold there (doctest's CHECK and REQUIRE, a
// sanitizer's finding, an exception, a hang) ends the program and leaves the input in a file.
// tests/fuzz/run.py runs the targets; one thread.
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ringlet::fuzz {

// Defined by each target.
void fuzz(std::string_view input);

// Takes the first byte off `input` as a choice among `count`; 0 when there is none.
inline std::size_t take_choice(std::string_view& input, std::size_t count) {
    if (input.empty()) {
        return 0;
    }
    const auto chosen = static_cast<unsigned char>(input.front()) % count;
    input.remove_prefix(1);
    return chosen;
}

// Ways to cut `size` bytes: whole, byte by byte, and in two at every place, or at 32 places that
// lie everywhere once there are more. Each is a list of the pieces' ends.
inline std::vector<std::vector<std::size_t>> ways_to_cut(std::size_t size) {
    std::vector<std::vector<std::size_t>> ways(2);
    for (std::size_t at = 1; at < size; ++at) {
        ways[1].push_back(at);
    }
    const std::size_t step = size / 32 + 1;
    for (std::size_t at = 1 + size % step; at < size; at += step) {
        ways.push_back({at});
    }
    for (std::vector<std::size_t>& ends : ways) {
        ends.push_back(size);
    }
    return ways;
}

// Calls `feed` with each piece of `bytes`, in a block of its own that ends where the piece ends.
template <class Feed>
void feed_cut(std::string_view bytes, const std::vector<std::size_t>& ends, Feed feed) {
    std::size_t at = 0;
    for (const std::size_t end : ends) {
        const std::vector<char> block(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                      bytes.begin() + static_cast<std::ptrdiff_t>(end));
        feed(std::string_view(block.data(), block.size()));
        at = end;
    }
}

}  // namespace ringlet::fuzz
