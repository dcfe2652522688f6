#include "python/native/socket_wait.h"

#include "python/native/names.h"

namespace ringlet::python {
namespace {

void end_wait(operation& op, const completion& what) noexcept {
    auto& wait = static_cast<socket_wait&>(op);
    owned future(std::exchange(wait.future, nullptr));
    loop_object* const loop = wait.loop;
    delete &wait;
    if (!future || what.result == -ECANCELED) {
        return;
    }
    // Whatever the poll says, the next try tells it better. A future that was cancelled by now
    // stays so.
    PyObject* const passed[] = {future.get(), Py_None};
    if (owned(PyObject_VectorcallMethod(names().set_result, passed, 2, nullptr))) {
        return;
    }
    owned failed = take_exception();
    owned done(PyObject_CallMethod(future.get(), "done", nullptr));
    if (done.get() != Py_True) {
        raise_again(std::move(failed));
        report(loop, "A wait for a socket could not be ended");
    }
}

}  // namespace

socket_wait::socket_wait(loop_object* l, socket_wait** who) noexcept
    : operation(end_wait), loop(l), future(nullptr), owner(who), next(l->socket_waits),
      link(&l->socket_waits) {
    if (next != nullptr) {
        next->link = &next;
    }
    l->socket_waits = this;
}

socket_wait::~socket_wait() {
    *link = next;
    if (next != nullptr) {
        next->link = link;
    }
    if (owner != nullptr) {
        *owner = nullptr;
    }
}

void socket_wait::abandon() noexcept {
    if (owner != nullptr) {
        *std::exchange(owner, nullptr) = nullptr;
    }
    if (loop->core) {
        loop->core->cancel(*this);
    }
    Py_CLEAR(future);
}

int traverse_socket_waits(loop_object* loop, visitproc visit, void* arg) noexcept {
    for (const socket_wait* each = loop->socket_waits; each != nullptr; each = each->next) {
        Py_VISIT(each->future);
    }
    return 0;
}

void forget_socket_waits(loop_object* loop) noexcept {
    // Letting go of a future can run Python code, but none that starts or ends an operation.
    for (socket_wait* each = loop->socket_waits; each != nullptr; each = each->next) {
        each->abandon();
    }
}

}  // namespace ringlet::python
