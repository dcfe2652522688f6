// Addresses of datagrams, between the kernel's form and Python's: (host, port), (host, port, flow,
// scope) or a path. Those seen lately are remembered in both directions, since most programs answer
// whom they hear from: then the address is the very object they were given.
#pragma once

#include <sys/socket.h>

#include "python/native/python.h"

namespace ringlet::python {

class datagram_addresses {
public:
    struct entry {
        sockaddr_storage bytes;
        socklen_t length = 0;
        PyObject* object = nullptr;
    };

    datagram_addresses() noexcept = default;
    datagram_addresses(const datagram_addresses&) = delete;
    datagram_addresses& operator=(const datagram_addresses&) = delete;
    ~datagram_addresses() { clear(); }
    void clear() noexcept;
    int traverse(visitproc visit, void* arg) const noexcept;

    // As the socket module has it; null with an exception set.
    owned object_of(const sockaddr_storage& bytes, socklen_t length) noexcept;
    // For a socket of `family`; null, without an exception, for what takes the socket module to
    // understand: names, other families, whatever is wrong. Good until the next call.
    const entry* find(PyObject* object, int family) noexcept;

private:
    static constexpr std::size_t remembered = 64;  // of each direction; a power of two

    void remember(entry& slot, PyObject* object) noexcept;

    entry by_bytes_[remembered];
    entry by_object_[remembered];
};

}  // namespace ringlet::python
