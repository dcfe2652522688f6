#include "python/native/socket_wait.h"

#include "python/native/names.h"

namespace ringlet::python {

loop_wait::loop_wait(loop_object* l, operation& of, PyObject* keep, loop_wait** who) noexcept
    : loop(l), waiting(of), kept(new_reference(keep)), owner(who), next(l->waits),
      link(&l->waits) {
    if (next != nullptr) {
        next->link = &next;
    }
    l->waits = this;
    if (owner != nullptr) {
        *owner = this;
    }
}

loop_wait::~loop_wait() {
    *link = next;
    if (next != nullptr) {
        next->link = link;
    }
    if (owner != nullptr) {
        *owner = nullptr;
    }
}

void loop_wait::abandon() noexcept {
    if (owner != nullptr) {
        *std::exchange(owner, nullptr) = nullptr;
    }
    if (loop->core) {
        loop->core->cancel(waiting);
    }
    Py_CLEAR(kept);
}

void end_future(loop_object* loop, PyObject* future, PyObject* result) noexcept {
    PyObject* const passed[] = {future, result};
    if (owned(PyObject_VectorcallMethod(names().set_result, passed, 2, nullptr))) {
        return;
    }
    owned failed = take_exception();
    owned done(PyObject_CallMethod(future, "done", nullptr));
    if (done.get() != Py_True) {
        raise_again(std::move(failed));
        report(loop, "A wait could not be ended");
    }
}

void cancel_waits(loop_object* loop, int fd) noexcept {
    bool any = false;
    for (loop_wait* each = loop->waits; each != nullptr; each = each->next) {
        if (each->waiting.descriptor() == fd && each->waiting.active()) {
            loop->core->cancel(each->waiting);
            any = true;
        }
    }
    if (any) {
        loop->core->driver().let_go();
    }
}

int traverse_waits(loop_object* loop, visitproc visit, void* arg) noexcept {
    for (const loop_wait* each = loop->waits; each != nullptr; each = each->next) {
        Py_VISIT(each->kept);
    }
    return 0;
}

void forget_waits(loop_object* loop) noexcept {
    // Letting go of an object can run Python code, but none that starts or ends an operation.
    for (loop_wait* each = loop->waits; each != nullptr; each = each->next) {
        each->abandon();
    }
}

}  // namespace ringlet::python
