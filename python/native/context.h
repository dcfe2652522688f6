// A cheaper copy of the current context. A contextvars.Context is an object that the garbage
// collector tracks around an immutable map of variables; who only wants to run one callback later
// in a copy needs the map alone, and at the time of the call any context that nobody else knows.
// Saves an allocation and its share of collections per call_soon.
//
// The two fields this takes are private to CPython, unchanged from 3.9 to 3.13; the first use
// checks them, and where they are not found, or on other versions, copies are real ones.
#pragma once

#include "python/native/python.h"

namespace ringlet::python {

// Looks whether the short way can be had. False with an exception set.
bool set_up_contexts() noexcept;

// What a callback scheduled now shall see: a map of variables or a Context. Null with MemoryError.
PyObject* remember_context() noexcept;
// The Context itself, a new one for a map. Null with MemoryError.
PyObject* as_context(PyObject* remembered) noexcept;

// A context entered for one call: `remembered` itself, or one lent for its variables.
class entered_context {
public:
    explicit entered_context(PyObject* remembered) noexcept;
    entered_context(const entered_context&) = delete;
    entered_context& operator=(const entered_context&) = delete;
    ~entered_context();

    // False with the exception set: a context that is entered already may not be entered again.
    explicit operator bool() const noexcept { return entered_; }
    // Keeps the exception that is set, if any.
    void leave() noexcept;

private:
    PyObject* context_ = nullptr;
    bool lent_ = false;
    bool entered_ = false;
};

}  // namespace ringlet::python
