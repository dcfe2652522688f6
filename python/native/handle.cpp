#include "python/native/handle.h"

#include <cstddef>
#include <new>

#include "python/native/context.h"
#include "python/native/loop_object.h"
#include "python/native/names.h"

namespace ringlet::python {
namespace {

// Handles that were let go of, kept for the next ones.
class free_list {
public:
    void* take() noexcept { return count_ > 0 ? slots_[--count_] : nullptr; }
    bool keep(void* memory) noexcept {
        if (count_ == capacity) {
            return false;
        }
        slots_[count_++] = memory;
        return true;
    }

private:
    static constexpr int capacity = 1024;
    void* slots_[capacity];
    int count_ = 0;
};

free_list free_handles;
free_list free_timer_handles;

bool fill(handle_object* handle, PyObject* callback, PyObject* const* arguments, Py_ssize_t count,
          PyObject* context) noexcept {
    handle->weak_references = nullptr;
    handle->callback = nullptr;
    handle->cancelled = handle->running = handle->repeats = false;
    handle->queued_by_hand = false;
    handle->count = 0;
    handle->context = context != nullptr ? new_reference(context) : remember_context();
    if (handle->context == nullptr) {
        return false;
    }
    if (count <= inline_arguments) {
        for (Py_ssize_t i = 0; i < count; ++i) {
            handle->slots[1 + i] = new_reference(arguments[i]);
        }
        handle->count = static_cast<std::int8_t>(count);
    } else {
        PyObject* const tuple = PyTuple_New(count);
        if (tuple == nullptr) {
            return false;
        }
        for (Py_ssize_t i = 0; i < count; ++i) {
            PyTuple_SET_ITEM(tuple, i, new_reference(arguments[i]));
        }
        handle->slots[1] = tuple;
        handle->count = -1;
    }
    handle->callback = new_reference(callback);
    return true;
}

template <class Object>
Object* allocate(free_list& from, PyTypeObject& type) noexcept {
    void* memory = from.take();
    if (memory == nullptr) {
        memory = PyObject_Malloc(sizeof(Object));
        if (memory == nullptr) {
            PyErr_NoMemory();
            return nullptr;
        }
    }
    return reinterpret_cast<Object*>(PyObject_Init(static_cast<PyObject*>(memory), &type));
}

// Lets go of callback, arguments and context. Their ends may run any code, also this handle's.
void clear(handle_object* handle) noexcept {
    PyObject* const callback = std::exchange(handle->callback, nullptr);
    PyObject* const context = std::exchange(handle->context, nullptr);
    const int count = std::exchange(handle->count, std::int8_t{0});
    PyObject* held[inline_arguments];
    const int slots = count < 0 ? 1 : count;
    for (int i = 0; i < slots; ++i) {
        held[i] = handle->slots[1 + i];
    }
    Py_XDECREF(callback);
    Py_XDECREF(context);
    for (int i = 0; i < slots; ++i) {
        Py_DECREF(held[i]);
    }
}

PyObject* arguments_tuple(handle_object* handle) noexcept {
    if (handle->count < 0) {
        return new_reference(handle->slots[1]);
    }
    PyObject* const tuple = PyTuple_New(handle->count);
    for (int i = 0; tuple != nullptr && i < handle->count; ++i) {
        PyTuple_SET_ITEM(tuple, i, new_reference(handle->slots[1 + i]));
    }
    return tuple;
}

PyObject* call(handle_object* handle) noexcept {
    if (handle->count < 0) [[unlikely]] {
        return PyObject_CallObject(handle->callback, handle->slots[1]);
    }
    return PyObject_Vectorcall(handle->callback, handle->slots + 1,
                               static_cast<std::size_t>(handle->count) |
                                   PY_VECTORCALL_ARGUMENTS_OFFSET,
                               nullptr);
}

void report(handle_object* handle, loop_object* loop) noexcept {
    owned exception = take_exception();
    PyObject* const self = reinterpret_cast<PyObject*>(handle);
    PyObject* arguments[] = {reinterpret_cast<PyObject*>(loop), self, exception.get()};
    owned done(PyObject_VectorcallMethod(names().report_handle, arguments, 3, nullptr));
    if (!done) {
        PyErr_WriteUnraisable(self);
    }
}

// --- what Python sees ---

PyObject* method_cancel(PyObject* self, PyObject*) noexcept {
    cancel_handle(as_handle(self));
    Py_RETURN_NONE;
}

PyObject* method_cancelled(PyObject* self, PyObject*) noexcept {
    return PyBool_FromLong(as_handle(self)->cancelled);
}

PyObject* get_class(PyObject* self, void*) noexcept {
    const bool timed = Py_TYPE(self) == &timer_handle_type;
    return new_reference(timed ? names().timer_handle_class : names().handle_class);
}

PyObject* get_callback(PyObject* self, void*) noexcept {
    PyObject* const callback = as_handle(self)->callback;
    return new_reference(callback != nullptr ? callback : Py_None);
}

PyObject* get_arguments(PyObject* self, void*) noexcept {
    handle_object* const handle = as_handle(self);
    if (handle->callback == nullptr) {
        Py_RETURN_NONE;
    }
    return arguments_tuple(handle);
}

PyObject* get_context(PyObject* self, void*) noexcept {
    PyObject*& context = as_handle(self)->context;
    if (context == nullptr) {
        Py_RETURN_NONE;
    }
    if (!PyContext_CheckExact(context)) {  // from now on it is this one, that the caller knows
        PyObject* const known = as_context(context);
        if (known == nullptr) {
            return nullptr;
        }
        Py_SETREF(context, known);
    }
    return new_reference(context);
}

PyObject* get_nothing(PyObject*, void*) noexcept { Py_RETURN_NONE; }

PyObject* get_cancelled(PyObject* self, void*) noexcept {
    return PyBool_FromLong(as_handle(self)->cancelled);
}

PyObject* get_scheduled(PyObject* self, void*) noexcept {
    return PyBool_FromLong(reinterpret_cast<timer_handle_object*>(self)->loop != nullptr);
}

PyObject* represent(PyObject* self) noexcept {
    return PyObject_CallFunctionObjArgs(names().handle_repr, self, nullptr);
}

void deallocate(PyObject* self) noexcept {
    handle_object* const handle = as_handle(self);
    if (handle->weak_references != nullptr) {
        PyObject_ClearWeakRefs(self);
    }
    clear(handle);
    if (Py_TYPE(self) == &handle_type) {
        if (!free_handles.keep(self)) {
            PyObject_Free(self);
        }
        return;
    }
    auto* const timed = reinterpret_cast<timer_handle_object*>(self);
    timed->timer.~timer();
    if (!free_timer_handles.keep(self)) {
        PyObject_Free(self);
    }
}

PyObject* method_when(PyObject* self, PyObject*) noexcept {
    return PyFloat_FromDouble(reinterpret_cast<timer_handle_object*>(self)->when);
}

Py_hash_t hash_timer(PyObject* self) noexcept {
    owned when(method_when(self, nullptr));
    return when ? PyObject_Hash(when.get()) : -1;
}

bool same_timer(PyObject* left, PyObject* right, int& failed) noexcept {
    auto* const a = reinterpret_cast<timer_handle_object*>(left);
    auto* const b = reinterpret_cast<timer_handle_object*>(right);
    if (a->when != b->when || a->base.callback != b->base.callback ||
        a->base.cancelled != b->base.cancelled) {
        return false;
    }
    owned first(get_arguments(left, nullptr));
    owned second(get_arguments(right, nullptr));
    failed = first && second ? PyObject_RichCompareBool(first.get(), second.get(), Py_EQ) : -1;
    return failed == 1;
}

PyObject* compare_timers(PyObject* left, PyObject* right, int op) noexcept {
    if (Py_TYPE(left) != &timer_handle_type || Py_TYPE(right) != &timer_handle_type) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    const double a = reinterpret_cast<timer_handle_object*>(left)->when;
    const double b = reinterpret_cast<timer_handle_object*>(right)->when;
    int failed = 0;
    const bool equal = op != Py_LT && op != Py_GT && same_timer(left, right, failed);
    if (failed < 0) {
        return nullptr;
    }
    switch (op) {
        case Py_LT: return PyBool_FromLong(a < b);
        case Py_LE: return PyBool_FromLong(a < b || equal);
        case Py_GT: return PyBool_FromLong(a > b);
        case Py_GE: return PyBool_FromLong(a > b || equal);
        case Py_EQ: return PyBool_FromLong(equal);
        default: return PyBool_FromLong(!equal);
    }
}

PyMethodDef handle_methods[] = {
    {"cancel", method_cancel, METH_NOARGS, "Keeps the callback from being called."},
    {"cancelled", method_cancelled, METH_NOARGS, "Whether cancel() was called."},
    {"get_context", [](PyObject* self, PyObject*) { return get_context(self, nullptr); },
     METH_NOARGS, "The contextvars.Context that the callback runs in."},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef handle_attributes[] = {
    {"__class__", get_class, nullptr, nullptr, nullptr},
    {"_callback", get_callback, nullptr, nullptr, nullptr},
    {"_args", get_arguments, nullptr, nullptr, nullptr},
    {"_context", get_context, nullptr, nullptr, nullptr},
    {"_cancelled", get_cancelled, nullptr, nullptr, nullptr},
    {"_source_traceback", get_nothing, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMethodDef timer_methods[] = {
    {"when", method_when, METH_NOARGS, "The time, in loop.time()'s seconds, at which it is due."},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef timer_attributes[] = {
    {"_when", [](PyObject* self, void*) { return method_when(self, nullptr); }, nullptr, nullptr,
     nullptr},
    {"_scheduled", get_scheduled, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

PyTypeObject handle_type = {PyVarObject_HEAD_INIT(nullptr, 0)};
PyTypeObject timer_handle_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

bool set_up_handles() noexcept {
    unsigned long flags = Py_TPFLAGS_DEFAULT;
#ifdef Py_TPFLAGS_DISALLOW_INSTANTIATION
    flags |= Py_TPFLAGS_DISALLOW_INSTANTIATION;
#endif
    handle_type.tp_name = "ringlet.Handle";
    handle_type.tp_doc = "A callback waiting for its turn of the loop, see asyncio.Handle.";
    handle_type.tp_basicsize = sizeof(handle_object);
    handle_type.tp_dealloc = deallocate;
    handle_type.tp_repr = represent;
    handle_type.tp_flags = flags;
    handle_type.tp_weaklistoffset = offsetof(handle_object, weak_references);
    handle_type.tp_methods = handle_methods;
    handle_type.tp_getset = handle_attributes;
    timer_handle_type.tp_name = "ringlet.TimerHandle";
    timer_handle_type.tp_doc = "A callback waiting for its time, see asyncio.TimerHandle.";
    timer_handle_type.tp_basicsize = sizeof(timer_handle_object);
    timer_handle_type.tp_dealloc = deallocate;
    timer_handle_type.tp_repr = represent;
    timer_handle_type.tp_flags = flags;
    timer_handle_type.tp_base = &handle_type;
    timer_handle_type.tp_hash = hash_timer;
    timer_handle_type.tp_richcompare = compare_timers;
    timer_handle_type.tp_methods = timer_methods;
    timer_handle_type.tp_getset = timer_attributes;
    return PyType_Ready(&handle_type) == 0 && PyType_Ready(&timer_handle_type) == 0;
}

handle_object* make_handle(PyObject* callback, PyObject* const* arguments, Py_ssize_t count,
                           PyObject* context) noexcept {
    auto* const handle = allocate<handle_object>(free_handles, handle_type);
    if (handle != nullptr && !fill(handle, callback, arguments, count, context)) {
        Py_DECREF(handle);
        return nullptr;
    }
    return handle;
}

timer_handle_object* make_timer_handle(PyObject* callback, PyObject* const* arguments,
                                       Py_ssize_t count, PyObject* context, double when) noexcept {
    auto* const handle = allocate<timer_handle_object>(free_timer_handles, timer_handle_type);
    if (handle == nullptr) {
        return nullptr;
    }
    handle->when = when;
    handle->loop = nullptr;
    // The loop takes due timers out itself (loop_run.cpp); nobody else runs them.
    ::new (&handle->timer) ringlet::timer(nullptr);
    if (!fill(&handle->base, callback, arguments, count, context)) {
        Py_DECREF(handle);
        return nullptr;
    }
    return handle;
}

timer_handle_object* handle_of(ringlet::timer& timer) noexcept {
    char* const at = reinterpret_cast<char*>(&timer);
    return reinterpret_cast<timer_handle_object*>(at - offsetof(timer_handle_object, timer));
}

bool run_handle(handle_object* handle, loop_object* loop) noexcept {
    if (handle->callback == nullptr) {
        return true;
    }
    handle->running = true;
    PyObject* answer = nullptr;
    {
        // An entered context may not be entered again: then the callback does not run.
        entered_context context(handle->context);
        if (context) [[likely]] {
            answer = call(handle);
        }
    }
    Py_XDECREF(answer);
    handle->running = false;
    bool good = true;
    if (answer == nullptr) [[unlikely]] {
        if (PyErr_ExceptionMatches(PyExc_SystemExit) ||
            PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
            good = false;
        } else {
            report(handle, loop);
        }
    }
    if (!handle->repeats || handle->cancelled) {
        if (good) [[likely]] {
            clear(handle);
        } else {
            owned exception = take_exception();
            clear(handle);
            raise_again(std::move(exception));
        }
    }
    return good;
}

void cancel_handle(handle_object* handle) noexcept {
    if (handle->cancelled) {
        return;
    }
    handle->cancelled = true;
    if (Py_TYPE(handle) == &timer_handle_type) {
        auto* const timed = reinterpret_cast<timer_handle_object*>(handle);
        if (loop_object* const loop = std::exchange(timed->loop, nullptr)) {
            loop->timers.remove(timed->timer);
            if (!handle->running) {
                clear(handle);
            }
            Py_DECREF(handle);  // the heap's; the caller has one of its own
            return;
        }
    }
    if (!handle->running) {
        clear(handle);
    }
}

void drop_handle(handle_object* handle) noexcept {
    if (!handle->running) {
        clear(handle);
    }
}

int traverse_handle(handle_object* handle, visitproc visit, void* arg) noexcept {
    if (handle->queued_by_hand) {
        return 0;
    }
    Py_VISIT(handle->callback);
    Py_VISIT(handle->context);
    const int slots = handle->count < 0 ? 1 : handle->count;
    for (int i = 0; i < slots; ++i) {
        Py_VISIT(handle->slots[1 + i]);
    }
    return 0;
}

}  // namespace ringlet::python
