// The arguments of the loop's methods that take a callback and what it is to be called with. As in
// asyncio the first parameters may be named as well, and some methods take a context by name.
#pragma once

#include <span>

#include "python/native/python.h"

namespace ringlet::python {

class call_arguments {
public:
    // `parameters`: the names of those that are required, at most two; beyond them any number may
    // follow by place. False with TypeError set.
    bool read(const char* function, std::span<const char* const> parameters,
              PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) noexcept {
        at_ = arguments;
        count_ = count;
        const auto wanted = static_cast<Py_ssize_t>(parameters.size());
        return keywords == nullptr && count >= wanted
                   ? true
                   : read_names(function, parameters, keywords);
    }
    // False with TypeError set: for methods that take no context.
    bool refuse_context(const char* function) const noexcept;

    PyObject* operator[](Py_ssize_t i) const noexcept { return at_[i]; }
    PyObject* const* from(Py_ssize_t i) const noexcept { return at_ + i; }
    Py_ssize_t count() const noexcept { return count_; }
    PyObject* context() const noexcept { return context_; }  // null: none was given, or None

private:
    bool read_names(const char* function, std::span<const char* const> parameters,
                    PyObject* keywords) noexcept;

    PyObject* const* at_ = nullptr;
    Py_ssize_t count_ = 0;
    PyObject* context_ = nullptr;
    bool context_named_ = false;
    PyObject* bound_[2] = {};
};

}  // namespace ringlet::python
