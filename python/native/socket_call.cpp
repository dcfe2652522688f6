#include "python/native/socket_call.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <new>

#include "python/native/names.h"
#include "python/native/socket_fields.h"
#include "python/native/socket_try.h"
#include "python/native/socket_wait.h"

namespace ringlet::python {
namespace {

enum class call_kind : std::uint8_t {
    recv,
    recv_into,
    recvfrom,
    recvfrom_into,
    sendall,
    sendto,
    accept
};
constexpr int kinds = 7;

enum class call_state : std::uint8_t { fresh, waiting, finished };

struct socket_call {
    PyObject_HEAD
    loop_object* loop;
    PyObject* socket;
    PyObject* arguments[2];  // after the socket
    Py_buffer view;          // of what sendall has to send, `obj` null when not held
    Py_ssize_t sent;
    loop_wait* wait;         // while it waits
    call_kind kind;
    call_state state;
};

// What is different from kind to kind, and known once the module is imported.
struct kind_of_call {
    const char* name;
    const char* qualified_name;
    const char* socket_method;      // null: done by a system call of ours
    const char* argument_names[3];  // the socket's first
    Py_ssize_t least, most;         // how many of them
    bool writes;
    PyObject* method;    // `socket_method` interned
    PyObject* fallback;  // asyncio's own function; before 3.11 not all are there
};

kind_of_call kind_table[kinds] = {
    {"sock_recv", "EventLoop.sock_recv", nullptr, {"sock", "n"}, 2, 2, false, nullptr, nullptr},
    {"sock_recv_into", "EventLoop.sock_recv_into", nullptr, {"sock", "buf"}, 2, 2, false, nullptr,
     nullptr},
    {"sock_recvfrom", "EventLoop.sock_recvfrom", "recvfrom", {"sock", "bufsize"}, 2, 2, false,
     nullptr, nullptr},
    {"sock_recvfrom_into", "EventLoop.sock_recvfrom_into", "recvfrom_into",
     {"sock", "buf", "nbytes"}, 2, 3, false, nullptr, nullptr},
    {"sock_sendall", "EventLoop.sock_sendall", nullptr, {"sock", "data"}, 2, 2, true, nullptr,
     nullptr},
    {"sock_sendto", "EventLoop.sock_sendto", "sendto", {"sock", "data", "address"}, 3, 3, true,
     nullptr, nullptr},
    {"sock_accept", "EventLoop.sock_accept", "accept", {"sock"}, 1, 1, false, nullptr, nullptr}};

kind_of_call& about(call_kind kind) noexcept { return kind_table[static_cast<int>(kind)]; }

PyTypeObject* socket_type = nullptr;  // socket.socket

socket_call* as_call(PyObject* object) noexcept { return reinterpret_cast<socket_call*>(object); }

// -1 with an exception set, or for a socket that is closed. Before 3.11 others than socket.socket's
// may come here.
int descriptor_of(PyObject* socket) noexcept {
    if (Py_TYPE(socket) == socket_type) [[likely]] {
        return descriptor_of_socket(socket);
    }
    owned number(PyObject_CallMethodNoArgs(socket, names().fileno));
    return number ? static_cast<int>(PyLong_AsLong(number.get())) : -1;
}

// The turn in which a receive got all that a stream had, by descriptor: another one in this turn
// will have to wait, and the poll that it asks for at once tells soon enough if that is wrong.
constexpr unsigned descriptors_remembered = 4096;
std::uint64_t drained[descriptors_remembered];  // guarded by the GIL

std::uint64_t& drained_at(int fd) noexcept {
    return drained[static_cast<unsigned>(fd) % descriptors_remembered];
}

attempt receive_some(socket_call* call, int fd, PyObject*& result) noexcept {
    if (call->state == call_state::fresh && fd >= 0 && drained_at(fd) == call->loop->turn &&
        call->loop->turn != 0 && is_stream_socket(call->socket)) {
        drained_at(fd) = 0;
        return attempt::would_block;
    }
    bool all = false;
    const attempt how = call->kind == call_kind::recv
                            ? receive(fd, call->arguments[0], result, all)
                            : receive_into(fd, call->arguments[0], result, all);
    if (how == attempt::done && fd >= 0) {
        drained_at(fd) = all ? call->loop->turn : 0;
    }
    return how;
}

attempt send_all(socket_call* call, int fd, PyObject*& result) noexcept {
    if (call->view.obj == nullptr &&
        PyObject_GetBuffer(call->arguments[0], &call->view, PyBUF_SIMPLE) < 0) {
        return attempt::failed;
    }
    const attempt how = send_rest(fd, call->view, call->sent);
    if (how == attempt::done) {
        result = new_reference(Py_None);
    }
    return how;
}

// recvfrom_into takes the size of the buffer for a size of zero.
attempt receive_from_into(socket_call* call, PyObject*& result) noexcept {
    PyObject* const given = call->arguments[1];
    const int sized = given == nullptr ? 0 : PyObject_IsTrue(given);
    if (sized < 0) {
        return attempt::failed;
    }
    const Py_ssize_t length = sized != 0 ? 0 : PyObject_Length(call->arguments[0]);
    owned size = sized != 0 ? owned::share(given)
                            : owned(length < 0 ? nullptr : PyLong_FromSsize_t(length));
    PyObject* const passed[] = {call->socket, call->arguments[0], size.get()};
    return size ? call_method(about(call->kind).method, passed, 3, result) : attempt::failed;
}

attempt accept_one(socket_call* call, PyObject*& result) noexcept {
    PyObject* got = nullptr;
    const attempt how = call_method(about(call->kind).method, &call->socket, 1, got);
    if (how != attempt::done) {
        return how;
    }
    owned pair(got);
    PyObject* const connection = PyTuple_GetItem(pair.get(), 0);
    if (connection == nullptr ||
        !owned(PyObject_CallMethod(connection, "setblocking", "O", Py_False))) {
        return attempt::failed;
    }
    result = pair.release();
    return attempt::done;
}

attempt try_call(socket_call* call, PyObject*& result) noexcept {
    switch (call->kind) {
        case call_kind::recvfrom_into: return receive_from_into(call, result);
        case call_kind::accept: return accept_one(call, result);
        case call_kind::recvfrom:
        case call_kind::sendto: {
            PyObject* const passed[] = {call->socket, call->arguments[0], call->arguments[1]};
            return call_method(about(call->kind).method, passed,
                               passed[2] != nullptr ? 3 : 2, result);
        }
        default: break;
    }
    const int fd = descriptor_of(call->socket);
    if (fd < 0 && PyErr_Occurred()) {
        return attempt::failed;
    }
    switch (call->kind) {
        case call_kind::recv:
        case call_kind::recv_into: return receive_some(call, fd, result);
        default: return send_all(call, fd, result);
    }
}

// --- waiting ---

void end_wait(operation& op, const completion& what) noexcept {
    auto& wait = static_cast<socket_wait&>(op);
    loop_object* const loop = wait.loop;
    const owned future = take_kept(wait);
    if (!future || what.result == -ECANCELED) {
        return;
    }
    end_future(loop, future.get(), Py_None);  // whatever the poll says, the next try tells better
}

// Starts to wait; returns the future to be yielded, null with an exception set.
PyObject* wait_for(socket_call* call) noexcept {
    loop_object* const loop = call->loop;
    const int fd = descriptor_of(call->socket);
    if (fd < 0) {
        return PyErr_Occurred() ? nullptr : raise_errno(EBADF);
    }
    if (!check_open(loop) || !check_no_transport(loop, fd)) {
        return nullptr;
    }
    if (loop->thread_state != nullptr) {  // another thread runs it
        PyErr_SetString(PyExc_RuntimeError,
                        "Non-thread-safe operation invoked on an event loop other than the "
                        "current one");
        return nullptr;
    }
    owned future(loop_create_future(as_object(loop), nullptr));
    if (!future || PyObject_SetAttr(future.get(), names().future_blocking, Py_True) < 0) {
        return nullptr;
    }
    auto* const wait =
        new (std::nothrow) socket_wait(loop, end_wait, future.get(), &call->wait);
    if (wait == nullptr) {
        return PyErr_NoMemory();
    }
    wait->prepare_poll(fd, about(call->kind).writes ? POLLOUT : POLLIN, false);
    loop->core->start(*wait);
    return future.release();
}

// --- the awaitable ---

void finish(socket_call* call) noexcept {
    call->state = call_state::finished;
    if (call->view.obj != nullptr) {
        PyBuffer_Release(&call->view);
    }
    if (call->wait != nullptr) {
        call->wait->abandon();
    }
    Py_CLEAR(call->arguments[0]);
    Py_CLEAR(call->arguments[1]);
    Py_CLEAR(call->socket);
}

bool check_non_blocking(socket_call* call) noexcept {
    owned timeout(PyObject_CallMethod(call->socket, "gettimeout", nullptr));
    owned zero(PyLong_FromLong(0));
    const int differs = timeout && zero ? PyObject_RichCompareBool(timeout.get(), zero.get(), Py_NE)
                                        : -1;
    if (differs > 0) {
        PyErr_SetString(PyExc_ValueError, "the socket must be non-blocking");
    }
    return differs == 0;
}

// One step: done with a result, would_block with the future to yield, or failed.
attempt step(socket_call* call, PyObject*& result) noexcept {
    result = nullptr;
    if (call->state == call_state::finished) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return attempt::failed;
    }
    if (call->wait != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return attempt::failed;
    }
    attempt how = attempt::failed;
    if (call->state == call_state::waiting || !call->loop->debug || check_non_blocking(call)) {
        how = try_call(call, result);
        call->state = call_state::waiting;
    }
    if (how == attempt::would_block) {
        result = wait_for(call);
        if (result != nullptr) {
            return how;
        }
        how = attempt::failed;
    }
    if (how == attempt::failed) {
        owned exception = take_exception();
        finish(call);
        raise_again(std::move(exception));
    } else {
        finish(call);
    }
    return how;
}

// Ends an iteration with a value, which StopIteration carries. Returns null.
PyObject* stop_with(owned value) noexcept {
    if (value.get() == Py_None) {
        return nullptr;
    }
    // A tuple would be taken for the arguments of StopIteration.
    owned stop(PyObject_CallFunctionObjArgs(PyExc_StopIteration, value.get(), nullptr));
    if (stop) {
        PyErr_SetObject(PyExc_StopIteration, stop.get());
    }
    return nullptr;
}

PyObject* iterate(PyObject* self) noexcept {
    PyObject* result;
    const attempt how = step(as_call(self), result);
    return how == attempt::done ? stop_with(owned(result)) : result;
}

PyObject* send(PyObject* self, PyObject*) noexcept {
    PyObject* const result = iterate(self);
    if (result == nullptr && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

#if PY_VERSION_HEX >= 0x030a0000
PySendResult send_fast(PyObject* self, PyObject*, PyObject** result) noexcept {
    switch (step(as_call(self), *result)) {
        case attempt::done: return PYGEN_RETURN;
        case attempt::would_block: return PYGEN_NEXT;
        default: return PYGEN_ERROR;
    }
}
#endif

PyObject* throw_in(PyObject* self, PyObject* arguments) noexcept {
    PyObject* type = nullptr;
    PyObject* value = nullptr;
    PyObject* traceback = nullptr;
    if (!PyArg_UnpackTuple(arguments, "throw", 1, 3, &type, &value, &traceback)) {
        return nullptr;
    }
    finish(as_call(self));
    if (PyExceptionInstance_Check(type)) {
        PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(type)), type);
    } else if (PyExceptionClass_Check(type)) {
        PyErr_SetObject(type, value);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "exceptions must be classes or instances deriving from BaseException, not %s",
                     Py_TYPE(type)->tp_name);
    }
    return nullptr;
}

PyObject* close(PyObject* self, PyObject*) noexcept {
    finish(as_call(self));
    Py_RETURN_NONE;
}

int traverse(PyObject* self, visitproc visit, void* arg) noexcept {
    socket_call* const call = as_call(self);
    Py_VISIT(call->loop);
    Py_VISIT(call->socket);
    Py_VISIT(call->arguments[0]);
    Py_VISIT(call->arguments[1]);
    Py_VISIT(call->view.obj);
    return 0;
}

void warn_never_awaited(socket_call* call) noexcept {
    owned exception = take_exception();
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited",
                         about(call->kind).qualified_name) < 0) {
        PyErr_WriteUnraisable(nullptr);
    }
    if (exception) {
        raise_again(std::move(exception));
    }
}

int clear(PyObject* self) noexcept {
    finish(as_call(self));
    return 0;
}

void deallocate(PyObject* self) noexcept {
    PyObject_GC_UnTrack(self);
    socket_call* const call = as_call(self);
    if (call->state == call_state::fresh) {
        warn_never_awaited(call);
    }
    finish(call);
    Py_DECREF(call->loop);
    PyObject_GC_Del(self);
}

PyObject* get_name(PyObject* self, void*) noexcept {
    return PyUnicode_FromString(about(as_call(self)->kind).name);
}

PyObject* get_qualified_name(PyObject* self, void*) noexcept {
    return PyUnicode_FromString(about(as_call(self)->kind).qualified_name);
}

PyObject* get_awaited(PyObject* self, void*) noexcept {
    socket_call* const call = as_call(self);
    return new_reference(call->wait != nullptr && call->wait->kept != nullptr
                             ? call->wait->kept
                             : Py_None);
}

PyObject* represent(PyObject* self) noexcept {
    return PyUnicode_FromFormat("<coroutine object %s at %p>",
                                about(as_call(self)->kind).qualified_name, self);
}

PyMethodDef methods[] = {
    {"send", send, METH_O, "See collections.abc.Coroutine."},
    {"throw", throw_in, METH_VARARGS, "See collections.abc.Coroutine."},
    {"close", close, METH_NOARGS, "See collections.abc.Coroutine."},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef attributes[] = {
    {"__name__", get_name, nullptr, "The loop's method that made it.", nullptr},
    {"__qualname__", get_qualified_name, nullptr, "The same, with the class.", nullptr},
    {"cr_await", get_awaited, nullptr, "The future it waits for, or None.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyAsyncMethods async_methods;
PyTypeObject type = {PyVarObject_HEAD_INIT(nullptr, 0)};

// --- the loop's methods ---

bool place_keyword(const kind_of_call& kind, PyObject* keyword, PyObject* value,
                   PyObject** places) noexcept {
    for (Py_ssize_t i = 0; i < kind.most; ++i) {
        if (PyUnicode_CompareWithASCIIString(keyword, kind.argument_names[i]) != 0) {
            continue;
        }
        if (places[i] != nullptr) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", kind.name,
                         keyword);
            return false;
        }
        places[i] = value;
        return true;
    }
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", kind.name,
                 keyword);
    return false;
}

bool take_arguments(const kind_of_call& kind, PyObject* const* arguments, Py_ssize_t count,
                    PyObject* keywords, PyObject** places) noexcept {
    if (count > kind.most) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd positional arguments but %zd were given",
                     kind.name, kind.most + 1, count + 1);
        return false;
    }
    std::copy(arguments, arguments + count, places);
    const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t i = 0; i < named; ++i) {
        if (!place_keyword(kind, PyTuple_GET_ITEM(keywords, i), arguments[count + i], places)) {
            return false;
        }
    }
    for (Py_ssize_t i = 0; i < kind.least; ++i) {
        if (places[i] == nullptr) {
            PyErr_Format(PyExc_TypeError, "%s() missing a required argument: '%s'", kind.name,
                         kind.argument_names[i]);
            return false;
        }
    }
    return true;
}

PyObject* make_call(PyObject* self, call_kind kind, PyObject* const* arguments, Py_ssize_t count,
                    PyObject* keywords) noexcept {
    const kind_of_call& what = about(kind);
    PyObject* places[3] = {};
    if (!take_arguments(what, arguments, count, keywords, places)) {
        return nullptr;
    }
    if (Py_TYPE(places[0]) != socket_type && what.fallback != nullptr) {
        PyObject* passed[4] = {self, places[0], places[1], places[2]};
        const std::size_t given = 2 + (places[1] != nullptr) + (places[2] != nullptr);
        return PyObject_Vectorcall(what.fallback, passed, given, nullptr);
    }
    auto* const call = PyObject_GC_New(socket_call, &type);
    if (call == nullptr) {
        return nullptr;
    }
    call->loop = as_loop(new_reference(self));
    call->socket = new_reference(places[0]);
    for (int i = 0; i < 2; ++i) {
        Py_XINCREF(places[1 + i]);
        call->arguments[i] = places[1 + i];
    }
    call->view.obj = nullptr;
    call->sent = 0;
    call->wait = nullptr;
    call->kind = kind;
    call->state = call_state::fresh;
    PyObject_GC_Track(call);
    return reinterpret_cast<PyObject*>(call);
}

}  // namespace

bool set_up_socket_calls(PyObject* module) noexcept {
    owned sockets(PyImport_ImportModule("socket"));
    owned asyncio(PyImport_ImportModule("asyncio"));
    owned base(asyncio ? PyObject_GetAttrString(asyncio.get(), "SelectorEventLoop") : nullptr);
    PyObject* const of = sockets ? PyObject_GetAttrString(sockets.get(), "socket") : nullptr;
    if (!base || of == nullptr) {
        return false;
    }
    socket_type = reinterpret_cast<PyTypeObject*>(of);
    for (kind_of_call& each : kind_table) {
        each.fallback = PyObject_GetAttrString(base.get(), each.name);
        if (each.fallback == nullptr) {
            PyErr_Clear();
        }
        each.method = each.socket_method != nullptr
                          ? PyUnicode_InternFromString(each.socket_method)
                          : nullptr;
        if (each.socket_method != nullptr && each.method == nullptr) {
            return false;
        }
    }
    type.tp_name = "ringlet._native.SocketCall";
    type.tp_doc = "A call on a socket, to be awaited.";
    type.tp_basicsize = sizeof(socket_call);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC;
#if PY_VERSION_HEX >= 0x030a0000
    type.tp_flags |= Py_TPFLAGS_DISALLOW_INSTANTIATION;
    async_methods.am_send = send_fast;
#endif
    async_methods.am_await = new_reference;
    type.tp_as_async = &async_methods;
    type.tp_iternext = iterate;
    type.tp_dealloc = deallocate;
    type.tp_traverse = traverse;
    type.tp_clear = clear;
    type.tp_repr = represent;
    type.tp_methods = methods;
    type.tp_getset = attributes;
    return PyType_Ready(&type) == 0 && PyModule_AddType(module, &type) == 0;
}

PyObject* loop_sock_recv(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                         PyObject* keywords) noexcept {
    return make_call(self, call_kind::recv, arguments, count, keywords);
}

PyObject* loop_sock_recv_into(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                              PyObject* keywords) noexcept {
    return make_call(self, call_kind::recv_into, arguments, count, keywords);
}

PyObject* loop_sock_recvfrom(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                             PyObject* keywords) noexcept {
    return make_call(self, call_kind::recvfrom, arguments, count, keywords);
}

PyObject* loop_sock_recvfrom_into(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                                  PyObject* keywords) noexcept {
    return make_call(self, call_kind::recvfrom_into, arguments, count, keywords);
}

PyObject* loop_sock_sendall(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                            PyObject* keywords) noexcept {
    return make_call(self, call_kind::sendall, arguments, count, keywords);
}

PyObject* loop_sock_sendto(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                           PyObject* keywords) noexcept {
    return make_call(self, call_kind::sendto, arguments, count, keywords);
}

PyObject* loop_sock_accept(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                           PyObject* keywords) noexcept {
    return make_call(self, call_kind::accept, arguments, count, keywords);
}

}  // namespace ringlet::python
