// Stream transports: what comes in, and how it reaches the protocol.
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "python/native/context.h"
#include "python/native/stream_names.h"
#include "python/native/stream_reader.h"
#include "python/native/stream_transport.h"
#include "python/native/tls_protocol.h"

namespace ringlet::python {
namespace {

// Pieces from this size on, which fill at least half of one of the loop's buffers, are received
// straight into objects, until many have been smaller: what the buffers save in calls, the second
// copy costs then.
constexpr std::size_t large_bytes = 16 * 1024;
constexpr std::uint8_t large_score_first = 16;
constexpr std::size_t object_bytes_max = 256 * 1024;  // as asyncio's

// Whether what comes is received here, when the loop says that there is something.
bool polls(const stream_transport* self) noexcept {
    return !self->secured &&
           (self->buffered || (self->large_score > 0 && self->reader == nullptr));
}

// What was kept goes first: with it undelivered, more would only be kept as well.
bool wants_data(const stream_transport* self) noexcept {
    return self->begun && !self->paused && !self->closing && !self->ended &&
           self->kept == nullptr;
}

// A callback of the protocol in the connection's context. Null when it failed and the connection
// with it, for which `message` is the reason given.
owned call_protocol(stream_transport* self, PyObject* method, PyObject* argument,
                    const char* message) noexcept {
    // The protocol may be replaced, and the context let go of, by what is called.
    owned protocol = owned::share(self->protocol);
    entered_context context(self->context);
    owned answer;
    if (context) {
        PyObject* const passed[] = {protocol.get(), argument};
        answer = owned(PyObject_VectorcallMethod(method, passed, argument != nullptr ? 2 : 1,
                                                 nullptr));
        if (!answer) [[unlikely]] {
            fail(self, message);
        }
        context.leave();
    } else {
        fail(self, message);
    }
    return answer;
}

void deliver_object(stream_transport* self, PyObject* bytes) noexcept {
    call_protocol(self, stream_names().data_received, bytes,
                  "Fatal error: protocol.data_received() call failed.");
}

void lack_memory(stream_transport* self) noexcept {
    fail(self, "Fatal read error on socket transport");
}

// The protocol's own buffer, ready to be written to. False when the connection failed by it.
bool ask_for_buffer(stream_transport* self, Py_buffer& view) noexcept {
    const char* const failed = "Fatal error: protocol.get_buffer() call failed.";
    owned hint(PyLong_FromLong(-1));
    if (!hint) {
        lack_memory(self);
        return false;
    }
    owned buffer = call_protocol(self, stream_names().get_buffer, hint.get(), failed);
    if (!buffer) {
        return false;
    }
    const Py_ssize_t length = PyObject_Size(buffer.get());
    if (length <= 0) {
        if (length == 0) {
            PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
        }
        fail(self, failed);
        return false;
    }
    if (PyObject_GetBuffer(buffer.get(), &view, PyBUF_WRITABLE) < 0) {
        lack_memory(self);
        return false;
    }
    return true;
}

// The protocol's own buffer has `bytes` more. False when the connection failed by that.
bool tell_updated(stream_transport* self, std::size_t bytes) noexcept {
    owned count(PyLong_FromSize_t(bytes));
    if (!count) {
        lack_memory(self);
        return false;
    }
    return call_protocol(self, stream_names().buffer_updated, count.get(),
                         "Fatal error: protocol.buffer_updated() call failed.")
        .operator bool();
}

// Puts what fits into the protocol's own buffer. Returns how much; 0 when the connection failed.
std::size_t deliver_into_buffer(stream_transport* self, const char* data,
                                std::size_t bytes) noexcept {
    Py_buffer view;
    if (!ask_for_buffer(self, view)) {
        return 0;
    }
    const std::size_t room = static_cast<std::size_t>(view.len);
    const std::size_t taken = bytes < room ? bytes : room;
    std::memcpy(view.buf, data, taken);
    PyBuffer_Release(&view);
    if (self->closing || !self->buffered) {
        return 0;  // closed, or given another protocol, by get_buffer: these bytes are lost
    }
    return tell_updated(self, taken) ? taken : 0;
}

void keep_object(stream_transport* self, PyObject* bytes) noexcept {
    if (self->kept == nullptr) {
        self->kept = PyList_New(0);
    }
    if (self->kept == nullptr || PyList_Append(self->kept, bytes) < 0) {
        lack_memory(self);
    }
}

void keep(stream_transport* self, const char* data, std::size_t bytes) noexcept {
    owned object(PyBytes_FromStringAndSize(data, static_cast<Py_ssize_t>(bytes)));
    if (object) {
        keep_object(self, object.get());
    } else {
        lack_memory(self);
    }
}

// What belongs to a native TLS layer, which copies it once into OpenSSL's memory.
void deliver_ciphertext(stream_transport* self, const char* data, std::size_t bytes) noexcept {
    owned protocol = owned::share(self->protocol);
    entered_context context(self->context);
    if (!context ||
        take_ciphertext(protocol.get(), data, static_cast<Py_ssize_t>(bytes)) != 0) [[unlikely]] {
        fail(self, "Fatal error: protocol.buffer_updated() call failed.");
    }
}

// All of `bytes` to whatever protocol is there, as long as it wants them.
void deliver(stream_transport* self, const char* data, std::size_t bytes) noexcept {
    while (bytes > 0 && !self->closing) {
        if (self->paused) {
            keep(self, data, bytes);
            return;
        }
        if (self->secured) {
            deliver_ciphertext(self, data, bytes);
            return;
        }
        if (!self->buffered) {
            owned object(PyBytes_FromStringAndSize(data, static_cast<Py_ssize_t>(bytes)));
            if (object) {
                deliver_object(self, object.get());
            } else {
                lack_memory(self);
            }
            return;
        }
        const std::size_t taken = deliver_into_buffer(self, data, bytes);
        if (taken == 0) {
            return;
        }
        data += taken;
        bytes -= taken;
    }
}

void take_bytes(stream_transport* self, const completion& what) noexcept {
    ringlet::loop& core = *self->loop->core;
    const char* const data = reinterpret_cast<const char*>(what.buffer.data);
    const auto bytes = static_cast<std::size_t>(what.result);
    if (self->closing || self->kept != nullptr || self->paused || self->buffered) {
        if (self->kept != nullptr && !self->closing) {
            keep(self, data, bytes);  // behind what came before
        } else {
            deliver(self, data, bytes);
        }
        if (has_core(self)) {
            core.give_back(what.buffer);
        }
        return;
    }
    if (self->reader != nullptr) {
        const feeding how = feed_reader(self->reader, data, bytes);
        if (how == feeding::failed) {
            fail(self, "Fatal error: protocol.data_received() call failed.");
        }
        if (how != feeding::refused) {
            if (has_core(self)) {
                core.give_back(what.buffer);
            }
            return;
        }
    }
    owned object(PyBytes_FromStringAndSize(data, what.result));
    core.give_back(what.buffer);
    if (bytes >= large_bytes && bytes >= core.driver().receive_bytes() / 2 && !self->secured &&
        self->reader == nullptr) {
        self->large_score = large_score_first;
        stop_receiving(self);
    }
    if (object) [[likely]] {
        deliver_object(self, object.get());
    } else {
        lack_memory(self);
    }
}

void tell_end(stream_transport* self) noexcept {
    if (self->loop->debug) {
        owned said(PyObject_CallMethod(stream_names().logger, "debug", "sO", "%r received EOF",
                                       as_object(self)));
        PyErr_Clear();
    }
    const char* const failed = "Fatal error: protocol.eof_received() call failed.";
    owned answer = call_protocol(self, stream_names().eof_received, nullptr, failed);
    const int keep_open = answer ? PyObject_IsTrue(answer.get()) : 1;
    if (keep_open < 0) {
        fail(self, failed);
    } else if (keep_open == 0 && !owned(PyObject_CallMethodNoArgs(as_object(self),
                                                                  stream_names().close))) {
        fail(self, failed);
    }
}

void take_end(stream_transport* self) noexcept {
    self->ended = true;
    if (self->closing) {
        return;
    }
    if (self->paused || self->kept != nullptr) {
        self->end_kept = true;
    } else {
        PyObject* const interrupt = self->loop->fatal;
        tell_end(self);
        self->ended = self->loop->fatal == interrupt;  // else the next run tells it again
    }
}

void take_failure(stream_transport* self, int error) noexcept {
    self->ended = true;
    if (!self->closing) {
        entered_context context(self->context);
        raise_errno(error);
        fail(self, "Fatal read error on socket transport");
    }
}

// recv() that does not wait. What it got; 0 also when there is nothing, or has been the end.
std::size_t receive_now(stream_transport* self, void* into, std::size_t room) noexcept {
    const ssize_t got = ::recv(self->fd, into, room, MSG_DONTWAIT);
    if (got == 0) {
        take_end(self);
    } else if (got < 0 && errno != EAGAIN && errno != EINTR) {
        take_failure(self, errno);
    }
    return got > 0 ? static_cast<std::size_t>(got) : 0;
}

// Into the protocol's own buffer. Whether there may be more.
bool receive_into_buffer(stream_transport* self) noexcept {
    Py_buffer view;
    if (!ask_for_buffer(self, view)) {
        return false;
    }
    const auto room = static_cast<std::size_t>(view.len);
    const bool wanted = !self->closing && self->buffered;
    const std::size_t got = wanted ? receive_now(self, view.buf, room) : 0;
    PyBuffer_Release(&view);
    return got > 0 && tell_updated(self, got) && got == room;
}

// Into an object of its size, as large messages are. Whether there may be more.
bool receive_into_object(stream_transport* self) noexcept {
    PyObject* bytes = PyBytes_FromStringAndSize(nullptr, object_bytes_max);
    if (bytes == nullptr) {
        lack_memory(self);
        return false;
    }
    const std::size_t got = receive_now(self, PyBytes_AS_STRING(bytes), object_bytes_max);
    if (got == 0) {
        Py_DECREF(bytes);
        return false;
    }
    if (got >= large_bytes) {
        self->large_score = large_score_first;
    } else {
        --self->large_score;
    }
    if (got < object_bytes_max && _PyBytes_Resize(&bytes, static_cast<Py_ssize_t>(got)) < 0) {
        lack_memory(self);
        return false;
    }
    deliver_object(self, bytes);
    Py_DECREF(bytes);
    return got == object_bytes_max;
}

// There is something to be received here. When there is another protocol meanwhile that is given it
// in another way, or it is not wanted now, it stays where it is.
void take_readiness(stream_transport* self) noexcept {
    constexpr int calls_max = 8;  // before others have their turn
    int calls = 0;
    while (++calls <= calls_max && wants_data(self) && polls(self) &&
           (self->buffered ? receive_into_buffer(self) : receive_into_object(self))) {
    }
    if (!wants_data(self) || !polls(self)) {
        stop_receiving(self);  // a poll that stands would tell of what is left
    }
}

}  // namespace

void start_receiving(stream_transport* self) noexcept {
    if (wants_data(self) && has_core(self) && !self->receive.active()) {
        self->polling = polls(self);
        if (self->polling) {
            self->receive.prepare_poll(self->fd, POLLIN,
                                       self->loop->core->driver().polls_by_level());
        } else {
            self->receive.prepare_receive(self->fd);
        }
        self->loop->core->start(self->receive);
        settle_life(self);
    }
}

void stop_receiving(stream_transport* self) noexcept {
    if (has_core(self) && self->receive.active()) {
        self->stopping = true;
        self->loop->core->cancel(self->receive);
    }
}

void stream_received(operation& op, const completion& what) noexcept {
    stream_transport* const self = static_cast<stream_operation&>(op).owner;
    if (!has_core(self)) {
        return;  // the loop is being closed, and lets go of its owners by itself
    }
    Py_INCREF(self);
    slow_watch watch(self->loop, as_object(self));
    if (what.result > 0 && self->polling) {
        take_readiness(self);
    } else if (what.result > 0) [[likely]] {
        take_bytes(self, what);
    } else if (what.result == 0) {
        take_end(self);
    } else if (what.result != -ECANCELED || !self->stopping) {
        take_failure(self, -what.result);
    }
    if (!self->receive.active()) {
        self->stopping = false;
        start_receiving(self);  // when it was resumed meanwhile
        close_when_idle(self);
        settle_life(self);
    }
    Py_DECREF(self);
}

// Hands over what was written in this turn. And paused, not resumed in the same turn: nothing more
// is to be taken from the peer.
void stream_end_of_turn(work& item) noexcept {
    stream_transport* const self = static_cast<stream_work&>(item).owner;
    hand_over_output(self);
    if (self->paused) {
        stop_receiving(self);
    }
    settle_life(self);
}

bool adopt_protocol(stream_transport* self, PyObject* protocol) noexcept {
    const int buffered = PyObject_IsInstance(protocol, stream_names().buffered_protocol);
    if (buffered < 0) {
        return false;
    }
    owned reader = buffered == 1 ? owned() : adopt_reader(protocol);
    self->buffered = buffered == 1;
    self->protocol_connected = 1;
    self->secured = takes_ciphertext(protocol);
    owned old_reader(std::exchange(self->reader, reader.release()));
    owned old_protocol(std::exchange(self->protocol, new_reference(protocol)));
    return true;
}

PyObject* stream_pause_reading(PyObject* object, PyObject*) noexcept {
    stream_transport* const self = as_stream(object);
    if (self->closing || self->paused) {
        Py_RETURN_NONE;
    }
    self->paused = 1;
    if (has_core(self) && self->receive.active() && !self->end_of_turn.queued()) {
        self->loop->core->post_flush(self->end_of_turn);
    }
    if (self->loop->debug) {
        return PyObject_CallMethod(stream_names().logger, "debug", "sO", "%r pauses reading",
                                   object);
    }
    Py_RETURN_NONE;
}

PyObject* stream_resume_reading(PyObject* object, PyObject*) noexcept {
    stream_transport* const self = as_stream(object);
    if (self->closing || !self->paused) {
        Py_RETURN_NONE;
    }
    self->paused = 0;
    if (self->kept != nullptr || self->end_kept) {
        // Not in the connection's context, which the delivery enters.
        owned bound(PyObject_GetAttr(object, stream_names().deliver_call));
        if (!bound || !owned(PyObject_CallMethodOneArg(as_object(self->loop),
                                                       stream_names().call_soon, bound.get()))) {
            return nullptr;
        }
    }
    start_receiving(self);
    if (self->loop->debug) {
        return PyObject_CallMethod(stream_names().logger, "debug", "sO", "%r resumes reading",
                                   object);
    }
    Py_RETURN_NONE;
}

// _deliver(): what came while it was paused.
PyObject* stream_deliver(PyObject* object, PyObject*) noexcept {
    stream_transport* const self = as_stream(object);
    owned list(self->paused ? nullptr : std::exchange(self->kept, nullptr));
    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list.get()); ++i) {
        PyObject* const bytes = PyList_GET_ITEM(list.get(), i);
        if (self->closing) {
            break;
        }
        if (self->paused || self->kept != nullptr) {
            keep_object(self, bytes);  // again, behind the rest of the one that was too much
        } else if (!self->buffered) {
            deliver_object(self, bytes);
        } else {
            deliver(self, PyBytes_AS_STRING(bytes),
                    static_cast<std::size_t>(PyBytes_GET_SIZE(bytes)));
        }
    }
    if (!self->paused && self->kept == nullptr && std::exchange(self->end_kept, false) &&
        !self->closing) {
        tell_end(self);
    }
    start_receiving(self);
    Py_RETURN_NONE;
}

}  // namespace ringlet::python
