#include "net/descriptor_passing.h"

#include <unistd.h>

#include <cstring>
#include <string>

namespace ringlet::detail {
namespace {

template <class Take>
void for_each_descriptor(const msghdr& message, Take take) {
    auto& all = const_cast<msghdr&>(message);  // CMSG_NXTHDR only reads it
    for (cmsghdr* part = CMSG_FIRSTHDR(&all); part != nullptr; part = CMSG_NXTHDR(&all, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
            take(fd);
        }
    }
}

}  // namespace

void control_data::put(msghdr& message, std::span<const int> descriptors) {
    if (descriptors.empty()) {
        return;
    }
    if (descriptors.size() > descriptors_per_message_max) {
        throw error(errc::limit_exceeded, "send " + std::to_string(descriptors.size()) +
                                              " descriptors: at most " +
                                              std::to_string(descriptors_per_message_max) +
                                              " go with a message");
    }
    std::memset(bytes, 0, sizeof bytes);
    message.msg_control = bytes;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(part), descriptors.data(), descriptors.size_bytes());
}

received_message take_descriptors(loop& owner, const msghdr& message, std::size_t bytes) {
    received_message taken;
    taken.bytes = bytes;
    taken.truncated = (message.msg_flags & MSG_TRUNC) != 0;
    taken.descriptors_lost = (message.msg_flags & MSG_CTRUNC) != 0;
    try {
        std::size_t count = 0;
        for_each_descriptor(message, [&count](int) { ++count; });
        taken.descriptors.reserve(count);
    } catch (...) {
        for_each_descriptor(message, [](int fd) { ::close(fd); });
        throw;
    }
    for_each_descriptor(message,
                        [&](int fd) { taken.descriptors.emplace_back(owner, fd); });
    return taken;
}

}  // namespace ringlet::detail
