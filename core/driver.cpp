#include "core/driver.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>

namespace ringlet {
namespace {

constexpr std::uint64_t default_seed = 1;

std::error_code last_error() noexcept { return system_code(errno); }

std::string_view environment(const char* name) noexcept {
    const char* value = std::getenv(name);
    return value != nullptr ? value : std::string_view();
}

std::uint64_t choose_seed(std::uint64_t asked) {
    const std::string_view text = environment("RINGLET_SEED");
    if (asked != 0 || text.empty()) {
        return asked != 0 ? asked : default_seed;
    }
    std::uint64_t seed = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), seed);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
        throw error(make_error_code(std::errc::invalid_argument),
                    "RINGLET_SEED is '" + std::string(text) + "', which is no number");
    }
    return seed != 0 ? seed : default_seed;
}

// The sysctl's value, or '0' where this kernel has no such file.
char uring_disabled() noexcept {
    char value = '0';
    const int fd = ::open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (::read(fd, &value, 1) != 1) {
            value = '0';
        }
        ::close(fd);
    }
    return value;
}

std::string limit_text(__rlimit_resource_t resource, rlim_t unit) {
    rlimit limit{};
    ::getrlimit(resource, &limit);
    return limit.rlim_cur == RLIM_INFINITY ? "unlimited" : std::to_string(limit.rlim_cur / unit);
}

std::string explain_permission() {
    switch (uring_disabled()) {
        case '0':
            return "a seccomp filter refuses io_uring_setup, as containers do by default: allow "
                   "io_uring_setup, io_uring_enter and io_uring_register in its profile";
        case '1':
            return "the sysctl kernel.io_uring_disabled is 1, which keeps io_uring from "
                   "unprivileged processes: set it to 0, or run in the group of "
                   "kernel.io_uring_group";
        default:
            return "the sysctl kernel.io_uring_disabled is 2, which keeps io_uring from every "
                   "process: set it to 0";
    }
}

void tell_fall_back(const std::string& why) {
    static std::atomic<bool> told{false};
    if (!told.exchange(true)) {
        std::fprintf(stderr, "ringlet: using epoll instead of io_uring: %s\n", why.c_str());
    }
}

}  // namespace

std::string explain_uring_refusal(int error_number) {
    switch (error_number) {
        case ENOSYS:
            return "this kernel has no io_uring (older than Linux 5.1, built without it, or "
                   "hidden by a seccomp filter): boot a newer one";
        case EPERM:
        case EACCES:
            return explain_permission();
        case ENOMEM:
            return "the rings do not fit into the locked memory this process may have "
                   "(RLIMIT_MEMLOCK, " + limit_text(RLIMIT_MEMLOCK, 1024) +
                   " KiB): raise it with ulimit -l";
        case EMFILE:
        case ENFILE:
            return "no descriptor is left for the ring (RLIMIT_NOFILE, " +
                   limit_text(RLIMIT_NOFILE, 1) + "): raise it with ulimit -n";
        case EINVAL:
            return "this kernel's io_uring lacks what Ringlet needs (buffer rings, multishot "
                   "receive): boot Linux 6.0 or newer";
        default:
            return "io_uring_setup failed: " + system_code(error_number).message();
    }
}

std::unique_ptr<driver> make_driver(const driver_options& options) {
    const std::string_view variable = environment("RINGLET_DRIVER");
    const std::string_view name = options.name.empty() ? variable : options.name;
    if (name == "epoll") {
        return make_epoll_driver();
    }
    if (name == "fake") {
        return make_fake_driver(choose_seed(options.seed));
    }
    if (!name.empty() && name != "uring") {
        throw error(make_error_code(std::errc::invalid_argument),
                    "there is no driver '" + std::string(name) +
                        (options.name.empty() ? "' (from RINGLET_DRIVER)" : "'") +
                        ": choose uring, epoll or fake");
    }
    result<std::unique_ptr<driver>> made = make_uring_driver();
    if (made) {
        return std::move(made).value();
    }
    const std::string why = explain_uring_refusal(made.error().value());
    if (!name.empty()) {
        throw error(made.error(), "the uring driver was asked for by name: " + why);
    }
    tell_fall_back(why);
    return make_epoll_driver();
}

instant driver::now() noexcept {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<instant>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

result<int> driver::open_socket(int family, int type, int protocol) noexcept {
    const int fd = ::socket(family, type | SOCK_CLOEXEC, protocol);
    if (fd < 0) {
        return last_error();
    }
    return fd;
}

std::error_code driver::bind(int fd, const sockaddr* address, socklen_t length) noexcept {
    return ::bind(fd, address, length) < 0 ? last_error() : std::error_code();
}

std::error_code driver::listen(int fd, int backlog) noexcept {
    return ::listen(fd, backlog) < 0 ? last_error() : std::error_code();
}

std::error_code driver::set_option(int fd, int level, int option, const void* value,
                                   socklen_t length) noexcept {
    return ::setsockopt(fd, level, option, value, length) < 0 ? last_error() : std::error_code();
}

std::error_code driver::get_option(int fd, int level, int option, void* value,
                                   socklen_t* length) noexcept {
    return ::getsockopt(fd, level, option, value, length) < 0 ? last_error() : std::error_code();
}

std::error_code driver::local_name(int fd, sockaddr* address, socklen_t* length) noexcept {
    return ::getsockname(fd, address, length) < 0 ? last_error() : std::error_code();
}

std::error_code driver::peer_name(int fd, sockaddr* address, socklen_t* length) noexcept {
    return ::getpeername(fd, address, length) < 0 ? last_error() : std::error_code();
}

std::error_code driver::shutdown(int fd, int how) noexcept {
    return ::shutdown(fd, how) < 0 ? last_error() : std::error_code();
}

void driver::reset_on_close(int fd) noexcept {
    const linger at_once{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void driver::close(int fd) noexcept { ::close(fd); }

}  // namespace ringlet
