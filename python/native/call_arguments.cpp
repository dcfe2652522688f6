#include "python/native/call_arguments.h"

#include "python/native/names.h"

namespace ringlet::python {

bool call_arguments::read_names(const char* function, std::span<const char* const> parameters,
                                PyObject* keywords) noexcept {
    const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
    // As futures call it, for every callback that they have.
    if (named == 1 && PyTuple_GET_ITEM(keywords, 0) == names().context &&
        count_ >= static_cast<Py_ssize_t>(parameters.size()) && PyContext_CheckExact(at_[count_])) {
        context_named_ = true;
        context_ = at_[count_];
        return true;
    }
    const auto wanted = static_cast<Py_ssize_t>(parameters.size());
    bool bound = false;
    for (Py_ssize_t i = 0; i < named; ++i) {
        PyObject* const keyword = PyTuple_GET_ITEM(keywords, i);
        PyObject* const value = at_[count_ + i];
        if (keyword == names().context || PyUnicode_Compare(keyword, names().context) == 0) {
            context_named_ = true;
            context_ = value != Py_None ? value : nullptr;
            continue;
        }
        Py_ssize_t place = 0;
        while (place < wanted && PyUnicode_CompareWithASCIIString(
                                     keyword, parameters[static_cast<std::size_t>(place)]) != 0) {
            ++place;
        }
        if (place == wanted || place < count_) {
            PyErr_Format(PyExc_TypeError,
                         place == wanted ? "%s() got an unexpected keyword argument '%U'"
                                         : "%s() got multiple values for argument '%U'",
                         function, keyword);
            return false;
        }
        bound_[place] = value;
        bound = true;
    }
    if (context_ != nullptr && !PyContext_CheckExact(context_)) {
        PyErr_Format(PyExc_TypeError, "%s() wants a contextvars.Context as context", function);
        return false;
    }
    for (Py_ssize_t place = count_; place < wanted; ++place) {
        if (bound_[place] == nullptr) {
            PyErr_Format(PyExc_TypeError, "%s() missing required positional argument: '%s'",
                         function, parameters[static_cast<std::size_t>(place)]);
            return false;
        }
    }
    if (bound) {  // so fewer were given by place than are wanted
        std::copy_n(at_, count_, bound_);
        at_ = bound_;
        count_ = wanted;
    }
    return true;
}

bool call_arguments::refuse_context(const char* function) const noexcept {
    if (!context_named_) {
        return true;
    }
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument 'context'", function);
    return false;
}

}  // namespace ringlet::python
