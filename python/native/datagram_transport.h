// `_native.DatagramTransport`: what is hot in asyncio's own datagram transport, from which the
// Python class above (ringlet/_datagram.py) derives as well, so that everything else is CPython's
// and follows its version: closing, buffering past a full socket, errors, flow control.
//
// Here: one poll operation waits for datagrams, which are then taken several by one system call;
// sendto() sends at once while nothing is buffered. CPython's code reads and writes the attributes
// of this type (`_closing`, `_conn_lost`, ...) as its own. For sockets of the families IPv4, IPv6
// and Unix. Guarded by the GIL.
#pragma once

#include "python/native/python.h"

namespace ringlet::python {

// Makes the type and adds it to the module; false with an exception set.
bool set_up_datagrams(PyObject* module) noexcept;

}  // namespace ringlet::python
