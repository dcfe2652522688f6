// What the io_uring driver writes into the words that come back to it: the user_data of an entry,
// and the driver_bits_ of an operation. For the driver's own sources only.
#pragma once

#include <cstdint>

#include "core/operation.h"

namespace ringlet::detail {

// user_data of a submission: an operation's address, its low bits saying what the entry is.
constexpr std::uint64_t tag_mask = 7;
constexpr std::uint64_t tag_operation = 0;  // the operation itself
constexpr std::uint64_t tag_cancel = 1;     // a cancel of that operation, asked by its owner
constexpr std::uint64_t tag_wake = 2;       // the poll on the wake descriptor (no address)
constexpr std::uint64_t tag_ignored = 3;    // nobody waits for this answer (no address)

// What an operation's driver_bits_ mean here.
constexpr std::uint8_t bit_cancel_asked = 1;  // a cancel entry's answer is outstanding
constexpr std::uint8_t bit_final_seen = 2;    // ended; driver_result_ holds the result
constexpr std::uint8_t bit_starved = 4;       // stands in starved_
constexpr std::uint8_t bit_large = 8;         // receives into large buffers
constexpr std::uint8_t bit_switching = 16;    // being re-armed for the other buffer size
constexpr std::uint8_t bit_polling = 32;      // a poll entry waits in its name
constexpr std::uint8_t bit_again = 64;        // a connect that may have begun before

inline std::uint64_t address_of(const operation& op) noexcept {
    return reinterpret_cast<std::uintptr_t>(&op);
}

// The operation that an entry names; only where its tag says that it names one.
inline operation& operation_of(std::uint64_t user_data) noexcept {
    return *reinterpret_cast<operation*>(static_cast<std::uintptr_t>(user_data & ~tag_mask));
}

}  // namespace ringlet::detail
