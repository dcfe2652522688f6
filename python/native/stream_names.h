// The names and objects that stream transports and servers look up once, when the extension is
// imported. Constant afterwards.
#pragma once

#include "python/native/python.h"

namespace ringlet::python {

struct stream_names_table {
    PyObject* call_soon;
    PyObject* create_future;
    PyObject* connection_made;
    PyObject* connection_lost;
    PyObject* data_received;
    PyObject* eof_received;
    PyObject* get_buffer;
    PyObject* buffer_updated;
    PyObject* pause_writing;
    PyObject* resume_writing;
    PyObject* fileno;
    PyObject* close;
    PyObject* setblocking;
    PyObject* done;
    PyObject* cancelled;
    PyObject* set_result;
    PyObject* set_exception;
    PyObject* attach;           // _attach
    PyObject* detach;           // _detach
    PyObject* transports;       // _transports
    PyObject* fatal_error;      // StreamTransport's own _fatal_error(exception, message)
    PyObject* lost_call;        // _call_connection_lost
    PyObject* begin_call;       // _begin
    PyObject* deliver_call;     // _deliver
    PyObject* socket;
    PyObject* sockname;
    PyObject* peername;
    PyObject* buffered_protocol;  // asyncio.BufferedProtocol
    PyObject* socket_class;       // socket.socket
    PyObject* transport_socket;   // asyncio.trsock.TransportSocket
    PyObject* logger;             // asyncio's
    bool server_wants_transport;  // Server._attach and _detach take it as an argument (3.13)
};

const stream_names_table& stream_names() noexcept;
// Called once, by the module's set-up; false with an exception set.
bool set_up_stream_names() noexcept;

}  // namespace ringlet::python
