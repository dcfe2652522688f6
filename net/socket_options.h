// The options of a socket by name: `stream.options().set_no_delay(true)`. A small value that is
// good as long as the socket is open; loop thread only. Setters throw `error` naming the option
// when the system refuses, also where the option is none of that kind of socket's (no_delay of a
// datagram socket). Options that count before binding or listening are in listen_options and
// udp_options as well. Sources: socket(7), ip(7), ipv6(7), tcp(7).
//
// There is no linger time: with one, closing blocks the loop. Who wants to know that everything
// arrived ends its own direction and waits for the end of the other (docs/closing.md).
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <string_view>

#include "core/driver.h"
#include "net/address.h"

namespace ringlet {

// When a silent connection is tested, how often, and how often in vain before it is given up.
struct keep_alive_times {
    std::chrono::seconds idle{7200};
    std::chrono::seconds interval{75};
    int probes = 9;
};

class socket_options {
public:
    socket_options(driver& sockets, int fd) noexcept : sockets_(&sockets), fd_(fd) {}

    // TCP. Small sends go out at once; every stream of ours starts with it.
    void set_no_delay(bool on);
    bool no_delay() const;
    void set_keep_alive(const keep_alive_times& times);
    void stop_keep_alive();
    bool keep_alive() const;
    // How long sent bytes may stay unanswered before the connection is given up; 0: as the system
    // has it.
    void set_user_timeout(std::chrono::milliseconds longest);

    // Closing throws away what was not sent and tells the peer by a reset.
    void set_reset_on_close(bool on);

    // The kernel's buffers. It doubles what is set, and caps it silently at net.core.*mem_max; the
    // getters tell what came of it.
    void set_send_buffer(std::size_t bytes);
    void set_receive_buffer(std::size_t bytes);
    std::size_t send_buffer() const;
    std::size_t receive_buffer() const;

    void set_reuse_address(bool on);
    // Several sockets on one port, which share what comes in. Before binding.
    void set_reuse_port(bool on);
    // Only through this interface. Needs a privilege on kernels before 5.7; empty: any again.
    void set_device(std::string_view interface_name);
    // The byte of the IP header, DSCP and ECN: 0 to 255.
    void set_type_of_service(int value);
    int type_of_service() const;
    // Hops before a packet is dropped: 1 to 255.
    void set_ttl(int hops);
    int ttl() const;

    // Datagrams: sending to broadcast addresses; multicast. `interface_index` (if_nametoindex) 0:
    // the system chooses.
    void set_broadcast(bool on);
    void join(const address& group, unsigned interface_index = 0);
    void leave(const address& group, unsigned interface_index = 0);
    void set_multicast_interface(unsigned interface_index);
    void set_multicast_ttl(int hops);  // 0: this machine, 1 (at first): this network
    void set_multicast_loop(bool on);  // whether this machine hears what it sends; at first it does

private:
    bool is_v6() const;
    int get(int level, int option, const char* name) const;
    void set(int level, int option, int value, const char* name);
    void set(int level, int option, const void* value, std::size_t bytes, const char* name);
    void change_membership(const address& group, unsigned interface_index, bool in);

    driver* sockets_;
    int fd_;
};

}  // namespace ringlet
