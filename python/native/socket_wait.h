// One wait of a loop's, an operation on the heap, which lives until it has ended, whether or not
// whoever asked for it still wants it. It keeps an object meanwhile, the one to be told. The loop's
// list of them is what garbage collection and the end of the loop go by. Mostly it is a poll of a
// socket.
#pragma once

#include "core/operation.h"
#include "python/native/loop_object.h"

namespace ringlet::python {

struct loop_wait {
    // `who` is where the wait is known, and set to null when it is gone; or null.
    loop_wait(loop_object* l, operation& of, PyObject* keep, loop_wait** who) noexcept;
    ~loop_wait();
    loop_wait(const loop_wait&) = delete;
    loop_wait& operator=(const loop_wait&) = delete;
    // Whoever asked wants it no longer: it ends by itself, and is deleted then. May run Python
    // code.
    void abandon() noexcept;

    loop_object* const loop;
    operation& waiting;
    PyObject* kept;     // null once abandoned
    loop_wait** owner;  // null once abandoned
    loop_wait* next;    // in the loop's list
    loop_wait** link;   // what points to this one there
};

struct socket_wait final : operation, loop_wait {
    // `on_end` deletes it, or starts it anew; what it keeps is null if it was abandoned.
    socket_wait(loop_object* l, handler on_end, PyObject* keep, loop_wait** who) noexcept
        : operation(on_end), loop_wait(l, *this, keep, who) {}
};

// Takes a wait's object, tells nobody and deletes it.
template <class Wait>
owned take_kept(Wait& wait) noexcept {
    owned kept(std::exchange(wait.kept, nullptr));
    delete &wait;
    return kept;
}
// The wait is over: `result` is the future's, unless that was cancelled by now. Runs Python code.
void end_future(loop_object* loop, PyObject* future, PyObject* result) noexcept;
int traverse_waits(loop_object* loop, visitproc visit, void* arg) noexcept;
// The descriptor is about to be closed: waits for it end, and whom they keep is never told.
void cancel_waits(loop_object* loop, int fd) noexcept;
// For the end of the loop: nobody is told.
void forget_waits(loop_object* loop) noexcept;

}  // namespace ringlet::python
