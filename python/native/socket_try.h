// One try of a call on a socket of the user's. The system calls that are made here never block,
// whatever the socket's own mode.
#pragma once

#include <cstddef>
#include <cstdint>

#include "python/native/python.h"

namespace ringlet::python {

enum class attempt : std::uint8_t {
    done,
    would_block,
    failed  // with an exception set
};

// recv(): at most as many bytes as `limit`, an int, says. `all` tells that there was room for more.
attempt receive(int fd, PyObject* limit, PyObject*& result, bool& all) noexcept;
// recv_into(): as many bytes as fit; the result is how many.
attempt receive_into(int fd, PyObject* buffer, PyObject*& result, bool& all) noexcept;
// Done once all is sent; `sent` counts on from what earlier tries sent of it.
attempt send_rest(int fd, const Py_buffer& data, Py_ssize_t& sent) noexcept;
// A method of the socket object, arguments[0], that raises BlockingIOError when it would block.
attempt call_method(PyObject* method, PyObject* const* arguments, std::size_t count,
                    PyObject*& result) noexcept;

}  // namespace ringlet::python
