// What call_soon and call_later return: a callback with its arguments and its context, to be run
// once. `isinstance(handle, asyncio.Handle)` (or TimerHandle) holds.
//
// They are not known to the garbage collector: a tracked object per call would cost more than the
// call itself. No cycle can stay behind, since a handle lets go of callback, arguments and context
// when it has run, when it is cancelled, and when its loop is closed; what those hold that still
// wait, the loop's own traversal visits as if it were the loop's, whoever else has the handle.
// Guarded by the GIL.
#pragma once

#include <cstdint>

#include "core/timer_heap.h"
#include "python/native/python.h"

namespace ringlet::python {

struct loop_object;

constexpr int inline_arguments = 3;

struct handle_object {
    PyObject_HEAD
    PyObject* weak_references;
    PyObject* callback;  // null once it ran or was cancelled
    PyObject* context;   // as remember_context() gives it, or a Context
    // Slot 0 is CPython's to write to (PY_VECTORCALL_ARGUMENTS_OFFSET). With more arguments than
    // fit, slot 1 holds them as a tuple.
    PyObject* slots[1 + inline_arguments];
    std::int8_t count;  // arguments in the slots; -1: a tuple
    bool cancelled;
    bool running;
    bool repeats;  // a reader's or writer's: runs again and again, keeps what it has
    bool queued_by_hand;  // by _add_callback(): may stand in a loop twice, and in two
};

struct timer_handle_object {
    handle_object base;
    double when;       // seconds, as loop.time() counts them
    loop_object* loop; // borrowed; set while it stands in that loop's heap
    ringlet::timer timer;
};

// asyncio.Handle's and TimerHandle's stand-ins.
extern PyTypeObject handle_type;
extern PyTypeObject timer_handle_type;
// Makes the types ready; false with an exception set.
bool set_up_handles() noexcept;

inline bool is_handle(PyObject* object) noexcept {
    return Py_TYPE(object) == &handle_type || Py_TYPE(object) == &timer_handle_type;
}
inline handle_object* as_handle(PyObject* object) noexcept {
    return reinterpret_cast<handle_object*>(object);
}

// `context` null: a copy of the caller's. Null with an exception set when there is no memory.
handle_object* make_handle(PyObject* callback, PyObject* const* arguments, Py_ssize_t count,
                           PyObject* context) noexcept;
timer_handle_object* make_timer_handle(PyObject* callback, PyObject* const* arguments,
                                       Py_ssize_t count, PyObject* context, double when) noexcept;
// The handle in whose struct `timer` lies.
timer_handle_object* handle_of(ringlet::timer& timer) noexcept;

// Calls it in its context, unless it was cancelled. What the callback raises goes to the loop's
// exception handler; SystemExit and KeyboardInterrupt come back: false, with the exception set.
bool run_handle(handle_object* handle, loop_object* loop) noexcept;
// What cancel() does; also for handles of a loop that is being closed.
void cancel_handle(handle_object* handle) noexcept;
// For a loop that is being closed: it will not run, and holds nothing any more.
void drop_handle(handle_object* handle) noexcept;
// Visits what the handle holds, for the traversal of the loop in which it waits: once, so neither
// what may stand there twice, nor from the ready ring what a watcher answers for.
int traverse_handle(handle_object* handle, visitproc visit, void* arg) noexcept;

}  // namespace ringlet::python
