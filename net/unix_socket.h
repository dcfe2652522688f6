// Unix stream sockets for coroutines: a `stream` with the addresses of unix sockets, with the
// peer's credentials, and with descriptors that travel beside the bytes. docs/unix-sockets.md says
// what of it surprises. Loop thread only; everything throws `error` naming the address.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <span>

#include "core/loop.h"
#include "coro/task.h"
#include "net/descriptor_passing.h"
#include "net/tcp_listener.h"
#include "net/tcp_stream.h"
#include "net/unix_address.h"

namespace ringlet {

// Who made the peer's socket, as the kernel knows it; nothing the peer says.
struct peer_credentials {
    pid_t process = 0;
    uid_t user = 0;
    gid_t group = 0;
};

class unix_stream : public stream {
public:
    using stream::stream;

    unix_address local_address() const noexcept;
    unix_address peer_address() const noexcept;
    peer_credentials credentials() const;

    // Sends `bytes` (at least one) with copies of the descriptors, which stay the caller's.
    task<void> send_with_descriptors(std::span<const std::byte> bytes,
                                     std::span<const int> descriptors);
    // At least one byte into `into`, and the descriptors that came with these bytes; 0 bytes at
    // the end. Requires: nothing was received by the functions of `stream` before; they throw
    // descriptors away.
    task<received_message> receive_with_descriptors(std::span<std::byte> into);
};

struct unix_listen_options {
    int backlog = 1024;
    // When the path is a socket that nobody listens on any more, remove it and take its place.
    bool replace_stale = false;
    // Remove the path when the listener closes, if it still is this listener's.
    bool remove_on_close = false;
    // Who may connect, whatever the umask says of it: 0600, 0660, 0666. None: as the umask has it.
    std::optional<mode_t> permissions;
};

class unix_listener : public listener {
public:
    unix_listener(loop& owner, const unix_address& where, const unix_listen_options& options = {});
    unix_listener(unix_listener&& other) noexcept;
    unix_listener& operator=(unix_listener&& other) noexcept;
    ~unix_listener() { close(); }

    const unix_address& local_address() const noexcept { return where_; }
    // The next connection. One coroutine at a time. Throws errc::closed after `close`.
    task<unix_stream> accept();
    void close() noexcept;

private:
    unix_address where_;
    bool removes_ = false;
    dev_t device_ = 0;  // of the path that was made
    ino_t inode_ = 0;
};

// While the listener's queue is full this waits for a place: it asks again every few milliseconds,
// as Linux tells nobody.
task<unix_stream> connect(loop& owner, unix_address to);

struct unix_stream_pair {
    unix_stream first;
    unix_stream second;
};
// Two unnamed sockets connected with each other. Not on the fake driver.
unix_stream_pair make_unix_pair(loop& owner);

}  // namespace ringlet
