// What a socket.socket object holds, read where CPython keeps it: a call of fileno() for every
// message would be a tenth of what Python costs there. The fields have stood there since Python 2;
// the first socket seen is checked all the same, and if they are not found, the methods are called.
#pragma once

#include <sys/socket.h>

#include "python/native/python.h"

namespace ringlet::python {

// For objects of exactly socket.socket's type. -1 for a closed one, or with an exception set.
int descriptor_of_socket(PyObject* socket) noexcept;
// Whether it is known to be one of streams.
bool is_stream_socket(PyObject* socket) noexcept;

}  // namespace ringlet::python
