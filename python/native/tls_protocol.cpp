#include "python/native/tls_protocol.h"

#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstring>
#include <new>

#include "python/native/names.h"
#include "python/native/stream_transport.h"

namespace ringlet::python {
namespace {

// How Python's SSL socket begins in memory, 3.9 to 3.13; see adopt.
struct ssl_socket_layout {
    PyObject_HEAD
    PyObject* socket;
    SSL* ssl;
    PyObject* context;
};

struct tls_object {
    PyObject_HEAD
    SSL* ssl;  // owned by ssl_object; null: everything goes CPython's way
    // CPython's attributes.
    PyObject* ssl_object;
    PyObject* state;
    PyObject* app_protocol;
    PyObject* transport;
    PyObject* write_backlog;
    Py_ssize_t write_buffer_size;
    Py_ssize_t outgoing_high_water;
    Py_ssize_t outgoing_low_water;
    Py_ssize_t incoming_high_water;
    char app_reading_paused;
    char app_writing_paused;
    char ssl_reading_paused;
    char ssl_writing_paused;
    char app_is_buffered;
};

PyTypeObject protocol_type = {PyVarObject_HEAD_INIT(nullptr, 0)};

struct {
    PyObject* wrapped;   // SSLProtocolState.WRAPPED
    PyObject* base;      // asyncio.sslproto.SSLProtocol
    PyObject* ssl_error;
    // Method names.
    PyObject* ciphertext;
    PyObject* data_received;
    PyObject* get_buffer;
    PyObject* buffer_updated;
    PyObject* do_read;
    PyObject* do_write;
    PyObject* write_appdata;
    PyObject* peer_closed;
    PyObject* fatal_error;
    PyObject* control_app_writing;
    PyObject* control_ssl_reading;
    PyObject* write;
} known;

constexpr std::size_t scratch_bytes = 256 * 1024;  // as much as CPython reads at once
constexpr std::size_t write_bytes_max = 256 * 1024;
char scratch[scratch_bytes];

tls_object* as_tls(PyObject* object) noexcept { return reinterpret_cast<tls_object*>(object); }

bool call(PyObject* self, PyObject* method) noexcept {
    return owned(PyObject_CallMethodNoArgs(self, method)).operator bool();
}

// Where the SSL object reads: first what was left over in the memory BIO that CPython's own code
// writes to, then what the transport has just received, where it lies.
struct ciphertext_source {
    BIO* rest;
    const char* data;
    std::size_t bytes;
};

ciphertext_source* source_of(BIO* bio) noexcept {
    return static_cast<ciphertext_source*>(BIO_get_data(bio));
}

int source_read(BIO* bio, char* into, std::size_t room, std::size_t* got) noexcept {
    ciphertext_source* const source = source_of(bio);
    BIO_clear_retry_flags(bio);
    if (BIO_ctrl_pending(source->rest) > 0) {
        return BIO_read_ex(source->rest, into, room, got);
    }
    if (source->bytes > 0) {
        *got = std::min(room, source->bytes);
        std::memcpy(into, source->data, *got);
        source->data += *got;
        source->bytes -= *got;
        return 1;
    }
    BIO_set_retry_read(bio);
    return 0;
}

long source_control(BIO* bio, int command, long number, void* pointer) noexcept {
    ciphertext_source* const source = source_of(bio);
    const long rest = BIO_ctrl(source->rest, command, number, pointer);
    return command == BIO_CTRL_PENDING ? rest + static_cast<long>(source->bytes) : rest;
}

int source_destroy(BIO* bio) noexcept {
    ciphertext_source* const source = source_of(bio);
    if (source != nullptr) {
        BIO_free(source->rest);
        delete source;
    }
    return 1;
}

BIO_METHOD* make_source_method() noexcept {
    BIO_METHOD* const method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ringlet");
    if (method != nullptr) {
        BIO_meth_set_read_ex(method, source_read);
        BIO_meth_set_ctrl(method, source_control);
        BIO_meth_set_destroy(method, source_destroy);
    }
    return method;
}

// Puts a source of ours before the memory BIO that `ssl` reads from. False without memory.
bool insert_source(SSL* ssl) noexcept {
    static BIO_METHOD* const method = make_source_method();
    BIO* const bio = method != nullptr ? BIO_new(method) : nullptr;
    auto* const source = new (std::nothrow) ciphertext_source{SSL_get_rbio(ssl), nullptr, 0};
    if (bio == nullptr || source == nullptr) {
        BIO_free(bio);
        delete source;
        return false;
    }
    BIO_up_ref(source->rest);
    BIO_set_data(bio, source);
    BIO_set_init(bio, 1);
    SSL_set0_rbio(ssl, bio);
    return true;
}

void forget_errors() noexcept {
    if (ERR_peek_error() != 0) [[unlikely]] {
        ERR_clear_error();
    }
}

// ssl.SSLError for what OpenSSL said last, in the words of Python's own. Returns null.
PyObject* raise_ssl_error(int error) noexcept {
    const unsigned long code = ERR_peek_last_error();
    const char* const reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
    ERR_clear_error();
    owned text;
    owned word;
    if (reason == nullptr) {
        text = owned(PyUnicode_FromFormat("The operation did not complete (error %d)", error));
    } else {
        char upper[128] = {};
        for (std::size_t i = 0; reason[i] != '\0' && i + 1 < sizeof upper; ++i) {
            const auto letter = static_cast<unsigned char>(reason[i]);
            upper[i] = letter == ' ' ? '_' : static_cast<char>(std::toupper(letter));
        }
        word = owned(PyUnicode_FromString(upper));
        text = owned(PyUnicode_FromFormat("[SSL: %s] %s", upper, reason));
    }
    owned raised(text ? PyObject_CallFunction(known.ssl_error, "iO", error, text.get()) : nullptr);
    if (raised && word) {
        owned library(PyUnicode_FromString("SSL"));
        PyObject_SetAttrString(raised.get(), "reason", word.get());
        PyObject_SetAttrString(raised.get(), "library", library.get());
    }
    if (raised) {
        PyErr_SetObject(known.ssl_error, raised.get());
    }
    return nullptr;
}

// What CPython's methods do with an exception: SSLProtocol._fatal_error(exc, message). -1 with
// the exception that ends the run.
int fail(tls_object* self) noexcept {
    owned exception = take_exception();
    PyObject* const raised = exception.get();
    if (!PyErr_GivenExceptionMatches(raised, PyExc_Exception)) {
        raise_again(std::move(exception));
        return -1;
    }
    owned message(PyUnicode_FromString("Fatal error on SSL protocol"));
    PyObject* const passed[] = {reinterpret_cast<PyObject*>(self), raised, message.get()};
    owned done(message ? PyObject_VectorcallMethod(known.fatal_error, passed, 3, nullptr)
                       : nullptr);
    return done ? 0 : -1;
}

bool connected(tls_object* self) noexcept {
    return self->transport != nullptr && self->transport != Py_None;
}

bool can_write(tls_object* self) noexcept {
    return self->ssl != nullptr && self->state == known.wrapped && self->write_backlog != nullptr &&
           PyObject_Size(self->write_backlog) == 0;
}

bool write_raw(PyObject* transport, PyObject* bytes) noexcept {
    if (PyObject_TypeCheck(transport, stream_transport_type)) {
        return owned(stream_write(transport, bytes)).operator bool();
    }
    PyObject* const passed[] = {transport, bytes};
    return owned(PyObject_VectorcallMethod(known.write, passed, 2, nullptr)).operator bool();
}

// Hands the ciphertext that is waiting to the raw transport. False with an exception set.
bool send_ciphertext(tls_object* self) noexcept {
    BIO* const out = SSL_get_wbio(self->ssl);
    if (!self->ssl_writing_paused && connected(self)) {
        char* data = nullptr;
        const long size = BIO_get_mem_data(out, &data);
        if (size > 0) {
            owned bytes(PyBytes_FromStringAndSize(data, size));
            static_cast<void>(BIO_reset(out));
            owned transport = owned::share(self->transport);
            if (!bytes || !write_raw(transport.get(), bytes.get())) {
                return false;
            }
        }
    }
    const Py_ssize_t waiting =
        static_cast<Py_ssize_t>(BIO_ctrl_pending(out)) + self->write_buffer_size;
    const bool turn = self->app_writing_paused ? waiting <= self->outgoing_low_water
                                               : waiting >= self->outgoing_high_water;
    return !turn || call(reinterpret_cast<PyObject*>(self), known.control_app_writing);
}

enum class outcome { more, closed, failed };

// Decrypts into `into` until it is full or no whole record is left.
outcome decrypt(tls_object* self, char* into, std::size_t room, std::size_t& got) noexcept {
    got = 0;
    while (got < room) {
        std::size_t read = 0;
        forget_errors();
        if (SSL_read_ex(self->ssl, into + got, room - got, &read) == 1) {
            got += read;
            if (SSL_has_pending(self->ssl) == 0 &&
                BIO_ctrl_pending(SSL_get_rbio(self->ssl)) == 0) {
                return outcome::more;  // asking again would only say so
            }
            continue;
        }
        const int error = SSL_get_error(self->ssl, 0);
        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
            return outcome::more;
        }
        if (error == SSL_ERROR_ZERO_RETURN) {
            return outcome::closed;
        }
        raise_ssl_error(error);
        return outcome::failed;
    }
    return outcome::more;
}

bool deliver(tls_object* self, std::size_t size) noexcept {
    owned bytes(PyBytes_FromStringAndSize(scratch, static_cast<Py_ssize_t>(size)));
    owned protocol = owned::share(self->app_protocol);
    PyObject* const passed[] = {protocol.get(), bytes.get()};
    if (!bytes) {
        return false;
    }
    return owned(PyObject_VectorcallMethod(known.data_received, passed, 2, nullptr))
        .operator bool();
}

// Decrypts into the loop's own memory and hands a copy of the right size on.
outcome read_copied(tls_object* self, bool& full) noexcept {
    std::size_t got = 0;
    const outcome how = decrypt(self, scratch, scratch_bytes, got);
    full = got == scratch_bytes;
    if (got == 0) {
        return how;
    }
    owned failure = how == outcome::failed ? take_exception() : owned();
    if (!deliver(self, got)) {
        return outcome::failed;
    }
    if (failure) {
        raise_again(std::move(failure));
    }
    return how;
}

// Decrypts into what a BufferedProtocol lends.
outcome read_buffered(tls_object* self, bool& full) noexcept {
    owned hint(PyLong_FromLong(-1));
    owned protocol = owned::share(self->app_protocol);
    PyObject* const asked[] = {protocol.get(), hint.get()};
    owned buffer(PyObject_VectorcallMethod(known.get_buffer, asked, 2, nullptr));
    Py_buffer view;
    if (!buffer || PyObject_GetBuffer(buffer.get(), &view, PyBUF_WRITABLE) != 0) {
        return outcome::failed;
    }
    const auto room = static_cast<std::size_t>(view.len);
    std::size_t got = 0;
    outcome how = outcome::failed;
    if (room == 0) {
        PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
    } else {
        how = decrypt(self, static_cast<char*>(view.buf), room, got);
    }
    PyBuffer_Release(&view);
    full = got == room;
    if (got == 0) {
        return how;
    }
    owned failure = how == outcome::failed ? take_exception() : owned();
    owned count(PyLong_FromSize_t(got));
    if (self->app_is_buffered) {
        protocol = owned::share(self->app_protocol);  // get_buffer() may have set another one
    }
    PyObject* const told[] = {protocol.get(), count.get()};
    if (!count || !owned(PyObject_VectorcallMethod(known.buffer_updated, told, 2, nullptr))) {
        return outcome::failed;
    }
    if (failure) {
        raise_again(std::move(failure));
    }
    return how;
}

// All the plaintext there is, to the application. False with an exception set.
bool read_plaintext(tls_object* self) noexcept {
    bool full = true;
    while (full && !self->app_reading_paused && self->state == known.wrapped) {
        full = false;
        const outcome how =
            self->app_is_buffered ? read_buffered(self, full) : read_copied(self, full);
        if (how == outcome::failed) {
            return false;
        }
        if (how == outcome::closed) {
            return call(reinterpret_cast<PyObject*>(self), known.peer_closed);
        }
    }
    return true;
}

// --- methods in the place of CPython's ---

PyObject* do_read(PyObject* object, PyObject*) noexcept {
    tls_object* const self = as_tls(object);
    const bool ours = self->ssl != nullptr && self->state == known.wrapped &&
                      !self->app_reading_paused;
    if (!ours) {
        return PyObject_CallMethodOneArg(known.base, known.do_read, object);
    }
    owned keep(new_reference(object));
    bool good = read_plaintext(self);
    if (good && self->ssl != nullptr && self->state == known.wrapped) {
        good = PyObject_Size(self->write_backlog) > 0 ? call(object, known.do_write)
                                                      : send_ciphertext(self);
        if (good && connected(self)) {
            const auto waiting =
                static_cast<Py_ssize_t>(BIO_ctrl_pending(SSL_get_rbio(self->ssl)));
            if (self->ssl_reading_paused || waiting >= self->incoming_high_water) {
                good = call(object, known.control_ssl_reading);
            }
        }
    }
    if (!good && fail(self) != 0) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

// Encrypts one piece of data; true when it was all taken.
bool encrypt(tls_object* self, const char* data, std::size_t size) noexcept {
    std::size_t taken = 0;
    forget_errors();
    return SSL_write_ex(self->ssl, data, size, &taken) == 1;
}

// write(data) of the application: true when done, false when CPython's way has to be taken for
// all of it; -1 with an exception set.
int write_plaintext(tls_object* self, PyObject* data) noexcept {
    if (!can_write(self)) {
        return 0;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) != 0) {
        PyErr_Clear();
        return 0;
    }
    // One that is larger than a flight goes CPython's way, which deals with what does not fit.
    const auto size = static_cast<std::size_t>(view.len);
    const bool done = size <= write_bytes_max &&
                      encrypt(self, static_cast<const char*>(view.buf), size);
    PyBuffer_Release(&view);
    if (!done) {
        return 0;
    }
    return send_ciphertext(self) || fail(self) == 0 ? 1 : -1;
}

// The application's transport.write.
PyObject* app_write(PyObject* object, PyObject* data) noexcept {
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)) {
        return PyErr_Format(PyExc_TypeError, "data: expecting a bytes-like instance, got %s",
                            Py_TYPE(data)->tp_name);
    }
    if (PyObject_Size(data) == 0) {
        Py_RETURN_NONE;
    }
    const int done = write_plaintext(as_tls(object), data);
    if (done != 0) {
        return done > 0 ? new_reference(Py_None) : nullptr;
    }
    owned one(PyTuple_Pack(1, data));
    return one ? PyObject_CallMethodOneArg(object, known.write_appdata, one.get()) : nullptr;
}

// Finds the SSL* in Python's SSLObject; None stays CPython's way.
PyObject* adopt(PyObject* object, PyObject* inner) noexcept {
    tls_object* const self = as_tls(object);
    self->ssl = nullptr;
    owned context(PyObject_GetAttrString(inner, "context"));
    if (!context) {
        return nullptr;
    }
    auto* const layout = reinterpret_cast<ssl_socket_layout*>(inner);
    if (Py_TYPE(inner)->tp_basicsize >= static_cast<Py_ssize_t>(sizeof(ssl_socket_layout)) &&
        layout->context == context.get() && insert_source(layout->ssl)) {
        self->ssl = layout->ssl;
        // Python has it free its buffers after every record, and allocate them for the next.
        SSL_clear_mode(self->ssl, SSL_MODE_RELEASE_BUFFERS);
    }
    return PyBool_FromLong(self->ssl != nullptr);
}

// Whether the module at `path` (Python's _ssl) calls the same libssl as this one.
PyObject* same_library(PyObject*, PyObject* path) noexcept {
    const char* const name = PyUnicode_AsUTF8(path);
    if (name == nullptr) {
        return nullptr;
    }
    void* const module = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    void* const theirs = module != nullptr ? dlsym(module, "SSL_read_ex") : nullptr;
    void* const ours = reinterpret_cast<void*>(&SSL_read_ex);
    Dl_info their_file = {};
    Dl_info our_file = {};
    const bool same = theirs != nullptr && dladdr(theirs, &their_file) != 0 &&
                      dladdr(ours, &our_file) != 0 && their_file.dli_fbase == our_file.dli_fbase;
    if (module != nullptr) {
        dlclose(module);
    }
    return PyBool_FromLong(same);
}

int traverse_protocol(PyObject* object, visitproc visit, void* arg) noexcept {
    tls_object* const self = as_tls(object);
    Py_VISIT(self->ssl_object);
    Py_VISIT(self->state);
    Py_VISIT(self->app_protocol);
    Py_VISIT(self->transport);
    Py_VISIT(self->write_backlog);
    return 0;
}

int clear_protocol(PyObject* object) noexcept {
    tls_object* const self = as_tls(object);
    self->ssl = nullptr;
    Py_CLEAR(self->ssl_object);
    Py_CLEAR(self->state);
    Py_CLEAR(self->app_protocol);
    Py_CLEAR(self->transport);
    Py_CLEAR(self->write_backlog);
    return 0;
}

void deallocate_protocol(PyObject* object) noexcept {
    PyObject_GC_UnTrack(object);
    clear_protocol(object);
    Py_TYPE(object)->tp_free(object);
}

PyMethodDef protocol_methods[] = {{"_do_read", do_read, METH_NOARGS, nullptr},
                                  {"_adopt", adopt, METH_O, nullptr},
                                  {"_app_write", as_method(by_place_or_name<"data", app_write>),
                                   METH_FASTCALL | METH_KEYWORDS, nullptr},
                                  {nullptr, nullptr, 0, nullptr}};
PyMemberDef protocol_members[] = {
    {"_sslobj", T_OBJECT, offsetof(tls_object, ssl_object), 0, nullptr},
    {"_state", T_OBJECT, offsetof(tls_object, state), 0, nullptr},
    {"_app_protocol", T_OBJECT, offsetof(tls_object, app_protocol), 0, nullptr},
    {"_transport", T_OBJECT, offsetof(tls_object, transport), 0, nullptr},
    {"_write_backlog", T_OBJECT, offsetof(tls_object, write_backlog), 0, nullptr},
    {"_write_buffer_size", T_PYSSIZET, offsetof(tls_object, write_buffer_size), 0, nullptr},
    {"_outgoing_high_water", T_PYSSIZET, offsetof(tls_object, outgoing_high_water), 0, nullptr},
    {"_outgoing_low_water", T_PYSSIZET, offsetof(tls_object, outgoing_low_water), 0, nullptr},
    {"_incoming_high_water", T_PYSSIZET, offsetof(tls_object, incoming_high_water), 0, nullptr},
    {"_app_reading_paused", T_BOOL, offsetof(tls_object, app_reading_paused), 0, nullptr},
    {"_app_writing_paused", T_BOOL, offsetof(tls_object, app_writing_paused), 0, nullptr},
    {"_ssl_reading_paused", T_BOOL, offsetof(tls_object, ssl_reading_paused), 0, nullptr},
    {"_ssl_writing_paused", T_BOOL, offsetof(tls_object, ssl_writing_paused), 0, nullptr},
    {"_app_protocol_is_buffer", T_BOOL, offsetof(tls_object, app_is_buffered), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyMethodDef functions[] = {{"_same_libssl", same_library, METH_O, nullptr},
                           {nullptr, nullptr, 0, nullptr}};

bool find_names() noexcept {
    const wanted_name strings[] = {
        {&known.ciphertext, "_ciphertext"},
        {&known.data_received, "data_received"},
        {&known.get_buffer, "get_buffer"},
        {&known.buffer_updated, "buffer_updated"},
        {&known.do_read, "_do_read"},
        {&known.do_write, "_do_write"},
        {&known.write_appdata, "_write_appdata"},
        {&known.peer_closed, "_peer_closed"},
        {&known.fatal_error, "_fatal_error"},
        {&known.control_app_writing, "_control_app_writing"},
        {&known.control_ssl_reading, "_control_ssl_reading"},
        {&known.write, "write"},
    };
    const wanted_object objects[] = {
        {&known.base, "asyncio.sslproto", "SSLProtocol"},
        {&known.ssl_error, "ssl", "SSLError"},
    };
    if (!look_up(strings, objects)) {
        return false;
    }
    owned states(from_module("asyncio.sslproto", "SSLProtocolState"));
    known.wrapped = states ? PyObject_GetAttrString(states.get(), "WRAPPED") : nullptr;
    return known.wrapped != nullptr;
}

}  // namespace

bool takes_ciphertext(PyObject* protocol) noexcept {
    return PyObject_TypeCheck(protocol, &protocol_type);
}

int take_ciphertext(PyObject* protocol, const char* data, Py_ssize_t size) noexcept {
    tls_object* const self = as_tls(protocol);
    if (self->ssl != nullptr && self->state == known.wrapped) {
        ciphertext_source* const source = source_of(SSL_get_rbio(self->ssl));
        source->data = data;
        source->bytes = static_cast<std::size_t>(size);
        owned keep(new_reference(protocol));
        owned done(do_read(protocol, nullptr));
        // What a paused application has left.
        const std::size_t left = std::exchange(source->bytes, 0);
        if (left > 0 && BIO_write(source->rest, source->data, static_cast<int>(left)) <= 0) {
            PyErr_NoMemory();
            return -1;
        }
        return done ? 0 : -1;
    }
    owned bytes(PyBytes_FromStringAndSize(data, size));
    return bytes && owned(PyObject_CallMethodOneArg(protocol, known.ciphertext, bytes.get())) ? 0
                                                                                             : -1;
}

bool set_up_tls(PyObject* module) noexcept {
    if (PY_VERSION_HEX < 0x030b0000) {
        return true;  // asyncio's SSLProtocol was another one then
    }
    constexpr unsigned long flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
    protocol_type.tp_name = "ringlet._native.TlsProtocol";
    protocol_type.tp_basicsize = sizeof(tls_object);
    protocol_type.tp_flags = flags;
    protocol_type.tp_new = PyType_GenericNew;
    protocol_type.tp_dealloc = deallocate_protocol;
    protocol_type.tp_traverse = traverse_protocol;
    protocol_type.tp_clear = clear_protocol;
    protocol_type.tp_methods = protocol_methods;
    protocol_type.tp_members = protocol_members;
    return find_names() && PyModule_AddType(module, &protocol_type) == 0 &&
           PyModule_AddFunctions(module, functions) == 0;
}

}  // namespace ringlet::python
