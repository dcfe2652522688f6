// A part of a file into a stream, without a copy through this program: by splice through a pipe on
// the ring, by sendfile on a helper thread elsewhere, each time only as much as the socket surely
// takes, so that a slow peer holds up no thread. Where neither works (TLS, the fake driver, a file
// system that cannot) it is read and sent.
//
// Nothing else may be sent on the stream meanwhile; receiving goes on. Cancelled or failed, a part
// has been sent: `sent` tells how much, at any time. Loop thread only.
#pragma once

#include <cstdint>

#include "coro/task.h"
#include "net/file.h"
#include "net/tcp_stream.h"

namespace ringlet {

// Bytes from `offset` on, `count` of them or as far as the file goes; returns how many. What
// `sent` points to, if anything, is counted up from 0. Throws `error`.
task<std::uint64_t> send_file(stream& to, file& from, std::uint64_t offset, std::uint64_t count,
                              std::uint64_t* sent = nullptr);

}  // namespace ringlet
