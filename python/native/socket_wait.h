// One wait until a socket can be read or written: a poll operation on the heap, which lives until
// it has ended, whether or not whoever asked for it still wants it. It keeps an object meanwhile,
// the one to be told. The loop's list of them is what garbage collection and the end of the loop
// go by.
#pragma once

#include "core/operation.h"
#include "python/native/loop_object.h"

namespace ringlet::python {

struct socket_wait : operation {
    // `who` is where the wait is known, and set to null when it is gone. `on_end` deletes it, or
    // starts it anew; what it keeps is null if it was abandoned.
    socket_wait(loop_object* l, handler on_end, PyObject* keep, socket_wait** who) noexcept;
    ~socket_wait();
    // Whoever asked wants it no longer: it ends by itself, and is deleted then. May run Python
    // code.
    void abandon() noexcept;

    loop_object* const loop;
    PyObject* kept;      // null once abandoned
    socket_wait** owner; // null once abandoned
    socket_wait* next;   // in the loop's list
    socket_wait** link;  // what points to this one there
};

// Takes a wait's object, tells nobody and deletes it.
owned take_kept(socket_wait& wait) noexcept;
int traverse_socket_waits(loop_object* loop, visitproc visit, void* arg) noexcept;
// For the end of the loop: nobody is told.
void forget_socket_waits(loop_object* loop) noexcept;

}  // namespace ringlet::python
