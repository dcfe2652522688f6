#include "python/native/stream_reader.h"

#include <cstring>

#include "python/native/names.h"
#include "python/native/stream_call.h"
#include "python/native/stream_names.h"

namespace ringlet::python {
namespace {

owned target_of(PyObject* weak) noexcept {
#if PY_VERSION_HEX >= 0x030d0000
    PyObject* object = nullptr;
    if (PyWeakref_GetRef(weak, &object) < 0) {
        PyErr_Clear();
    }
    return owned(object);
#else
    PyObject* const object = PyWeakref_GetObject(weak);
    return object == Py_None ? owned() : owned::share(object);
#endif
}

// read(n=-1) and readexactly(n) for a plain positive n; everything else is asyncio's own coroutine.
PyObject* make_read(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                    PyObject* keywords, call_kind kind, PyObject* base) noexcept {
    if (keywords == nullptr && count == 1 && PyLong_CheckExact(arguments[0])) {
        const Py_ssize_t wanted = PyLong_AsSsize_t(arguments[0]);
        if (wanted > 0) [[likely]] {
            return make_stream_call(kind, self, wanted);
        }
        PyErr_Clear();
    }
    PyObject* passed[4] = {self, nullptr, nullptr, nullptr};
    const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
    if (count + named > 3) {
        PyErr_SetString(PyExc_TypeError, "too many arguments");
        return nullptr;
    }
    for (Py_ssize_t i = 0; i < count + named; ++i) {
        passed[1 + i] = arguments[i];
    }
    return PyObject_Vectorcall(base, passed, static_cast<std::size_t>(1 + count), keywords);
}

PyObject* reader_read(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                      PyObject* keywords) noexcept {
    return make_read(self, arguments, count, keywords, call_kind::read, streams.base_read);
}

PyObject* reader_readexactly(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                             PyObject* keywords) noexcept {
    return make_read(self, arguments, count, keywords, call_kind::read_exactly,
                     streams.base_readexactly);
}

PyObject* writer_write(PyObject* self, PyObject* data) noexcept {
    owned transport = attributes(self).get(streams.transport);
    if (!transport) {
        return nullptr;
    }
    if (PyObject_TypeCheck(transport.get(), stream_transport_type)) [[likely]] {
        owned done(stream_write(transport.get(), data));
        return done ? new_reference(Py_None) : nullptr;
    }
    owned done(PyObject_CallMethodOneArg(transport.get(), streams.write, data));
    return done ? new_reference(Py_None) : nullptr;
}

PyObject* writer_drain(PyObject* self, PyObject*) noexcept {
    return make_stream_call(call_kind::drain, self, 0);
}

PyMethodDef read_method = {"read", as_method(reader_read), METH_FASTCALL | METH_KEYWORDS,
                           "See asyncio.StreamReader.read."};
PyMethodDef readexactly_method = {"readexactly", as_method(reader_readexactly),
                                  METH_FASTCALL | METH_KEYWORDS,
                                  "See asyncio.StreamReader.readexactly."};
PyMethodDef write_method = {"write", as_method(by_place_or_name<"data", writer_write>),
                            METH_FASTCALL | METH_KEYWORDS,
                            "write($self, data)\n--\n\nSee asyncio.StreamWriter.write."};
PyMethodDef drain_method = {"drain", writer_drain, METH_NOARGS, "See asyncio.StreamWriter.drain."};

bool add_method(PyObject* to, PyMethodDef& method) noexcept {
    owned descriptor(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(to), &method));
    return descriptor && PyObject_SetAttrString(to, method.ml_name, descriptor.get()) == 0;
}

bool look_up_names() noexcept {
    const wanted_name strings[] = {
        {&streams.buffer, "_buffer"},
        {&streams.eof, "_eof"},
        {&streams.exception, "_exception"},
        {&streams.limit, "_limit"},
        {&streams.loop, "_loop"},
        {&streams.paused, "_paused"},
        {&streams.transport, "_transport"},
        {&streams.waiter, "_waiter"},
        {&streams.weak_reader, "_stream_reader_wr"},
        {&streams.stream_writer, "_stream_writer"},
        {&streams.write, "write"},
        {&streams.result, "result"},
        {&streams.resume_reading, "resume_reading"},
        {&streams.pause_reading, "pause_reading"},
        {&streams.class_name, "__class__"},
    };
    return look_up(strings, {});
}

// The methods of asyncio's classes as they are when ringlet is imported.
bool look_up_originals(PyObject* protocol, PyObject* reader, PyObject* writer) noexcept {
    const struct {
        PyObject** where;
        PyObject* of;
        const char* name;
    } all[] = {
        {&streams.base_data_received, protocol, "data_received"},
        {&streams.base_feed_data, reader, "feed_data"},
        {&streams.base_read, reader, "read"},
        {&streams.base_readexactly, reader, "readexactly"},
        {&streams.base_write, writer, "write"},
        {&streams.base_drain, writer, "drain"},
    };
    for (const auto& each : all) {
        *each.where = PyObject_GetAttrString(each.of, each.name);
        if (*each.where == nullptr) {
            return false;
        }
    }
    return true;
}

// _set_up_streams(protocol class, reader class, writer class, our reader class, our writer class,
//                 IncompleteReadError)
PyObject* set_up_classes(PyObject*, PyObject* arguments) noexcept {
    PyObject* protocol;
    PyObject* plain_reader;
    PyObject* plain_writer;
    PyObject* reader;
    PyObject* writer;
    if (!PyArg_ParseTuple(arguments, "OOOOOO", &protocol, &plain_reader, &plain_writer, &reader,
                          &writer, &streams.incomplete) ||
        !look_up_names() || !look_up_originals(protocol, plain_reader, plain_writer) ||
        !add_method(reader, read_method) || !add_method(reader, readexactly_method) ||
        !add_method(writer, write_method) || !add_method(writer, drain_method)) {
        return nullptr;
    }
    Py_INCREF(arguments);  // and with it all that it names, for ever
    streams.protocol_class = reinterpret_cast<PyTypeObject*>(protocol);
    streams.plain_reader = reinterpret_cast<PyTypeObject*>(plain_reader);
    streams.plain_writer = reinterpret_cast<PyTypeObject*>(plain_writer);
    streams.reader_class = reinterpret_cast<PyTypeObject*>(reader);
    streams.writer_class = writer;
    Py_RETURN_NONE;
}

PyMethodDef module_methods[] = {{"_set_up_streams", set_up_classes, METH_VARARGS, nullptr},
                                {nullptr, nullptr, 0, nullptr}};

bool is_unpatched(PyTypeObject* of, const char* name, PyObject* original) noexcept {
    owned now(PyObject_GetAttrString(reinterpret_cast<PyObject*>(of), name));
    return now.get() == original;
}

bool all_unpatched() noexcept {
    return is_unpatched(streams.protocol_class, "data_received", streams.base_data_received) &&
           is_unpatched(streams.plain_reader, "feed_data", streams.base_feed_data) &&
           is_unpatched(streams.plain_reader, "read", streams.base_read) &&
           is_unpatched(streams.plain_reader, "readexactly", streams.base_readexactly);
}

// Wakes who waits for data. False with an exception set.
bool wake_reader(const attributes& reader) noexcept {
    owned waiter = reader.get(streams.waiter);
    if (!waiter || waiter.get() == Py_None) {
        return static_cast<bool>(waiter);
    }
    if (!reader.set(streams.waiter, Py_None)) {
        return false;
    }
    if (owned(PyObject_CallMethodOneArg(waiter.get(), stream_names().set_result, Py_None))) {
        return true;
    }
    owned exception = take_exception();
    owned cancelled(PyObject_CallMethodNoArgs(waiter.get(), stream_names().cancelled));
    if (cancelled.get() == Py_True) {
        return true;
    }
    raise_again(std::move(exception));
    return false;
}

// Pauses the transport when much more is here than anybody reads. False with an exception set.
bool limit_reader(const attributes& reader, Py_ssize_t size) noexcept {
    owned limit = reader.get(streams.limit);
    const Py_ssize_t bound = limit ? PyLong_AsSsize_t(limit.get()) : -1;
    if (bound == -1 && PyErr_Occurred()) {
        return false;
    }
    if (size / 2 < bound || size <= 2 * bound) {
        return true;
    }
    owned transport = reader.get(streams.transport);
    const int paused = reader.is(streams.paused);
    if (!transport || paused < 0) {
        return false;
    }
    if (paused == 1 || transport.get() == Py_None) {
        return true;
    }
    return owned(PyObject_CallMethodNoArgs(transport.get(), streams.pause_reading)) &&
           reader.set(streams.paused, Py_True);
}

}  // namespace

// A protocol of streams is paused when its transport has paused it, and not lost before that is
// closing.
int drained(PyObject* writer) noexcept {
    owned transport = attributes(writer).get(streams.transport);
    if (!transport) {
        return -1;
    }
    const stream_transport* const below = as_stream(transport.get());
    if (!PyObject_TypeCheck(transport.get(), stream_transport_type) || below->closing ||
        below->protocol_paused || below->reader == nullptr) {
        return 0;
    }
    owned reader = target_of(below->reader);
    owned exception = reader ? attributes(reader.get()).get(streams.exception) : owned();
    return exception.get() == Py_None ? 1 : PyErr_Occurred() != nullptr ? -1 : 0;
}

owned adopt_reader(PyObject* protocol) noexcept {
    if (streams.protocol_class == nullptr || Py_TYPE(protocol) != streams.protocol_class ||
        !all_unpatched()) {
        return {};
    }
    const attributes given(protocol);
    owned weak = given.get(streams.weak_reader);
    owned reader = weak && PyWeakref_CheckRef(weak.get()) ? target_of(weak.get()) : owned();
    if (!reader) {
        PyErr_Clear();
        return {};
    }
    if (Py_TYPE(reader.get()) == streams.plain_reader &&
        PyObject_SetAttr(reader.get(), streams.class_name,
                         reinterpret_cast<PyObject*>(streams.reader_class)) < 0) {
        PyErr_Clear();
    }
    if (Py_TYPE(reader.get()) != streams.reader_class) {
        return {};
    }
    return weak;
}

void adopt_writer(PyObject* protocol) noexcept {
    owned writer = attributes(protocol).get(streams.stream_writer);
    if (writer && Py_TYPE(writer.get()) == streams.plain_writer &&
        is_unpatched(streams.plain_writer, "write", streams.base_write) &&
        is_unpatched(streams.plain_writer, "drain", streams.base_drain)) {
        PyObject_SetAttr(writer.get(), streams.class_name, streams.writer_class);
    }
    PyErr_Clear();
}

feeding feed_reader(PyObject* weak_reader, const char* data, std::size_t bytes) noexcept {
    owned target = target_of(weak_reader);
    if (!target) {
        return feeding::done;  // nobody will ever read it
    }
    const attributes reader(target.get());
    if (Py_TYPE(target.get()) != streams.reader_class || reader.is(streams.eof) != 0) {
        PyErr_Clear();
        return feeding::refused;
    }
    owned buffer = buffer_of(reader);
    if (!buffer) {
        return feeding::failed;
    }
    const Py_ssize_t before = PyByteArray_GET_SIZE(buffer.get());
    const Py_ssize_t size = before + static_cast<Py_ssize_t>(bytes);
    if (PyByteArray_Resize(buffer.get(), size) < 0) {
        return feeding::failed;
    }
    std::memcpy(PyByteArray_AS_STRING(buffer.get()) + before, data, bytes);
    return wake_reader(reader) && limit_reader(reader, size) ? feeding::done : feeding::failed;
}

bool set_up_stream_readers(PyObject* module) noexcept {
    return set_up_stream_calls(module) && PyModule_AddFunctions(module, module_methods) == 0;
}

}  // namespace ringlet::python
