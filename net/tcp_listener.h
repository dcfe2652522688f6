// A listening socket; `tcp_listener` is one of TCP. Connections come by one multishot accept, to a
// callback (no allocation; servers) or to coroutines through `accept`. While nobody takes them they
// wait, a few here and the rest in the kernel's backlog. When the process runs out of descriptors
// the listener pauses for a moment and goes on; connections wait in the backlog meanwhile.
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

class listener {
public:
    // Told of each connection: `fd` is the receiver's to close. May close the listener.
    using accepted = void (*)(void* context, int fd) noexcept;

    listener(listener&& other) noexcept;
    listener& operator=(listener&& other) noexcept;
    ~listener();

    // Every connection from now on goes to the callback. Not together with `accept`.
    void on_accept(accepted callback, void* context) noexcept;
    // Stops taking connections until called with true; the kernel's backlog holds them. One that
    // is on its way may still come.
    void set_accepting(bool accepting) noexcept;
    void close() noexcept;

    // Requires: not closed.
    loop& owner() const noexcept;
    int descriptor() const noexcept;
    socket_options options() const noexcept;

protected:
    // Takes over a listening socket; `tunes`: what it accepts gets `tune_stream`.
    listener(loop& owner, int fd, bool tunes);
    // The next connection's descriptor. One coroutine at a time. Throws errc::closed after `close`.
    task<int> accept_descriptor();

private:
    class core;
    class accept_wait;
    core* core_;
};

class tcp_listener : public listener {
public:
    // Binds and listens. Throws `error` naming the address. Port 0 takes a free one.
    tcp_listener(loop& owner, const address& where, const listen_options& options = {});

    address local_address() const noexcept;
    // The next connection, TCP_NODELAY set. One coroutine at a time. Throws errc::closed after
    // `close`.
    task<tcp_stream> accept();
};

// What every TCP stream of ours gets: TCP_NODELAY.
void tune_stream(loop& owner, int fd) noexcept;

}  // namespace ringlet
