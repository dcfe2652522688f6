#include "python/native/socket_wait.h"

namespace ringlet::python {

socket_wait::socket_wait(loop_object* l, handler on_end, PyObject* keep, socket_wait** who) noexcept
    : operation(on_end), loop(l), kept(new_reference(keep)), owner(who), next(l->socket_waits),
      link(&l->socket_waits) {
    if (next != nullptr) {
        next->link = &next;
    }
    l->socket_waits = this;
    *who = this;
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
    Py_CLEAR(kept);
}

owned take_kept(socket_wait& wait) noexcept {
    owned kept(std::exchange(wait.kept, nullptr));
    delete &wait;
    return kept;
}

int traverse_socket_waits(loop_object* loop, visitproc visit, void* arg) noexcept {
    for (const socket_wait* each = loop->socket_waits; each != nullptr; each = each->next) {
        Py_VISIT(each->kept);
    }
    return 0;
}

void forget_socket_waits(loop_object* loop) noexcept {
    // Letting go of an object can run Python code, but none that starts or ends an operation.
    for (socket_wait* each = loop->socket_waits; each != nullptr; each = each->next) {
        each->abandon();
    }
}

}  // namespace ringlet::python
