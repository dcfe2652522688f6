// Python objects with operations of their own: the loop holds a reference to each while any of them
// is active, since the kernel uses the object's memory. Kept as a list in the loop, which answers
// for them in garbage collection and tells them when it is being closed. Guarded by the GIL.
#pragma once

#include "python/native/python.h"

namespace ringlet::python {

class live_owner {
public:
    // `forget` runs when the loop is about to be closed: queued work goes, no Python code runs.
    // Then all operations end, whose handlers find the loop without a core and do nothing. `ended`
    // runs after that.
    using function = void (*)(PyObject* object) noexcept;

    live_owner(PyObject* object, function forget, function ended) noexcept
        : object_(object), forget_(forget), ended_(ended) {}
    live_owner(const live_owner&) = delete;
    live_owner& operator=(const live_owner&) = delete;

    bool alive() const noexcept { return link_ != nullptr; }
    // Puts it into the list that begins at `head`, with a reference; or takes it out, and gives the
    // reference up: the object may be gone then.
    void keep(live_owner*& head, bool wanted) noexcept {
        if (wanted == alive()) {
            return;
        }
        if (wanted) {
            Py_INCREF(object_);
            next_ = head;
            if (next_ != nullptr) {
                next_->link_ = &next_;
            }
            link_ = &head;
            head = this;
        } else {
            *link_ = next_;
            if (next_ != nullptr) {
                next_->link_ = link_;
            }
            link_ = nullptr;
            Py_DECREF(object_);
        }
    }

    static void forget_all(live_owner* head) noexcept {
        for (; head != nullptr; head = head->next_) {
            head->forget_(head->object_);
        }
    }
    static void release_all(live_owner*& head) noexcept {
        while (live_owner* const first = head) {
            owned object(new_reference(first->object_));
            first->keep(head, false);
            first->ended_(object.get());
        }
    }
    static int traverse_all(live_owner* head, visitproc visit, void* arg) noexcept {
        for (; head != nullptr; head = head->next_) {
            Py_VISIT(head->object_);
        }
        return 0;
    }

private:
    PyObject* const object_;
    const function forget_;
    const function ended_;
    live_owner* next_ = nullptr;
    live_owner** link_ = nullptr;  // what points here; null: in no list
};

}  // namespace ringlet::python
