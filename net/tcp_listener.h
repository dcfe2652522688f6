// A listening TCP socket. Connections come by one multishot accept, either to a callback (no
// allocation; servers) or to coroutines through `accept`. While nobody takes connections they wait,
// a few here and the rest in the kernel's backlog. When the process runs out of descriptors the
// listener pauses for a moment and goes on; connections wait in the backlog meanwhile.
// Closing (destruction) stops accepting at once. Loop thread only.
#pragma once

#include <cstdint>
#include <memory>

#include "core/loop.h"
#include "core/result.h"
#include "coro/task.h"
#include "net/address.h"
#include "net/tcp_stream.h"

namespace ringlet {

struct listen_options {
    int backlog = 1024;
    bool reuse_port = false;  // several listeners (one per process or thread) on one port
    bool v6_only = true;
};

class tcp_listener {
public:
    // Told of each connection: `fd` is the receiver's to close. May close the listener.
    using accepted = void (*)(void* context, int fd) noexcept;

    // Binds and listens. Throws `error` naming the address. Port 0 takes a free one.
    tcp_listener(loop& owner, const address& where, const listen_options& options = {});
    tcp_listener(tcp_listener&& other) noexcept;
    tcp_listener& operator=(tcp_listener&& other) noexcept;
    ~tcp_listener();

    address local_address() const noexcept;

    // Every connection from now on goes to the callback. Not together with `accept`.
    void on_accept(accepted callback, void* context) noexcept;
    // Stops taking connections until called with true; the kernel's backlog holds them. One that
    // is on its way may still come.
    void set_accepting(bool accepting) noexcept;

    // The next connection, TCP_NODELAY set. One coroutine at a time. Throws errc::closed after
    // `close`.
    task<tcp_stream> accept();
    void close() noexcept;

private:
    class core;
    class accept_wait;
    core* core_;
};

// What every stream of ours gets: TCP_NODELAY.
void tune_stream(loop& owner, int fd) noexcept;

}  // namespace ringlet
