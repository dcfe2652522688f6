#include "python/native/datagram_addresses.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "python/native/socket_address.h"

namespace ringlet::python {
namespace {

std::size_t hash_of(const void* data, std::size_t bytes) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325U;
    const auto* const at = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < bytes; ++i) {
        hash = (hash ^ at[i]) * 0x100000001b3U;
    }
    return static_cast<std::size_t>(hash ^ (hash >> 32));
}

// A number of at most `most` from an int and nothing else; -1, without an exception, for others.
std::int64_t number_of(PyObject* object, std::int64_t most) noexcept {
    if (!PyLong_CheckExact(object)) {
        return -1;
    }
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    return overflow == 0 && value >= 0 && value <= most ? value : -1;
}

// (host, port) and its like with a numeric host.
bool parse_ip(PyObject* object, int family, datagram_addresses::entry& to) noexcept {
    const Py_ssize_t size = PyTuple_CheckExact(object) ? PyTuple_GET_SIZE(object) : 0;
    if (size < 2 || size > (family == AF_INET ? 2 : 4) ||
        !PyUnicode_CheckExact(PyTuple_GET_ITEM(object, 0))) {
        return false;
    }
    const char* const host = PyUnicode_AsUTF8(PyTuple_GET_ITEM(object, 0));
    if (host == nullptr) {
        PyErr_Clear();
        return false;
    }
    std::int64_t numbers[3] = {};
    constexpr std::int64_t most[3] = {65535, 0xfffff, 0xffffffff};
    for (Py_ssize_t i = 1; i < size; ++i) {
        numbers[i - 1] = number_of(PyTuple_GET_ITEM(object, i), most[i - 1]);
        if (numbers[i - 1] < 0) {
            return false;
        }
    }
    to.bytes = {};
    if (family == AF_INET) {
        auto& four = reinterpret_cast<sockaddr_in&>(to.bytes);
        four.sin_family = AF_INET;
        four.sin_port = htons(static_cast<std::uint16_t>(numbers[0]));
        to.length = sizeof four;
        return ::inet_pton(AF_INET, host, &four.sin_addr) == 1;
    }
    auto& six = reinterpret_cast<sockaddr_in6&>(to.bytes);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(static_cast<std::uint16_t>(numbers[0]));
    six.sin6_flowinfo = htonl(static_cast<std::uint32_t>(numbers[1]));
    six.sin6_scope_id = static_cast<std::uint32_t>(numbers[2]);
    to.length = sizeof six;
    return ::inet_pton(AF_INET6, host, &six.sin6_addr) == 1;
}

bool parse_unix(PyObject* object, datagram_addresses::entry& to) noexcept {
    owned encoded(PyUnicode_CheckExact(object) ? PyUnicode_EncodeFSDefault(object) : nullptr);
    if (!encoded) {
        PyErr_Clear();
        return false;
    }
    auto& path = reinterpret_cast<sockaddr_un&>(to.bytes);
    const auto size = static_cast<std::size_t>(PyBytes_GET_SIZE(encoded.get()));
    if (size == 0 || size >= sizeof path.sun_path) {
        return false;
    }
    to.bytes = {};
    path.sun_family = AF_UNIX;
    std::copy_n(PyBytes_AS_STRING(encoded.get()), size, path.sun_path);
    to.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size + 1);
    return ::strnlen(path.sun_path, size) == size;
}

}  // namespace

void datagram_addresses::clear() noexcept {
    for (entry* const all : {by_bytes_, by_object_}) {
        for (std::size_t i = 0; i < remembered; ++i) {
            Py_CLEAR(all[i].object);
        }
    }
}

int datagram_addresses::traverse(visitproc visit, void* arg) const noexcept {
    for (const entry* const all : {by_bytes_, by_object_}) {
        for (std::size_t i = 0; i < remembered; ++i) {
            Py_VISIT(all[i].object);
        }
    }
    return 0;
}

void datagram_addresses::remember(entry& slot, PyObject* object) noexcept {
    PyObject* const old = std::exchange(slot.object, new_reference(object));
    Py_XDECREF(old);
}

owned datagram_addresses::object_of(const sockaddr_storage& bytes, socklen_t length) noexcept {
    if (length < sizeof(sa_family_t)) {
        return owned::share(Py_None);
    }
    entry& slot = by_bytes_[hash_of(&bytes, length) & (remembered - 1)];
    if (slot.object != nullptr && slot.length == length &&
        std::memcmp(&slot.bytes, &bytes, length) == 0) {
        return owned::share(slot.object);
    }
    owned object(address_object(reinterpret_cast<const sockaddr*>(&bytes), length));
    if (object) {
        slot.bytes = bytes;
        slot.length = length;
        remember(slot, object.get());
    }
    return object;
}

const datagram_addresses::entry* datagram_addresses::find(PyObject* object, int family) noexcept {
    const auto number = reinterpret_cast<std::uintptr_t>(object);
    entry& slot = by_object_[((number >> 4) ^ (number >> 12)) & (remembered - 1)];
    if (slot.object == object) {
        return &slot;
    }
    entry made;
    const bool understood = family == AF_INET || family == AF_INET6
                                ? parse_ip(object, family, made)
                                : family == AF_UNIX && parse_unix(object, made);
    if (!understood) {
        return nullptr;
    }
    slot.bytes = made.bytes;
    slot.length = made.length;
    remember(slot, object);
    return &slot;
}

}  // namespace ringlet::python
