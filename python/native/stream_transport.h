// `_native.StreamTransport`: the hot part of ringlet's socket transport, a subclass of asyncio's
// _FlowControlMixin (and so of asyncio.Transport); what is rare stands in the Python class above it
// (ringlet/_transport.py).
//
// Receiving is one multishot operation; what comes is copied into an object for the protocol and
// its buffer given back at once. For a protocol that has buffers of its own, and where what comes
// is large, it is a poll, and recv into the protocol's buffer or into an object for it. Sending is
// described in stream_send.cpp. While any operation is active the loop holds a reference
// (live_owner.h), and the descriptor stays open: closing asks the operations to end, and the last
// one to end closes it, though to Python the transport is closed before. Guarded by the GIL;
// everything but the handlers of operations may raise.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/operation.h"
#include "core/work.h"
#include "python/native/live_owner.h"
#include "python/native/loop_object.h"
#include "python/native/python.h"

namespace ringlet::python {

struct stream_transport;
struct socket_names;

struct stream_operation : operation {
    stream_operation(stream_transport* t, handler on_complete) noexcept
        : operation(on_complete), owner(t) {}
    stream_transport* const owner;
};

struct stream_work : work {
    stream_work(stream_transport* t, function run) noexcept : work(run), owner(t) {}
    stream_transport* const owner;
};

// What waits to be sent, oldest first: whole bytes objects, the first of them maybe sent in part.
struct stream_output {
    std::vector<PyObject*> parts;
    std::size_t first = 0;         // of `parts`; those before it are gone
    std::size_t first_offset = 0;  // bytes of it that are sent
    std::size_t bytes = 0;         // that are not sent yet
    std::vector<iovec> vectors;    // of the operation under way
    msghdr message = {};
};

// What Python sees of it as attributes, at known places.
struct stream_attributes {
    PyObject_HEAD
    PyObject* extra;            // BaseTransport's slot `_extra`; null until somebody asks
    PyObject* unused_slots[4];  // _FlowControlMixin's, shadowed by attributes of ours
    PyObject* weak_references;
    PyObject* server;
    PyObject* empty_waiter;
    Py_ssize_t high_water;
    Py_ssize_t low_water;
    int fd;
    int conn_lost;  // as CPython counts: 1 when connection_lost is scheduled, then writes
    char closing;
    char paused;
    char eof;       // write_eof was called
    char protocol_paused;
    char protocol_connected;
};

struct stream_transport : stream_attributes {
    loop_object* loop;        // a reference; null in an object that was never initialized
    PyObject* protocol;
    PyObject* socket;         // the socket object; null until somebody asks
    PyObject* context;        // of all the protocol's callbacks
    PyObject* reader;         // a weak reference: of asyncio's streams, fed directly; or null
    PyObject* kept;           // a list of bytes that came while paused, or null
    socket_names* addresses;  // both ends, as they were at first; null without memory

    live_owner life;
    stream_operation receive;
    stream_operation send;
    stream_work end_of_turn;
    stream_output output;
    bool secured;     // the protocol is a native TLS layer
    bool buffered;    // the protocol has buffers of its own
    bool begun;       // connection_made was called
    bool polling;     // `receive` is a poll
    std::uint8_t large_score;  // above zero: what comes is large; how many smaller pieces end that
    bool stopping;    // a cancel of the receive, ours, is under way
    bool ended;       // nothing more comes from the peer
    bool end_kept;    // ... which the protocol is told when it is no longer paused
    bool dropped;     // the output was; the send under way is being cancelled
    bool lost;        // connection_lost was called: closed, as Python sees it
    bool open;        // the descriptor is
};

inline stream_transport* as_stream(PyObject* object) noexcept {
    return reinterpret_cast<stream_transport*>(object);
}
inline PyObject* as_object(stream_transport* self) noexcept {
    return reinterpret_cast<PyObject*>(self);
}

// Whether the loop still has its core: false from the moment it is being closed.
inline bool has_core(const stream_transport* self) noexcept {
    return self->loop != nullptr && self->loop->core != nullptr;
}
// To be called when an operation or work of its has begun or ended. May free the object.
inline void settle_life(stream_transport* self) noexcept {
    self->life.keep(self->loop->owners, self->receive.active() || self->send.active() ||
                                            self->end_of_turn.queued());
}

// call_soon(callback, argument) in the connection's context; a null argument is none. The second
// takes the name of a method of the transport. False with exception set.
bool call_soon_in_context(stream_transport* self, PyObject* callback, PyObject* argument) noexcept;
bool call_later_in_loop(stream_transport* self, PyObject* method, PyObject* argument) noexcept;
// For the dispatch step: what a callback of the protocol raised is fatal to the connection.
void fail(stream_transport* self, const char* message) noexcept;
// Closes the descriptor once it is no longer wanted and nothing uses it.
void close_when_idle(stream_transport* self) noexcept;
// What abort() does, with the exception for connection_lost (or None). False with exception set.
bool force_close(stream_transport* self, PyObject* exception) noexcept;
bool schedule_connection_lost(stream_transport* self, PyObject* exception) noexcept;

// Receiving (stream_receive.cpp).
void stream_received(operation& op, const completion& what) noexcept;
void stream_end_of_turn(work& item) noexcept;
void start_receiving(stream_transport* self) noexcept;
void stop_receiving(stream_transport* self) noexcept;
// Looks what kind of protocol it is. False with exception set.
bool adopt_protocol(stream_transport* self, PyObject* protocol) noexcept;
PyObject* stream_pause_reading(PyObject*, PyObject*) noexcept;
PyObject* stream_resume_reading(PyObject*, PyObject*) noexcept;
PyObject* stream_deliver(PyObject*, PyObject*) noexcept;

// Sending (stream_send.cpp).
void stream_sent(operation& op, const completion& what) noexcept;
// What was collected in this turn; and what abort() does with what waits.
void hand_over_output(stream_transport* self) noexcept;
void drop_output(stream_transport* self) noexcept;
// False with exception set.
bool maybe_pause_protocol(stream_transport* self) noexcept;
PyObject* stream_write(PyObject*, PyObject*) noexcept;
PyObject* stream_maybe_pause(PyObject*, PyObject*) noexcept;
PyObject* stream_writelines(PyObject*, PyObject*) noexcept;
PyObject* stream_write_eof(PyObject*, PyObject*) noexcept;
PyObject* stream_make_empty_waiter(PyObject*, PyObject*) noexcept;
PyObject* stream_reset_empty_waiter(PyObject*, PyObject*) noexcept;
// What connection_lost ends. False with exception set.
bool fail_empty_waiter(stream_transport* self) noexcept;

// What is known about it (stream_extra.cpp): asked of the kernel at first, made into Python objects
// when somebody wants them.
void remember_addresses(stream_transport* self) noexcept;
void forget_addresses(stream_transport* self) noexcept;
PyObject* stream_get_extra_info(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* stream_get_extra(PyObject*, void*) noexcept;
PyObject* stream_get_socket(PyObject*, void*) noexcept;

// The type, made when the module is imported; false with an exception set.
bool set_up_stream_transports(PyObject* module) noexcept;
extern PyTypeObject* stream_transport_type;
// A transport of `type` (a subclass) for a connected descriptor, which it takes over also when it
// fails: then null with an exception set. `server` may be null.
PyObject* make_stream_transport(PyTypeObject* type, loop_object* loop, int fd, PyObject* context,
                                PyObject* protocol, PyObject* server) noexcept;

}  // namespace ringlet::python
