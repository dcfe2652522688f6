// Stream transports: what comes in, and how it reaches the protocol.
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "python/native/stream_names.h"
#include "python/native/stream_reader.h"
#include "python/native/stream_transport.h"
#include "python/native/tls_protocol.h"

namespace ringlet::python {
namespace {

// What was kept goes first: with it undelivered, more would only be kept as well.
bool wants_data(const stream_transport* self) noexcept {
    return self->begun && !self->paused && !self->closing && !self->ended &&
           self->kept == nullptr;
}

// A callback of the protocol in the connection's context. Null when it failed and the connection
// with it, for which `message` is the reason given.
owned call_protocol(stream_transport* self, PyObject* method, PyObject* argument,
                    const char* message) noexcept {
    owned answer;
    // The method may be replaced, and the context let go of, by what is called.
    owned held = owned::share(method);
    owned context = owned::share(self->context);
    if (context && PyContext_Enter(context.get()) == 0) {
        answer = owned(argument != nullptr ? PyObject_CallOneArg(held.get(), argument)
                                           : PyObject_CallNoArgs(held.get()));
        if (answer) [[likely]] {
            if (PyContext_Exit(context.get()) != 0) {
                answer = {};
            }
        } else {
            owned exception = take_exception();
            PyContext_Exit(context.get());
            raise_again(std::move(exception));
        }
    }
    if (!answer) [[unlikely]] {
        fail(self, message);
    }
    return answer;
}

void deliver_object(stream_transport* self, PyObject* bytes) noexcept {
    call_protocol(self, self->on_data, bytes, "Fatal error: protocol.data_received() call failed.");
}

void lack_memory(stream_transport* self) noexcept {
    fail(self, "Fatal read error on socket transport");
}

// The protocol's own buffer, ready to be written to. False when the connection failed by it.
bool ask_for_buffer(stream_transport* self, Py_buffer& view) noexcept {
    const char* const failed = "Fatal error: protocol.get_buffer() call failed.";
    owned hint(PyLong_FromLong(-1));
    owned buffer = call_protocol(self, self->get_buffer, hint.get(), failed);
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
    if (self->closing || self->get_buffer == nullptr) {
        return 0;  // closed, or given another protocol, by get_buffer: these bytes are lost
    }
    owned count(PyLong_FromSize_t(taken));
    const bool done = count && call_protocol(self, self->on_data, count.get(),
                                             "Fatal error: protocol.buffer_updated() call failed.");
    return done ? taken : 0;
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
    owned context = owned::share(self->context);
    bool good = PyContext_Enter(context.get()) == 0;
    if (good) {
        good = take_ciphertext(protocol.get(), data, static_cast<Py_ssize_t>(bytes)) == 0;
        owned exception = good ? owned() : take_exception();
        PyContext_Exit(context.get());
        if (!good) {
            raise_again(std::move(exception));
        }
    }
    if (!good) [[unlikely]] {
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
        if (self->get_buffer == nullptr) {
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
    if (self->closing || self->kept != nullptr || self->paused || self->get_buffer != nullptr) {
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
    owned method(PyObject_GetAttr(self->protocol, stream_names().eof_received));
    if (!method) {
        fail(self, failed);
        return;
    }
    owned answer = call_protocol(self, method.get(), nullptr, failed);
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
        tell_end(self);
    }
}

void take_failure(stream_transport* self, int error) noexcept {
    self->ended = true;
    if (!self->closing) {
        raise_errno(error);
        fail(self, "Fatal read error on socket transport");
    }
}

// One call of recv into the protocol's own buffer. Whether there may be more.
bool receive_into_buffer(stream_transport* self) noexcept {
    Py_buffer view;
    if (!ask_for_buffer(self, view)) {
        return false;
    }
    const auto room = static_cast<std::size_t>(view.len);
    const bool wanted = !self->closing && self->get_buffer != nullptr;
    const ssize_t got = wanted ? ::recv(self->fd, view.buf, room, MSG_DONTWAIT) : -1;
    const int error = wanted ? errno : EAGAIN;
    PyBuffer_Release(&view);
    if (got > 0) {
        owned count(PyLong_FromSsize_t(got));
        return count &&
               call_protocol(self, self->on_data, count.get(),
                             "Fatal error: protocol.buffer_updated() call failed.") &&
               static_cast<std::size_t>(got) == room;
    }
    if (got == 0) {
        take_end(self);
    } else if (error != EAGAIN && error != EINTR) {
        take_failure(self, error);
    }
    return false;
}

// There is something for a protocol that has buffers of its own. When it has become another one
// meanwhile, or is not to be given anything, it stays where it is.
void take_readiness(stream_transport* self) noexcept {
    constexpr int calls_max = 8;  // before others have their turn
    int calls = 0;
    while (++calls <= calls_max && wants_data(self) && self->get_buffer != nullptr &&
           receive_into_buffer(self)) {
    }
}

}  // namespace

void start_receiving(stream_transport* self) noexcept {
    if (wants_data(self) && has_core(self) && !self->receive.active()) {
        self->polling = self->get_buffer != nullptr && !self->secured;
        if (self->polling) {
            self->receive.prepare_poll(self->fd, POLLIN, false);
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
    const stream_names_table& known = stream_names();
    const int buffered = PyObject_IsInstance(protocol, known.buffered_protocol);
    if (buffered < 0) {
        return false;
    }
    owned get_buffer;
    if (buffered == 1) {
        get_buffer = owned(PyObject_GetAttr(protocol, known.get_buffer));
        if (!get_buffer) {
            return false;
        }
    }
    owned on_data(
        PyObject_GetAttr(protocol, buffered == 1 ? known.buffer_updated : known.data_received));
    if (!on_data) {
        return false;
    }
    owned reader = buffered == 1 ? owned() : adopt_reader(protocol);
    owned old_reader(std::exchange(self->reader, reader.release()));
    owned old_protocol(std::exchange(self->protocol, new_reference(protocol)));
    owned old_get_buffer(std::exchange(self->get_buffer, get_buffer.release()));
    owned old_on_data(std::exchange(self->on_data, on_data.release()));
    self->protocol_connected = 1;
    self->secured = takes_ciphertext(protocol);
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
        } else if (self->get_buffer == nullptr) {
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
