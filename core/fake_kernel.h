// Stream and datagram sockets in memory: the part of a kernel that the fake driver stands on.
// Nothing blocks and nothing is random here; delays, short transfers and the like are the driver's.
// Datagrams arrive in order; those for nobody, or for a full socket, are treated as Linux does.
//
// Descriptors start at `first_descriptor`, so that they cannot be mistaken for real ones, and the
// lowest free one is taken, as in a real kernel. Addresses (AF_INET, AF_INET6, AF_UNIX) name
// listeners; an unspecified IP address stands for every address. Every function returns 0 or more,
// or -errno, and -EAGAIN where a real call would have to wait. Loop thread only.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ringlet::detail {

class fake_kernel {
public:
    static constexpr int first_descriptor = 1 << 20;
    static constexpr std::size_t sockets_max = 1 << 16;
    static constexpr std::size_t backlog_max = 4096;
    static constexpr std::size_t datagram_bytes_max = 65'507;

    // `buffer_bytes`: how much a socket keeps for its reader before a sender has to wait.
    explicit fake_kernel(std::size_t buffer_bytes) noexcept : buffer_bytes_(buffer_bytes) {}

    static bool owns(int fd) noexcept { return fd >= first_descriptor; }
    bool is_open(int fd) const noexcept { return find(fd) != nullptr; }

    int open(int family, int type);
    int bind(int fd, const sockaddr* address, socklen_t length);
    int listen(int fd, int backlog);
    int connect(int fd, const sockaddr* address, socklen_t length);
    int accept(int fd);
    int shutdown(int fd, int how) noexcept;
    void reset_on_close(int fd) noexcept;
    void close(int fd);

    // Bytes moved, at least one; receive: 0 = end of stream.
    int send(int fd, const std::byte* data, std::size_t bytes);
    int receive(int fd, std::byte* data, std::size_t bytes);
    // Bytes that `receive` would find.
    std::size_t readable(int fd) const noexcept;
    // What poll(2) would say of it: POLLIN, POLLOUT, POLLRDHUP, POLLHUP, POLLERR.
    std::uint32_t readiness(int fd) const noexcept;

    bool is_datagram(int fd) const noexcept;
    // One datagram, to `to` or, when that is null, to whom the socket is connected.
    int send_datagram(int fd, std::string data, const sockaddr* to, socklen_t length);
    // Fills in the sender, and MSG_TRUNC.
    int receive_datagram(int fd, msghdr& message);

    // Options are kept and given back, and have no effect.
    int set_option(int fd, int level, int option, const void* value, socklen_t length);
    int get_option(int fd, int level, int option, void* value, socklen_t* length) const;

    int local_name(int fd, sockaddr* address, socklen_t* length) const noexcept;
    int peer_name(int fd, sockaddr* address, socklen_t* length) const noexcept;

private:
    enum class role : std::uint8_t { fresh, listening, connected };

    struct datagram {
        std::string from;
        std::string data;
    };
    struct endpoint {
        role is = role::fresh;
        int family = 0;
        bool datagrams = false;  // then only a name is what it is connected to
        std::map<std::pair<int, int>, std::string> options;
        std::string local;
        std::string remote;
        // Connected.
        endpoint* peer = nullptr;      // null once it was closed
        std::string arrived;           // sent by the peer, not yet received
        std::size_t received = 0;      // how much of `arrived` was received
        int pending_error = 0;         // told once, after what has arrived
        bool end_of_stream = false;    // the peer sends no more
        bool write_shut = false;       // this side sends no more
        bool resets = false;           // closing it loses what the peer has not received
        bool told_peer_gone = false;   // one send to a closed peer went into the void already
        // Listening.
        std::deque<std::unique_ptr<endpoint>> backlog;
        std::size_t backlog_size = 0;

        // Datagrams.
        std::deque<datagram> queue;
        std::size_t queued_bytes = 0;

        std::size_t waiting() const noexcept { return arrived.size() - received; }
    };
    using names = std::map<std::string, endpoint*>;

    endpoint* find(int fd) const noexcept;
    int install(std::unique_ptr<endpoint> socket);
    int bind_name(endpoint& socket, std::string name);
    void bind_any(endpoint& socket, const std::string& like);
    endpoint* bound_at(const names& among, const std::string& name) const;
    endpoint* listener_at(const std::string& name) const;
    int connect_datagrams(endpoint& socket, std::string name);
    static void reset(endpoint& socket) noexcept;
    static void leave_peer(endpoint& socket) noexcept;

    const std::size_t buffer_bytes_;
    std::vector<std::unique_ptr<endpoint>> sockets_;  // by descriptor - first_descriptor
    names bound_;
    names bound_datagrams_;
    std::uint16_t next_port_ = 40'000;
};

}  // namespace ringlet::detail
