#include "python/native/socket_fields.h"

#include <cstdint>

#include "python/native/names.h"

namespace ringlet::python {
namespace {

struct socket_fields {
    PyObject_HEAD
    int fd;
    int family;
    int type;
};

enum class layout : std::uint8_t { unknown, as_above, other };
layout known = layout::unknown;  // guarded by the GIL

long number_of(owned object) noexcept { return object ? PyLong_AsLong(object.get()) : -1; }

layout check(PyObject* socket) noexcept {
    const auto* const fields = reinterpret_cast<const socket_fields*>(socket);
    const long fd = number_of(owned(PyObject_CallMethodNoArgs(socket, names().fileno)));
    const long family = number_of(owned(PyObject_GetAttrString(socket, "family")));
    const long type = number_of(owned(PyObject_GetAttrString(socket, "type")));
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return layout::unknown;
    }
    if (fd < 0) {
        return layout::unknown;  // a closed one tells little
    }
    const bool found = Py_TYPE(socket)->tp_basicsize >= Py_ssize_t{sizeof(socket_fields)} &&
                       fields->fd == fd && fields->family == family &&
                       (fields->type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == type;
    return found ? layout::as_above : layout::other;
}

}  // namespace

int descriptor_of_socket(PyObject* socket) noexcept {
    if (known == layout::unknown) [[unlikely]] {
        known = check(socket);
    }
    if (known == layout::as_above) {
        return reinterpret_cast<const socket_fields*>(socket)->fd;
    }
    owned number(PyObject_CallMethodNoArgs(socket, names().fileno));
    return number ? static_cast<int>(PyLong_AsLong(number.get())) : -1;
}

bool is_stream_socket(PyObject* socket) noexcept {
    const int type = reinterpret_cast<const socket_fields*>(socket)->type;
    return known == layout::as_above && (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM;
}

}  // namespace ringlet::python
