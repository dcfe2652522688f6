// `_native.TlsProtocol`: the part of asyncio's SSLProtocol that runs for every message, on the very
// SSL object that CPython's own code uses. ringlet._tls.SSLProtocol derives from it and from
// asyncio.sslproto.SSLProtocol: handshake, shutdown, flow control's rare turns and all errors stay
// CPython's; between them plaintext and ciphertext move here, without a Python call but the
// application's own.
//
// It needs the SSL* inside Python's SSLObject, and to be linked to the same libssl as Python is;
// ringlet.tls_backend says whether that could be established. All state that CPython's code reads
// or writes (`_state`, `_app_reading_paused`, ...) is in members of the struct, so there is one
// truth. Guarded by the GIL.
#pragma once

#include "python/native/python.h"

namespace ringlet::python {

bool set_up_tls(PyObject* module) noexcept;

// Whether `protocol` is one that takes ciphertext by take_ciphertext.
bool takes_ciphertext(PyObject* protocol) noexcept;
// What the raw transport received for it. Called in the dispatch step; 0, or -1 with an exception
// set, which the transport treats as it would one of data_received.
int take_ciphertext(PyObject* protocol, const char* data, Py_ssize_t size) noexcept;

}  // namespace ringlet::python
