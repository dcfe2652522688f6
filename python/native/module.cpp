// The extension module `ringlet._native`. One interpreter only, and it needs the GIL.
#include "python/native/acceptor.h"
#include "python/native/context.h"
#include "python/native/datagram_transport.h"
#include "python/native/handle.h"
#include "python/native/loop_object.h"
#include "python/native/names.h"
#include "python/native/socket_call.h"
#include "python/native/stream_names.h"
#include "python/native/stream_reader.h"
#include "python/native/stream_transport.h"
#include "python/native/thread_end.h"
#include "python/native/tls_protocol.h"

namespace ringlet::python {
namespace {

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "ringlet._native", "The native half of ringlet.", -1, nullptr,
    nullptr, nullptr, nullptr, nullptr};

PyObject* make_module() noexcept {
    set_up_thread_ends();
    owned module(PyModule_Create(&definition));
    if (!module || !set_up_names() || !set_up_contexts() || !set_up_handles() ||
        !set_up_loop(module.get()) || !set_up_socket_calls(module.get()) ||
        !set_up_stream_names() || !set_up_stream_transports(module.get()) ||
        !set_up_stream_readers(module.get()) ||
        !set_up_acceptors(module.get()) || !set_up_datagrams(module.get()) ||
        !set_up_tls(module.get()) ||
        PyModule_AddStringConstant(module.get(), "version", RINGLET_VERSION) < 0) {
        return nullptr;
    }
    return module.release();
}

}  // namespace
}  // namespace ringlet::python

PyMODINIT_FUNC PyInit__native() { return ringlet::python::make_module(); }
