// The type `_native.StreamTransport`: its life, its attributes, its end.
#include "python/native/stream_transport.h"

#include <unistd.h>

#include <memory>
#include <new>

#include "python/native/names.h"
#include "python/native/stream_names.h"
#include "python/native/stream_reader.h"

namespace ringlet::python {

namespace {

constexpr Py_ssize_t default_high_water = 64 * 1024;

// Before the loop is closed: nothing of ours may be queued in it any more.
void forget(PyObject* object) noexcept {
    stream_transport* const self = as_stream(object);
    self->loop->core->forget(self->end_of_turn);
}

// What was lost before, and kept its descriptor for an operation, closes it.
void ended(PyObject* object) noexcept { close_when_idle(as_stream(object)); }

PyObject* make(PyTypeObject* type, PyObject*, PyObject*) noexcept {
    PyObject* const object = type->tp_alloc(type, 0);
    if (object == nullptr) {
        return nullptr;
    }
    // tp_alloc gave zeroes; what has a constructor is made here.
    stream_transport* const self = as_stream(object);
    ::new (&self->life) live_owner(object, forget, ended);
    ::new (&self->receive) stream_operation(self, stream_received);
    ::new (&self->send) stream_operation(self, stream_sent);
    ::new (&self->end_of_turn) stream_work(self, stream_end_of_turn);
    ::new (&self->output) stream_output();
    self->fd = -1;
    self->closing = 1;  // until it is initialized
    self->conn_lost = 1;
    self->lost = true;
    self->high_water = default_high_water;
    self->low_water = default_high_water / 4;
    return object;
}

int traverse(PyObject* object, visitproc visit, void* arg) noexcept {
    stream_transport* const self = as_stream(object);
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->extra);
    Py_VISIT(self->loop);
    Py_VISIT(self->protocol);
    Py_VISIT(self->socket);
    Py_VISIT(self->server);
    Py_VISIT(self->context);
    Py_VISIT(self->empty_waiter);
    Py_VISIT(self->reader);
    Py_VISIT(self->kept);
    return 0;
}

void drop_protocol(stream_transport* self) noexcept {
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->reader);
}

// Only ever of garbage, which no longer wants to hear anything. Its operations, if any are active,
// end with the loop, which is garbage too.
int clear(PyObject* object) noexcept {
    stream_transport* const self = as_stream(object);
    self->closing = 1;
    drop_protocol(self);
    Py_CLEAR(self->extra);
    Py_CLEAR(self->server);
    Py_CLEAR(self->context);
    Py_CLEAR(self->empty_waiter);
    Py_CLEAR(self->kept);
    return 0;
}

void close_descriptor(stream_transport* self) noexcept {
    if (!std::exchange(self->open, false)) {
        return;
    }
    if (self->socket == nullptr) {
        if (has_core(self)) {
            close_descriptor(self->loop, self->fd);
        } else {
            ::close(self->fd);
        }
        return;
    }
    if (has_core(self)) {
        end_other_waits(self->loop, self->fd);
        self->loop->core->driver().release(self->fd);
    }
    owned exception = take_exception();
    if (!owned(PyObject_CallMethodNoArgs(self->socket, stream_names().close))) {
        PyErr_WriteUnraisable(self->socket);  // not the transport, which may be on its way out
    }
    if (exception) {
        raise_again(std::move(exception));
    }
}

// Server._attach or _detach. False with exception set.
bool tell_server(stream_transport* self, PyObject* method) noexcept {
    PyObject* const passed[] = {self->server, as_object(self)};
    return owned(PyObject_VectorcallMethod(method, passed,
                                           stream_names().server_wants_transport ? 2 : 1, nullptr))
        .operator bool();
}

void finalize(PyObject* object) noexcept {
    stream_transport* const self = as_stream(object);
    if (!self->open) {
        return;
    }
    if (self->lost) {  // and the loop was closed before the last operation ended
        close_when_idle(self);
        return;
    }
    owned exception = take_exception();
    if (PyErr_ResourceWarning(object, 1, "unclosed transport %R", object) < 0 &&
        PyErr_ExceptionMatches(PyExc_Warning)) {
        PyErr_WriteUnraisable(object);
    }
    PyErr_Clear();
    self->lost = true;
    self->closing = 1;
    close_when_idle(self);
    if (self->server != nullptr && stream_names().server_wants_transport &&
        !tell_server(self, stream_names().detach)) {
        PyErr_WriteUnraisable(object);
    }
    if (exception) {
        raise_again(std::move(exception));
    }
}

void deallocate(PyObject* object) noexcept {
    PyTypeObject* const type = Py_TYPE(object);
    stream_transport* const self = as_stream(object);
    PyObject_GC_UnTrack(object);
    if (self->weak_references != nullptr) {
        PyObject_ClearWeakRefs(object);
    }
    if (has_core(self)) {
        self->loop->core->forget(self->end_of_turn);
    }
    close_descriptor(self);
    clear(object);
    drop_output(self);
    Py_CLEAR(self->socket);
    Py_CLEAR(self->loop);
    forget_addresses(self);
    std::destroy_at(&self->output);
    std::destroy_at(&self->end_of_turn);
    std::destroy_at(&self->send);
    std::destroy_at(&self->receive);
    std::destroy_at(&self->life);
    type->tp_free(object);
    Py_DECREF(type);
}

// --- setting up ---

bool register_transport(stream_transport* self) noexcept {
    owned transports(PyObject_GetAttr(as_object(self->loop), stream_names().transports));
    owned number(PyLong_FromLong(self->fd));
    return transports && number &&
           PyObject_SetItem(transports.get(), number.get(), as_object(self)) == 0;
}

// glibc's malloc gives what is free at its heap's end back to the kernel, from 128 KiB on, and
// takes it again, page by page, for the next messages. A block that was mapped by itself and is
// freed teaches it to keep twice as much; asyncio does that too, by its first receive of 256 KiB,
// but has the messages of one connection at a time in memory, and a turn here those of many.
void teach_malloc() noexcept {
    static bool taught = false;
    constexpr Py_ssize_t bytes = 1024 * 1024;
    if (!std::exchange(taught, true) && !owned(PyBytes_FromStringAndSize(nullptr, bytes))) {
        PyErr_Clear();
    }
}

// Everything CPython's constructor does. `self->fd` and `self->socket` are set and owned.
bool set_up(stream_transport* self, loop_object* loop, PyObject* protocol, PyObject* server,
            PyObject* waiter) noexcept {
    teach_malloc();
    self->loop = reinterpret_cast<loop_object*>(new_reference(as_object(loop)));
    self->closing = 0;
    self->conn_lost = 0;
    self->lost = false;
    if (self->context == nullptr) {
        self->context = PyContext_CopyCurrent();
    }
    if (self->context == nullptr || !adopt_protocol(self, protocol)) {
        return false;
    }
    remember_addresses(self);
    if (server != nullptr && server != Py_None) {
        self->server = new_reference(server);
        if (!tell_server(self, stream_names().attach)) {
            return false;
        }
    }
    owned made(PyObject_GetAttr(protocol, stream_names().connection_made));
    return register_transport(self) && made &&
           call_soon_in_context(self, made.get(), as_object(self)) &&
           call_later_in_loop(self, stream_names().begin_call,
                              waiter != nullptr ? waiter : Py_None);
}

int initialize(PyObject* object, PyObject* arguments, PyObject* keywords) noexcept {
    static const char* names[] = {"loop", "sock", "protocol", "waiter", "extra", "server", nullptr};
    PyObject* loop = nullptr;
    PyObject* socket = nullptr;
    PyObject* protocol = nullptr;
    PyObject* waiter = nullptr;
    PyObject* extra = nullptr;
    PyObject* server = nullptr;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!OO|OOO", const_cast<char**>(names),
                                     loop_type, &loop, &socket, &protocol, &waiter, &extra,
                                     &server)) {
        return -1;
    }
    stream_transport* const self = as_stream(object);
    if (self->loop != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "the transport is made already");
        return -1;
    }
    owned number(PyObject_CallMethodNoArgs(socket, stream_names().fileno));
    const long fd = number ? PyLong_AsLong(number.get()) : -1;
    if (fd < 0) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %ld", fd);
        }
        return -1;
    }
    if (extra != nullptr && extra != Py_None) {
        self->extra = PyDict_New();
        if (self->extra == nullptr || PyDict_Update(self->extra, extra) < 0) {
            return -1;
        }
    }
    self->fd = static_cast<int>(fd);
    self->socket = new_reference(socket);
    self->open = true;
    return set_up(self, as_loop(loop), protocol, server, waiter) ? 0 : -1;
}

// --- methods ---

// _begin(waiter): the protocol knows of the connection; now it may get data. Who waits for the
// transport gets it first: data comes a turn later then.
PyObject* begin(PyObject* object, PyObject* waiter) noexcept {
    stream_transport* const self = as_stream(object);
    if (self->reader != nullptr && self->server != nullptr) {
        adopt_writer(self->protocol);
    }
    if (waiter == Py_None) {
        self->begun = true;
        if (has_core(self)) {
            end_other_readers(self->loop, self->fd);
        }
        start_receiving(self);
        Py_RETURN_NONE;
    }
    owned cancelled(PyObject_CallMethodNoArgs(waiter, stream_names().cancelled));
    if (!cancelled || (cancelled.get() != Py_True &&
                       !owned(PyObject_CallMethodOneArg(waiter, stream_names().set_result,
                                                        Py_None)))) {
        return nullptr;
    }
    return call_later_in_loop(self, stream_names().begin_call, Py_None) ? new_reference(Py_None)
                                                                       : nullptr;
}

PyObject* close_softly(PyObject* object, PyObject*) noexcept {
    stream_transport* const self = as_stream(object);
    if (self->closing) {
        Py_RETURN_NONE;
    }
    self->closing = 1;
    stop_receiving(self);
    if (self->output.bytes == 0 && !schedule_connection_lost(self, Py_None)) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* abort(PyObject* object, PyObject*) noexcept {
    return force_close(as_stream(object), Py_None) ? new_reference(Py_None) : nullptr;
}

PyObject* method_force_close(PyObject* object, PyObject* exception) noexcept {
    return force_close(as_stream(object), exception) ? new_reference(Py_None) : nullptr;
}

// _call_connection_lost(exception)
PyObject* call_connection_lost(PyObject* object, PyObject* exception) noexcept {
    stream_transport* const self = as_stream(object);
    if (self->lost) {
        Py_RETURN_NONE;
    }
    owned answer;
    owned protocol = owned::share(self->protocol);
    if (self->protocol_connected && protocol) {
        answer = owned(PyObject_CallMethodOneArg(protocol.get(), stream_names().connection_lost,
                                                 exception));
    } else {
        answer = owned::share(Py_None);
    }
    owned raised = answer ? owned() : take_exception();
    self->lost = true;
    close_when_idle(self);
    drop_protocol(self);
    if (self->server != nullptr) {
        if (!tell_server(self, stream_names().detach) && !raised) {
            raised = take_exception();
        }
        PyErr_Clear();
        Py_CLEAR(self->server);
    }
    if (!raised && !fail_empty_waiter(self)) {
        return nullptr;
    }
    if (raised) {
        raise_again(std::move(raised));
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* set_protocol(PyObject* object, PyObject* protocol) noexcept {
    return adopt_protocol(as_stream(object), protocol) ? new_reference(Py_None) : nullptr;
}

PyObject* get_protocol(PyObject* object, PyObject*) noexcept {
    PyObject* const protocol = as_stream(object)->protocol;
    return new_reference(protocol != nullptr ? protocol : Py_None);
}

PyObject* is_closing(PyObject* object, PyObject*) noexcept {
    return PyBool_FromLong(as_stream(object)->closing);
}

PyObject* is_reading(PyObject* object, PyObject*) noexcept {
    return PyBool_FromLong(!as_stream(object)->closing && !as_stream(object)->paused);
}

PyObject* get_write_buffer_size(PyObject* object, PyObject*) noexcept {
    return PyLong_FromSize_t(as_stream(object)->output.bytes);
}

PyObject* get_write_buffer_limits(PyObject* object, PyObject*) noexcept {
    return Py_BuildValue("(nn)", as_stream(object)->low_water, as_stream(object)->high_water);
}

PyObject* can_write_eof(PyObject*, PyObject*) noexcept { Py_RETURN_TRUE; }

PyObject* get_loop(PyObject* object, void*) noexcept {
    stream_transport* const self = as_stream(object);
    if (self->lost || self->loop == nullptr) {
        Py_RETURN_NONE;
    }
    return new_reference(as_object(self->loop));
}

PyObject* get_protocol_attribute(PyObject* object, void*) noexcept {
    return get_protocol(object, nullptr);
}

PyObject* get_polling(PyObject* object, void*) noexcept {
    stream_transport* const self = as_stream(object);
    return Py_BuildValue("(OO)", self->receive.active() ? Py_True : Py_False,
                         self->send.active() ? Py_True : Py_False);
}

PyMethodDef methods[] = {
    {"write", as_method(by_place_or_name<"data", stream_write>), METH_FASTCALL | METH_KEYWORDS,
     "write($self, data)\n--\n\nSends data without waiting for it."},
    {"writelines", as_method(by_place_or_name<"list_of_data", stream_writelines>),
     METH_FASTCALL | METH_KEYWORDS,
     "writelines($self, list_of_data)\n--\n\nSends all of it without waiting."},
    {"write_eof", stream_write_eof, METH_NOARGS, "Ends our direction behind what was written."},
    {"can_write_eof", can_write_eof, METH_NOARGS, "Whether write_eof() is supported: yes."},
    {"close", close_softly, METH_NOARGS, "Closes once everything written has been sent."},
    {"abort", abort, METH_NOARGS, "Closes at once; what was not sent yet is lost."},
    {"is_closing", is_closing, METH_NOARGS, "Whether it is closed or about to be."},
    {"is_reading", is_reading, METH_NOARGS, "Whether the protocol is to get data."},
    {"pause_reading", stream_pause_reading, METH_NOARGS,
     "The protocol gets no data until resume_reading()."},
    {"resume_reading", stream_resume_reading, METH_NOARGS, "The protocol gets data again."},
    {"set_protocol", as_method(by_place_or_name<"protocol", set_protocol>),
     METH_FASTCALL | METH_KEYWORDS, "set_protocol($self, protocol)\n--\n\nReplaces it."},
    {"get_protocol", get_protocol, METH_NOARGS, "The protocol; None once the connection is lost."},
    {"get_write_buffer_size", get_write_buffer_size, METH_NOARGS, "Bytes that wait to be sent."},
    {"get_write_buffer_limits", get_write_buffer_limits, METH_NOARGS, "(low, high) in bytes."},
    {"get_extra_info", as_method(stream_get_extra_info), METH_FASTCALL | METH_KEYWORDS,
     "get_extra_info($self, name, default=None)\n--\n\n'socket', 'sockname' or 'peername'."},
    {"_maybe_pause_protocol", stream_maybe_pause, METH_NOARGS, nullptr},
    {"_force_close", method_force_close, METH_O, nullptr},
    {"_call_connection_lost", call_connection_lost, METH_O, nullptr},
    {"_make_empty_waiter", stream_make_empty_waiter, METH_NOARGS, nullptr},
    {"_reset_empty_waiter", stream_reset_empty_waiter, METH_NOARGS, nullptr},
    {"_begin", begin, METH_O, nullptr},
    {"_deliver", stream_deliver, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};
PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(stream_attributes, weak_references), READONLY,
     nullptr},
    {"_closing", T_BOOL, offsetof(stream_attributes, closing), READONLY, nullptr},
    {"_paused", T_BOOL, offsetof(stream_attributes, paused), READONLY, nullptr},
    {"_eof", T_BOOL, offsetof(stream_attributes, eof), READONLY, nullptr},
    {"_protocol_paused", T_BOOL, offsetof(stream_attributes, protocol_paused), 0, nullptr},
    {"_protocol_connected", T_BOOL, offsetof(stream_attributes, protocol_connected), 0, nullptr},
    {"_conn_lost", T_INT, offsetof(stream_attributes, conn_lost), READONLY, nullptr},
    {"_sock_fd", T_INT, offsetof(stream_attributes, fd), READONLY, nullptr},
    {"_high_water", T_PYSSIZET, offsetof(stream_attributes, high_water), 0, nullptr},
    {"_low_water", T_PYSSIZET, offsetof(stream_attributes, low_water), 0, nullptr},
    {"_server", T_OBJECT, offsetof(stream_attributes, server), READONLY, nullptr},
    {"_empty_waiter", T_OBJECT, offsetof(stream_attributes, empty_waiter), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyGetSetDef attributes[] = {
    {"_extra", stream_get_extra, nullptr, nullptr, nullptr},
    {"_sock", stream_get_socket, nullptr, nullptr, nullptr},
    {"_loop", get_loop, nullptr, nullptr, nullptr},
    {"_protocol", get_protocol_attribute, nullptr, nullptr, nullptr},
    {"_polling", get_polling, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("The native part of ringlet's socket transport.")},
    {Py_tp_new, reinterpret_cast<void*>(make)},
    {Py_tp_init, reinterpret_cast<void*>(initialize)},
    {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
    {Py_tp_finalize, reinterpret_cast<void*>(finalize)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {0, nullptr}};
PyType_Spec spec = {"ringlet._native.StreamTransport", sizeof(stream_transport), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

PyTypeObject* stream_transport_type = nullptr;

bool set_up_stream_transports(PyObject* module) noexcept {
    owned transports(PyImport_ImportModule("asyncio.transports"));
    owned base(transports ? PyObject_GetAttrString(transports.get(), "_FlowControlMixin")
                          : nullptr);
    owned bases(base ? PyTuple_Pack(1, base.get()) : nullptr);
    if (!bases) {
        return false;
    }
    if (reinterpret_cast<PyTypeObject*>(base.get())->tp_basicsize !=
        static_cast<Py_ssize_t>(offsetof(stream_attributes, weak_references))) {
        PyErr_SetString(PyExc_ImportError, "asyncio's transports are not laid out as expected");
        return false;
    }
    PyObject* const type = PyType_FromSpecWithBases(&spec, bases.get());
    stream_transport_type = reinterpret_cast<PyTypeObject*>(type);
    return type != nullptr && PyModule_AddType(module, stream_transport_type) == 0;
}

PyObject* make_stream_transport(PyTypeObject* type, loop_object* loop, int fd, PyObject* context,
                                PyObject* protocol, PyObject* server) noexcept {
    owned object(make(type, nullptr, nullptr));
    if (!object) {
        ::close(fd);
        return nullptr;
    }
    stream_transport* const self = as_stream(object.get());
    self->fd = fd;
    self->open = true;
    self->context = new_reference(context);
    if (!set_up(self, loop, protocol, server, nullptr)) {
        owned exception = take_exception();
        self->lost = true;
        close_when_idle(self);
        raise_again(std::move(exception));
        return nullptr;
    }
    return object.release();
}

bool call_soon_in_context(stream_transport* self, PyObject* callback, PyObject* argument) noexcept {
    if (self->loop == nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "the transport is not initialized");
        return false;
    }
    PyObject* const passed[] = {as_object(self->loop), callback, argument, self->context};
    static PyObject* const keyword = PyTuple_Pack(1, names().context);
    const std::size_t count = argument != nullptr ? 3 : 2;
    PyObject* const without[] = {as_object(self->loop), callback, self->context};
    return owned(PyObject_VectorcallMethod(stream_names().call_soon,
                                           argument != nullptr ? passed : without, count, keyword))
        .operator bool();
}

bool call_later_in_loop(stream_transport* self, PyObject* method, PyObject* argument) noexcept {
    owned bound(PyObject_GetAttr(as_object(self), method));
    return bound && call_soon_in_context(self, bound.get(), argument);
}

void fail(stream_transport* self, const char* message) noexcept {
    if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
        PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        report(self->loop, message);
        return;
    }
    owned exception = take_exception();
    owned text(PyUnicode_FromString(message));
    PyObject* const passed[] = {as_object(self), exception.get(), text.get()};
    owned done(text ? PyObject_VectorcallMethod(stream_names().fatal_error, passed, 3, nullptr)
                    : nullptr);
    if (!done) {
        report(self->loop, message, as_object(self), self->protocol);
    }
}

void close_when_idle(stream_transport* self) noexcept {
    if (self->lost && self->open && !self->receive.active() && !self->send.active()) {
        close_descriptor(self);
    }
}

bool schedule_connection_lost(stream_transport* self, PyObject* exception) noexcept {
    ++self->conn_lost;
    return call_later_in_loop(self, stream_names().lost_call, exception);
}

bool force_close(stream_transport* self, PyObject* exception) noexcept {
    if (self->conn_lost > 0) {
        return true;
    }
    drop_output(self);
    if (!self->closing) {
        self->closing = 1;
        stop_receiving(self);
    }
    return schedule_connection_lost(self, exception);
}

}  // namespace ringlet::python
