// `_native.Acceptor`: takes the connections of a listening socket, by one multishot operation, and
// makes each a transport with a new protocol; or, for what is rare (TLS, debug mode), hands the
// descriptor to a Python function. Each connection gets a copy of the context that was current
// when serving began. While it is active the loop holds a reference to it (live_owner.h); once
// close() has returned, neither the kernel nor the loop uses the listening socket any more.
// Guarded by the GIL.
#pragma once

#include "python/native/python.h"

namespace ringlet::python {

// Makes the type; false with an exception set.
bool set_up_acceptors(PyObject* module) noexcept;

}  // namespace ringlet::python
