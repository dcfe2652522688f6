// The run loop: turns until stop(), the GIL let go of while it sleeps, and the end of the loop.
#include <algorithm>
#include <string_view>

#include "python/native/handle.h"
#include "python/native/live_owner.h"
#include "python/native/loop_object.h"
#include "python/native/names.h"
#include "python/native/socket_wait.h"
#include "python/native/watcher.h"

namespace ringlet::python {
namespace {

constexpr int resting_operations_max = 1000;
constexpr std::int64_t longest_sleep = std::int64_t{86'400} * 1'000'000'000;  // as asyncio's

// A handle that is not one of ours: asyncio's own, in debug mode or made by somebody else.
bool run_foreign_handle(loop_object* loop, PyObject* handle) noexcept {
    PyObject* const passed[] = {as_object(loop), handle};
    return owned(PyObject_VectorcallMethod(names().run_foreign, passed, 2, nullptr))
        .operator bool();
}

// Exactly the handles that are ready now, less those that a turn inside one of them has run. False
// with the exception that ends the run.
bool run_ready(loop_object* loop) noexcept {
    for (std::size_t left = loop->ready.size(); left > 0 && !loop->ready.empty(); --left) {
        PyObject* const object = loop->ready.pop();
        const bool good = is_handle(object) ? run_handle(as_handle(object), loop)
                                            : run_foreign_handle(loop, object);
        if (!good) [[unlikely]] {
            owned exception = take_exception();
            Py_DECREF(object);
            raise_again(std::move(exception));
            return false;
        }
        Py_DECREF(object);
    }
    return true;
}

// The time that our timers' deadlines are compared with; false with an exception set.
bool read_clock(loop_object* loop, std::int64_t& now) noexcept {
    if (!loop->own_clock) [[likely]] {
        now = loop->core->now();
        return true;
    }
    const double seconds = seconds_of(loop);
    now = nanoseconds_of(seconds);
    return seconds != -1.0 || !PyErr_Occurred();
}

// Tells the core when it has to wake for our timers. False with an exception set.
bool set_alarm(loop_object* loop) {
    if (loop->timers.empty()) {
        loop->core->cancel_timer(loop->next_timer);
        return true;
    }
    std::int64_t first = loop->timers.first_deadline();
    if (loop->own_clock) [[unlikely]] {
        std::int64_t now;
        if (!read_clock(loop, now)) {
            return false;
        }
        const std::int64_t left = std::max(first, now) - now;
        first = std::min(left, longest_sleep) + loop->core->read_clock();
    }
    if (!loop->next_timer.pending() || loop->next_timer.deadline() != first) {
        loop->core->start_timer(loop->next_timer, first);
    }
    return true;
}

// Moves what is due to the ready ring, each with the reference that the heap had.
bool expire_timers(loop_object* loop) noexcept {
    std::int64_t now;
    if (!read_clock(loop, now)) {
        return false;
    }
    while (ringlet::timer* const due = loop->timers.pop_due(now)) {
        timer_handle_object* const handle = handle_of(*due);
        handle->loop = nullptr;
        if (!make_ready(loop, reinterpret_cast<PyObject*>(handle))) {
            return false;
        }
    }
    return true;
}

bool turn(loop_object* loop) {
    if ((!loop->timers.empty() || loop->next_timer.pending()) && !set_alarm(loop)) {
        return false;
    }
    static std::uint64_t turns = 0;  // guarded by the GIL
    loop->turn = ++turns;
    loop->had_ready = !loop->ready.empty();
    loop->dispatching = true;
    loop->core->run_once(!loop->had_ready && !loop->stopping);
    loop->dispatching = false;
    if (loop->fatal != nullptr) [[unlikely]] {
        raise_again(owned(std::exchange(loop->fatal, nullptr)));
        return false;
    }
    if (PyErr_CheckSignals() < 0) [[unlikely]] {
        return false;
    }
    return (loop->timers.empty() || expire_timers(loop)) && run_ready(loop);
}

// Between runs the loop belongs to no thread, and the kernel holds nothing of anyone's: the next
// run may be in another thread, and a descriptor that is closed meanwhile is closed. With thousands
// of operations under way that would take io_uring long: then the loop stays with its thread.
void rest(loop_object* loop) noexcept {
    const bool many = loop->core->stats().operations_live > resting_operations_max;
    if (many && std::string_view(loop->core->driver().name()) == "uring") {
        loop->thread = PyThread_get_thread_ident();
        loop->core->driver().let_go();
    } else {
        loop->thread = 0;
        loop->core->suspend();
    }
}

}  // namespace

bool check_thread(loop_object* loop) noexcept {
    if (loop->thread == 0 || loop->thread == PyThread_get_thread_ident()) [[likely]] {
        return true;
    }
    PyErr_Format(PyExc_RuntimeError,
                 "more than %d operations are under way, so the loop stays with the thread that "
                 "ran it last", resting_operations_max);
    return false;
}

void let_go_of_gil(void* context) noexcept {
    auto* const loop = static_cast<loop_object*>(context);
    if (!loop->ready.empty() || loop->fatal != nullptr) {
        loop->core->driver().wake();  // a step of the core's turn left something to be done
    }
    loop->asleep = true;
    loop->thread_state = PyEval_SaveThread();
}

void take_gil(void* context) noexcept {
    auto* const loop = static_cast<loop_object*>(context);
    PyEval_RestoreThread(std::exchange(loop->thread_state, nullptr));
    loop->asleep = false;
}

// One turn, as in asyncio, whose run_forever() calls it until the loop is to stop: for that one it
// makes all the turns itself.
PyObject* loop_run_once(PyObject* self, PyObject*) noexcept {
    loop_object* const loop = as_loop(self);
    if (!check_open(loop) || !check_thread(loop)) {
        return nullptr;
    }
    if (loop->dispatching) {
        PyErr_SetString(PyExc_RuntimeError, "the loop is in the middle of a turn");
        return nullptr;
    }
    const bool inside = std::exchange(loop->running, true);  // a callback wants one turn more
    owned done(guarded([loop, inside]() -> PyObject* {
        do {
            if (!turn(loop)) {
                return nullptr;
            }
        } while (loop->until_stopped && !loop->stopping && !inside);
        Py_RETURN_NONE;
    }));
    loop->dispatching = false;
    if (inside) {
        return done.release();
    }
    loop->running = false;
    if (loop->core) {
        loop->core->hand_over();  // what was written in the last callbacks
        rest(loop);
    }
    return done.release();
}

// Asyncio's names for its queue and its heap: here lists of what is in ours at this moment.
PyObject* loop_get_ready(PyObject* self, void*) noexcept {
    const ready_ring& ready = as_loop(self)->ready;
    owned list(PyList_New(0));
    for (std::size_t i = 0; list && i < ready.size(); ++i) {
        if (PyList_Append(list.get(), ready.at(i)) < 0) {
            return nullptr;
        }
    }
    return list.release();
}

PyObject* loop_get_scheduled(PyObject* self, void*) noexcept {
    owned list(PyList_New(0));
    bool good = static_cast<bool>(list);
    as_loop(self)->timers.for_each([&](ringlet::timer& timer) {
        good = good && PyList_Append(list.get(), reinterpret_cast<PyObject*>(
                                                     handle_of(timer))) == 0;
    });
    return good ? list.release() : nullptr;
}

void report(loop_object* loop, const char* message, PyObject* transport,
            PyObject* protocol) noexcept {
    owned exception = take_exception();
    PyObject* const raised = exception.get();
    if (PyErr_GivenExceptionMatches(raised, PyExc_SystemExit) ||
        PyErr_GivenExceptionMatches(raised, PyExc_KeyboardInterrupt)) {
        PyObject* const earlier = std::exchange(loop->fatal, exception.release());
        Py_XDECREF(earlier);
        return;
    }
    owned context(Py_BuildValue("{s:s,s:O}", "message", message, "exception", raised));
    if (context && transport != nullptr) {
        PyDict_SetItemString(context.get(), "transport", transport);
    }
    if (context && protocol != nullptr) {
        PyDict_SetItemString(context.get(), "protocol", protocol);
    }
    PyObject* const passed[] = {as_object(loop), context.get()};
    owned done(context ? PyObject_VectorcallMethod(names().call_exception_handler, passed, 2,
                                                   nullptr)
                       : nullptr);
    if (!done) {
        PyErr_WriteUnraisable(as_object(loop));
    }
}

void slow_watch::tell() noexcept {
    owned exception = take_exception();
    owned took(PyFloat_FromDouble(read_clock() - begun_));
    PyObject* const passed[] = {loop_.get(), whose_.get(), took.get()};
    if (!took || !owned(PyObject_VectorcallMethod(names().report_slow, passed, 3, nullptr))) {
        PyErr_WriteUnraisable(whose_.get());
    }
    if (exception) {
        raise_again(std::move(exception));
    }
}

void close_loop(loop_object* loop) noexcept {
    loop->closed = 1;
    Py_CLEAR(loop->future_keywords);
    while (!loop->ready.empty()) {
        PyObject* const object = loop->ready.pop();
        if (is_handle(object)) {
            drop_handle(as_handle(object));
        }
        Py_DECREF(object);
    }
    while (ringlet::timer* const pending = loop->timers.pop_due(INT64_MAX)) {
        timer_handle_object* const handle = handle_of(*pending);
        handle->loop = nullptr;
        cancel_handle(&handle->base);
        Py_DECREF(handle);
    }
    if (loop->core) {
        loop->core->cancel_timer(loop->next_timer);
        forget_watchers(loop);
        forget_waits(loop);
        live_owner::forget_all(loop->owners);
        if (check_thread(loop)) {
            loop->core.reset();
            loop->watchers.clear();
            live_owner::release_all(loop->owners);
            return;
        }
        // Collected in the wrong thread: the kernel keeps what it has, so nothing may be freed.
        PyErr_Clear();
        static_cast<void>(loop->core.release());
        for (auto& each : loop->watchers) {
            static_cast<void>(each.release());
        }
    }
}

}  // namespace ringlet::python
