#include "python/native/datagram_transport.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <new>

#include "python/native/context.h"
#include "python/native/datagram_addresses.h"
#include "python/native/handle.h"
#include "python/native/loop_object.h"
#include "python/native/names.h"
#include "python/native/socket_wait.h"

namespace ringlet::python {
namespace {

constexpr unsigned batch_max = 8;                    // datagrams by one system call
constexpr std::size_t datagram_bytes_max = 256 << 10;  // CPython's max_size

struct datagram_transport {
    PyObject_HEAD
    PyObject* base_slots[5];  // of asyncio's base classes; where each is does not matter
    PyObject* loop;           // asyncio's `_loop`, None once the connection is lost
    PyObject* socket;
    PyObject* protocol;
    PyObject* address;        // the only one to send to, or None
    PyObject* buffer;         // a deque: what waits to be sent
    PyObject* kept;           // a list of (data, address) that came while paused, or null
    PyObject* context;        // of the protocol's callbacks
    int fd;
    int conn_lost;
    char closing;
    char paused;
    signed char connected;    // to a peer; -1: not asked yet
    int family;               // 0: not asked yet
    loop_wait* wait;          // while it reads
    std::unique_ptr<datagram_addresses> addresses;
};

struct names_of_datagrams {
    PyObject* datagram_received;
    PyObject* error_received;
    PyObject* peername;
    PyObject* read_ready;
    PyObject* call_soon;
    PyObject* base_sendto;  // asyncio's own method
    PyObject* extra;
} text;

datagram_transport* as_transport(PyObject* object) noexcept {
    return reinterpret_cast<datagram_transport*>(object);
}
PyObject* as_object(datagram_transport* self) noexcept {
    return reinterpret_cast<PyObject*>(self);
}

// False, with MemoryError set, without memory.
bool have_addresses(datagram_transport* self) noexcept {
    if (!self->addresses) {
        self->addresses.reset(new (std::nothrow) datagram_addresses);
    }
    if (!self->addresses) {
        PyErr_NoMemory();
    }
    return self->addresses != nullptr;
}

void stop_waiting(datagram_transport* self) noexcept {
    if (self->wait != nullptr) {
        self->wait->abandon();
    }
}

bool is_reading(const datagram_transport* self) noexcept {
    return !self->closing && !self->paused && self->conn_lost == 0;
}

// --- receiving ---

// One call, and what it gave.
struct received_batch {
    owned data[batch_max];
    sockaddr_storage senders[batch_max];
    socklen_t sender_lengths[batch_max];
    int count = 0;
};

// Makes Python objects of the data at once: another thread's loop may use the memory next. False
// with an exception set.
bool receive_batch(int fd, received_batch& batch) noexcept {
    static char memory[batch_max][datagram_bytes_max];  // guarded by the GIL
    mmsghdr messages[batch_max] = {};
    iovec vectors[batch_max];
    for (unsigned i = 0; i < batch_max; ++i) {
        vectors[i] = {memory[i], datagram_bytes_max};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &batch.senders[i];
        messages[i].msg_hdr.msg_namelen = sizeof batch.senders[i];
    }
    const int got = ::recvmmsg(fd, messages, batch_max, MSG_DONTWAIT, nullptr);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            raise_errno(errno);
            return false;
        }
        return true;
    }
    for (int i = 0; i < got; ++i) {
        batch.data[i] = owned(PyBytes_FromStringAndSize(
            memory[i], static_cast<Py_ssize_t>(messages[i].msg_len)));
        if (!batch.data[i]) {
            return false;
        }
        batch.sender_lengths[i] = messages[i].msg_hdr.msg_namelen;
        batch.count = i + 1;
    }
    return true;
}

// Takes what a callback of the protocol raised, as the loop does for any callback.
void report_callback(datagram_transport* self, loop_object* loop) noexcept {
    report(loop, "Exception in callback DatagramTransport._read_ready()", as_object(self),
           self->protocol);
}

void give(datagram_transport* self, loop_object* loop, PyObject* data, PyObject* sender) noexcept {
    const owned protocol = owned::share(self->protocol);
    PyObject* const passed[] = {protocol.get(), data, sender};
    if (!owned(PyObject_VectorcallMethod(text.datagram_received, passed, 3, nullptr))) {
        report_callback(self, loop);
    }
}

void keep(datagram_transport* self, loop_object* loop, PyObject* data, PyObject* sender) noexcept {
    if (self->kept == nullptr) {
        self->kept = PyList_New(0);
    }
    const owned pair(PyTuple_Pack(2, data, sender));
    if (self->kept == nullptr || !pair || PyList_Append(self->kept, pair.get()) < 0) {
        report_callback(self, loop);
    }
}

// Gives an OSError that is set to the protocol; for other exceptions false, with it still set.
bool give_error(datagram_transport* self) noexcept {
    if (!PyErr_ExceptionMatches(PyExc_OSError)) {
        return false;
    }
    const owned failure = take_exception();
    const owned protocol = owned::share(self->protocol);
    PyObject* const passed[] = {protocol.get(), failure.get()};
    return owned(PyObject_VectorcallMethod(text.error_received, passed, 2, nullptr))
        .operator bool();
}

void receive(datagram_transport* self, loop_object* loop) noexcept {
    received_batch batch;
    const bool good = receive_batch(self->fd, batch);
    owned failure = good ? owned() : take_exception();
    for (int i = 0; i < batch.count; ++i) {
        if (self->closing || self->conn_lost != 0) {
            return;
        }
        const owned sender = have_addresses(self)
                                 ? self->addresses->object_of(batch.senders[i],
                                                              batch.sender_lengths[i])
                                 : owned();
        if (!sender) {
            report_callback(self, loop);
        } else if (self->paused) {
            keep(self, loop, batch.data[i].get(), sender.get());
        } else {
            give(self, loop, batch.data[i].get(), sender.get());
        }
    }
    if (failure) {
        raise_again(std::move(failure));
        if (!give_error(self)) {
            report_callback(self, loop);
        }
    }
}

// What was ready to run before the datagrams came runs before they are given, as in asyncio.
void read_later(datagram_transport* self, loop_object* loop) noexcept {
    const owned method(PyObject_GetAttr(as_object(self), text.read_ready));
    handle_object* const handle =
        method ? make_handle(method.get(), nullptr, 0, self->context) : nullptr;
    if (handle == nullptr || !make_ready(loop, reinterpret_cast<PyObject*>(handle))) {
        report_callback(self, loop);
    }
}

void readable(operation& op, const completion& what) noexcept {
    auto& wait = static_cast<socket_wait&>(op);
    if (wait.kept == nullptr || what.result == -ECANCELED) {
        take_kept(wait);
        return;
    }
    loop_object* const loop = wait.loop;
    const owned kept = owned::share(wait.kept);
    datagram_transport* const self = as_transport(kept.get());
    if (loop->had_ready) {
        take_kept(wait);
        read_later(self, loop);
        return;
    }
    if (is_reading(self)) {
        const owned remembered = owned::share(self->context);
        entered_context context(remembered.get());
        slow_watch watch(loop, kept.get());
        if (context) {
            receive(self, loop);
        } else {
            report_callback(self, loop);
        }
        context.leave();
    }
    // A callback may have closed or paused it, or paused and resumed it.
    if (wait.kept == nullptr || !is_reading(self)) {
        take_kept(wait);
        return;
    }
    wait.prepare_poll(self->fd, POLLIN, false);
    loop->core->start(wait);
}

bool has_loop(const datagram_transport* self) noexcept {
    return self->loop != nullptr && PyObject_TypeCheck(self->loop, loop_type);
}

// Waits for datagrams from now on. False with an exception set.
bool start_waiting(datagram_transport* self) noexcept {
    if (self->wait != nullptr || !has_loop(self)) {
        return true;
    }
    loop_object* const loop = as_loop(self->loop);
    if (!check_open(loop)) {
        return false;
    }
    auto* const wait =
        new (std::nothrow) socket_wait(loop, readable, as_object(self), &self->wait);
    if (wait == nullptr) {
        PyErr_NoMemory();
        return false;
    }
    wait->prepare_poll(self->fd, POLLIN, false);
    loop->core->start(*wait);
    return true;
}

// _add_reader(fd, callback): asyncio's code calls it to begin reading, and to resume.
PyObject* add_reader(PyObject* object, PyObject*) noexcept {
    datagram_transport* const self = as_transport(object);
    if (!is_reading(self) || !has_loop(self)) {
        Py_RETURN_NONE;
    }
    PyObject* const context = remember_context();
    if (context == nullptr) {
        return nullptr;
    }
    PyObject* const old = std::exchange(self->context, context);
    Py_XDECREF(old);
    if (self->kept != nullptr) {
        const owned method(PyObject_GetAttr(object, text.read_ready));
        PyObject* const passed[] = {self->loop, method.get()};
        return method ? PyObject_VectorcallMethod(text.call_soon, passed, 2, nullptr) : nullptr;
    }
    if (!start_waiting(self)) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

// _read_ready(): what came while it was paused and what there is now; then it waits for more.
PyObject* read_ready(PyObject* object, PyObject*) noexcept {
    datagram_transport* const self = as_transport(object);
    if (!has_loop(self)) {
        Py_RETURN_NONE;
    }
    while (is_reading(self) && self->kept != nullptr) {
        const owned pair = owned::share(PyList_GetItem(self->kept, 0));
        if (!pair || PyList_SetSlice(self->kept, 0, 1, nullptr) < 0) {
            return nullptr;
        }
        if (PyList_GET_SIZE(self->kept) == 0) {
            Py_CLEAR(self->kept);
        }
        give(self, as_loop(self->loop), PyTuple_GET_ITEM(pair.get(), 0),
             PyTuple_GET_ITEM(pair.get(), 1));
    }
    if (is_reading(self) && self->wait == nullptr) {
        receive(self, as_loop(self->loop));
    }
    if (is_reading(self) && !start_waiting(self)) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

// --- sending ---

// False with an exception set.
bool ask_peer(datagram_transport* self, PyObject* object) noexcept {
    const owned extra(PyObject_GetAttr(object, text.extra));
    PyObject* const peer = extra ? PyDict_GetItemWithError(extra.get(), text.peername) : nullptr;
    if (peer == nullptr) {
        if (!PyErr_Occurred()) {
            PyErr_SetObject(PyExc_KeyError, text.peername);
        }
        return false;
    }
    const int truth = PyObject_IsTrue(peer);
    sockaddr_storage own;
    socklen_t length = sizeof own;
    self->family = ::getsockname(self->fd, reinterpret_cast<sockaddr*>(&own), &length) == 0
                       ? int{own.ss_family}
                       : int{AF_UNSPEC};
    self->connected = static_cast<signed char>(truth);
    return truth >= 0;
}

PyObject* send_slowly(PyObject* object, PyObject* data, PyObject* address) noexcept {
    PyObject* const passed[] = {object, data, address};
    return PyObject_Vectorcall(text.base_sendto, passed, 3, nullptr);
}

// False if it is for asyncio's own method, or with an exception set: then nothing was sent.
bool send_directly(datagram_transport* self, PyObject* data, PyObject* address,
                   PyObject*& result) noexcept {
    const datagram_addresses::entry* to = nullptr;
    if (!self->connected) {
        to = have_addresses(self) ? self->addresses->find(address, self->family) : nullptr;
        if (to == nullptr) {
            return false;
        }
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return false;
    }
    ssize_t sent = 0;
    if (view.len > 0) {  // versions differ in what becomes of an empty one
        sent = ::sendto(self->fd, view.buf, static_cast<std::size_t>(view.len),
                        MSG_DONTWAIT | MSG_NOSIGNAL,
                        to != nullptr ? reinterpret_cast<const sockaddr*>(&to->bytes) : nullptr,
                        to != nullptr ? to->length : 0);
    }
    const int failure = errno;
    const bool empty = view.len == 0;
    PyBuffer_Release(&view);
    if (empty || (sent < 0 && (failure == EAGAIN || failure == EINTR))) {
        return false;
    }
    if (sent < 0) {
        raise_errno(failure);
        if (!give_error(self)) {
            return true;
        }
    }
    result = new_reference(Py_None);
    return true;
}

// sendto(data, addr=None)
PyObject* send_to(PyObject* object, PyObject* const* arguments, Py_ssize_t count,
                  PyObject* keywords) noexcept {
    datagram_transport* const self = as_transport(object);
    PyObject* data = count > 0 ? arguments[0] : nullptr;
    PyObject* address = count > 1 ? arguments[1] : Py_None;
    const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t i = 0; i < named; ++i) {
        PyObject* const keyword = PyTuple_GET_ITEM(keywords, i);
        if (count < 2 && PyUnicode_CompareWithASCIIString(keyword, "addr") == 0) {
            address = arguments[count + i];
        } else if (count < 1 && PyUnicode_CompareWithASCIIString(keyword, "data") == 0) {
            data = arguments[count + i];
        } else {
            data = nullptr;
            break;
        }
    }
    if (data == nullptr || count > 2) {
        PyErr_SetString(PyExc_TypeError, "sendto() takes data, and an address or None");
        return nullptr;
    }
    if (self->conn_lost != 0 && (self->socket == nullptr || self->socket == Py_None)) {
        Py_RETURN_NONE;  // closed: what is sent is lost, as with a transport of streams
    }
    if (self->connected < 0 && !ask_peer(self, object)) {
        return nullptr;
    }
    const bool usual = self->conn_lost == 0 &&
                       (PyBytes_CheckExact(data) || PyByteArray_CheckExact(data) ||
                        PyMemoryView_Check(data)) &&
                       self->buffer != nullptr && PyObject_Size(self->buffer) == 0 &&
                       (address == Py_None || self->address == nullptr || self->address == Py_None);
    if (usual) {
        PyObject* const target =
            address == Py_None && self->address != nullptr ? self->address : address;
        PyObject* result = nullptr;
        if (send_directly(self, data, target, result)) {
            return result;
        }
    }
    return PyErr_Occurred() ? nullptr : send_slowly(object, data, address);
}

// --- the type ---

PyObject* make(PyTypeObject* type, PyObject*, PyObject*) noexcept {
    PyObject* const object = type->tp_alloc(type, 0);
    if (object != nullptr) {
        datagram_transport* const self = as_transport(object);
        ::new (&self->addresses) std::unique_ptr<datagram_addresses>();
        self->connected = -1;
        self->fd = -1;
    }
    return object;
}

int traverse(PyObject* object, visitproc visit, void* arg) noexcept {
    datagram_transport* const self = as_transport(object);
    Py_VISIT(Py_TYPE(object));
    for (PyObject* const each : self->base_slots) {
        Py_VISIT(each);
    }
    for (PyObject* const each : {self->loop, self->socket, self->protocol, self->address,
                                 self->buffer, self->kept, self->context}) {
        Py_VISIT(each);
    }
    return self->addresses ? self->addresses->traverse(visit, arg) : 0;
}

int clear(PyObject* object) noexcept {
    datagram_transport* const self = as_transport(object);
    stop_waiting(self);
    for (PyObject*& each : self->base_slots) {
        Py_CLEAR(each);
    }
    Py_CLEAR(self->loop);
    Py_CLEAR(self->socket);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->address);
    Py_CLEAR(self->buffer);
    Py_CLEAR(self->kept);
    Py_CLEAR(self->context);
    if (self->addresses) {
        self->addresses->clear();
    }
    return 0;
}

void deallocate(PyObject* object) noexcept {
    PyTypeObject* const type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    clear(object);
    std::destroy_at(&as_transport(object)->addresses);
    type->tp_free(object);
    Py_DECREF(type);
}

PyObject* get_closing(PyObject* object, void*) noexcept {
    return PyBool_FromLong(as_transport(object)->closing);
}

// asyncio's code ends the reading by this.
int set_closing(PyObject* object, PyObject* value, void*) noexcept {
    const int truth = value == nullptr ? 0 : PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    as_transport(object)->closing = truth != 0;
    if (truth != 0) {
        stop_waiting(as_transport(object));
        Py_CLEAR(as_transport(object)->kept);
    }
    return 0;
}

PyObject* get_waiting(PyObject* object, void*) noexcept {
    return PyBool_FromLong(as_transport(object)->wait != nullptr &&
                           is_reading(as_transport(object)));
}

PyMethodDef methods[] = {
    {"sendto", as_method(send_to), METH_FASTCALL | METH_KEYWORDS,
     "sendto($self, data, addr=None)\n--\n\nSee asyncio.DatagramTransport.sendto."},
    {"_add_reader", add_reader, METH_VARARGS, nullptr},
    {"_read_ready", read_ready, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};
PyMemberDef members[] = {
    {"_loop", T_OBJECT, offsetof(datagram_transport, loop), 0, nullptr},
    {"_sock", T_OBJECT, offsetof(datagram_transport, socket), 0, nullptr},
    {"_protocol", T_OBJECT, offsetof(datagram_transport, protocol), 0, nullptr},
    {"_address", T_OBJECT, offsetof(datagram_transport, address), 0, nullptr},
    {"_buffer", T_OBJECT, offsetof(datagram_transport, buffer), 0, nullptr},
    {"_sock_fd", T_INT, offsetof(datagram_transport, fd), 0, nullptr},
    {"_conn_lost", T_INT, offsetof(datagram_transport, conn_lost), 0, nullptr},
    {"_paused", T_BOOL, offsetof(datagram_transport, paused), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyGetSetDef attributes[] = {
    {"_closing", get_closing, set_closing, nullptr, nullptr},
    {"_waiting", get_waiting, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(make)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_methods, methods},
                       {Py_tp_members, members},
                       {Py_tp_getset, attributes},
                       {0, nullptr}};
PyType_Spec spec = {"ringlet._native.DatagramTransport", sizeof(datagram_transport), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

bool find_names() noexcept {
    const wanted_name all[] = {{&text.datagram_received, "datagram_received"},
                               {&text.error_received, "error_received"},
                               {&text.peername, "peername"},
                               {&text.read_ready, "_read_ready"},
                               {&text.call_soon, "call_soon"},
                               {&text.extra, "_extra"}};
    return look_up(all, {});
}

}  // namespace

bool set_up_datagrams(PyObject* module) noexcept {
    const owned selectors(PyImport_ImportModule("asyncio.selector_events"));
    const owned transports(PyImport_ImportModule("asyncio.transports"));
    const owned own(selectors ? PyObject_GetAttrString(selectors.get(),
                                                       "_SelectorDatagramTransport")
                              : nullptr);
    const owned mixin(transports ? PyObject_GetAttrString(transports.get(), "_FlowControlMixin")
                                 : nullptr);
    if (!find_names() || !own || !mixin) {
        return false;
    }
    text.base_sendto = PyObject_GetAttrString(own.get(), "sendto");
    const auto* const base = reinterpret_cast<PyTypeObject*>(mixin.get());
    if (base->tp_basicsize != offsetof(datagram_transport, loop)) {
        PyErr_SetString(PyExc_ImportError, "this version of asyncio.transports is not known");
        return false;
    }
    const owned bases(PyTuple_Pack(1, mixin.get()));
    const owned type(bases ? PyType_FromSpecWithBases(&spec, bases.get()) : nullptr);
    return text.base_sendto != nullptr && type &&
           PyModule_AddType(module, reinterpret_cast<PyTypeObject*>(type.get())) == 0;
}

}  // namespace ringlet::python
