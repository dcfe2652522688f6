// Addresses of sockets as Python has them: (host, port) for IPv4, (host, port, flow, scope) for
// IPv6, a path or an abstract name for Unix sockets. Needs the GIL.
#pragma once

#include <sys/socket.h>

#include "python/native/python.h"

namespace ringlet::python {

// The Python object for what getsockname, getpeername or accept gave, as the socket module makes
// it. None for families that are neither IP nor Unix. Null with an exception set.
PyObject* address_object(const sockaddr* address, socklen_t length) noexcept;

}  // namespace ringlet::python
