// What the extension looks up once, when it is imported: method names as interned strings, and the
// Python objects it calls or instantiates. Constant afterwards.
#pragma once

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

const known_names& names() noexcept;
// Called once, by the module's set-up; false with an exception set.
bool set_up_names() noexcept;

}  // namespace ringlet::python
