// The type `_native.Loop`: its life, its attributes, its place in garbage collection.
#include "python/native/loop_object.h"

#include <cstddef>
#include <new>
#include <string>

#include "python/native/handle.h"
#include "python/native/live_owner.h"
#include "python/native/names.h"
#include "python/native/socket_call.h"
#include "python/native/socket_wait.h"
#include "python/native/watcher.h"

namespace ringlet::python {

void let_go_of_gil(void* context) noexcept;
void take_gil(void* context) noexcept;

namespace {

PyTypeObject type = {PyVarObject_HEAD_INIT(nullptr, 0)};

// The core's timers run before it sleeps: when ours is due by then, it must not.
void alarm(ringlet::timer& timer) noexcept {
    auto* const loop = reinterpret_cast<loop_object*>(reinterpret_cast<char*>(&timer) -
                                                      offsetof(loop_object, next_timer));
    loop->core->skip_sleep();
}

PyObject* make(PyTypeObject* of, PyObject*, PyObject*) noexcept {
    auto* const loop = reinterpret_cast<loop_object*>(of->tp_alloc(of, 0));
    if (loop == nullptr) {
        return nullptr;
    }
    // tp_alloc gave zeroes; what has a constructor is made here.
    ::new (&loop->core) std::unique_ptr<ringlet::loop>();
    ::new (&loop->ready) ready_ring();
    ::new (&loop->timers) ringlet::timer_heap();
    ::new (&loop->next_timer) ringlet::timer(alarm);
    ::new (&loop->watchers) std::vector<std::unique_ptr<watcher>>();
    loop->closed = 1;  // until it is initialized
    return as_object(loop);
}

// Loop(): makes the core loop and its driver, as RINGLET_DRIVER says.
int initialize(PyObject* self, PyObject*, PyObject*) noexcept {
    loop_object* const loop = as_loop(self);
    if (loop->core) {
        PyErr_SetString(PyExc_RuntimeError, "the loop is made already");
        return -1;
    }
    owned done(guarded([loop]() -> PyObject* {
        loop->core = std::make_unique<ringlet::loop>(ringlet::loop_options{.current = false});
        loop->core->set_wait_hooks({let_go_of_gil, take_gil, loop});
        owned theirs(PyObject_GetAttr(reinterpret_cast<PyObject*>(Py_TYPE(loop)), names().time));
        owned ours(PyObject_GetAttr(reinterpret_cast<PyObject*>(loop_type), names().time));
        if (!theirs || !ours) {
            loop->core.reset();
            return nullptr;
        }
        loop->own_clock = theirs.get() != ours.get();
        loop->closed = 0;
        Py_RETURN_NONE;
    }));
    return done ? 0 : -1;
}

int traverse(PyObject* self, visitproc visit, void* arg) noexcept {
    loop_object* const loop = as_loop(self);
    Py_VISIT(loop->task_factory);
    Py_VISIT(loop->future_keywords);
    Py_VISIT(loop->fatal);
    Py_VISIT(loop->transports);
    for (std::size_t i = 0; i < loop->ready.size(); ++i) {
        PyObject* const object = loop->ready.at(i);
        if (!is_handle(object)) {
            Py_VISIT(object);
        } else if (!as_handle(object)->repeats) {
            if (const int stop = traverse_handle(as_handle(object), visit, arg)) {
                return stop;
            }
        }
    }
    int stop = 0;
    loop->timers.for_each([&](ringlet::timer& timer) {
        stop = stop != 0 ? stop : traverse_handle(&handle_of(timer)->base, visit, arg);
    });
    stop = stop != 0 ? stop : traverse_waits(loop, visit, arg);
    if (stop == 0) {
        stop = live_owner::traverse_all(loop->owners, visit, arg);
    }
    return stop != 0 ? stop : traverse_watchers(loop, visit, arg);
}

int clear(PyObject* self) noexcept {
    loop_object* const loop = as_loop(self);
    close_loop(loop);
    Py_CLEAR(loop->task_factory);
    Py_CLEAR(loop->future_keywords);
    Py_CLEAR(loop->fatal);
    Py_CLEAR(loop->transports);
    return 0;
}

void deallocate(PyObject* self) noexcept {
    PyObject_GC_UnTrack(self);
    clear(self);
    loop_object* const loop = as_loop(self);
    std::destroy_at(&loop->watchers);
    std::destroy_at(&loop->next_timer);
    std::destroy_at(&loop->timers);
    std::destroy_at(&loop->ready);
    std::destroy_at(&loop->core);
    Py_TYPE(self)->tp_free(self);
}

// --- methods and attributes ---

PyObject* is_closed(PyObject* self, PyObject*) noexcept {
    return PyBool_FromLong(as_loop(self)->closed);
}

PyObject* get_debug(PyObject* self, PyObject*) noexcept {
    return PyBool_FromLong(as_loop(self)->debug);
}

// Any value that is true or false, as in asyncio.
int set_debug(PyObject* self, PyObject* value, void*) noexcept {
    const int truth = value != nullptr ? PyObject_IsTrue(value) : 0;
    if (truth >= 0) {
        as_loop(self)->debug = static_cast<char>(truth);
    }
    return truth < 0 ? -1 : 0;
}

PyObject* stop(PyObject* self, PyObject*) noexcept {
    as_loop(self)->stopping = 1;
    Py_RETURN_NONE;
}

PyObject* check_closed(PyObject* self, PyObject*) noexcept {
    if (!check_open(as_loop(self))) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* check_owner(PyObject* self, PyObject*) noexcept {
    if (!check_thread(as_loop(self))) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* close(PyObject* self, PyObject*) noexcept {
    close_loop(as_loop(self));
    Py_RETURN_NONE;
}

PyObject* write_to_self(PyObject* self, PyObject*) noexcept {
    wake(as_loop(self));
    Py_RETURN_NONE;
}

PyObject* stats(PyObject* self, PyObject*) noexcept {
    loop_object* const loop = as_loop(self);
    if (!check_open(loop)) {
        return nullptr;
    }
    const loop_stats all = loop->core->stats();
    const auto number = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
    return Py_BuildValue(
        "{s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:n,s:n,s:K,s:K}",
        "turns", number(all.turns), "waits", number(all.waits), "enters", number(all.enters),
        "submitted", number(all.submitted), "completions", number(all.completions),
        "wakeups", number(all.wakeups), "buffers_dry", number(all.buffers_dry),
        "overflows", number(all.overflows),
        "timers_pending", static_cast<Py_ssize_t>(loop->timers.size()),
        "ready", static_cast<Py_ssize_t>(loop->ready.size()),
        "operations_live", number(all.operations_live), "buffers_lent", number(all.buffers_lent));
}

PyObject* get_driver(PyObject* self, void*) noexcept {
    loop_object* const loop = as_loop(self);
    if (!check_open(loop)) {
        return nullptr;
    }
    return PyUnicode_FromString(loop->core->driver().name());
}

// CPython's base class makes containers of its own, which nothing uses.
int ignore(PyObject*, PyObject*, void*) noexcept { return 0; }

PyMethodDef methods[] = {
    {"call_soon", as_method(loop_call_soon), METH_FASTCALL | METH_KEYWORDS,
     "call_soon($self, callback, *args, context=None)\n--\n\nCalls it in the next turn."},
    {"call_soon_threadsafe", as_method(loop_call_soon_threadsafe), METH_FASTCALL | METH_KEYWORDS,
     "call_soon_threadsafe($self, callback, *args, context=None)\n--\n\n"
     "call_soon for any thread."},
    {"call_later", as_method(loop_call_later), METH_FASTCALL | METH_KEYWORDS,
     "call_later($self, delay, callback, *args, context=None)\n--\n\n"
     "Calls it `delay` seconds from now."},
    {"call_at", as_method(loop_call_at), METH_FASTCALL | METH_KEYWORDS,
     "call_at($self, when, callback, *args, context=None)\n--\n\n"
     "Calls it when time() is `when`."},
    {"_carry_at", as_method(loop_carry_at), METH_FASTCALL, nullptr},
    {"create_task", as_method(loop_create_task), METH_FASTCALL | METH_KEYWORDS,
     "create_task($self, coro, *, name=None"
#if PY_VERSION_HEX >= 0x030b0000
     ", context=None"
#endif
     ")\n--\n\n"
     "See asyncio.AbstractEventLoop.create_task."},
    {"create_future", loop_create_future, METH_NOARGS,
     "create_future($self)\n--\n\nA new asyncio.Future of this loop."},
    {"time", loop_time, METH_NOARGS,
     "time($self)\n--\n\nSeconds, as time.monotonic() counts them."},
    {"stop", stop, METH_NOARGS,
     "stop($self)\n--\n\nMakes run_forever() return at the end of this turn."},
    {"is_closed", is_closed, METH_NOARGS, "is_closed($self)\n--\n\nWhether close() was called."},
    {"get_debug", get_debug, METH_NOARGS,
     "get_debug($self)\n--\n\nWhether the loop is in debug mode."},
    {"stats", stats, METH_NOARGS,
     "stats($self)\n--\n\nCounters since the loop was made, a dict of ints: turns, waits, enters,\n"
     "submitted, completions, wakeups, buffers_dry, overflows; and of this moment:\n"
     "timers_pending, ready, operations_live, buffers_lent. RuntimeError on a closed loop."},
    {"_run_once", loop_run_once, METH_NOARGS, nullptr},
    {"_add_callback", loop_add_callback, METH_O, nullptr},
    {"_check_closed", check_closed, METH_NOARGS, nullptr},
    {"_check_owner", check_owner, METH_NOARGS, nullptr},
    {"_close", close, METH_NOARGS, nullptr},
    {"_write_to_self", write_to_self, METH_NOARGS, nullptr},
    {"add_reader", as_method(loop_add_reader), METH_FASTCALL | METH_KEYWORDS,
     "add_reader($self, fd, callback, *args)\n--\n\nCalls it whenever the descriptor is ready."},
    {"_add_reader", as_method(loop_add_reader_unchecked), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"add_writer", as_method(loop_add_writer), METH_FASTCALL | METH_KEYWORDS,
     "add_writer($self, fd, callback, *args)\n--\n\nCalls it whenever the descriptor is ready."},
    {"_add_writer", as_method(loop_add_writer_unchecked), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"remove_reader", as_method(by_place_or_name<"fd", loop_remove_reader>),
     METH_FASTCALL | METH_KEYWORDS, "remove_reader($self, fd)\n--\n\nWhether there was one."},
    {"_remove_reader", loop_remove_reader_unchecked, METH_O, nullptr},
    {"remove_writer", as_method(by_place_or_name<"fd", loop_remove_writer>),
     METH_FASTCALL | METH_KEYWORDS, "remove_writer($self, fd)\n--\n\nWhether there was one."},
    {"_remove_writer", loop_remove_writer_unchecked, METH_O, nullptr},
    {"_watched", loop_watched, METH_NOARGS, nullptr},
    {"_splice", loop_splice, METH_VARARGS, nullptr},
    {"_splice_now", loop_splice_now, METH_VARARGS, nullptr},
    {"sock_recv", as_method(loop_sock_recv), METH_FASTCALL | METH_KEYWORDS,
     "sock_recv($self, sock, n)\n--\n\nSee asyncio.AbstractEventLoop.sock_recv."},
    {"sock_recv_into", as_method(loop_sock_recv_into), METH_FASTCALL | METH_KEYWORDS,
     "sock_recv_into($self, sock, buf)\n--\n\nSee asyncio.AbstractEventLoop.sock_recv_into."},
    {"sock_recvfrom", as_method(loop_sock_recvfrom), METH_FASTCALL | METH_KEYWORDS,
     "sock_recvfrom($self, sock, bufsize)\n--\n\nSee asyncio.AbstractEventLoop.sock_recvfrom."},
    {"sock_recvfrom_into", as_method(loop_sock_recvfrom_into), METH_FASTCALL | METH_KEYWORDS,
     "sock_recvfrom_into($self, sock, buf, nbytes=0)\n--\n\n"
     "See asyncio.AbstractEventLoop.sock_recvfrom_into."},
    {"sock_sendall", as_method(loop_sock_sendall), METH_FASTCALL | METH_KEYWORDS,
     "sock_sendall($self, sock, data)\n--\n\nSee asyncio.AbstractEventLoop.sock_sendall."},
    {"sock_sendto", as_method(loop_sock_sendto), METH_FASTCALL | METH_KEYWORDS,
     "sock_sendto($self, sock, data, address)\n--\n\nSee asyncio.AbstractEventLoop.sock_sendto."},
    {"sock_accept", as_method(loop_sock_accept), METH_FASTCALL | METH_KEYWORDS,
     "sock_accept($self, sock)\n--\n\nSee asyncio.AbstractEventLoop.sock_accept."},
    {nullptr, nullptr, 0, nullptr}};
PyMemberDef members[] = {
    {"_closed", T_BOOL, offsetof(loop_object, closed), 0, nullptr},
    {"_stopping", T_BOOL, offsetof(loop_object, stopping), 0, nullptr},
    {"_until_stopped", T_BOOL, offsetof(loop_object, until_stopped), 0, nullptr},
    {"_task_factory", T_OBJECT, offsetof(loop_object, task_factory), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyGetSetDef attributes[] = {
    {"driver", get_driver, nullptr,
     "\"uring\" or \"epoll\": what the loop runs on. RuntimeError on a closed loop.", nullptr},
    {"_debug", [](PyObject* self, void*) { return get_debug(self, nullptr); }, set_debug, nullptr,
     nullptr},
    {"_ready", loop_get_ready, ignore, nullptr, nullptr},
    {"_scheduled", loop_get_scheduled, ignore, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

PyTypeObject* loop_type = &type;

bool set_up_loop(PyObject* module) noexcept {
    type.tp_name = "ringlet._native.Loop";
    type.tp_doc = "The native part of ringlet.EventLoop.";
    type.tp_basicsize = sizeof(loop_object);
    type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
    type.tp_new = make;
    type.tp_init = initialize;
    type.tp_dealloc = deallocate;
    type.tp_traverse = traverse;
    type.tp_clear = clear;
    type.tp_methods = methods;
    type.tp_members = members;
    type.tp_getset = attributes;
    return PyType_Ready(&type) == 0 && PyModule_AddType(module, &type) == 0;
}

}  // namespace ringlet::python
