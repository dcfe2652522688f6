#include "core/fake_kernel.h"

#include <doctest/doctest.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

using ringlet::detail::fake_kernel;

namespace {

constexpr std::size_t buffer_bytes = 1000;

struct address {
    explicit address(std::uint16_t port, std::uint32_t ip = INADDR_LOOPBACK) {
        in.sin_family = AF_INET;
        in.sin_port = htons(port);
        in.sin_addr.s_addr = htonl(ip);
    }
    sockaddr* name() { return reinterpret_cast<sockaddr*>(&in); }

    sockaddr_in in{};
    socklen_t length = sizeof in;
};

int listen_at(fake_kernel& kernel, address& at, int backlog = 10) {
    const int fd = kernel.open(AF_INET, SOCK_STREAM);
    REQUIRE(kernel.bind(fd, at.name(), at.length) == 0);
    REQUIRE(kernel.listen(fd, backlog) == 0);
    REQUIRE(kernel.local_name(fd, at.name(), &at.length) == 0);
    return fd;
}

std::pair<int, int> connected(fake_kernel& kernel) {
    address at(0);
    const int door = listen_at(kernel, at);
    const int first = kernel.open(AF_INET, SOCK_STREAM);
    REQUIRE(kernel.connect(first, at.name(), at.length) == 0);
    const int second = kernel.accept(door);
    REQUIRE(second >= 0);
    kernel.close(door);
    return {first, second};
}

int send(fake_kernel& kernel, int fd, std::string_view text) {
    return kernel.send(fd, reinterpret_cast<const std::byte*>(text.data()), text.size());
}

std::string receive(fake_kernel& kernel, int fd, std::size_t most = 100) {
    std::string text(most, '\0');
    const int got = kernel.receive(fd, reinterpret_cast<std::byte*>(text.data()), most);
    REQUIRE(got >= 0);
    return text.substr(0, static_cast<std::size_t>(got));
}

int receive_status(fake_kernel& kernel, int fd) {
    std::byte one{};
    return kernel.receive(fd, &one, 1);
}

}  // namespace

TEST_CASE("datagrams come one by one with their sender, cut to the room for them") {
    fake_kernel kernel(buffer_bytes);
    address there(7000);
    address from(7001);
    const int server = kernel.open(AF_INET, SOCK_DGRAM);
    const int client = kernel.open(AF_INET, SOCK_DGRAM);
    REQUIRE(kernel.bind(server, there.name(), there.length) == 0);
    REQUIRE(kernel.bind(client, from.name(), from.length) == 0);
    CHECK(kernel.listen(server, 1) == -EOPNOTSUPP);
    CHECK(receive_status(kernel, server) == -EOPNOTSUPP);
    CHECK(kernel.send_datagram(client, "x", nullptr, 0) == -EDESTADDRREQ);
    CHECK(kernel.send_datagram(client, "hello", there.name(), there.length) == 5);
    CHECK(kernel.send_datagram(client, "", there.name(), there.length) == 0);
    CHECK((kernel.readiness(server) & POLLIN) != 0);
    char room[3] = {};
    iovec part{room, sizeof room};
    address sender(0);
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_name = sender.name();
    message.msg_namelen = sender.length;
    CHECK(kernel.receive_datagram(server, message) == 3);
    CHECK(std::string_view(room, 3) == "hel");
    CHECK((message.msg_flags & MSG_TRUNC) != 0);
    CHECK(sender.in.sin_port == from.in.sin_port);
    CHECK(kernel.receive_datagram(server, message) == 0);
    CHECK(message.msg_flags == 0);
    CHECK(kernel.receive_datagram(server, message) == -EAGAIN);
    CHECK((kernel.readiness(server) & POLLIN) == 0);
}

TEST_CASE("datagrams for nobody are refused later, and those for a full socket dropped") {
    fake_kernel kernel(buffer_bytes);
    address there(7000);
    const int client = kernel.open(AF_INET, SOCK_DGRAM);
    REQUIRE(kernel.connect(client, there.name(), there.length) == 0);
    CHECK(kernel.send_datagram(client, "x", nullptr, 0) == 1);
    CHECK(kernel.send_datagram(client, "x", nullptr, 0) == -ECONNREFUSED);
    const int server = kernel.open(AF_INET, SOCK_DGRAM);
    REQUIRE(kernel.bind(server, there.name(), there.length) == 0);
    for (int i = 0; i < 3; ++i) {
        CHECK(kernel.send_datagram(client, std::string(400, 'x'), nullptr, 0) == 400);
    }
    CHECK(kernel.send_datagram(client, std::string(70'000, 'x'), nullptr, 0) == -EMSGSIZE);
    msghdr message = {};
    CHECK(kernel.receive_datagram(server, message) == 0);
    CHECK(kernel.receive_datagram(server, message) == 0);
    CHECK(kernel.receive_datagram(server, message) == -EAGAIN);
    kernel.close(server);
    CHECK(kernel.bind(kernel.open(AF_INET, SOCK_DGRAM), there.name(), there.length) == 0);
}

TEST_CASE("options are kept and given back") {
    fake_kernel kernel(buffer_bytes);
    const int fd = kernel.open(AF_INET, SOCK_STREAM);
    int value = 7;
    socklen_t length = sizeof value;
    CHECK(kernel.get_option(fd, SOL_SOCKET, SO_RCVBUF, &value, &length) == 0);
    CHECK(value == 0);
    value = 5;
    CHECK(kernel.set_option(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof value) == 0);
    value = 0;
    CHECK(kernel.get_option(fd, SOL_SOCKET, SO_RCVBUF, &value, &length) == 0);
    CHECK(value == 5);
    CHECK(kernel.get_option(fd, SOL_SOCKET, SO_DOMAIN, &value, &length) == 0);
    CHECK(value == AF_INET);
    CHECK(kernel.set_option(-1, SOL_SOCKET, SO_RCVBUF, &value, sizeof value) == -EBADF);
}

TEST_CASE("bytes go through in order, and names tell both ends") {
    fake_kernel kernel(buffer_bytes);
    const auto [first, second] = connected(kernel);
    CHECK(receive_status(kernel, second) == -EAGAIN);
    CHECK(send(kernel, first, "hello ") == 6);
    CHECK(send(kernel, first, "world") == 5);
    CHECK(kernel.readable(second) == 11);
    CHECK(receive(kernel, second, 4) == "hell");
    CHECK(receive(kernel, second) == "o world");
    CHECK(send(kernel, second, "back") == 4);
    CHECK(receive(kernel, first) == "back");

    address local(1);
    address remote(2);
    CHECK(kernel.local_name(first, local.name(), &local.length) == 0);
    CHECK(kernel.peer_name(second, remote.name(), &remote.length) == 0);
    CHECK(local.in.sin_port == remote.in.sin_port);
    CHECK(local.in.sin_port != 0);
    CHECK(local.in.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
}

TEST_CASE("connecting where nobody listens is refused") {
    fake_kernel kernel(buffer_bytes);
    address nowhere(81);
    const int fd = kernel.open(AF_INET, SOCK_STREAM);
    CHECK(kernel.connect(fd, nowhere.name(), nowhere.length) == -ECONNREFUSED);
    REQUIRE(kernel.bind(fd, nowhere.name(), nowhere.length) == 0);
    const int other = kernel.open(AF_INET, SOCK_STREAM);
    CHECK(kernel.connect(other, nowhere.name(), nowhere.length) == -ECONNREFUSED);
}

TEST_CASE("a full backlog makes the next connection wait") {
    fake_kernel kernel(buffer_bytes);
    address at(0);
    const int door = listen_at(kernel, at, 1);
    const int first = kernel.open(AF_INET, SOCK_STREAM);
    const int second = kernel.open(AF_INET, SOCK_STREAM);
    CHECK(kernel.connect(first, at.name(), at.length) == 0);
    CHECK(kernel.connect(second, at.name(), at.length) == -EAGAIN);
    CHECK(kernel.accept(door) >= 0);
    CHECK(kernel.connect(second, at.name(), at.length) == 0);
    CHECK(kernel.connect(second, at.name(), at.length) == -EISCONN);
    kernel.close(door);
    CHECK(receive_status(kernel, second) == -ECONNRESET);
}

TEST_CASE("a listener on every address is found by each, and a taken name is refused") {
    fake_kernel kernel(buffer_bytes);
    address any(0, INADDR_ANY);
    const int door = listen_at(kernel, any);
    address specific(ntohs(any.in.sin_port), 0x0a000001);
    const int fd = kernel.open(AF_INET, SOCK_STREAM);
    CHECK(kernel.connect(fd, specific.name(), specific.length) == 0);
    const int rival = kernel.open(AF_INET, SOCK_STREAM);
    CHECK(kernel.bind(rival, any.name(), any.length) == -EADDRINUSE);
    kernel.close(door);
    CHECK(kernel.bind(rival, any.name(), any.length) == 0);
}

TEST_CASE("sockets of the other families have names too") {
    fake_kernel kernel(buffer_bytes);
    sockaddr_un path{};
    path.sun_family = AF_UNIX;
    std::strcpy(path.sun_path, "/fake/socket");
    auto* const name = reinterpret_cast<sockaddr*>(&path);
    const int door = kernel.open(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK);
    CHECK(kernel.listen(door, 1) == -EINVAL);
    CHECK(kernel.bind(door, name, sizeof path) == 0);
    CHECK(kernel.listen(door, 1) == 0);
    const int fd = kernel.open(AF_UNIX, SOCK_STREAM);
    CHECK(kernel.connect(fd, name, sizeof path) == 0);
    sockaddr_un peer{};
    socklen_t length = sizeof peer;
    CHECK(kernel.peer_name(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0);
    CHECK(std::string(peer.sun_path) == "/fake/socket");
    length = sizeof peer;
    CHECK(kernel.local_name(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0);
    CHECK(length == sizeof(sa_family_t));

    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    const int door6 = kernel.open(AF_INET6, SOCK_STREAM);
    CHECK(kernel.bind(door6, reinterpret_cast<sockaddr*>(&six), sizeof six) == 0);
    length = sizeof six;
    CHECK(kernel.local_name(door6, reinterpret_cast<sockaddr*>(&six), &length) == 0);
    CHECK(six.sin6_port != 0);
    CHECK(kernel.open(AF_INET, SOCK_SEQPACKET) == -EPROTONOSUPPORT);
    CHECK(kernel.open(12345, SOCK_STREAM) == -EAFNOSUPPORT);
}

TEST_CASE("a reader that does not read makes the sender wait") {
    fake_kernel kernel(buffer_bytes);
    const auto [first, second] = connected(kernel);
    const std::string text(buffer_bytes + 500, 'x');
    CHECK(send(kernel, first, text) == static_cast<int>(buffer_bytes));
    CHECK(send(kernel, first, text) == -EAGAIN);
    CHECK((kernel.readiness(first) & POLLOUT) == 0);
    CHECK(receive(kernel, second, 10).size() == 10);
    CHECK((kernel.readiness(first) & POLLOUT) != 0);
    CHECK(send(kernel, first, text) == 10);
}

TEST_CASE("an orderly close comes after the bytes, and sends into it end in EPIPE") {
    fake_kernel kernel(buffer_bytes);
    const auto [first, second] = connected(kernel);
    CHECK(send(kernel, first, "last words") == 10);
    kernel.close(first);
    CHECK(receive(kernel, second) == "last words");
    CHECK(receive(kernel, second).empty());
    CHECK(receive(kernel, second).empty());
    CHECK(send(kernel, second, "into the void") == 13);
    CHECK(send(kernel, second, "again") == -EPIPE);
}

TEST_CASE("closing with unread bytes resets the other side") {
    fake_kernel kernel(buffer_bytes);
    const auto [first, second] = connected(kernel);
    CHECK(send(kernel, second, "never read") == 10);
    CHECK(send(kernel, first, "but this") == 8);
    kernel.close(first);
    CHECK((kernel.readiness(second) & POLLERR) != 0);
    CHECK(receive(kernel, second) == "but this");
    CHECK(receive_status(kernel, second) == -ECONNRESET);
    CHECK(receive_status(kernel, second) == 0);
    CHECK(send(kernel, second, "x") == -EPIPE);
}

TEST_CASE("reset_on_close resets the other side although nothing was unread") {
    fake_kernel kernel(buffer_bytes);
    const auto [first, second] = connected(kernel);
    kernel.reset_on_close(first);
    kernel.close(first);
    CHECK(receive_status(kernel, second) == -ECONNRESET);
}

TEST_CASE("shutdown ends one direction and leaves the other") {
    fake_kernel kernel(buffer_bytes);
    const auto [first, second] = connected(kernel);
    CHECK(kernel.shutdown(first, SHUT_WR) == 0);
    CHECK(send(kernel, first, "x") == -EPIPE);
    CHECK(receive(kernel, second).empty());
    CHECK(send(kernel, second, "still") == 5);
    CHECK(receive(kernel, first) == "still");
    CHECK(kernel.shutdown(kernel.open(AF_INET, SOCK_STREAM), SHUT_WR) == -ENOTCONN);
}

TEST_CASE("the lowest free descriptor is taken, and a closed one is bad") {
    fake_kernel kernel(buffer_bytes);
    const int first = kernel.open(AF_INET, SOCK_STREAM);
    const int second = kernel.open(AF_INET, SOCK_STREAM);
    CHECK(first == fake_kernel::first_descriptor);
    kernel.close(first);
    CHECK(receive_status(kernel, first) == -EBADF);
    CHECK(send(kernel, first, "x") == -EBADF);
    CHECK(kernel.accept(first) == -EBADF);
    CHECK(kernel.open(AF_INET, SOCK_STREAM) == first);
    CHECK(kernel.accept(second) == -EINVAL);
    CHECK_FALSE(fake_kernel::owns(3));
    kernel.close(3);
}
