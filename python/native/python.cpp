#include "python/native/python.h"

#include <new>

#include "core/result.h"

namespace ringlet::python {

owned take_exception() noexcept {
#if PY_VERSION_HEX >= 0x030c0000
    return owned(PyErr_GetRaisedException());
#else
    PyObject* type = nullptr;
    PyObject* value = nullptr;
    PyObject* traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == nullptr) {
        return {};
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != nullptr) {
        PyException_SetTraceback(value, traceback);
    }
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return owned(value);
#endif
}

void raise_again(owned exception) noexcept {
#if PY_VERSION_HEX >= 0x030c0000
    PyErr_SetRaisedException(exception.release());
#else
    PyObject* const value = exception.release();
    PyErr_Restore(new_reference(reinterpret_cast<PyObject*>(Py_TYPE(value))), value,
                  PyException_GetTraceback(value));
#endif
}

PyObject* raise_errno(int number) noexcept {
    errno = number;
    return PyErr_SetFromErrno(PyExc_OSError);
}

PyObject* raise_code(const std::error_code& code, const char* what) noexcept {
    if (code.category() == std::system_category() || code.category() == std::generic_category()) {
        return raise_errno(code.value());
    }
    if (what != nullptr) {
        PyErr_SetString(PyExc_RuntimeError, what);
        return nullptr;
    }
    try {
        PyErr_SetString(PyExc_RuntimeError, code.message().c_str());
    } catch (...) {
        PyErr_NoMemory();
    }
    return nullptr;
}

PyObject* raise_current_exception() noexcept {
    try {
        throw;
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    } catch (const std::system_error& failure) {
        const std::error_category& category = failure.code().category();
        if (category != std::system_category() && category != std::generic_category()) {
            return raise_code(failure.code(), failure.what());
        }
        // OSError(number, text) chooses its subclass by the number.
        owned error(PyObject_CallFunction(PyExc_OSError, "is", failure.code().value(),
                                          failure.what()));
        if (error) {
            PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
        }
        return nullptr;
    } catch (const std::exception& failure) {
        PyErr_SetString(PyExc_RuntimeError, failure.what());
        return nullptr;
    }
}

PyObject* tuple_of(PyObject* const* objects, Py_ssize_t count) noexcept {
    PyObject* const tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple != nullptr && i < count; ++i) {
        PyTuple_SET_ITEM(tuple, i, new_reference(objects[i]));
    }
    return tuple;
}

PyObject* only_argument(const char* name, PyObject* const* arguments, Py_ssize_t count,
                        PyObject* keywords) noexcept {
    const Py_ssize_t named = keywords != nullptr ? PyTuple_GET_SIZE(keywords) : 0;
    if (count == 1 && named == 0) {
        return arguments[0];
    }
    if (count == 0 && named == 1 &&
        PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(keywords, 0), name) == 0) {
        return arguments[0];
    }
    PyErr_Format(PyExc_TypeError, "exactly one argument is wanted: '%s'", name);
    return nullptr;
}

}  // namespace ringlet::python
