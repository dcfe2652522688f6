// Daemon threads at the end of the interpreter. A thread that asks for the GIL then is ended by
// CPython, up to 3.13, with pthread_exit(), which unwinds its stack; where that meets a noexcept
// function of ours, C++ ends the process. Such a thread sleeps instead until the process is gone,
// which is what CPython itself does from 3.14 on.
#pragma once

namespace ringlet::python {

// Called once, by the module's set-up.
void set_up_thread_ends() noexcept;

}  // namespace ringlet::python
