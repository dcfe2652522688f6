#include "python/native/thread_end.h"

#include <unistd.h>

#include <cstdlib>
#include <exception>

#include "python/native/python.h"

namespace ringlet::python {
namespace {

std::terminate_handler otherwise = nullptr;

bool is_finalizing() noexcept {
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing() != 0;
#else
    return _Py_IsFinalizing() != 0;
#endif
}

// Without the GIL: nothing of Python may be touched.
void end() {
    // Nothing of ours is thrown into a noexcept function, so it is the end of a thread.
    while (is_finalizing() && std::current_exception() == nullptr) {
        ::pause();
    }
    if (otherwise != nullptr) {
        otherwise();
    }
    std::abort();
}

}  // namespace

void set_up_thread_ends() noexcept { otherwise = std::set_terminate(end); }

}  // namespace ringlet::python
