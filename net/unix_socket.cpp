#include "net/unix_socket.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "coro/suspension.h"

namespace ringlet {
namespace {

constexpr nanoseconds connect_retry_pause = std::chrono::milliseconds(5);

unix_address name_of(const stream& of,
                     std::error_code (driver::*ask)(int, sockaddr*, socklen_t*)) noexcept {
    sockaddr_storage name = {};
    socklen_t length = sizeof name;
    auto* const at = reinterpret_cast<sockaddr*>(&name);
    return (of.owner().driver().*ask)(of.descriptor(), at, &length) ? unix_address()
                                                                    : unix_address(at, length);
}

// A path with the zero at its end that system calls want; it asks for no memory.
struct closed_path {
    explicit closed_path(const unix_address& of) noexcept {
        const std::string_view name = of.name();
        name.copy(text, sizeof text - 1);
    }
    char text[sizeof(sockaddr_un::sun_path) + 1] = {};
};

// Whether `where` is a socket in the file system on which nobody listens.
bool is_stale(const unix_address& where) noexcept {
    const closed_path path(where);
    struct stat what = {};
    if (where.is_abstract() || ::lstat(path.text, &what) != 0 || !S_ISSOCK(what.st_mode)) {
        return false;
    }
    const int caller = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (caller < 0) {
        return false;
    }
    const bool refused =
        ::connect(caller, where.data(), where.length()) != 0 && errno == ECONNREFUSED;
    ::close(caller);
    return refused;
}

std::error_code change_permissions(const unix_address& where, mode_t permissions) noexcept {
    return ::chmod(closed_path(where).text, permissions) == 0 ? std::error_code()
                                                              : system_code(errno);
}

std::error_code bind_path(driver& sockets, int fd, const unix_address& where,
                          bool replace_stale) noexcept {
    std::error_code failed = sockets.bind(fd, where.data(), where.length());
    if (failed == std::errc::address_in_use && replace_stale && is_stale(where)) {
        ::unlink(closed_path(where).text);
        failed = sockets.bind(fd, where.data(), where.length());
    }
    return failed;
}

int open_listening(loop& owner, const unix_address& where, const unix_listen_options& options) {
    driver& sockets = owner.driver();
    const std::string context = "listen on " + where.text();
    const result<int> fd = sockets.open_socket(AF_UNIX, SOCK_STREAM, 0);
    if (!fd) {
        throw_code(fd.error(), context.c_str());
    }
    std::error_code failed;
    const bool sets_permissions =
        options.permissions && sockets.has_real_sockets() && !where.is_abstract();
    if (sets_permissions && ::fchmod(*fd, *options.permissions) != 0) {
        failed = system_code(errno);
    }
    if (!failed) {
        failed = bind_path(sockets, *fd, where, options.replace_stale);
    }
    if (!failed && sets_permissions) {
        // The path was made with the socket's permissions less the umask, never with more.
        failed = change_permissions(where, *options.permissions);
    }
    if (!failed) {
        failed = sockets.listen(*fd, options.backlog);
    }
    if (failed) {
        sockets.close(*fd);
        throw_code(failed, context.c_str());
    }
    return *fd;
}

}  // namespace

unix_address unix_stream::local_address() const noexcept {
    return name_of(*this, &driver::local_name);
}

unix_address unix_stream::peer_address() const noexcept {
    return name_of(*this, &driver::peer_name);
}

peer_credentials unix_stream::credentials() const {
    ucred found = {};
    socklen_t length = sizeof found;
    if (const std::error_code failed = owner().driver().get_option(
            descriptor(), SOL_SOCKET, SO_PEERCRED, &found, &length)) {
        throw error(failed, "peer credentials");
    }
    return {found.pid, found.uid, found.gid};
}

task<void> unix_stream::send_with_descriptors(std::span<const std::byte> bytes,
                                              std::span<const int> descriptors) {
    if (bytes.empty()) {
        throw error(make_error_code(std::errc::invalid_argument),
                    "send descriptors: at least one byte has to go with them");
    }
    {
        const detail::stream_use used(*this, true);
        detail::control_data control;
        iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
        msghdr message = {};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        control.put(message, descriptors);
        operation_wait sending(owner());
        sending.prepare_send_message(descriptor(), &message);
        const int sent = co_await sending;
        if (sent < 0) {
            throw_code(system_code(sent), "send descriptors");
        }
        bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    co_await send(bytes);
}

task<received_message> unix_stream::receive_with_descriptors(std::span<std::byte> into) {
    const detail::stream_use used(*this, false);
    require_not_receiving();
    detail::control_data control;
    iovec part{into.data(), into.size()};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    control.make_room(message);
    operation_wait receiving(owner());
    receiving.prepare_receive_message(descriptor(), &message);
    const int bytes = co_await receiving;
    if (bytes < 0) {
        throw_code(system_code(bytes), "receive descriptors");
    }
    co_return detail::take_descriptors(owner(), message, static_cast<std::size_t>(bytes));
}

unix_listener::unix_listener(loop& owner, const unix_address& where,
                             const unix_listen_options& options)
    : listener(owner, open_listening(owner, where, options), false), where_(where) {
    struct stat made = {};
    if (options.remove_on_close && !where.is_abstract() && owner.driver().has_real_sockets() &&
        ::lstat(closed_path(where).text, &made) == 0) {
        removes_ = true;
        device_ = made.st_dev;
        inode_ = made.st_ino;
    }
}

unix_listener::unix_listener(unix_listener&& other) noexcept
    : listener(std::move(other)),
      where_(other.where_),
      removes_(std::exchange(other.removes_, false)),
      device_(other.device_),
      inode_(other.inode_) {}

unix_listener& unix_listener::operator=(unix_listener&& other) noexcept {
    listener::operator=(std::move(other));
    std::swap(where_, other.where_);
    std::swap(removes_, other.removes_);
    std::swap(device_, other.device_);
    std::swap(inode_, other.inode_);
    return *this;
}

task<unix_stream> unix_listener::accept() {
    loop* const owner = loop::current();
    const int fd = co_await accept_descriptor();
    co_return unix_stream(*owner, fd);
}

void unix_listener::close() noexcept {
    if (std::exchange(removes_, false)) {
        const closed_path path(where_);
        struct stat now = {};
        if (::lstat(path.text, &now) == 0 && now.st_dev == device_ && now.st_ino == inode_) {
            ::unlink(path.text);
        }
    }
    listener::close();
}

task<unix_stream> connect(loop& owner, unix_address to) {
    const std::string context = "connect to " + to.text();
    const result<int> fd = owner.driver().open_socket(AF_UNIX, SOCK_STREAM, 0);
    if (!fd) {
        throw_code(fd.error(), context.c_str());
    }
    unix_stream made(owner, *fd);
    for (;;) {
        const detail::stream_use used(made, false);
        operation_wait connecting(owner);
        connecting.prepare_connect(*fd, to.data(), to.length());
        const int outcome = co_await connecting;
        if (outcome == 0) {
            break;
        }
        if (outcome != -EAGAIN) {
            throw_code(system_code(outcome), context.c_str());
        }
        co_await sleep_for(connect_retry_pause);
    }
    co_return made;
}

unix_stream_pair make_unix_pair(loop& owner) {
    int ends[2];
    if (!owner.driver().has_real_sockets()) {
        throw error(make_error_code(std::errc::operation_not_supported),
                    "a pair of unix sockets on the fake driver");
    }
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        throw error(system_code(errno), "a pair of unix sockets");
    }
    unix_stream_pair made;
    try {
        made.first = unix_stream(owner, ends[0]);
    } catch (...) {
        ::close(ends[1]);
        throw;
    }
    made.second = unix_stream(owner, ends[1]);
    return made;
}

}  // namespace ringlet
