#include "python/native/acceptor.h"

#include <unistd.h>

#include <cerrno>
#include <memory>
#include <new>

#include "core/operation.h"
#include "python/native/context.h"
#include "python/native/live_owner.h"
#include "python/native/loop_object.h"
#include "python/native/stream_names.h"
#include "python/native/stream_transport.h"

namespace ringlet::python {
namespace {

struct acceptor;

struct accept_operation : operation {
    accept_operation(acceptor* a, handler on_complete) noexcept
        : operation(on_complete), owner(a) {}
    acceptor* const owner;
};

struct acceptor {
    PyObject_HEAD
    loop_object* loop;
    PyObject* factory;    // of protocols
    PyObject* transport;  // the class of transports
    PyObject* server;     // or None
    PyObject* take;       // called with a descriptor, when there is no factory or in debug mode
    PyObject* failed;     // called with an OSError; accepting has ended by it
    PyObject* context;
    live_owner life;
    accept_operation accept;
    int fd;
    bool closed;
};

PyTypeObject type = {PyVarObject_HEAD_INIT(nullptr, 0)};

acceptor* as_acceptor(PyObject* object) noexcept { return reinterpret_cast<acceptor*>(object); }

bool has_core(const acceptor* self) noexcept {
    return self->loop != nullptr && self->loop->core != nullptr;
}

void start(acceptor* self) noexcept {
    self->accept.prepare_accept(self->fd);
    self->loop->core->start(self->accept);
    self->life.keep(self->loop->owners, true);
}

// What goes wrong here is the connection's end, which nobody but debug mode hears of: as CPython.
void ignore_failure(acceptor* self) noexcept {
    if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
        PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        report(self->loop, "Error on transport creation for incoming connection");
    } else {
        PyErr_Clear();
    }
}

// Calls it in `context`; a null argument is none.
owned call_in(PyObject* context, PyObject* function, PyObject* argument) noexcept {
    entered_context entered(context);
    owned called = owned::share(function);
    if (!entered) {
        return {};
    }
    return owned(argument != nullptr ? PyObject_CallOneArg(function, argument)
                                     : PyObject_CallNoArgs(function));
}

// For Python code to make a transport of.
void hand_over(acceptor* self, PyObject* context, int fd) noexcept {
    owned number(PyLong_FromLong(fd));
    if (!number) {
        close_descriptor(self->loop, fd);
    }
    if (!number || !call_in(context, self->take, number.get())) {
        report(self->loop, "Error on transport creation for incoming connection");
    }
}

void take_connection(acceptor* self, int fd) noexcept {
    owned context(PyContext_Copy(self->context));
    if (context && (self->factory == Py_None || self->loop->debug)) {
        hand_over(self, context.get(), fd);
        return;
    }
    owned protocol = context ? call_in(context.get(), self->factory, nullptr) : owned();
    if (!protocol) {
        close_descriptor(self->loop, fd);
        ignore_failure(self);
        return;
    }
    owned made(make_stream_transport(reinterpret_cast<PyTypeObject*>(self->transport), self->loop,
                                     fd, context.get(), protocol.get(), self->server));
    if (!made) {
        ignore_failure(self);
    }
}

void take_failure(acceptor* self, int error) noexcept {
    raise_errno(error);
    owned exception = take_exception();
    self->closed = true;
    if (!call_in(self->context, self->failed, exception.get())) {
        report(self->loop, "socket.accept() failed");
    }
}

void accepted(operation& op, const completion& what) noexcept {
    acceptor* const self = static_cast<accept_operation&>(op).owner;
    if (!has_core(self)) {  // the loop is being closed, and lets go of its owners by itself
        if (what.result >= 0) {
            ::close(what.result);
        }
        return;
    }
    Py_INCREF(self);
    slow_watch watch(self->loop, reinterpret_cast<PyObject*>(self));
    if (what.result >= 0 && self->closed) {
        close_descriptor(self->loop, what.result);
    } else if (what.result >= 0) {
        take_connection(self, what.result);
    } else if (!self->closed && what.result != -ECONNABORTED && what.result != -EINTR &&
               what.result != -EAGAIN) {
        take_failure(self, -what.result);
    }
    if (!what.more && has_core(self)) {
        if (!self->closed) {
            start(self);
        } else {
            self->life.keep(self->loop->owners, false);
        }
    }
    Py_DECREF(self);
}

void nothing(PyObject*) noexcept {}

PyObject* make(PyTypeObject* of, PyObject*, PyObject*) noexcept {
    PyObject* const object = of->tp_alloc(of, 0);
    if (object != nullptr) {
        acceptor* const self = as_acceptor(object);
        ::new (&self->life) live_owner(object, nothing, nothing);
        ::new (&self->accept) accept_operation(self, accepted);
        self->closed = true;
    }
    return object;
}

// Acceptor(loop, fd, factory, transport_class, server, take, failed)
int initialize(PyObject* object, PyObject* arguments, PyObject*) noexcept {
    acceptor* const self = as_acceptor(object);
    PyObject* loop;
    PyObject* parts[5];
    int fd;
    if (self->loop != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "the acceptor is made already");
        return -1;
    }
    if (!PyArg_ParseTuple(arguments, "O!iOO!OOO", loop_type, &loop, &fd, &parts[0], &PyType_Type,
                          &parts[1], &parts[2], &parts[3], &parts[4])) {
        return -1;
    }
    if (!check_open(as_loop(loop))) {
        return -1;
    }
    self->context = PyContext_CopyCurrent();
    if (self->context == nullptr) {
        return -1;
    }
    self->loop = as_loop(new_reference(loop));
    self->factory = new_reference(parts[0]);
    self->transport = new_reference(parts[1]);
    self->server = new_reference(parts[2]);
    self->take = new_reference(parts[3]);
    self->failed = new_reference(parts[4]);
    self->fd = fd;
    self->closed = false;
    start(self);
    return 0;
}

PyObject* close(PyObject* object, PyObject*) noexcept {
    acceptor* const self = as_acceptor(object);
    if (!std::exchange(self->closed, true) && has_core(self)) {
        self->loop->core->cancel(self->accept);
        self->loop->core->driver().let_go();
        end_other_waits(self->loop, self->fd);
        self->loop->core->driver().release(self->fd);
    }
    Py_RETURN_NONE;
}

int traverse(PyObject* object, visitproc visit, void* arg) noexcept {
    acceptor* const self = as_acceptor(object);
    Py_VISIT(self->loop);
    Py_VISIT(self->factory);
    Py_VISIT(self->transport);
    Py_VISIT(self->server);
    Py_VISIT(self->take);
    Py_VISIT(self->failed);
    Py_VISIT(self->context);
    return 0;
}

// Of garbage only; its operation, if active, ends with the loop, which is garbage too.
int clear(PyObject* object) noexcept {
    acceptor* const self = as_acceptor(object);
    self->closed = true;
    Py_CLEAR(self->factory);
    Py_CLEAR(self->transport);
    Py_CLEAR(self->server);
    Py_CLEAR(self->take);
    Py_CLEAR(self->failed);
    Py_CLEAR(self->context);
    return 0;
}

void deallocate(PyObject* object) noexcept {
    acceptor* const self = as_acceptor(object);
    PyObject_GC_UnTrack(object);
    clear(object);
    Py_CLEAR(self->loop);
    std::destroy_at(&self->accept);
    std::destroy_at(&self->life);
    Py_TYPE(object)->tp_free(object);
}

PyMethodDef methods[] = {
    {"close", close, METH_NOARGS, "Ends accepting; the socket may be closed then."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool set_up_acceptors(PyObject* module) noexcept {
    type.tp_name = "ringlet._native.Acceptor";
    type.tp_doc = "Takes the connections of a listening socket.";
    type.tp_basicsize = sizeof(acceptor);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC;
    type.tp_new = make;
    type.tp_init = initialize;
    type.tp_dealloc = deallocate;
    type.tp_traverse = traverse;
    type.tp_clear = clear;
    type.tp_methods = methods;
    return PyType_Ready(&type) == 0 && PyModule_AddType(module, &type) == 0;
}

}  // namespace ringlet::python
