// The addresses of a socket's two ends, as the driver tells them; empty when it does not (any
// more). Loop thread only.
#pragma once

#include <sys/socket.h>

#include "core/driver.h"
#include "net/address.h"

namespace ringlet::detail {

// `ask`: &driver::local_name or &driver::peer_name.
template <class Ask>
address socket_name(driver& sockets, int fd, Ask ask) noexcept {
    sockaddr_storage name = {};
    socklen_t length = sizeof name;
    auto* const at = reinterpret_cast<sockaddr*>(&name);
    return (sockets.*ask)(fd, at, &length) ? address() : address(at, length);
}

}  // namespace ringlet::detail
