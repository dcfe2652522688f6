// What sock_recv and its siblings return: an awaitable that does one call on a socket of the
// user's, asyncio's coroutines of these names without their frames. Nothing happens before it is
// awaited (or made a task: it is registered as a collections.abc.Coroutine).
//
// The call is tried at once. Only when it would block does it wait, with a poll operation and an
// asyncio.Future that the task waits for, and tries again then: a poll takes nothing out of the
// socket, so that a cancelled wait loses nothing. Any number may wait on one socket, in no
// particular order. A socket that is closed meanwhile stays open beneath its waiters until they are
// cancelled.
//
// Sockets that are not exactly of socket.socket's type are left to asyncio's own methods.
#pragma once

#include "python/native/loop_object.h"

namespace ringlet::python {

// Readies the type and adds it to the module as SocketCall; false with an exception set.
bool set_up_socket_calls(PyObject* module) noexcept;

PyObject* loop_sock_recv(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_sock_recv_into(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_sock_recvfrom(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_sock_recvfrom_into(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_sock_sendall(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_sock_sendto(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_sock_accept(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;

}  // namespace ringlet::python
