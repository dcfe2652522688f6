// Stream transports: the socket object and the addresses, for who asks; most never do.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <new>

#include "python/native/socket_address.h"
#include "python/native/stream_names.h"
#include "python/native/stream_transport.h"

namespace ringlet::python {

struct socket_names {
    sockaddr_storage local;
    sockaddr_storage peer;
    socklen_t local_length;  // 0: not known
    socklen_t peer_length;
};

namespace {

// The socket object, made when somebody asks for it; borrowed. Null with an exception set.
PyObject* socket_of(stream_transport* self) noexcept {
    if (self->socket == nullptr && self->open) {
        owned number(PyLong_FromLong(self->fd));
        owned keywords(number ? Py_BuildValue("{s:O}", "fileno", number.get()) : nullptr);
        owned none(PyTuple_New(0));
        owned made(keywords && none ? PyObject_Call(stream_names().socket_class, none.get(),
                                                    keywords.get())
                                    : nullptr);
        if (!made) {
            return nullptr;
        }
        self->socket = made.release();  // whatever comes, it is what closes the descriptor now
        if (!owned(PyObject_CallMethodOneArg(self->socket, stream_names().setblocking, Py_False))) {
            return nullptr;
        }
    }
    if (self->socket == nullptr) {
        PyErr_SetString(PyExc_ValueError, "the transport is closed");
    }
    return self->socket;
}

PyObject* address_of(stream_transport* self, bool peer) noexcept {
    const socket_names* const names = self->addresses;
    const socklen_t length =
        names == nullptr ? 0 : peer ? names->peer_length : names->local_length;
    if (length == 0) {
        Py_RETURN_NONE;
    }
    return address_object(
        reinterpret_cast<const sockaddr*>(peer ? &names->peer : &names->local), length);
}

// One of the three that every transport knows: a new reference; null without an exception for
// other names.
PyObject* known_extra(stream_transport* self, PyObject* name) noexcept {
    const stream_names_table& known = stream_names();
    const bool peer = PyUnicode_Compare(name, known.peername) == 0;
    if (peer || PyUnicode_Compare(name, known.sockname) == 0) {
        return address_of(self, peer);
    }
    if (PyUnicode_Compare(name, known.socket) != 0) {
        return nullptr;
    }
    if (self->socket == nullptr && !self->open) {
        Py_RETURN_NONE;
    }
    PyObject* const socket = socket_of(self);
    return socket != nullptr ? PyObject_CallOneArg(known.transport_socket, socket) : nullptr;
}

PyObject* extra_of(stream_transport* self) noexcept {
    if (self->extra == nullptr) {
        self->extra = PyDict_New();
    }
    return self->extra;
}

// The value of `name`, looked up once; borrowed. Null without an exception when there is none.
PyObject* find_extra(stream_transport* self, PyObject* name) noexcept {
    PyObject* const extra = extra_of(self);
    if (extra == nullptr) {
        return nullptr;
    }
    PyObject* const found = PyDict_GetItemWithError(extra, name);
    if (found != nullptr || PyErr_Occurred() || !PyUnicode_Check(name)) {
        return found;
    }
    owned made(known_extra(self, name));
    return made && PyDict_SetItem(extra, name, made.get()) == 0 ? made.get() : nullptr;
}

}  // namespace

void remember_addresses(stream_transport* self) noexcept {
    socket_names both;
    both.local_length = both.peer_length = sizeof(sockaddr_storage);
    if (::getsockname(self->fd, reinterpret_cast<sockaddr*>(&both.local),
                      &both.local_length) != 0) {
        both.local_length = 0;
    }
    if (::getpeername(self->fd, reinterpret_cast<sockaddr*>(&both.peer), &both.peer_length) != 0) {
        both.peer_length = 0;
    }
    self->addresses = new (std::nothrow) socket_names(both);
    if (both.local_length > 0 && both.local.ss_family != AF_UNIX) {
        // Small writes are sent without waiting for the peer's acknowledgement of others.
        const int one = 1;
        ::setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
}

void forget_addresses(stream_transport* self) noexcept {
    delete std::exchange(self->addresses, nullptr);
}

PyObject* stream_get_extra_info(PyObject* object, PyObject* const* arguments, Py_ssize_t count,
                         PyObject* keywords) noexcept {
    const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
    PyObject* name = count > 0 ? arguments[0] : nullptr;
    PyObject* otherwise = count > 1 ? arguments[1] : Py_None;
    for (Py_ssize_t i = 0; i < named; ++i) {
        PyObject* const keyword = PyTuple_GET_ITEM(keywords, i);
        const bool is_name = PyUnicode_CompareWithASCIIString(keyword, "name") == 0;
        if (!is_name && PyUnicode_CompareWithASCIIString(keyword, "default") != 0) {
            PyErr_Format(PyExc_TypeError,
                         "get_extra_info() got an unexpected keyword argument '%U'", keyword);
            return nullptr;
        }
        (is_name ? name : otherwise) = arguments[count + i];
    }
    if (name == nullptr || count > 2) {
        PyErr_SetString(PyExc_TypeError, "get_extra_info() wants a name and maybe a default");
        return nullptr;
    }
    PyObject* const found = find_extra(as_stream(object), name);
    if (found == nullptr && PyErr_Occurred()) {
        return nullptr;
    }
    return new_reference(found != nullptr ? found : otherwise);
}

PyObject* stream_get_extra(PyObject* object, void*) noexcept {
    stream_transport* const self = as_stream(object);
    for (PyObject* const name : {stream_names().socket, stream_names().sockname,
                                 stream_names().peername}) {
        if (find_extra(self, name) == nullptr && PyErr_Occurred()) {
            return nullptr;
        }
    }
    return new_reference(self->extra);
}

PyObject* stream_get_socket(PyObject* object, void*) noexcept {
    stream_transport* const self = as_stream(object);
    if (self->lost || !self->open) {
        Py_RETURN_NONE;
    }
    PyObject* const socket = socket_of(self);
    return socket != nullptr ? new_reference(socket) : nullptr;
}

}  // namespace ringlet::python
