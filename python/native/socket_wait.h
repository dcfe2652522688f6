// One wait until a socket of the user's can be read or written: a poll operation, and the
// asyncio.Future that the waiting task waits for. It lives on the heap until its operation has
// ended, whether or not whoever asked for it still wants it. The loop's list of them is what
// garbage collection and the end of the loop go by.
#pragma once

#include "core/operation.h"
#include "python/native/loop_object.h"

namespace ringlet::python {

struct socket_wait : operation {
    socket_wait(loop_object* l, socket_wait** who) noexcept;
    ~socket_wait();
    // Whoever asked wants it no longer.
    void abandon() noexcept;

    loop_object* const loop;
    PyObject* future;    // null once abandoned
    socket_wait** owner; // where it is known; null once abandoned
    socket_wait* next;   // in the loop's list
    socket_wait** link;  // what points to this one there
};

int traverse_socket_waits(loop_object* loop, visitproc visit, void* arg) noexcept;
// For the end of the loop: nobody is told.
void forget_socket_waits(loop_object* loop) noexcept;

}  // namespace ringlet::python
