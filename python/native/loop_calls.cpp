// Scheduling: call_soon and its siblings, tasks, futures, the clock.
#include <cmath>
#include <cstdint>
#include <ctime>

#include "python/native/call_arguments.h"
#include "python/native/handle.h"
#include "python/native/loop_object.h"
#include "python/native/names.h"
#include "python/native/watcher.h"

namespace ringlet::python {
namespace {

constexpr const char* callback_alone[] = {"callback"};
constexpr const char* delay_and_callback[] = {"delay", "callback"};
constexpr const char* when_and_callback[] = {"when", "callback"};

double seconds_now() noexcept {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// `given`: a time, the callback, its arguments.
PyObject* add_timer(loop_object* loop, double when, const call_arguments& given) noexcept {
    timer_handle_object* const handle =
        make_timer_handle(given[1], given.from(2), given.count() - 2, given.context(), when);
    if (handle == nullptr) {
        return nullptr;
    }
    PyObject* const object = reinterpret_cast<PyObject*>(handle);
    try {
        loop->timers.add(handle->timer, nanoseconds_of(when));
    } catch (const std::bad_alloc&) {
        Py_DECREF(object);
        return PyErr_NoMemory();
    }
    handle->loop = loop;
    return new_reference(object);  // one for the heap, one for the caller
}

// call_at and call_later in debug mode: the handle is asyncio's own, run by a plain one of ours.
PyObject* add_debug_timer(PyObject* self, PyObject* when, const call_arguments& given) noexcept {
    owned call(tuple_of(given.from(1), given.count() - 1));
    PyObject* const passed[] = {self, when, call.get(),
                                given.context() != nullptr ? given.context() : Py_None};
    return call ? PyObject_VectorcallMethod(names().call_at_debug, passed, 4, nullptr) : nullptr;
}

PyObject* call_soon_debug(PyObject* self, PyObject* method, const call_arguments& given) noexcept {
    owned rest(tuple_of(given.from(1), given.count() - 1));
    PyObject* const passed[] = {self, given[0], rest.get(),
                                given.context() != nullptr ? given.context() : Py_None};
    return rest ? PyObject_VectorcallMethod(method, passed, 4, nullptr) : nullptr;
}

// A handle in the ready ring, and a reference for the caller.
PyObject* schedule(loop_object* loop, const call_arguments& given) noexcept {
    handle_object* const handle =
        make_handle(given[0], given.from(1), given.count() - 1, given.context());
    if (handle == nullptr) {
        return nullptr;
    }
    PyObject* const object = reinterpret_cast<PyObject*>(handle);
    if (!loop->ready.push(object)) [[unlikely]] {
        Py_DECREF(object);
        return nullptr;
    }
    return new_reference(object);
}

}  // namespace

double seconds_of(loop_object* loop) noexcept {
    if (!loop->own_clock) [[likely]] {
        return seconds_now();
    }
    owned now(PyObject_CallMethodNoArgs(as_object(loop), names().time));
    return now ? PyFloat_AsDouble(now.get()) : -1.0;
}

std::int64_t nanoseconds_of(double seconds) noexcept {
    const double nanoseconds = std::ceil(seconds * 1e9);
    if (!(nanoseconds > 0)) {
        return 0;
    }
    return nanoseconds < 9.2e18 ? static_cast<std::int64_t>(nanoseconds) : INT64_MAX;
}

bool check_open(loop_object* loop) noexcept {
    if (loop->closed) [[unlikely]] {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return false;
    }
    return true;
}

bool make_ready(loop_object* loop, PyObject* handle) noexcept {
    if (!loop->ready.push(handle)) [[unlikely]] {
        Py_DECREF(handle);
        return false;
    }
    return true;
}

void wake(loop_object* loop) noexcept {
    if (loop->asleep) {
        loop->asleep = false;
        loop->core->driver().wake();
    }
}

PyObject* loop_call_soon(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                         PyObject* keywords) noexcept {
    loop_object* const loop = as_loop(self);
    call_arguments given;
    if (!check_open(loop) ||
        !given.read("call_soon", callback_alone, arguments, count, keywords)) {
        return nullptr;
    }
    if (loop->debug) [[unlikely]] {
        return call_soon_debug(self, names().call_soon_debug, given);
    }
    return schedule(loop, given);
}

PyObject* loop_call_soon_threadsafe(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                                    PyObject* keywords) noexcept {
    loop_object* const loop = as_loop(self);
    call_arguments given;
    if (!check_open(loop) ||
        !given.read("call_soon_threadsafe", callback_alone, arguments, count, keywords)) {
        return nullptr;
    }
    PyObject* const handle = loop->debug
                                 ? call_soon_debug(self, names().threadsafe_debug, given)
                                 : schedule(loop, given);
    if (handle != nullptr) {
        wake(loop);
    }
    return handle;
}

PyObject* loop_call_later(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                          PyObject* keywords) noexcept {
    loop_object* const loop = as_loop(self);
    call_arguments given;
    if (!given.read("call_later", delay_and_callback, arguments, count, keywords)) {
        return nullptr;
    }
    if (given[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "delay must not be None");
        return nullptr;
    }
    const double delay = PyFloat_AsDouble(given[0]);
    if ((delay == -1.0 && PyErr_Occurred()) || !check_open(loop)) {
        return nullptr;
    }
    const double now = seconds_of(loop);
    if (now == -1.0 && PyErr_Occurred()) {
        return nullptr;
    }
    const double when = now + delay;
    if (loop->debug) [[unlikely]] {
        owned at(PyFloat_FromDouble(when));
        return at ? add_debug_timer(self, at.get(), given) : nullptr;
    }
    return add_timer(loop, when, given);
}

PyObject* loop_call_at(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                       PyObject* keywords) noexcept {
    loop_object* const loop = as_loop(self);
    call_arguments given;
    if (!given.read("call_at", when_and_callback, arguments, count, keywords)) {
        return nullptr;
    }
    if (given[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "when cannot be None");
        return nullptr;
    }
    const double when = PyFloat_AsDouble(given[0]);
    if ((when == -1.0 && PyErr_Occurred()) || !check_open(loop)) {
        return nullptr;
    }
    return loop->debug ? add_debug_timer(self, given[0], given) : add_timer(loop, when, given);
}

// _carry_at(when, callback, *args): call_at for the timer that carries one of debug mode, which is
// a plain one of ours in any mode.
PyObject* loop_carry_at(PyObject* self, PyObject* const* arguments, Py_ssize_t count) noexcept {
    call_arguments given;
    if (!given.read("_carry_at", when_and_callback, arguments, count, nullptr)) {
        return nullptr;
    }
    const double when = PyFloat_AsDouble(given[0]);
    if ((when == -1.0 && PyErr_Occurred()) || !check_open(as_loop(self))) {
        return nullptr;
    }
    return add_timer(as_loop(self), when, given);
}

// The usual call, with a coroutine alone; everything else is CPython's own method.
PyObject* loop_create_task(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                           PyObject* keywords) noexcept {
    loop_object* const loop = as_loop(self);
    if (count == 1 && keywords == nullptr && !loop->debug &&
        (loop->task_factory == nullptr || loop->task_factory == Py_None)) {
        if (!check_open(loop)) {
            return nullptr;
        }
        PyObject* const passed[] = {arguments[0], self};
        return PyObject_Vectorcall(names().task_class, passed, 1, names().loop_keyword);
    }
    const std::size_t named =
        keywords == nullptr ? 0 : static_cast<std::size_t>(PyTuple_GET_SIZE(keywords));
    std::vector<PyObject*> passed;
    try {
        passed.reserve(1 + static_cast<std::size_t>(count) + named);
        passed.push_back(self);
        passed.insert(passed.end(), arguments,
                      arguments + static_cast<std::size_t>(count) + named);
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    }
    return PyObject_Vectorcall(names().base_create_task, passed.data(),
                               1 + static_cast<std::size_t>(count), keywords);
}

// As a call of the class with loop=self, but for the dict of keywords, which is made once.
PyObject* loop_create_future(PyObject* self, PyObject*) noexcept {
    loop_object* const loop = as_loop(self);
    static PyObject* const nothing = PyTuple_New(0);
    if (loop->future_keywords == nullptr) [[unlikely]] {
        loop->future_keywords = Py_BuildValue("{O:O}", names().loop, self);
        if (loop->future_keywords == nullptr) {
            return nullptr;
        }
    }
    owned keywords = owned::share(loop->future_keywords);
    auto* const type = reinterpret_cast<PyTypeObject*>(names().future_class);
    owned future(type->tp_new(type, nothing, keywords.get()));
    if (!future || type->tp_init(future.get(), nothing, keywords.get()) < 0) {
        return nullptr;
    }
    return future.release();
}

// For handles made elsewhere: anything with _run() and _cancelled.
PyObject* loop_add_callback(PyObject* self, PyObject* handle) noexcept {
    const owned cancelled(PyObject_GetAttrString(handle, "_cancelled"));
    const int drop = cancelled ? PyObject_IsTrue(cancelled.get()) : -1;
    if (drop < 0) {
        return nullptr;
    }
    if (is_handle(handle)) {
        as_handle(handle)->queued_by_hand = true;
    }
    if (drop == 0 && !make_ready(as_loop(self), new_reference(handle))) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

double slow_watch::read_clock() noexcept { return seconds_now(); }

PyObject* loop_time(PyObject*, PyObject*) noexcept { return PyFloat_FromDouble(seconds_now()); }

}  // namespace ringlet::python
