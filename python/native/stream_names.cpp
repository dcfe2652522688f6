#include "python/native/stream_names.h"

#include "python/native/names.h"

namespace ringlet::python {
namespace {

stream_names_table all;

// How many arguments Server._attach has, `self` among them.
long attach_arguments() noexcept {
    owned server(from_module("asyncio.base_events", "Server"));
    owned method(server ? PyObject_GetAttrString(server.get(), "_attach") : nullptr);
    owned code(method ? PyObject_GetAttrString(method.get(), "__code__") : nullptr);
    owned count(code ? PyObject_GetAttrString(code.get(), "co_argcount") : nullptr);
    return count ? PyLong_AsLong(count.get()) : -1;
}

}  // namespace

const stream_names_table& stream_names() noexcept { return all; }

bool set_up_stream_names() noexcept {
    const wanted_name strings[] = {
        {&all.call_soon, "call_soon"},
        {&all.create_future, "create_future"},
        {&all.connection_made, "connection_made"},
        {&all.connection_lost, "connection_lost"},
        {&all.data_received, "data_received"},
        {&all.eof_received, "eof_received"},
        {&all.get_buffer, "get_buffer"},
        {&all.buffer_updated, "buffer_updated"},
        {&all.pause_writing, "pause_writing"},
        {&all.resume_writing, "resume_writing"},
        {&all.fileno, "fileno"},
        {&all.close, "close"},
        {&all.setblocking, "setblocking"},
        {&all.done, "done"},
        {&all.cancelled, "cancelled"},
        {&all.set_result, "set_result"},
        {&all.set_exception, "set_exception"},
        {&all.attach, "_attach"},
        {&all.detach, "_detach"},
        {&all.transports, "_transports"},
        {&all.fatal_error, "_fatal_error"},
        {&all.lost_call, "_call_connection_lost"},
        {&all.begin_call, "_begin"},
        {&all.deliver_call, "_deliver"},
        {&all.socket, "socket"},
        {&all.sockname, "sockname"},
        {&all.peername, "peername"},
    };
    const wanted_object objects[] = {
        {&all.buffered_protocol, "asyncio.protocols", "BufferedProtocol"},
        {&all.socket_class, "socket", "socket"},
        {&all.transport_socket, "asyncio.trsock", "TransportSocket"},
        {&all.logger, "asyncio.log", "logger"},
    };
    if (!look_up(strings, objects)) {
        return false;
    }
    const long arguments = attach_arguments();
    all.server_wants_transport = arguments > 1;
    return arguments > 0;
}

}  // namespace ringlet::python
