// asyncio's streams on a native transport. When a transport gets a protocol that is exactly
// asyncio's StreamReaderProtocol with an exact StreamReader, and neither was patched, the reader
// (and a server's writer) becomes one of ringlet/_stream_classes.py's subclasses, which look the
// same and have read(), readexactly(), write() and drain() in C; and what arrives is put into the
// reader's buffer without any call of Python. What waits is an asyncio.Future, as in asyncio.
// Guarded by the GIL.
#pragma once

#include "python/native/stream_transport.h"

namespace ringlet::python {

// Adds StreamCall, what read() and its siblings return, to the module, and _set_up_streams(reader
// class, writer class), which puts the native methods into them. False with an exception set.
bool set_up_stream_readers(PyObject* module) noexcept;

// The weak reference to the reader that data can be fed into without calling `protocol`; null when
// there is none. Changes the class of the protocol's reader.
owned adopt_reader(PyObject* protocol) noexcept;

// Changes the class of the writer that a server's protocol has made for its callback.
void adopt_writer(PyObject* protocol) noexcept;

enum class feeding { done, refused, failed };
// Puts the bytes into the reader. Refused: data_received has to be called. Failed: an exception is
// set.
feeding feed_reader(PyObject* weak_reader, const char* data, std::size_t bytes) noexcept;

}  // namespace ringlet::python
