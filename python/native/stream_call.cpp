#include "python/native/stream_call.h"

#include "python/native/names.h"
#include "python/native/stream_names.h"

namespace ringlet::python {

stream_class_objects streams;

owned buffer_of(const attributes& reader) noexcept {
    owned buffer = reader.get(streams.buffer);
    if (buffer && !PyByteArray_CheckExact(buffer.get())) {
        PyErr_SetString(PyExc_TypeError, "the buffer of a stream is a bytearray");
        return {};
    }
    return buffer;
}

namespace {

constexpr Py_ssize_t kept_buffer_bytes_max = 4096;

// Makes it empty; one that is small keeps its memory for what comes next. -1 with an exception set.
int empty_buffer(PyObject* object) noexcept {
    auto* const buffer = reinterpret_cast<PyByteArrayObject*>(object);
    if (buffer->ob_exports > 0 || buffer->ob_alloc > kept_buffer_bytes_max ||
        buffer->ob_bytes == nullptr) {
        return PyByteArray_Resize(object, 0);
    }
    buffer->ob_start = buffer->ob_bytes;
    buffer->ob_bytes[0] = '\0';
    Py_SET_SIZE(buffer, 0);
    return 0;
}

enum class call_state { fresh, waiting, finished };
enum class outcome { done, waits, failed };

constexpr const char* names_of_calls[] = {"read", "readexactly", "drain"};
constexpr const char* qualified_names[] = {"StreamReader.read", "StreamReader.readexactly",
                                           "StreamWriter.drain"};

struct stream_call {
    PyObject_HEAD
    PyObject* of;      // the reader, or the writer
    PyObject* future;  // while it waits; of a drain, asyncio's coroutine
    Py_ssize_t wanted;
    call_kind kind;
    call_state state;
};

PyTypeObject type = {PyVarObject_HEAD_INIT(nullptr, 0)};

constexpr int free_calls_max = 256;
stream_call* free_calls[free_calls_max];
int free_calls_count = 0;

stream_call* as_call(PyObject* object) noexcept { return reinterpret_cast<stream_call*>(object); }

void finish(stream_call* call) noexcept {
    call->state = call_state::finished;
    Py_CLEAR(call->future);
    Py_CLEAR(call->of);
}

// StreamReader._paused: lets its transport read on. False with an exception set.
bool resume(const attributes& reader) noexcept {
    owned transport = reader.get(streams.transport);
    return reader.set(streams.paused, Py_False) && transport &&
           owned(PyObject_CallMethodNoArgs(transport.get(), streams.resume_reading));
}

// A future for the reader's data, to be yielded. Null with an exception set.
PyObject* wait_for_data(stream_call* call, const attributes& reader) noexcept {
    owned earlier = reader.get(streams.waiter);
    if (!earlier) {
        return nullptr;
    }
    if (earlier.get() != Py_None) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s() called while another coroutine is already waiting for incoming data",
                     names_of_calls[static_cast<int>(call->kind)]);
        return nullptr;
    }
    const int paused = reader.is(streams.paused);
    if (paused < 0 || (paused == 1 && !resume(reader))) {
        return nullptr;
    }
    owned loop = reader.get(streams.loop);
    owned future(loop ? PyObject_CallMethodNoArgs(loop.get(), stream_names().create_future)
                      : nullptr);
    if (!future || !reader.set(streams.waiter, future.get()) ||
        PyObject_SetAttr(future.get(), names().future_blocking, Py_True) < 0) {
        return nullptr;
    }
    call->state = call_state::waiting;
    call->future = new_reference(future.get());
    return future.release();
}

// The first bytes of the buffer, taken out; the transport may read on then. Null with an exception.
PyObject* take(const attributes& reader, PyObject* buffer, Py_ssize_t most) noexcept {
    const Py_ssize_t size = PyByteArray_GET_SIZE(buffer);
    const Py_ssize_t count = size < most ? size : most;
    owned bytes(PyBytes_FromStringAndSize(PyByteArray_AS_STRING(buffer), count));
    if (!bytes) {
        return nullptr;
    }
    const int removed =
        count == size ? empty_buffer(buffer) : PySequence_DelSlice(buffer, 0, count);
    const int paused = removed == 0 ? reader.is(streams.paused) : -1;
    if (paused < 0) {
        return nullptr;
    }
    if (paused == 1) {
        owned limit = reader.get(streams.limit);
        const Py_ssize_t bound = limit ? PyLong_AsSsize_t(limit.get()) : -1;
        if ((bound == -1 && PyErr_Occurred()) ||
            (size - count <= bound && !resume(reader))) {
            return nullptr;
        }
    }
    return bytes.release();
}

PyObject* raise_incomplete(PyObject* buffer, Py_ssize_t wanted) noexcept {
    owned partial(PyBytes_FromStringAndSize(PyByteArray_AS_STRING(buffer),
                                            PyByteArray_GET_SIZE(buffer)));
    if (!partial || PyByteArray_Resize(buffer, 0) < 0) {
        return nullptr;
    }
    owned exception(PyObject_CallFunction(streams.incomplete, "On", partial.get(), wanted));
    if (exception) {
        PyErr_SetObject(streams.incomplete, exception.get());
    }
    return nullptr;
}

// Before anything else an exception of the stream is raised, once per call. False with it set.
bool check_exception(const attributes& reader) noexcept {
    owned exception = reader.get(streams.exception);
    if (!exception || exception.get() != Py_None) {
        if (exception) {
            raise_again(std::move(exception));
        }
        return false;
    }
    return true;
}

// The wait is over. False with an exception set. A task resumes only whose future has a result; for
// others it is asked when there is nothing that could have ended the wait.
bool end_wait(stream_call* call, const attributes& reader, PyObject* buffer) noexcept {
    owned future(std::exchange(call->future, nullptr));
    return reader.set(streams.waiter, Py_None) &&
           (PyByteArray_GET_SIZE(buffer) > 0 ||
            owned(PyObject_CallMethodNoArgs(future.get(), streams.result)));
}

outcome step_read(stream_call* call, PyObject*& result) noexcept {
    const bool fresh = call->state == call_state::fresh;
    const attributes reader(call->of);
    owned buffer = buffer_of(reader);
    if (!buffer || !(fresh ? check_exception(reader) : end_wait(call, reader, buffer.get()))) {
        return outcome::failed;
    }
    const bool exactly = call->kind == call_kind::read_exactly;
    const Py_ssize_t size = PyByteArray_GET_SIZE(buffer.get());
    if (exactly ? size < call->wanted : size == 0 && fresh) {
        const int eof = reader.is(streams.eof);
        if (eof < 0) {
            return outcome::failed;
        }
        if (eof == 0) {
            result = wait_for_data(call, reader);
            return result != nullptr ? outcome::waits : outcome::failed;
        }
        if (exactly) {
            result = raise_incomplete(buffer.get(), call->wanted);
            return outcome::failed;
        }
    }
    result = take(reader, buffer.get(), call->wanted);
    return result != nullptr ? outcome::done : outcome::failed;
}

// What asyncio's own drain() has answered to a step: `result`, or the exception that is set.
outcome outcome_of_drain(PyObject*& result) noexcept {
    if (result != nullptr) {
        return outcome::waits;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return outcome::failed;
    }
    PyErr_Clear();
    result = new_reference(Py_None);
    return outcome::done;
}

// Mostly there is nothing to wait for; else asyncio's own waits, and stands in `future`.
outcome step_drain(stream_call* call, PyObject*& result) noexcept {
    if (call->state == call_state::fresh) {
        const int now = drained(call->of);
        if (now != 0) {
            result = now > 0 ? new_reference(Py_None) : nullptr;
            return now > 0 ? outcome::done : outcome::failed;
        }
        call->future = PyObject_CallOneArg(streams.base_drain, call->of);
        if (call->future == nullptr) {
            return outcome::failed;
        }
        call->state = call_state::waiting;
    }
    owned inner = owned::share(call->future);
    result = PyObject_CallMethod(inner.get(), "send", "O", Py_None);
    return outcome_of_drain(result);
}

// Ends the call when `how` says so, with the exception that is set, if any.
outcome settle(stream_call* call, outcome how) noexcept {
    if (how == outcome::done) {
        finish(call);
    } else if (how == outcome::failed) {
        owned exception = take_exception();
        finish(call);
        raise_again(std::move(exception));
    }
    return how;
}

outcome step(stream_call* call, PyObject*& result) noexcept {
    result = nullptr;
    if (call->state == call_state::finished) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return outcome::failed;
    }
    return settle(call, call->kind == call_kind::drain ? step_drain(call, result)
                                                       : step_read(call, result));
}

PyObject* iterate(PyObject* self) noexcept {
    PyObject* result;
    if (step(as_call(self), result) != outcome::done) {
        return result;
    }
    owned value(result);
    if (value.get() != Py_None) {
        owned stop(PyObject_CallFunctionObjArgs(PyExc_StopIteration, value.get(), nullptr));
        if (stop) {
            PyErr_SetObject(PyExc_StopIteration, stop.get());
        }
    }
    return nullptr;
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
        case outcome::done: return PYGEN_RETURN;
        case outcome::waits: return PYGEN_NEXT;
        default: return PYGEN_ERROR;
    }
}
#endif

// Given up: the reader is free for another read. Keeps the exception that is set, if any.
void give_up(stream_call* call) noexcept {
    if (call->state == call_state::waiting && call->of != nullptr) {
        owned exception = take_exception();
        owned inner = owned::share(call->kind == call_kind::drain ? call->future : nullptr);
        const bool good = inner ? owned(PyObject_CallMethod(inner.get(), "close", nullptr))
                                      .operator bool()
                                : PyObject_SetAttr(call->of, streams.waiter, Py_None) == 0;
        if (!good) {
            PyErr_WriteUnraisable(call->of);
        }
        if (exception) {
            raise_again(std::move(exception));
        }
    }
    finish(call);
}

PyObject* throw_in(PyObject* self, PyObject* arguments) noexcept {
    PyObject* kind = nullptr;
    PyObject* value = nullptr;
    PyObject* traceback = nullptr;
    if (!PyArg_UnpackTuple(arguments, "throw", 1, 3, &kind, &value, &traceback)) {
        return nullptr;
    }
    stream_call* const call = as_call(self);
    if (call->kind == call_kind::drain && call->state == call_state::waiting) {
        owned inner = owned::share(call->future);
        owned thrower(PyObject_GetAttrString(inner.get(), "throw"));
        PyObject* result = thrower ? PyObject_CallObject(thrower.get(), arguments) : nullptr;
        if (settle(call, outcome_of_drain(result)) == outcome::done) {
            Py_DECREF(result);
            PyErr_SetNone(PyExc_StopIteration);
            return nullptr;
        }
        return result;
    }
    give_up(call);
    if (PyExceptionInstance_Check(kind)) {
        raise_again(owned::share(kind));
    } else if (PyExceptionClass_Check(kind)) {
        PyErr_SetObject(kind, value);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "exceptions must be classes or instances deriving from BaseException, not %s",
                     Py_TYPE(kind)->tp_name);
    }
    return nullptr;
}

PyObject* close(PyObject* self, PyObject*) noexcept {
    give_up(as_call(self));
    Py_RETURN_NONE;
}

int traverse(PyObject* self, visitproc visit, void* arg) noexcept {
    Py_VISIT(as_call(self)->of);
    Py_VISIT(as_call(self)->future);
    return 0;
}

int clear(PyObject* self) noexcept {
    finish(as_call(self));
    return 0;
}

void warn_never_awaited(stream_call* call) noexcept {
    owned exception = take_exception();
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited",
                         qualified_names[static_cast<int>(call->kind)]) < 0) {
        PyErr_WriteUnraisable(nullptr);
    }
    if (exception) {
        raise_again(std::move(exception));
    }
}

void deallocate(PyObject* self) noexcept {
    PyObject_GC_UnTrack(self);
    stream_call* const call = as_call(self);
    if (call->state == call_state::fresh) [[unlikely]] {
        warn_never_awaited(call);
    }
    give_up(call);
    if (free_calls_count < free_calls_max) {
        free_calls[free_calls_count++] = call;
    } else {
        PyObject_GC_Del(self);
    }
}

PyObject* get_name(PyObject* self, void*) noexcept {
    return PyUnicode_FromString(names_of_calls[static_cast<int>(as_call(self)->kind)]);
}

PyObject* get_qualified_name(PyObject* self, void*) noexcept {
    return PyUnicode_FromString(qualified_names[static_cast<int>(as_call(self)->kind)]);
}

PyObject* get_awaited(PyObject* self, void*) noexcept {
    PyObject* const future = as_call(self)->future;
    return new_reference(future != nullptr ? future : Py_None);
}

PyObject* represent(PyObject* self) noexcept {
    return PyUnicode_FromFormat("<coroutine object %s at %p>",
                                qualified_names[static_cast<int>(as_call(self)->kind)], self);
}

PyMethodDef call_methods[] = {
    {"send", send, METH_O, "See collections.abc.Coroutine."},
    {"throw", throw_in, METH_VARARGS, "See collections.abc.Coroutine."},
    {"close", close, METH_NOARGS, "See collections.abc.Coroutine."},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef call_attributes[] = {
    {"__name__", get_name, nullptr, "The stream's method that made it.", nullptr},
    {"__qualname__", get_qualified_name, nullptr, "The same, with the class.", nullptr},
    {"cr_await", get_awaited, nullptr, "The future it waits for, or None.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyAsyncMethods async_methods;

}  // namespace

PyObject* make_stream_call(call_kind kind, PyObject* of, Py_ssize_t wanted) noexcept {
    stream_call* call;
    if (free_calls_count > 0) {
        call = free_calls[--free_calls_count];
        PyObject_Init(reinterpret_cast<PyObject*>(call), &type);
    } else {
        call = PyObject_GC_New(stream_call, &type);
        if (call == nullptr) {
            return nullptr;
        }
    }
    call->of = new_reference(of);
    call->future = nullptr;
    call->wanted = wanted;
    call->kind = kind;
    call->state = call_state::fresh;
    PyObject_GC_Track(call);
    return reinterpret_cast<PyObject*>(call);
}

bool set_up_stream_calls(PyObject* module) noexcept {
    type.tp_name = "ringlet._native.StreamCall";
    type.tp_doc = "A read from a stream, to be awaited.";
    type.tp_basicsize = sizeof(stream_call);
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
    type.tp_methods = call_methods;
    type.tp_getset = call_attributes;
    return PyType_Ready(&type) == 0 && PyModule_AddType(module, &type) == 0;
}

}  // namespace ringlet::python
