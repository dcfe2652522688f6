// Stream transports: what goes out. What is written in a turn of the loop is collected, and handed
// over by one operation at its end: that costs less than a system call per write, and the peers
// wake up together. Much at once, and what is written between runs, goes straight to the kernel,
// which may leave some. One operation at a time is under way.
#include <algorithm>
#include <cerrno>

#include "python/native/context.h"
#include "python/native/names.h"
#include "python/native/stream_names.h"
#include "python/native/stream_transport.h"

namespace ringlet::python {
namespace {

constexpr std::size_t vectors_max = 1024;  // IOV_MAX
// One operation is given so much at most; more than any socket's buffer takes at once.
constexpr std::size_t operation_bytes_max = 8 * 1024 * 1024;
// So much is collected at most, and only pieces so small that the call costs more than the copy;
// of what is not bytes, and has to be copied once more, smaller ones still.
constexpr std::size_t collected_bytes_max = 64 * 1024;
constexpr std::size_t collected_piece_max = 16 * 1024;
constexpr std::size_t copied_bytes_max = 4 * 1024;
// As asyncio's constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES.
constexpr int silent_lost_writes = 5;

std::size_t length_of(PyObject* bytes) noexcept {
    return static_cast<std::size_t>(PyBytes_GET_SIZE(bytes));
}

void free_output(stream_transport* self) noexcept {
    stream_output& output = self->output;
    std::vector<PyObject*> parts;
    parts.swap(output.parts);
    const std::size_t first = std::exchange(output.first, 0);
    output.first_offset = 0;
    output.bytes = 0;
    for (std::size_t i = first; i < parts.size(); ++i) {
        Py_DECREF(parts[i]);
    }
    parts.clear();
    if (output.parts.empty()) {
        output.parts.swap(parts);  // its memory serves again
    }
}

// The kernel has taken `bytes` more.
void advance(stream_output& output, std::size_t bytes) noexcept {
    output.bytes -= bytes;
    while (bytes > 0) {
        PyObject* const part = output.parts[output.first];
        const std::size_t left = length_of(part) - output.first_offset;
        if (bytes < left) {
            output.first_offset += bytes;
            return;
        }
        bytes -= left;
        ++output.first;
        output.first_offset = 0;
        Py_DECREF(part);  // bytes objects: no code runs
    }
    if (output.first == output.parts.size()) {
        output.parts.clear();
        output.first = 0;
    } else if (output.first > vectors_max) {
        output.parts.erase(output.parts.begin(),
                           output.parts.begin() + static_cast<std::ptrdiff_t>(output.first));
        output.first = 0;
    }
}

// Vectors for what waits, from the front, as much as one call or operation should be given.
void gather(stream_output& output) {
    output.vectors.clear();
    std::size_t bytes = 0;
    std::size_t offset = output.first_offset;
    for (std::size_t i = output.first; i < output.parts.size(); ++i) {
        PyObject* const part = output.parts[i];
        output.vectors.push_back(
            {PyBytes_AS_STRING(part) + offset, length_of(part) - offset});
        bytes += length_of(part) - offset;
        offset = 0;
        if (bytes >= operation_bytes_max || output.vectors.size() == vectors_max) {
            break;
        }
    }
    output.message = {};
    output.message.msg_iov = output.vectors.data();
    output.message.msg_iovlen = output.vectors.size();
}

void start_send(stream_transport* self) noexcept {
    stream_output& output = self->output;
    bool gathered = false;
    if (output.parts.size() - output.first > 1) {
        try {
            gather(output);
            gathered = true;
        } catch (const std::bad_alloc&) {
        }
    }
    if (gathered) {
        self->send.prepare_send_message(self->fd, &output.message);
    } else {
        PyObject* const part = output.parts[output.first];
        self->send.prepare_send(self->fd, PyBytes_AS_STRING(part) + output.first_offset,
                                length_of(part) - output.first_offset);
    }
    self->loop->core->start(self->send);
    settle_life(self);
}

// Ends the connection; never with an exception set.
void end_by_write_error(stream_transport* self, int error) noexcept {
    free_output(self);
    raise_errno(error);
    owned exception = take_exception();
    raise_again(owned::share(exception.get()));
    fail(self, "Fatal write error on socket transport");
    if (self->empty_waiter != nullptr) {
        owned done(PyObject_CallMethodOneArg(self->empty_waiter, stream_names().set_exception,
                                             exception.get()));
        PyErr_Clear();
    }
}

// Calls pause_writing or resume_writing; what it raises is reported, and no more. False with
// SystemExit or KeyboardInterrupt set.
bool call_flow_control(stream_transport* self, PyObject* name, const char* message) noexcept {
    owned protocol = owned::share(self->protocol);
    owned done(protocol ? PyObject_CallMethodNoArgs(protocol.get(), name)
                        : new_reference(Py_None));
    if (done) {
        return true;
    }
    if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
        PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        return false;
    }
    report(self->loop, message, as_object(self), protocol.get());
    return true;
}

bool maybe_resume_protocol(stream_transport* self) noexcept {
    if (!self->protocol_paused ||
        self->output.bytes > static_cast<std::size_t>(self->low_water)) {
        return true;
    }
    self->protocol_paused = 0;
    return call_flow_control(self, stream_names().resume_writing,
                             "protocol.resume_writing() failed");
}

// All was sent: what waited for that can go on.
void all_sent(stream_transport* self) noexcept {
    if (self->empty_waiter != nullptr) {
        owned waiter = owned::share(self->empty_waiter);
        owned done(PyObject_CallMethodNoArgs(waiter.get(), stream_names().done));
        if (done && done.get() != Py_True) {
            done = owned(PyObject_CallMethodOneArg(waiter.get(), stream_names().set_result,
                                                   Py_None));
        }
        if (!done) {
            report(self->loop, "Fatal write error on socket transport", as_object(self));
        }
    }
    if (self->closing) {
        if (!schedule_connection_lost(self, Py_None)) {
            report(self->loop, "Fatal write error on socket transport", as_object(self));
        }
    } else if (self->eof) {
        ::shutdown(self->fd, SHUT_WR);
    }
}

// Appends a reference, taken over also when there is no memory: false with MemoryError set.
bool append(stream_output& output, PyObject* bytes) noexcept {
    try {
        output.parts.push_back(bytes);
    } catch (const std::bad_alloc&) {
        Py_DECREF(bytes);
        PyErr_NoMemory();
        return false;
    }
    output.bytes += length_of(bytes);
    return true;
}

// Appends what `sent` leaves of the data; `view`: of data that is not bytes. False with exception.
bool append_rest(stream_output& output, PyObject* data, const Py_buffer* view,
                 std::size_t sent) noexcept {
    if (view != nullptr) {
        PyObject* const copy = PyBytes_FromStringAndSize(static_cast<const char*>(view->buf) + sent,
                                                         view->len - static_cast<Py_ssize_t>(sent));
        return copy != nullptr && append(output, copy);
    }
    if (!append(output, new_reference(data))) {
        return false;
    }
    if (sent > 0) {  // then nothing else waits
        output.first_offset = sent;
        output.bytes -= sent;
    }
    return true;
}

constexpr const char* after_eof = "Cannot call write() after write_eof()";
constexpr const char* in_sendfile = "unable to write; sendfile is in progress";
#if PY_VERSION_HEX >= 0x030c0000
constexpr const char* after_eof_lines = "Cannot call writelines() after write_eof()";
constexpr const char* in_sendfile_lines = "unable to writelines; sendfile is in progress";
#else
constexpr const char* after_eof_lines = after_eof;
constexpr const char* in_sendfile_lines = in_sendfile;
#endif

// Whether anything may be written now; false with RuntimeError set.
bool may_write(stream_transport* self, const char* ended, const char* busy) noexcept {
    if (self->eof || self->empty_waiter != nullptr) [[unlikely]] {
        PyErr_SetString(PyExc_RuntimeError, self->eof ? ended : busy);
        return false;
    }
    return true;
}

bool note_lost_write(stream_transport* self) noexcept {
    if (self->conn_lost >= silent_lost_writes &&
        !owned(PyObject_CallMethod(stream_names().logger, "warning", "s",
                                   "socket.send() raised exception."))) {
        return false;
    }
    ++self->conn_lost;
    return true;
}

// How much the kernel took of what the call sends, or -errno.
template <class Call>
ssize_t try_send(Call call) noexcept {
    ssize_t sent;
    do {
        sent = call();
    } while (sent < 0 && errno == EINTR);
    return sent >= 0 ? sent : errno == EAGAIN ? 0 : -errno;
}

constexpr int now_flags = MSG_DONTWAIT | MSG_NOSIGNAL;

// What waits, straight to the kernel. Requires: no operation is under way. False with an exception.
bool send_waiting_now(stream_transport* self) noexcept {
    stream_output& output = self->output;
    try {
        gather(output);
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
        return false;
    }
    const ssize_t sent =
        try_send([&] { return ::sendmsg(self->fd, &output.message, now_flags); });
    if (sent < 0) {
        end_by_write_error(self, static_cast<int>(-sent));
        return true;
    }
    advance(output, static_cast<std::size_t>(sent));
    return true;
}

// The rest, which the kernel did not take at once, is for the operation. False with exception set.
bool send_rest(stream_transport* self) noexcept {
    if (self->output.bytes == 0) {
        return maybe_resume_protocol(self);
    }
    if (!check_open(self->loop)) {
        return false;
    }
    if (!self->send.active()) {
        start_send(self);
    }
    return maybe_pause_protocol(self);
}

bool may_collect(const stream_transport* self, std::size_t bytes) noexcept {
    const auto high_water = static_cast<std::size_t>(self->high_water);
    return self->loop->running && bytes < collected_piece_max &&
           self->output.bytes + bytes <= collected_bytes_max &&
           self->output.bytes + bytes <= high_water;
}

void send_at_end_of_turn(stream_transport* self) noexcept {
    if (!self->end_of_turn.queued()) {
        self->loop->core->post_flush(self->end_of_turn);
        settle_life(self);
    }
}

// `view`: of data that is not bytes. False with an exception set.
bool write_bytes(stream_transport* self, PyObject* data, const Py_buffer* view) noexcept {
    const std::size_t bytes =
        view != nullptr ? static_cast<std::size_t>(view->len) : length_of(data);
    if (bytes == 0) {
        return true;
    }
    if (self->conn_lost > 0) {
        return note_lost_write(self);
    }
    if (self->send.active() || self->closing) {  // closing: what was collected goes first
        return append_rest(self->output, data, view, 0) &&
               (!self->send.active() || send_rest(self));
    }
    if ((view == nullptr || bytes <= copied_bytes_max) && may_collect(self, bytes)) [[likely]] {
        if (!append_rest(self->output, data, view, 0)) {
            return false;
        }
        send_at_end_of_turn(self);
        return true;
    }
    if (self->output.bytes > 0) {
        return append_rest(self->output, data, view, 0) && send_waiting_now(self) &&
               send_rest(self);
    }
    const void* const begin = view != nullptr ? view->buf : PyBytes_AS_STRING(data);
    const ssize_t sent = try_send([&] { return ::send(self->fd, begin, bytes, now_flags); });
    if (sent < 0) {
        end_by_write_error(self, static_cast<int>(-sent));
        return true;
    }
    const auto taken = static_cast<std::size_t>(sent);
    return taken == bytes ||
           (append_rest(self->output, data, view, taken) && send_rest(self));
}

}  // namespace

void hand_over_output(stream_transport* self) noexcept {
    if (self->output.bytes > 0 && !self->send.active()) {
        start_send(self);
    }
}

void drop_output(stream_transport* self) noexcept {
    // What was collected has been written as far as the program knows: only what the kernel would
    // not have taken is lost.
    if (self->output.bytes > 0 && !self->send.active() && self->open && has_core(self)) {
        try {
            gather(self->output);
            static_cast<void>(::sendmsg(self->fd, &self->output.message, now_flags));
        } catch (const std::bad_alloc&) {
        }
    }
    if (self->send.active()) {
        self->dropped = true;  // what the kernel reads stays until it is done
        self->output.bytes = 0;
        if (has_core(self)) {
            self->loop->core->cancel(self->send);
        }
    } else {
        free_output(self);
    }
}

void stream_sent(operation& op, const completion& what) noexcept {
    stream_transport* const self = static_cast<stream_operation&>(op).owner;
    if (!has_core(self)) {
        return;  // the loop is being closed, and lets go of its owners by itself
    }
    Py_INCREF(self);
    slow_watch watch(self->loop, as_object(self));
    if (std::exchange(self->dropped, false)) {
        free_output(self);
    } else if (what.result < 0) {
        entered_context context(self->context);
        end_by_write_error(self, -what.result);
    } else {
        advance(self->output, static_cast<std::size_t>(what.result));
        if (self->protocol_paused) {
            entered_context context(self->context);
            if (!context || !maybe_resume_protocol(self)) {
                report(self->loop, "protocol.resume_writing() failed");
            }
        }
        if (self->output.bytes == 0) {
            all_sent(self);
        } else if (!self->send.active()) {
            start_send(self);
        }
    }
    close_when_idle(self);
    if (self->loop != nullptr) {
        settle_life(self);
    }
    Py_DECREF(self);
}

bool maybe_pause_protocol(stream_transport* self) noexcept {
    if (self->protocol_paused ||
        self->output.bytes <= static_cast<std::size_t>(self->high_water)) {
        return true;
    }
    self->protocol_paused = 1;
    return call_flow_control(self, stream_names().pause_writing, "protocol.pause_writing() failed");
}

// _maybe_pause_protocol(): the limits have changed, maybe to less than what is collected.
PyObject* stream_maybe_pause(PyObject* object, PyObject*) noexcept {
    stream_transport* const self = as_stream(object);
    const bool much = self->output.bytes > static_cast<std::size_t>(self->high_water);
    if (!much || self->send.active() || self->closing) {
        return maybe_pause_protocol(self) ? new_reference(Py_None) : nullptr;
    }
    if (!send_waiting_now(self) || !send_rest(self)) {
        return nullptr;
    }
    if (self->output.bytes == 0) {
        all_sent(self);
    }
    Py_RETURN_NONE;
}

PyObject* stream_write(PyObject* object, PyObject* data) noexcept {
    stream_transport* const self = as_stream(object);
    const bool is_bytes = PyBytes_Check(data);
    if (!is_bytes && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        PyErr_Format(PyExc_TypeError, "data argument must be a bytes-like object, not '%s'",
                     Py_TYPE(data)->tp_name);
        return nullptr;
    }
    if (!may_write(self, after_eof, in_sendfile)) {
        return nullptr;
    }
    if (PyBytes_CheckExact(data)) [[likely]] {
        return write_bytes(self, data, nullptr) ? new_reference(Py_None) : nullptr;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return nullptr;
    }
    const bool done = write_bytes(self, data, &view);
    PyBuffer_Release(&view);
    return done ? new_reference(Py_None) : nullptr;
}

// writelines(list_of_data): in one call of the system, if the kernel takes it.
PyObject* stream_writelines(PyObject* object, PyObject* lines) noexcept {
    stream_transport* const self = as_stream(object);
    if (!may_write(self, after_eof_lines, in_sendfile_lines)) {
        return nullptr;
    }
    owned empty(PyBytes_FromStringAndSize(nullptr, 0));
    owned joined(empty ? PyObject_CallMethod(empty.get(), "join", "O", lines) : nullptr);
    return joined && write_bytes(self, joined.get(), nullptr) ? new_reference(Py_None) : nullptr;
}

PyObject* stream_write_eof(PyObject* object, PyObject*) noexcept {
    stream_transport* const self = as_stream(object);
    if (self->closing || self->eof) {
        Py_RETURN_NONE;
    }
    self->eof = 1;
    if (self->output.bytes == 0 && ::shutdown(self->fd, SHUT_WR) != 0) {
        return raise_errno(errno);
    }
    Py_RETURN_NONE;
}

PyObject* stream_make_empty_waiter(PyObject* object, PyObject*) noexcept {
    stream_transport* const self = as_stream(object);
    if (self->empty_waiter != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, "Empty waiter is already set");
        return nullptr;
    }
    if (self->lost) {
        PyErr_SetString(PyExc_RuntimeError, "the transport is closed");
        return nullptr;
    }
    owned waiter(PyObject_CallMethodNoArgs(as_object(self->loop), stream_names().create_future));
    if (!waiter) {
        return nullptr;
    }
    if (self->output.bytes == 0 &&
        !owned(PyObject_CallMethodOneArg(waiter.get(), stream_names().set_result, Py_None))) {
        return nullptr;
    }
    self->empty_waiter = new_reference(waiter.get());
    return waiter.release();
}

PyObject* stream_reset_empty_waiter(PyObject* object, PyObject*) noexcept {
    Py_CLEAR(as_stream(object)->empty_waiter);
    Py_RETURN_NONE;
}

bool fail_empty_waiter(stream_transport* self) noexcept {
    if (self->empty_waiter == nullptr) {
        return true;
    }
    owned exception(PyObject_CallFunction(PyExc_ConnectionError, "s",
                                          "Connection is closed by peer"));
    return exception && owned(PyObject_CallMethodOneArg(self->empty_waiter,
                                                        stream_names().set_exception,
                                                        exception.get()));
}

}  // namespace ringlet::python
