// Making TCP connections, by happy eyeballs (RFC 8305): the addresses are tried in turn, families
// alternating, each a short delay after the one before, or at once when one has failed. The first
// that connects wins; the others are cancelled, waited for and closed before the task ends.
//
// A single address costs one socket and one operation. Cancelling reaches the operations; when the
// wait ends nothing is in flight and no descriptor is left. Loop thread only.
// Throws `error` with the code of the most telling attempt and a sentence that names each address
// with its cause.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/loop.h"
#include "coro/task.h"
#include "net/address.h"
#include "net/resolver.h"
#include "net/tcp_stream.h"

namespace ringlet {

struct connect_options {
    nanoseconds attempt_delay = std::chrono::milliseconds(250);
    std::optional<address> local;  // to connect from; only addresses of its family are tried
};

constexpr std::size_t connect_attempts_max = 32;  // addresses behind these are not tried

// TCP_NODELAY is set on what they give.
task<tcp_stream> connect(loop& owner, std::vector<address> to, connect_options options = {});
// `names` must outlive the task.
task<tcp_stream> connect(loop& owner, resolver& names, std::string host, std::uint16_t port,
                         connect_options options = {});

}  // namespace ringlet
