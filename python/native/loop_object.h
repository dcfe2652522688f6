// `_native.Loop`, the part of ringlet.EventLoop that is hot: scheduling, timers, the run loop and
// the watching of descriptors, on one core loop. The Python class derives from it and from
// asyncio.SelectorEventLoop, in this order, so what is not here is CPython's own.
//
// One Python turn:
//   1. a turn of the core loop: writes of the last turn are handed over, one system call submits
//      all and waits (only while nothing is ready here), completions are dispatched; data_received
//      and its like are called right there, readers and writers are put into the ready ring
//   2. timers that are due go to the ready ring
//   3. exactly the handles that are ready now are run
// The GIL is held but for a wait that can block. All of this is guarded by the GIL; only
// call_soon_threadsafe may be called by a thread that does not run the loop.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/loop.h"
#include "core/timer_heap.h"
#include "python/native/python.h"
#include "python/native/ready_ring.h"

namespace ringlet::python {

class live_owner;
class watcher;
struct loop_wait;

struct loop_object {
    PyObject_HEAD
    // CPython's base class reads and writes these as attributes of the loop.
    char closed;
    char debug;
    char stopping;
    char until_stopped;  // _run_once() is called by run_forever(), and is to be all of it
    PyObject* task_factory;
    PyObject* future_keywords;  // {"loop": the loop}, or null

    std::unique_ptr<ringlet::loop> core;  // null once closed
    ready_ring ready;
    ringlet::timer_heap timers;           // of timer_handle_object, a reference each
    ringlet::timer next_timer;            // tells the core when the first of them is due
    std::vector<std::unique_ptr<watcher>> watchers;  // by descriptor
    loop_wait* waits;                     // all there are, see socket_wait.h
    PyObject* transports;                 // {descriptor: weak reference}, null until asked for
    live_owner* owners;                   // of active operations, see live_owner.h
    PyThreadState* thread_state;          // while the GIL is released
    PyObject* fatal;                      // SystemExit or KeyboardInterrupt out of a dispatch
    unsigned long thread;                 // the only one that may run it; 0: any
    std::uint64_t turn;                   // under way; no other, of any loop, has this number
    bool own_clock;                       // a subclass has another time()
    bool had_ready;                       // when this turn began; those run before what it brings
    bool asleep;                          // in a wait that can block
    bool running;                         // in a _run_once()
    bool dispatching;                     // in the core's turn, which is not to be entered again
};

extern PyTypeObject* loop_type;
bool set_up_loop(PyObject* module) noexcept;

inline loop_object* as_loop(PyObject* object) noexcept {
    return reinterpret_cast<loop_object*>(object);
}
inline PyObject* as_object(loop_object* loop) noexcept { return reinterpret_cast<PyObject*>(loop); }

// False, with RuntimeError("Event loop is closed") set, when it is.
bool check_open(loop_object* loop) noexcept;
// False, with RuntimeError set, in a thread other than the one the loop has to stay with.
bool check_thread(loop_object* loop) noexcept;
// asyncio's rule: not on a descriptor that a transport reads and writes. False with RuntimeError.
bool check_no_transport(loop_object* loop, int fd) noexcept;
// Takes over the reference to a handle that is to run. False with MemoryError set.
[[nodiscard]] bool make_ready(loop_object* loop, PyObject* handle) noexcept;
// loop.time(). -1 with an exception set, which only a subclass's own can raise.
double seconds_of(loop_object* loop) noexcept;
// Such seconds in nanoseconds, rounded up; what is no number is 0.
std::int64_t nanoseconds_of(double seconds) noexcept;
// Wakes the loop if it sleeps; any thread with the GIL.
void wake(loop_object* loop) noexcept;

// For code that runs in the dispatch step and has no caller to raise to. Takes the exception that
// is set: SystemExit and KeyboardInterrupt end the run, everything else goes to the exception
// handler with `message` and, when not null, the transport and protocol concerned.
void report(loop_object* loop, const char* message, PyObject* transport = nullptr,
            PyObject* protocol = nullptr) noexcept;

// In debug mode, asyncio's warning when what is called in the dispatch step took too long; `whose`
// callbacks they are.
class slow_watch {
public:
    slow_watch(loop_object* loop, PyObject* whose) noexcept
        : loop_(owned::share(loop->debug ? as_object(loop) : nullptr)),
          whose_(owned::share(loop_ ? whose : nullptr)), begun_(loop_ ? read_clock() : 0) {}
    slow_watch(const slow_watch&) = delete;
    slow_watch& operator=(const slow_watch&) = delete;
    ~slow_watch() {
        if (loop_) [[unlikely]] {
            tell();
        }
    }

private:
    static double read_clock() noexcept;
    void tell() noexcept;

    const owned loop_;   // null: not in debug mode
    const owned whose_;  // which may have been given up meanwhile
    const double begun_;
};

// The methods, by file. Calls.
PyObject* loop_call_soon(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_call_soon_threadsafe(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_call_later(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_call_at(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_carry_at(PyObject*, PyObject* const*, Py_ssize_t) noexcept;
PyObject* loop_create_task(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_create_future(PyObject*, PyObject*) noexcept;
PyObject* loop_add_callback(PyObject*, PyObject*) noexcept;
PyObject* loop_time(PyObject*, PyObject*) noexcept;
// The run.
PyObject* loop_get_ready(PyObject*, void*) noexcept;
PyObject* loop_get_scheduled(PyObject*, void*) noexcept;
PyObject* loop_run_once(PyObject*, PyObject*) noexcept;
// Watching.
PyObject* loop_add_reader(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_add_writer(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_remove_reader(PyObject*, PyObject*) noexcept;
PyObject* loop_remove_writer(PyObject*, PyObject*) noexcept;
// ... for asyncio's own transports: they return the handle, and do not ask whose descriptor it is.
PyObject* loop_add_reader_unchecked(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_add_writer_unchecked(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept;
PyObject* loop_remove_reader_unchecked(PyObject*, PyObject*) noexcept;
PyObject* loop_remove_writer_unchecked(PyObject*, PyObject*) noexcept;
PyObject* loop_watched(PyObject*, PyObject*) noexcept;
// A transport begins to read from the descriptor, or is about to close it: who else waits for it
// does so no longer, as where all share one selector. May run Python code.
void end_other_readers(loop_object* loop, int fd) noexcept;
void end_other_waits(loop_object* loop, int fd) noexcept;
// The driver's close of a descriptor that the extension was given.
void close_descriptor(loop_object* loop, int fd) noexcept;
// Splicing. _splice(file, offset, pipe, its writing end, bytes): a future of the bytes moved, or of
// an errno as a negative number; `pipe` is kept until the operation has ended, also when the future
// was cancelled. _splice_now(reading end, socket, bytes): moved at once, or OSError.
PyObject* loop_splice(PyObject*, PyObject*) noexcept;
PyObject* loop_splice_now(PyObject*, PyObject*) noexcept;
// Lets go of everything it waits for. Python code may run in here.
void close_loop(loop_object* loop) noexcept;
int traverse_watchers(loop_object* loop, visitproc visit, void* arg) noexcept;
void forget_watchers(loop_object* loop) noexcept;

}  // namespace ringlet::python
