#include "python/native/context.h"

#include <cstring>

namespace ringlet::python {
namespace {

// How a Context begins in memory, see context.h.
struct context_layout {
    PyObject_HEAD
    PyObject* previous;
    PyObject* variables;  // an immutable map, never null
    PyObject* weak_references;
    int entered;
};

#if PY_VERSION_HEX < 0x030e0000 && !defined(Py_GIL_DISABLED) && !defined(PYPY_VERSION)
constexpr bool known_version = true;
PyObject* current_context() noexcept { return PyThreadState_Get()->context; }
#else
constexpr bool known_version = false;
PyObject* current_context() noexcept { return nullptr; }
#endif

bool short_way = false;
PyObject* no_variables = nullptr;  // the empty map
PyObject* spare = nullptr;         // a context that nobody else knows

PyObject*& variables_of(PyObject* context) noexcept {
    return reinterpret_cast<context_layout*>(context)->variables;
}

bool entered(PyObject* context) noexcept {
    return reinterpret_cast<context_layout*>(context)->entered != 0;
}

bool looks_right(PyObject* context, PyObject* copy) noexcept {
    if (Py_TYPE(context)->tp_basicsize != sizeof(context_layout)) {
        return false;
    }
    PyObject* const variables = variables_of(context);
    return variables != nullptr && variables == variables_of(copy) &&
           std::strcmp(Py_TYPE(variables)->tp_name, "hamt") == 0 && !entered(context);
}

}  // namespace

bool set_up_contexts() noexcept {
    if (!known_version) {
        return true;
    }
    owned fresh(PyContext_New());
    owned copy(fresh ? PyContext_Copy(fresh.get()) : nullptr);
    if (!copy) {
        return false;
    }
    short_way = looks_right(fresh.get(), copy.get());
    if (short_way) {
        no_variables = new_reference(variables_of(fresh.get()));
        spare = fresh.release();
    }
    return true;
}

PyObject* remember_context() noexcept {
    if (!short_way) {
        return PyContext_CopyCurrent();
    }
    PyObject* const current = current_context();
    return new_reference(current != nullptr ? variables_of(current) : no_variables);
}

PyObject* as_context(PyObject* remembered) noexcept {
    if (PyContext_CheckExact(remembered)) {
        return new_reference(remembered);
    }
    PyObject* const context = PyContext_New();
    if (context != nullptr) {
        PyObject* const old = std::exchange(variables_of(context), new_reference(remembered));
        Py_DECREF(old);
    }
    return context;
}

entered_context::entered_context(PyObject* remembered) noexcept {
    if (remembered == nullptr) {  // of an object that the garbage collector has emptied
        PyErr_SetString(PyExc_RuntimeError, "there is no context any more");
        return;
    }
    if (PyContext_CheckExact(remembered)) {
        context_ = new_reference(remembered);
    } else {
        lent_ = true;
        context_ = std::exchange(spare, nullptr);
        if (context_ == nullptr) {
            context_ = as_context(remembered);
        } else {
            PyObject* const old = std::exchange(variables_of(context_), new_reference(remembered));
            Py_DECREF(old);
        }
    }
    entered_ = context_ != nullptr && PyContext_Enter(context_) == 0;
}

void entered_context::leave() noexcept {
    if (!std::exchange(entered_, false)) {
        return;
    }
    if (PyErr_Occurred() != nullptr) [[unlikely]] {
        owned exception = take_exception();
        if (PyContext_Exit(context_) != 0) {
            PyErr_Clear();
        }
        raise_again(std::move(exception));
    } else if (PyContext_Exit(context_) != 0) {
        PyErr_WriteUnraisable(context_);
    }
}

entered_context::~entered_context() {
    leave();
    if (context_ == nullptr) {
        return;
    }
    // A token of ContextVar.set may hold it still: then it is that token's.
    const bool ours = lent_ && Py_REFCNT(context_) == 1 && !entered(context_) && spare == nullptr;
    if (!ours) {
        Py_DECREF(context_);
        return;
    }
    PyObject* const old = std::exchange(variables_of(context_), new_reference(no_variables));
    spare = context_;
    Py_DECREF(old);  // last: its end may run any code
}

}  // namespace ringlet::python
