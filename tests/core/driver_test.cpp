#include "core/driver.h"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <string>

#include "tests/support/support.h"

using namespace ringlet;

namespace {

// Lets io_uring_setup fail with `error_number` in this process and all it starts.
bool refuse_uring(int error_number) {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error_number)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program = {static_cast<unsigned short>(std::size(code)), code};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// Lets kernel.io_uring_disabled read as `value`, for this process only.
bool show_sysctl(const char* value) {
    char path[] = "/tmp/ringlet_sysctl_XXXXXX";
    const int fd = ::mkstemp(path);
    const bool shown =
        fd >= 0 && ::write(fd, value, 1) == 1 && ::unshare(CLONE_NEWNS) == 0 &&
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        ::mount(path, "/proc/sys/kernel/io_uring_disabled", nullptr, MS_BIND, nullptr) == 0;
    ::close(fd);
    ::unlink(path);
    return shown;
}

constexpr int cannot_prepare = 77;

struct outcome {
    int status;
    std::string text;  // stdout and stderr
};

// What a fresh process says that makes two drivers, after `prepare` (which tells whether it could)
// and with this RINGLET_DRIVER.
outcome make_drivers(const std::function<bool()>& prepare, const char* name = nullptr) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        name != nullptr ? ::setenv("RINGLET_DRIVER", name, 1) : ::unsetenv("RINGLET_DRIVER");
        ::dup2(ends[1], STDOUT_FILENO);
        ::dup2(ends[1], STDERR_FILENO);
        if (!prepare()) {
            ::_exit(cannot_prepare);
        }
        ::execl("/proc/self/exe", "ringlet_tests", "--make-driver", nullptr);
        ::_exit(1);
    }
    ::close(ends[1]);
    outcome seen{-1, {}};
    char block[512];
    for (ssize_t got = 0; (got = ::read(ends[0], block, sizeof block)) > 0;) {
        seen.text.append(block, static_cast<std::size_t>(got));
    }
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    seen.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return seen;
}

bool nothing() { return true; }

std::ptrdiff_t count_lines(const std::string& text) {
    return std::count(text.begin(), text.end(), '\n');
}

bool holds(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a driver can be chosen by name") {
    CHECK(std::string(make_driver({"epoll"})->name()) == "epoll");
    CHECK(std::string(make_driver({"fake", 3})->name()) == "fake");
    CHECK(make_drivers(nothing, "epoll").text == "epoll\nepoll\n");
    CHECK(make_drivers(nothing, "fake").text == "fake\nfake\n");
}

TEST_CASE("an unknown driver is an error that lists the known ones") {
    try {
        make_driver({"kqueue"});
        FAIL("nothing was thrown");
    } catch (const error& failure) {
        const std::string text = failure.what();
        CHECK(holds(text, "kqueue"));
        CHECK(holds(text, "uring, epoll or fake"));
    }
    const outcome seen = make_drivers(nothing, "Epoll");
    CHECK(holds(seen.text, "'Epoll' (from RINGLET_DRIVER)"));
}

TEST_CASE("a seed that is no number is an error") {
    const outcome seen = make_drivers(
        [] { return ::setenv("RINGLET_SEED", "12x", 1) == 0; }, "fake");
    CHECK(holds(seen.text, "RINGLET_SEED is '12x', which is no number"));
}

TEST_CASE("where io_uring is refused, epoll takes over and one line says why") {
    const struct {
        int error_number;
        const char* part;
    } cases[] = {{EPERM, "seccomp filter refuses io_uring_setup"},
                 {ENOSYS, "this kernel has no io_uring"},
                 {ENOMEM, "RLIMIT_MEMLOCK"},
                 {EMFILE, "RLIMIT_NOFILE"},
                 {EINVAL, "boot Linux 6.0 or newer"},
                 {EIO, "io_uring_setup failed: "}};
    for (const auto& each : cases) {
        CAPTURE(each.part);
        const outcome seen = make_drivers([&] { return refuse_uring(each.error_number); });
        REQUIRE(seen.status == 0);
        CHECK(holds(seen.text, "ringlet: using epoll instead of io_uring: "));
        CHECK(holds(seen.text, each.part));
        CHECK(count_lines(seen.text) == 3);  // the sentence once, and two times "epoll"
        CHECK(holds(seen.text, "epoll\nepoll\n"));
    }
}

TEST_CASE("a driver forced by name is never replaced by another one") {
    const outcome seen = make_drivers([] { return refuse_uring(EPERM); }, "uring");
    REQUIRE(seen.status == 0);
    CHECK(holds(seen.text, "error: the uring driver was asked for by name: a seccomp filter"));
    CHECK_FALSE(holds(seen.text, "using epoll"));
}

TEST_CASE("the sysctl that forbids io_uring is told from a seccomp filter") {
    for (const char* value : {"1", "2"}) {
        const outcome seen =
            make_drivers([&] { return show_sysctl(value) && refuse_uring(EPERM); });
        if (seen.status == cannot_prepare) {
            MESSAGE("not tried: this process may not mount");
            return;
        }
        CHECK(holds(seen.text, (std::string("kernel.io_uring_disabled is ") + value).c_str()));
        CHECK_FALSE(holds(seen.text, "seccomp"));
    }
}

TEST_CASE("every refusal is one sentence that says what to do") {
    for (const int number : {ENOSYS, EPERM, EACCES, ENOMEM, EMFILE, ENFILE, EINVAL}) {
        const std::string sentence = explain_uring_refusal(number);
        CHECK(count_lines(sentence) == 0);
        CHECK(sentence.find(": ") != std::string::npos);
    }
}

TEST_CASE("sockets from a driver are not inherited by programs that are started") {
    if (!test::real_kernel()) {
        return;
    }
    const auto driver = make_driver({});
    const int fd = driver->open_socket(AF_INET, SOCK_STREAM, 0).value();
    CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    driver->close(fd);
    CHECK(::fcntl(fd, F_GETFD) < 0);
    CHECK(driver->open_socket(12345, SOCK_STREAM, 0).error().value() == EAFNOSUPPORT);
    CHECK(driver->bind(-1, nullptr, 0).value() == EBADF);
    CHECK(driver->listen(-1, 1).value() == EBADF);
    CHECK(driver->set_option(-1, SOL_SOCKET, SO_REUSEADDR, 1).value() == EBADF);
    CHECK(driver->shutdown(-1, SHUT_WR).value() == EBADF);
}

TEST_CASE("a driver's clock does not go back") {
    const auto driver = make_driver({});
    instant before = driver->now();
    for (int i = 0; i < 1000; ++i) {
        driver->wait(nanoseconds::zero());
        const instant now = driver->now();
        CHECK(now >= before);
        before = now;
    }
}

TEST_CASE("a wait ends with its timeout, neither much too early nor never") {
    const auto driver = make_driver({});
    const instant start = driver->now();
    for (int tries = 0; tries < 100 && driver->now() - start < 3'000'000; ++tries) {
        driver->wait(nanoseconds(3'000'000 - (driver->now() - start)));
    }
    CHECK(driver->now() - start >= 3'000'000);
}

TEST_CASE("a wake before the wait ends the wait") {
    const auto driver = make_driver({});
    driver->wake();
    driver->wait(wait_forever);
    loop_stats stats;
    operation* op = nullptr;
    completion what;
    while (driver->next(op, what)) {
    }
    driver->add_stats(stats);
    CHECK(stats.wakeups == 1);
}
