#include "core/signals.h"

#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace ringlet {
namespace {

// What this thread's watches hold, as a set of bits.
thread_local sigset_t watched_here = [] {
    sigset_t none;
    sigemptyset(&none);
    return none;
}();

constexpr int failures_max = 3;  // in a row, of reading a signalfd

bool can_be_watched(int number) noexcept {
    switch (number) {
        case SIGKILL:
        case SIGSTOP:  // cannot be blocked
        case SIGSEGV:
        case SIGBUS:
        case SIGFPE:
        case SIGILL:  // blocked faults end the program all the same
            return false;
        default:
            return number > 0 && number <= SIGRTMAX;
    }
}

}  // namespace

// Owns the signalfd; outlives its signal_watch until the kernel has let go of the poll.
class signal_watch::core final : public operation, private work {
public:
    core(loop& owner, int fd, callback told, void* context) noexcept
        : operation(&core::complete), work(&core::die), loop_(owner), fd_(fd), told_(told),
          context_(context) {
        run_always();
        arm();
    }

    void close() noexcept {
        told_ = nullptr;
        read_all();
        if (active()) {
            loop_.cancel(*this);
        } else {
            loop_.post(*this);
        }
    }

private:
    void arm() noexcept {
        prepare_poll(fd_, POLLIN, true);
        loop_.start(*this);
    }
    // The poll tells of a signal once, so this goes on until the kernel says that none is left.
    void read_all() noexcept {
        signalfd_siginfo came;
        for (int failures = 0; failures < failures_max;) {
            if (::read(fd_, &came, sizeof came) != static_cast<ssize_t>(sizeof came)) {
                failures = errno == EAGAIN ? failures_max : failures + 1;
            } else if (told_ != nullptr) {
                told_(context_, static_cast<int>(came.ssi_signo));
            }
        }
    }
    static void complete(operation& op, const completion& what) noexcept {
        auto& self = static_cast<core&>(op);
        const bool closed_before = self.told_ == nullptr;
        if (!closed_before && what.result > 0) {
            self.read_all();
        }
        if (what.more || self.active()) {
            return;
        }
        if (closed_before) {
            self.loop_.post(self);
        } else if (self.told_ != nullptr && what.result != -ECANCELED) {
            self.arm();
        }
    }
    static void die(work& item) noexcept {
        auto& self = static_cast<core&>(item);
        ::close(self.fd_);
        delete &self;
    }

    loop& loop_;
    const int fd_;
    callback told_;
    void* const context_;
};

signal_watch::signal_watch(loop& owner, std::initializer_list<int> numbers, callback told,
                           void* context) {
    sigemptyset(&watched_);
    for (const int number : numbers) {
        if (!can_be_watched(number)) {
            throw error(system_code(EINVAL),
                        "signal " + std::to_string(number) + " cannot be watched");
        }
        if (sigismember(&watched_here, number) == 1) {
            throw error(system_code(EBUSY),
                        "signal " + std::to_string(number) + " is watched already");
        }
        sigaddset(&watched_, number);
    }
    const int fd = ::signalfd(-1, &watched_, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        throw error(system_code(errno), "signalfd");
    }
    try {
        core_ = new core(owner, fd, told, context);
    } catch (...) {
        ::close(fd);
        throw;
    }
    sigset_t before;
    ::pthread_sigmask(SIG_BLOCK, &watched_, &before);
    sigemptyset(&unblock_);
    for (const int number : numbers) {
        sigaddset(&watched_here, number);
        if (sigismember(&before, number) == 0) {
            sigaddset(&unblock_, number);
        }
    }
}

signal_watch::~signal_watch() {
    core_->close();
    for (int number = 1; number <= SIGRTMAX; ++number) {
        if (sigismember(&watched_, number) == 1) {
            sigdelset(&watched_here, number);
        }
    }
    ::pthread_sigmask(SIG_UNBLOCK, &unblock_, nullptr);
}

}  // namespace ringlet
