#include "net/spawn.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "core/result.h"
#include "tests/support/support.h"

using namespace ringlet;
using namespace ringlet::test;
using detail::find_variable;
using detail::program_candidates;
using detail::spawn_request;

namespace {

// The exit code of `what`, or minus the signal that ended it.
int run_to_end(const spawn_request& what) {
    const detail::spawned child = detail::spawn(what);
    siginfo_t how = {};
    CHECK(::waitid(P_PIDFD, static_cast<id_t>(child.pidfd), &how, WEXITED) == 0);
    CHECK(how.si_pid == child.id);
    ::close(child.pidfd);
    return how.si_code == CLD_EXITED ? how.si_status : -how.si_status;
}

spawn_request shell(const std::string& script) {
    return {{"/bin/sh", "-c", script}, {"PATH=/usr/bin:/bin"}, {}, false, false, {}};
}

spawn_request program(std::string name) { return {{std::move(name)}, {}, {}, false, false, {}}; }

std::string refusal(const spawn_request& what, int expected_errno) {
    const int before = open_descriptors();
    std::string said;
    try {
        (void)detail::spawn(what);
    } catch (const error& failure) {
        said = failure.what();
        CHECK(failure.code().value() == expected_errno);
    }
    CHECK(open_descriptors() == before);
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);  // no child, not even a dead one
    return said;
}

}  // namespace

TEST_CASE("a variable is found by its whole name") {
    const std::vector<std::string> all{"PATHS=1", "PATH=/bin", "E="};
    CHECK(std::string(find_variable(all, "PATH")) == "/bin");
    CHECK(std::string(find_variable(all, "E")).empty());
    CHECK(find_variable(all, "PAT") == nullptr);
    CHECK(find_variable(all, "") == nullptr);
}

TEST_CASE("a name is looked for in each folder of the path, a path is taken as it is") {
    using list = std::vector<std::string>;
    CHECK(program_candidates("ls", "/a:/b/c") == list{"/a/ls", "/b/c/ls"});
    CHECK(program_candidates("ls", "/a::/b:") == list{"/a/ls", "./ls", "/b/ls", "./ls"});
    CHECK(program_candidates("ls", "") == list{"./ls"});
    CHECK(program_candidates("ls", nullptr).size() == 3);
    CHECK(program_candidates("./ls", "/a") == list{"./ls"});
    CHECK(program_candidates("/x/ls", "/a") == list{"/x/ls"});
}

TEST_CASE("a program runs and its end is told through the pidfd") {
    CHECK(run_to_end(shell("exit 7")) == 7);
    CHECK(run_to_end(shell("kill -TERM $$")) == -SIGTERM);
    CHECK(run_to_end({{"true"}, {"PATH=/nowhere:/usr/bin:/bin"}, {}, false, false, {}}) == 0);
}

TEST_CASE("what cannot be run is refused with the errno and a sentence, and leaves nothing") {
    CHECK(refusal({{"no-such-program-at-all"}, {"PATH=/bin"}, {}, false, false, {}}, ENOENT)
              .find("no such program: no-such-program-at-all") == 0);
    CHECK(refusal(program("/no/such"), ENOENT).find("no such program: /no/such") == 0);
    CHECK(refusal(program("/etc/passwd"), EACCES)
              .find("not an executable file, or not for us: /etc/passwd") == 0);
    CHECK(refusal(program("/"), EACCES).find("not an executable file") == 0);
    CHECK(refusal({{"true"}, {"PATH=/bin"}, "/no/such/folder", false, false, {}}, ENOENT)
              .find("start true in /no/such/folder") == 0);
    CHECK(refusal({{"/bin/true"}, {}, {}, false, false, {{9999, 0}}}, EBADF)
              .find("descriptors for /bin/true") == 0);
    CHECK(refusal({{}, {}, {}, false, false, {}}, EINVAL).find("without a name") !=
          std::string::npos);
    CHECK(refusal(program(""), EINVAL).find("without a name") !=
          std::string::npos);
    CHECK(refusal({{"/bin/true", std::string("a\0b", 3)}, {}, {}, false, false, {}}, EINVAL)
              .find("a NUL is in") != std::string::npos);
    CHECK(refusal({{"/bin/true"}, {"NOVALUE"}, {}, false, false, {}}, EINVAL).find("\"NOVALUE\"") !=
          std::string::npos);
    const std::string long_one(4 * 1024 * 1024, 'x');
    const spawn_request too_long{{"/bin/true", long_one}, {}, {}, false, false, {}};
    CHECK(refusal(too_long, E2BIG).find("start /bin/true") == 0);
    CHECK(refusal(program(std::string(1000, 'n')), ENAMETOOLONG).size() < 400);
}

TEST_CASE("a script without its interpreter is told from a program that is not there") {
    char path[] = "/tmp/ringlet_script_XXXXXX";
    const int fd = ::mkstemp(path);
    REQUIRE(fd >= 0);
    const std::string text = "#!/no/such/interpreter\n";
    REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    REQUIRE(::fchmod(fd, 0755) == 0);
    ::close(fd);
    CHECK(refusal(program(path), ENOENT).find("the interpreter is missing of") ==
          0);
    ::truncate(path, 0);
    CHECK(refusal(program(path), ENOEXEC).find("no program and no script") == 0);
    ::unlink(path);
}

TEST_CASE("descriptors are given as asked, even crosswise, and all others are closed") {
    int first[2];
    int second[2];
    REQUIRE(::pipe(first) == 0);  // not close-on-exec
    REQUIRE(::pipe(second) == 0);
    // Each is moved to where the other one is.
    spawn_request what = shell("echo one >&" + std::to_string(second[1]) + "; echo two >&" +
                               std::to_string(first[1]) + "; ls /proc/self/fd | wc -l >&" +
                               std::to_string(first[1]));
    what.descriptors = {{first[1], second[1]}, {second[1], first[1]}};
    REQUIRE(run_to_end(what) == 0);
    char text[64] = {};
    CHECK(::read(first[0], text, sizeof text - 1) > 0);
    CHECK(std::string(text) == "one\n");
    char others[64] = {};
    CHECK(::read(second[0], others, sizeof others - 1) > 0);
    // The three standard ones, the two, and the one by which ls reads the folder.
    CHECK(std::string(others).find("two\n6") == 0);
    for (const int fd : {first[0], first[1], second[0], second[1]}) {
        ::close(fd);
    }
}

TEST_CASE("a child has no signal blocked, handled or, like SIGPIPE, ignored by accident") {
    sigset_t some;
    sigset_t before;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &some, &before);
    struct sigaction handled = {};
    struct sigaction usr2 = {};
    struct sigaction pipe = {};
    handled.sa_handler = [](int) {};
    ::sigaction(SIGUSR2, &handled, &usr2);
    handled.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &handled, &pipe);
    CHECK(run_to_end(shell("kill -USR1 $$; exit 0")) == -SIGUSR1);
    CHECK(run_to_end(shell("kill -USR2 $$; exit 0")) == -SIGUSR2);
    CHECK(run_to_end(shell("kill -PIPE $$; exit 0")) == -SIGPIPE);
    struct sigaction now = {};
    ::sigaction(SIGUSR2, &usr2, &now);
    CHECK((now.sa_handler != SIG_DFL));  // ours was left alone
    ::sigaction(SIGPIPE, &pipe, &now);
    CHECK((now.sa_handler == SIG_IGN));
    sigset_t after;
    ::pthread_sigmask(SIG_SETMASK, &before, &after);
    CHECK(sigismember(&after, SIGUSR1) == 1);
    CHECK(sigismember(&after, SIGUSR2) == 0);
}
