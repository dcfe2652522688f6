// What read(), readexactly() and drain() of the classes of stream_reader.h return: an awaitable
// that is asyncio's coroutine of that name without its frames. Nothing happens before it is
// awaited, or made a task: it is registered as a collections.abc.Coroutine. It works on the
// attributes that asyncio's own methods work on, so both may be used on one stream. Guarded by the
// GIL.
#pragma once

#include "python/native/python.h"

namespace ringlet::python {

// What is looked up once; null until _set_up_streams() was called.
struct stream_class_objects {
    PyObject* buffer;  // names of StreamReader's attributes
    PyObject* eof;
    PyObject* exception;
    PyObject* limit;
    PyObject* loop;
    PyObject* paused;
    PyObject* transport;
    PyObject* waiter;
    PyObject* weak_reader;  // of StreamReaderProtocol's
    PyObject* stream_writer;  // of StreamReaderProtocol's
    PyObject* write;
    PyObject* result;
    PyObject* resume_reading;
    PyObject* pause_reading;
    PyObject* class_name;   // __class__
    PyTypeObject* protocol_class;  // asyncio's
    PyTypeObject* plain_reader;
    PyTypeObject* plain_writer;
    PyTypeObject* reader_class;    // ours
    PyObject* writer_class;
    PyObject* base_read;
    PyObject* base_readexactly;
    PyObject* base_write;
    PyObject* base_drain;
    PyObject* base_data_received;
    PyObject* base_feed_data;
    PyObject* incomplete;    // asyncio.IncompleteReadError
};
extern stream_class_objects streams;

// The attributes of an object of Python's, by its dict: several of them are wanted at a time.
class attributes {
public:
    explicit attributes(PyObject* object) noexcept
        : object_(object), all_(PyObject_GenericGetDict(object, nullptr)) {
        PyErr_Clear();
    }
    // Null with an exception set.
    owned get(PyObject* name) const noexcept {
        PyObject* const found =
            all_ ? PyDict_GetItemWithError(all_.get(), name) : nullptr;
        return found != nullptr ? owned::share(found) : owned(PyObject_GetAttr(object_, name));
    }
    // False with an exception set.
    bool set(PyObject* name, PyObject* value) const noexcept {
        return (all_ ? PyDict_SetItem(all_.get(), name, value)
                     : PyObject_SetAttr(object_, name, value)) == 0;
    }
    // 1, 0, or -1 with an exception set.
    int is(PyObject* name) const noexcept {
        owned value = get(name);
        if (!value) {
            return -1;
        }
        return value.get() == Py_True ? 1 : value.get() == Py_False ? 0
                                                                    : PyObject_IsTrue(value.get());
    }

private:
    PyObject* const object_;
    owned all_;
};

// StreamReader._buffer, which has to be a bytearray. Null with an exception set.
owned buffer_of(const attributes& reader) noexcept;

enum class call_kind { read, read_exactly, drain };

// `of`: the reader, or the writer. Null with MemoryError set.
PyObject* make_stream_call(call_kind kind, PyObject* of, Py_ssize_t wanted) noexcept;

// Whether a writer's drain() has nothing to wait for or to raise. -1 with an exception set.
int drained(PyObject* writer) noexcept;

// Makes the type; false with an exception set.
bool set_up_stream_calls(PyObject* module) noexcept;

}  // namespace ringlet::python
