// What the extension looks up once, when it is imported: method names as interned strings, and the
// Python objects it calls or instantiates. Constant afterwards.
#pragma once

#include <span>

#include "python/native/python.h"

namespace ringlet::python {

struct known_names {
    // Method and keyword names.
    PyObject* call_exception_handler;
    PyObject* report_handle;  // EventLoop._report_handle(handle, exception)
    PyObject* call_soon_debug;
    PyObject* call_at_debug;
    PyObject* threadsafe_debug;
    PyObject* run_foreign;  // EventLoop._run_foreign(handle)
    PyObject* time;
    PyObject* report_slow;  // EventLoop._report_slow(whose, seconds)
    PyObject* context;
    PyObject* loop;
    PyObject* name;
    PyObject* fileno;
    PyObject* set_result;
    PyObject* future_blocking;  // _asyncio_future_blocking
    // Objects.
    PyObject* handle_class;        // asyncio.Handle
    PyObject* timer_handle_class;  // asyncio.TimerHandle
    PyObject* future_class;        // asyncio.Future
    PyObject* task_class;          // asyncio.Task
    PyObject* handle_repr;         // ringlet._handles.represent(handle)
    PyObject* base_create_task;    // asyncio.BaseEventLoop.create_task
    PyObject* loop_keyword;        // ("loop",)
};

// What is wanted, and where to put it: a name as an interned string, an attribute of a module.
struct wanted_name {
    PyObject** where;
    const char* text;
};
struct wanted_object {
    PyObject** where;
    const char* module;
    const char* attribute;
};
// Finds all of them, once and for ever. False with an exception set.
bool look_up(std::span<const wanted_name> strings,
             std::span<const wanted_object> objects) noexcept;
// An attribute of a module; null with an exception set.
PyObject* from_module(const char* module, const char* attribute) noexcept;

const known_names& names() noexcept;
// Called once, by the module's set-up; false with an exception set.
bool set_up_names() noexcept;

}  // namespace ringlet::python
