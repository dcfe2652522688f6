// Splicing, for sendfile: from a file into a pipe on the driver, since that may wait for a disk,
// and from the pipe into a socket at once.
#include <fcntl.h>

#include <cerrno>
#include <new>

#include "core/file_operation.h"
#include "python/native/socket_wait.h"

namespace ringlet::python {
namespace {

struct splice_wait final : file_operation, loop_wait {
    splice_wait(loop_object* l, handler on_end, PyObject* future, PyObject* p) noexcept
        : file_operation(on_end), loop_wait(l, *this, future, nullptr), pipe(new_reference(p)) {}
    ~splice_wait() { Py_DECREF(pipe); }

    PyObject* const pipe;  // whose descriptor is nobody else's until the operation has ended
};

void end_splice(operation& op, const completion& what) noexcept {
    auto& wait = static_cast<splice_wait&>(static_cast<file_operation&>(op));
    loop_object* const loop = wait.loop;
    const owned future = take_kept(wait);
    if (!future) {
        return;
    }
    const owned result(PyLong_FromLong(what.result));
    if (result) {
        end_future(loop, future.get(), result.get());
    } else {
        report(loop, "A splice could not be ended");
    }
}

}  // namespace

PyObject* loop_splice(PyObject* self, PyObject* arguments) noexcept {
    loop_object* const loop = as_loop(self);
    int from;
    unsigned long long offset;
    PyObject* pipe;
    int to;
    Py_ssize_t bytes;
    if (!PyArg_ParseTuple(arguments, "iKOin", &from, &offset, &pipe, &to, &bytes) ||
        !check_open(loop)) {
        return nullptr;
    }
    owned future(loop_create_future(self, nullptr));
    auto* const wait =
        future ? new (std::nothrow) splice_wait(loop, end_splice, future.get(), pipe) : nullptr;
    if (wait == nullptr) {
        return future ? PyErr_NoMemory() : nullptr;
    }
    wait->prepare_splice(from, offset, to, file_operation::current_offset,
                         static_cast<std::size_t>(bytes), SPLICE_F_MOVE);
    loop->core->start(*wait);
    return future.release();
}

PyObject* loop_splice_now(PyObject*, PyObject* arguments) noexcept {
    int from;
    int to;
    Py_ssize_t bytes;
    if (!PyArg_ParseTuple(arguments, "iin", &from, &to, &bytes)) {
        return nullptr;
    }
    ssize_t moved;
    Py_BEGIN_ALLOW_THREADS;
    moved = ::splice(from, nullptr, to, nullptr, static_cast<std::size_t>(bytes),
                     SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    Py_END_ALLOW_THREADS;
    return moved < 0 ? raise_errno(errno) : PyLong_FromSsize_t(moved);
}

}  // namespace ringlet::python
