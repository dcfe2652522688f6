#include "python/native/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

namespace ringlet::python {
namespace {

PyObject* unix_address(const sockaddr* address, socklen_t length) noexcept {
    const char* const path = reinterpret_cast<const sockaddr_un*>(address)->sun_path;
    const std::size_t before = offsetof(sockaddr_un, sun_path);
    const std::size_t bytes = length > before ? length - before : 0;
    if (bytes > 0 && path[0] == '\0') {  // an abstract name
        return PyBytes_FromStringAndSize(path, static_cast<Py_ssize_t>(bytes));
    }
    return PyUnicode_DecodeFSDefaultAndSize(path,
                                            static_cast<Py_ssize_t>(::strnlen(path, bytes)));
}

}  // namespace

PyObject* address_object(const sockaddr* address, socklen_t length) noexcept {
    if (length == 0 || address->sa_family == AF_UNIX) {
        return unix_address(address, length);
    }
    if (address->sa_family != AF_INET && address->sa_family != AF_INET6) {
        Py_RETURN_NONE;
    }
    char host[INET6_ADDRSTRLEN];
    if (address->sa_family == AF_INET) {
        const auto* const four = reinterpret_cast<const sockaddr_in*>(address);
        ::inet_ntop(AF_INET, &four->sin_addr, host, sizeof host);
        return Py_BuildValue("(si)", host, int{ntohs(four->sin_port)});
    }
    const auto* const six = reinterpret_cast<const sockaddr_in6*>(address);
    ::inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host);
    return Py_BuildValue("(siII)", host, int{ntohs(six->sin6_port)},
                         static_cast<unsigned>(ntohl(six->sin6_flowinfo)),
                         static_cast<unsigned>(six->sin6_scope_id));
}

}  // namespace ringlet::python
