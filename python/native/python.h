// CPython's C API for the rest of python/: owned references, the few differences between versions,
// and how a C++ failure becomes a Python exception. Everything here needs the GIL.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <algorithm>
#include <cstddef>
#include <system_error>
#include <utility>

namespace ringlet::python {

// A strong reference, or null.
class owned {
public:
    owned() noexcept = default;
    // Takes the reference over.
    explicit owned(PyObject* object) noexcept : object_(object) {}
    owned(owned&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    owned& operator=(owned&& other) noexcept {
        // The old object goes last: its end may run any Python code.
        PyObject* const old = std::exchange(object_, std::exchange(other.object_, nullptr));
        Py_XDECREF(old);
        return *this;
    }
    ~owned() { Py_XDECREF(object_); }
    // Takes a reference of its own.
    static owned share(PyObject* object) noexcept {
        Py_XINCREF(object);
        return owned(object);
    }

    explicit operator bool() const noexcept { return object_ != nullptr; }
    PyObject* get() const noexcept { return object_; }
    PyObject* release() noexcept { return std::exchange(object_, nullptr); }

private:
    PyObject* object_ = nullptr;
};

inline PyObject* new_reference(PyObject* object) noexcept {
    Py_INCREF(object);
    return object;
}

// The exception that is set, normalized and with its traceback; null when none is. Clears it.
owned take_exception() noexcept;
// Sets `exception` (an instance) as the one in flight.
void raise_again(owned exception) noexcept;

// Sets the exception for an errno: the matching subclass of OSError. Returns null.
PyObject* raise_errno(int number) noexcept;
// OSError for a system error, RuntimeError for one of Ringlet's own. Returns null.
PyObject* raise_code(const std::error_code& code, const char* what = nullptr) noexcept;
// Inside catch (...): the Python exception for the C++ one. Returns null.
PyObject* raise_current_exception() noexcept;

// Runs `body`, which returns a PyObject*, and turns what it throws into a Python exception.
template <class F>
PyObject* guarded(F&& body) noexcept {
    try {
        return body();
    } catch (...) {
        return raise_current_exception();
    }
}

// Method tables hold PyCFunction, whatever the function's own type.
template <class F>
PyCFunction as_method(F* function) noexcept {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

// A tuple of them; null with MemoryError set.
PyObject* tuple_of(PyObject* const* objects, Py_ssize_t count) noexcept;

// The argument of a call that has one, by place or by name; null with TypeError set.
PyObject* only_argument(const char* name, PyObject* const* arguments, Py_ssize_t count,
                        PyObject* keywords) noexcept;

template <std::size_t N>
struct literal {
    constexpr literal(const char (&from)[N]) { std::copy(from, from + N, text); }
    char text[N];
};

// METH_FASTCALL | METH_KEYWORDS of a function that takes one argument: it may then be named too, as
// asyncio's methods allow.
template <literal Name, PyObject* (*Function)(PyObject*, PyObject*) noexcept>
PyObject* by_place_or_name(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                           PyObject* keywords) noexcept {
    PyObject* const only = only_argument(Name.text, arguments, count, keywords);
    return only != nullptr ? Function(self, only) : nullptr;
}

}  // namespace ringlet::python
