// An operation that writes down what becomes of it, and the sockets to try it on. Everything goes
// through the loop's driver, so that it works on the fake kernel as well.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/support.h"

namespace ringlet::test {

// Gives buffers back at once (unless `keep_buffers`) and closes nothing: descriptors that an
// accept brings are kept in `results`.
class probe : public operation {
public:
    explicit probe(loop& on) : operation(&probe::completed), loop_(&on) {}

    int finals = 0;
    std::vector<std::int32_t> results;  // of every completion
    std::string bytes;                  // all that a receive brought
    bool keep_buffers = false;
    std::vector<lent_buffer> kept;
    std::function<void(const completion&)> on_completion;  // called last; may destroy the probe

    // The result of the last completion.
    std::int32_t result() const { return results.empty() ? INT32_MIN : results.back(); }
    bool run() {
        return run_until(*loop_, [this] { return !active(); });
    }
    void give_back_all() {
        for (const lent_buffer& buffer : kept) {
            loop_->give_back(buffer);
        }
        kept.clear();
    }

private:
    static void completed(operation& op, const completion& what) noexcept {
        probe& self = static_cast<probe&>(op);
        self.results.push_back(what.result);
        self.finals += what.more ? 0 : 1;
        if (what.buffer.data != nullptr) {
            self.bytes.append(reinterpret_cast<const char*>(what.buffer.data),
                              static_cast<std::size_t>(what.result));
            if (self.keep_buffers) {
                self.kept.push_back(what.buffer);
            } else {
                self.loop_->give_back(what.buffer);
            }
        }
        if (self.on_completion) {
            self.on_completion(what);
        }
    }

    loop* loop_;
};

// A listening TCP socket on loopback with a port of its own.
struct listener {
    explicit listener(loop& on, int backlog = 1024) : loop_(on) {
        fd = on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value();
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        auto* const name = reinterpret_cast<sockaddr*>(&address);
        socklen_t length = sizeof address;
        const std::error_code failures[] = {on.driver().bind(fd, name, length),
                                            on.driver().listen(fd, backlog),
                                            on.driver().local_name(fd, name, &length)};
        for (const std::error_code failure : failures) {
            if (failure) {
                throw error(failure, "listener");
            }
        }
    }
    listener(const listener&) = delete;
    listener& operator=(const listener&) = delete;
    ~listener() {
        if (fd >= 0) {
            loop_.driver().close(fd);
        }
    }

    void prepare_connect(operation& op, int from) const {
        op.prepare_connect(from, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    }

    int fd = -1;
    sockaddr_in address{};

private:
    loop& loop_;
};

// Two connected TCP sockets, closed by the destructor.
struct socket_pair {
    explicit socket_pair(loop& on) : loop_(&on) {
        listener door(on);
        first = on.driver().open_socket(AF_INET, SOCK_STREAM, 0).value();
        probe connecting(on);
        probe accepting(on);
        door.prepare_connect(connecting, first);
        accepting.prepare_accept(door.fd);
        on.start(accepting);
        on.start(connecting);
        run_until(on, [&] { return !connecting.active() && !accepting.results.empty(); });
        second = accepting.results.empty() ? -1 : accepting.results.front();
        on.cancel(accepting);
        accepting.run();
        if (connecting.result() != 0 || second < 0) {
            throw error(system_code(connecting.result()), "socket_pair");
        }
    }
    socket_pair(const socket_pair&) = delete;
    socket_pair& operator=(const socket_pair&) = delete;
    ~socket_pair() {
        for (const int fd : {first, second}) {
            if (fd >= 0) {
                loop_->driver().close(fd);
            }
        }
    }

    int first = -1;
    int second = -1;

private:
    loop* loop_;
};

// Sends `text` whole, in as many sends as it takes. False when that failed.
inline bool send_all(loop& on, int fd, std::string_view text) {
    while (!text.empty()) {
        probe sending(on);
        sending.prepare_send(fd, text.data(), text.size());
        on.start(sending);
        if (!sending.run() || sending.result() <= 0) {
            return false;
        }
        text.remove_prefix(static_cast<std::size_t>(sending.result()));
    }
    return true;
}

// A repeatable text of `bytes` bytes that differs at every place and for every salt.
inline std::string pattern(std::size_t bytes, std::uint64_t salt = 0) {
    std::string text(bytes, '\0');
    std::uint64_t state = salt * 0x9e3779b97f4a7c15U + 1;
    for (char& each : text) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        each = static_cast<char>(state >> 56);
    }
    return text;
}

}  // namespace ringlet::test
