#include "python/native/socket_try.h"

#include <sys/socket.h>

#include <cerrno>

namespace ringlet::python {
namespace {

// Larger receives than this go through a buffer that is kept: memory of that size would be mapped
// and unmapped by every call.
constexpr Py_ssize_t direct_bytes = 64 << 10;
constexpr Py_ssize_t kept_bytes = 1 << 20;

attempt failure(int number) noexcept {
    if (number == EAGAIN || number == EWOULDBLOCK) {
        return attempt::would_block;
    }
    raise_errno(number);
    return attempt::failed;
}

// Repeats a system call that a signal interrupted, once the signal's Python handler has run.
template <class F>
ssize_t repeated(F&& call) noexcept {
    for (;;) {
        const ssize_t result = call();
        if (result >= 0 || errno != EINTR || PyErr_CheckSignals() < 0) {
            return result;
        }
    }
}

attempt outcome_of(ssize_t result) noexcept {
    if (result >= 0) {
        return attempt::done;
    }
    return PyErr_Occurred() ? attempt::failed : failure(errno);
}

attempt receive_direct(int fd, Py_ssize_t size, PyObject*& result, bool& all) noexcept {
    PyObject* bytes = PyBytes_FromStringAndSize(nullptr, size);
    if (bytes == nullptr) {
        return attempt::failed;
    }
    const ssize_t got = repeated([&] {
        return ::recv(fd, PyBytes_AS_STRING(bytes), static_cast<std::size_t>(size), MSG_DONTWAIT);
    });
    const attempt how = outcome_of(got);
    if (how != attempt::done) {
        Py_DECREF(bytes);
        return how;
    }
    all = got > 0 && got < size;
    if (got != size && _PyBytes_Resize(&bytes, got) < 0) {
        return attempt::failed;
    }
    result = bytes;
    return attempt::done;
}

}  // namespace

attempt receive(int fd, PyObject* limit, PyObject*& result, bool& all) noexcept {
    const Py_ssize_t size = PyNumber_AsSsize_t(limit, PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred()) {
        return attempt::failed;
    }
    if (size < 0) {
        PyErr_SetString(PyExc_ValueError, "negative buffersize in recv");
        return attempt::failed;
    }
    if (size == 0) {  // as the socket module, which does not ask the system either
        result = PyBytes_FromStringAndSize(nullptr, 0);
        return result != nullptr ? attempt::done : attempt::failed;
    }
    if (size <= direct_bytes || size > kept_bytes) {
        return receive_direct(fd, size, result, all);
    }
    static char kept[kept_bytes];  // guarded by the GIL
    const ssize_t got = repeated(
        [&] { return ::recv(fd, kept, static_cast<std::size_t>(size), MSG_DONTWAIT); });
    const attempt how = outcome_of(got);
    if (how != attempt::done) {
        return how;
    }
    all = got > 0 && got < size;
    result = PyBytes_FromStringAndSize(kept, got);
    return result != nullptr ? attempt::done : attempt::failed;
}

attempt receive_into(int fd, PyObject* buffer, PyObject*& result, bool& all) noexcept {
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        PyErr_Format(PyExc_TypeError,
                     "recv_into() argument 1 must be read-write bytes-like object, not %s",
                     Py_TYPE(buffer)->tp_name);
        return attempt::failed;
    }
    const ssize_t got =
        view.len == 0 ? 0 : repeated([&] {
            return ::recv(fd, view.buf, static_cast<std::size_t>(view.len), MSG_DONTWAIT);
        });
    const attempt how = outcome_of(got);
    all = got > 0 && got < view.len;
    PyBuffer_Release(&view);
    if (how != attempt::done) {
        return how;
    }
    result = PyLong_FromSsize_t(got);
    return result != nullptr ? attempt::done : attempt::failed;
}

attempt send_rest(int fd, const Py_buffer& data, Py_ssize_t& sent) noexcept {
    const auto* const from = static_cast<const char*>(data.buf) + sent;
    const auto left = static_cast<std::size_t>(data.len - sent);
    const ssize_t taken =
        repeated([&] { return ::send(fd, from, left, MSG_DONTWAIT | MSG_NOSIGNAL); });
    const attempt how = outcome_of(taken);
    if (how != attempt::done) {
        return how;
    }
    sent += taken;
    return sent == data.len ? attempt::done : attempt::would_block;
}

attempt call_method(PyObject* method, PyObject* const* arguments, std::size_t count,
                    PyObject*& result) noexcept {
    result = PyObject_VectorcallMethod(method, arguments, count, nullptr);
    if (result != nullptr) {
        return attempt::done;
    }
    if (!PyErr_ExceptionMatches(PyExc_BlockingIOError) &&
        !PyErr_ExceptionMatches(PyExc_InterruptedError)) {
        return attempt::failed;
    }
    PyErr_Clear();
    return attempt::would_block;
}

}  // namespace ringlet::python
