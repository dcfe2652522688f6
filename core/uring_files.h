// Operations on files as entries of the io_uring driver's ring, and which of them its kernel knows.
// Part of that driver; loop thread only.
#pragma once

#include <liburing.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/file_operation.h"
#include "core/plain_calls.h"

namespace ringlet::detail {

constexpr std::uint64_t at_current_offset = file_operation::current_offset;

inline unsigned transfer_bytes(std::size_t asked) noexcept {
    return static_cast<unsigned>(std::min(asked, transfer_bytes_max));
}

// A bit, at the opcode's place, for each opcode for files that the ring's kernel can do.
std::uint32_t probe_file_opcodes(io_uring& ring) noexcept;

// Requires: `sqe` is cleared. Leaves user_data to the caller.
void prepare_file_entry(io_uring_sqe& sqe, file_operation& op) noexcept;

}  // namespace ringlet::detail
