// Descriptors in the messages of unix sockets (SCM_RIGHTS, unix(7)): the control data of a message
// written and read. What is received is close-on-exec and owned at once, so that nothing leaks,
// whatever happens next. Used by unix_stream and unix_datagram_socket; loop thread only.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <span>
#include <vector>

#include "core/loop.h"
#include "net/descriptor.h"

namespace ringlet {

constexpr std::size_t descriptors_per_message_max = 253;  // the kernel's SCM_MAX_FD

// What came with a message. Descriptors that are not taken out are closed with it.
struct received_message {
    std::size_t bytes = 0;  // 0: the end of a stream, or an empty datagram
    bool truncated = false;         // a datagram was longer than the room for it
    bool descriptors_lost = false;  // some could not be opened here: there are too many already
    std::vector<owned_descriptor> descriptors;
};

namespace detail {

struct control_data {
    alignas(cmsghdr) std::byte bytes[CMSG_SPACE(descriptors_per_message_max * sizeof(int))];

    // Has `message` carry `descriptors`. Throws errc::limit_exceeded when they are too many.
    void put(msghdr& message, std::span<const int> descriptors);
    // Has `message` take what may come.
    void make_room(msghdr& message) noexcept {
        message.msg_control = bytes;
        message.msg_controllen = sizeof bytes;
    }
};

// Owns all descriptors in a message that was received.
received_message take_descriptors(loop& owner, const msghdr& message, std::size_t bytes);

}  // namespace detail

}  // namespace ringlet
