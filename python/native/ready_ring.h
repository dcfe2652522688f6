// The queue of handles that are ready to run: a ring of strong references that doubles when it is
// full. Guarded by the GIL.
#pragma once

#include <cstddef>

#include "python/native/python.h"

namespace ringlet::python {

class ready_ring {
public:
    ready_ring() noexcept = default;
    ready_ring(const ready_ring&) = delete;
    ready_ring& operator=(const ready_ring&) = delete;
    ~ready_ring() { PyMem_Free(slots_); }

    bool empty() const noexcept { return head_ == tail_; }
    std::size_t size() const noexcept { return tail_ - head_; }
    // The i-th oldest, borrowed. Requires: i < size().
    PyObject* at(std::size_t i) const noexcept { return slots_[(head_ + i) & (capacity_ - 1)]; }

    // Takes the reference over; false, with MemoryError set and nothing taken, without memory.
    [[nodiscard]] bool push(PyObject* handle) noexcept {
        if (size() == capacity_ && !grow()) [[unlikely]] {
            return false;
        }
        slots_[tail_++ & (capacity_ - 1)] = handle;
        return true;
    }
    // The oldest one with its reference. Requires: not empty.
    PyObject* pop() noexcept { return slots_[head_++ & (capacity_ - 1)]; }

private:
    bool grow() noexcept {
        const std::size_t capacity = capacity_ == 0 ? 64 : capacity_ * 2;
        PyObject** const slots = PyMem_New(PyObject*, capacity);
        if (slots == nullptr) {
            PyErr_NoMemory();
            return false;
        }
        const std::size_t count = size();
        for (std::size_t i = 0; i < count; ++i) {
            slots[i] = at(i);
        }
        PyMem_Free(slots_);
        slots_ = slots;
        capacity_ = capacity;
        head_ = 0;
        tail_ = count;
        return true;
    }

    PyObject** slots_ = nullptr;
    std::size_t capacity_ = 0;  // zero or a power of two
    std::size_t head_ = 0;
    std::size_t tail_ = 0;
};

}  // namespace ringlet::python
