#include "net/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/result.h"

// glibc's clone by its other name. ThreadSanitizer puts a function of its own before the first, in
// which it takes the child for a process with memory of its own, and forgets the parent's threads.
extern "C" int __clone(int (*function)(void*), void* stack, int flags, void* argument, ...);

// Nothing may be instrumented that runs in the child, on memory that is the parent's. For the same
// reason it makes by their numbers the system calls that a sanitizer looks at.
#define RINGLET_IN_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))

namespace ringlet::detail {
namespace {

constexpr std::size_t child_stack_bytes = 64 * 1024;
constexpr const char* default_path = "/usr/local/bin:/usr/bin:/bin";
constexpr std::size_t signal_set_bytes = 8;  // the kernel's

enum class step { none, session, group, directory, descriptor, exec };

// Everything the child reads and writes.
struct child_plan {
    const char* const* candidates;  // up to a null
    char* const* arguments;
    char* const* environment;
    const char* directory;
    bool new_group;
    bool new_session;
    spawn_request::descriptor* moves;
    std::size_t move_count;
    int first_free;  // above every target

    step failed_at = step::none;
    int failed_with = 0;
};

// Signals are blocked here, so no handler of the parent's has run. They go before the mask does.
// The kernel's sigaction begins with the handler on all machines but MIPS; zeros are the default.
RINGLET_IN_CHILD void reset_signals() noexcept {
    constexpr long ignored = 1;
    for (long number = 1; number <= 64; ++number) {
        long now[16] = {};
        const long none[16] = {};
        if (::syscall(SYS_rt_sigaction, number, nullptr, now, signal_set_bytes) == 0 &&
            now[0] != 0 && (now[0] != ignored || number == SIGPIPE)) {
            ::syscall(SYS_rt_sigaction, number, none, nullptr, signal_set_bytes);
        }
    }
    const std::uint64_t no_signal = 0;
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signal, nullptr, signal_set_bytes);
}

// Each source is first put where no target is, so that none is overwritten before it was used.
RINGLET_IN_CHILD bool move_descriptors(const child_plan& plan) noexcept {
    for (std::size_t i = 0; i < plan.move_count; ++i) {
        const int copy = ::fcntl(plan.moves[i].source, F_DUPFD_CLOEXEC, plan.first_free);
        if (copy < 0) {
            return false;
        }
        plan.moves[i].source = copy;
    }
    if (::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {
        return false;
    }
    for (std::size_t i = 0; i < plan.move_count; ++i) {
        if (::syscall(SYS_dup3, plan.moves[i].source, plan.moves[i].target, 0) < 0) {
            return false;
        }
    }
    return true;
}

// Comes back only when none could be run: the errno that tells most.
RINGLET_IN_CHILD int exec_first(const child_plan& plan) noexcept {
    int telling = ENOENT;
    for (const char* const* each = plan.candidates; *each != nullptr; ++each) {
        ::execve(*each, plan.arguments, plan.environment);
        if (errno == EACCES) {
            telling = EACCES;  // a later one may be allowed
        } else if (errno != ENOENT && errno != ENOTDIR) {
            return errno;
        }
    }
    return telling;
}

RINGLET_IN_CHILD int run_child(void* argument) noexcept {
    auto& plan = *static_cast<child_plan*>(argument);
    if (plan.new_session && ::setsid() < 0) {
        plan.failed_at = step::session;
    } else if (plan.new_group && ::setpgid(0, 0) != 0) {
        plan.failed_at = step::group;
    } else if (plan.directory != nullptr && ::chdir(plan.directory) != 0) {
        plan.failed_at = step::directory;
    } else if (!move_descriptors(plan)) {
        plan.failed_at = step::descriptor;
    } else {
        reset_signals();
        errno = exec_first(plan);
        plan.failed_at = step::exec;
    }
    plan.failed_with = errno;
    for (;;) {
        ::syscall(SYS_exit_group, 127);
    }
}

std::string shown(const std::string& text) {
    constexpr std::size_t shown_bytes_max = 200;
    return text.size() <= shown_bytes_max ? text : text.substr(0, shown_bytes_max) + "...";
}

[[noreturn]] void throw_failure(const child_plan& plan, const spawn_request& what) {
    const std::string program = shown(what.arguments.front());
    const int number = plan.failed_with;
    std::string text = "start " + program;
    if (plan.failed_at == step::directory) {
        text += " in " + shown(what.directory);
    } else if (plan.failed_at == step::exec && number == ENOENT) {
        // A script whose interpreter is missing is there all the same.
        const bool there = program.find('/') != std::string::npos &&
                           ::faccessat(AT_FDCWD, program.c_str(), F_OK, 0) == 0;
        text = (there ? "the interpreter is missing of: " : "no such program: ") + program;
    } else if (plan.failed_at == step::exec && number == EACCES) {
        text = "not an executable file, or not for us: " + program;
    } else if (plan.failed_at == step::exec && number == ENOEXEC) {
        text = "no program and no script that says its interpreter: " + program;
    } else if (plan.failed_at == step::descriptor) {
        text = "descriptors for " + program;
    } else if (plan.failed_at == step::session || plan.failed_at == step::group) {
        text = "process group for " + program;
    }
    throw error(system_code(number), text);
}

void check(const spawn_request& what) {
    const std::error_code invalid = std::make_error_code(std::errc::invalid_argument);
    if (what.arguments.empty() || what.arguments.front().empty()) {
        throw error(invalid, "a program without a name was to be started");
    }
    const auto holds_nul = [](const std::string& each) {
        return each.find('\0') != std::string::npos;
    };
    if (std::any_of(what.arguments.begin(), what.arguments.end(), holds_nul) ||
        std::any_of(what.environment.begin(), what.environment.end(), holds_nul) ||
        holds_nul(what.directory)) {
        throw error(invalid, "start " + shown(what.arguments.front().c_str()) +
                                 ": a NUL is in an argument, a variable or the directory");
    }
    for (const std::string& each : what.environment) {
        if (each.find('=') == std::string::npos || each.front() == '=') {
            throw error(invalid, "no variable for an environment: \"" + shown(each) + "\"");
        }
    }
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> all;
    all.reserve(texts.size() + 1);
    for (const std::string& each : texts) {
        all.push_back(const_cast<char*>(each.c_str()));
    }
    all.push_back(nullptr);
    return all;
}

// Runs the child's part; gives clone's result, or -errno.
int clone_child(child_plan& plan, int& pidfd) {
    const std::unique_ptr<std::byte[]> stack(new std::byte[child_stack_bytes]);
    std::byte* const top = stack.get() + child_stack_bytes;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    const int child = ::__clone(&run_child, top - reinterpret_cast<std::uintptr_t>(top) % 16,
                                CLONE_VFORK | CLONE_VM | CLONE_PIDFD | SIGCHLD, &plan, &pidfd);
    const int failed = errno;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return child >= 0 ? child : -failed;
}

}  // namespace

const char* find_variable(const std::vector<std::string>& environment, std::string_view name) {
    for (const std::string& each : environment) {
        if (each.size() > name.size() && each.starts_with(name) && each[name.size()] == '=') {
            return each.c_str() + name.size() + 1;
        }
    }
    return nullptr;
}

std::vector<std::string> program_candidates(const std::string& program, const char* path) {
    if (program.find('/') != std::string::npos) {
        return {program};
    }
    std::vector<std::string> all;
    std::string_view left = path != nullptr ? path : default_path;
    for (bool more = true; more;) {
        const std::string_view folder = left.substr(0, left.find(':'));
        more = folder.size() < left.size();
        left.remove_prefix(folder.size() + (more ? 1 : 0));
        all.push_back(folder.empty() ? "./" + program : std::string(folder) + "/" + program);
    }
    return all;
}

spawned spawn(const spawn_request& what) {
    check(what);
    const std::vector<std::string> candidates =
        program_candidates(what.arguments.front(), find_variable(what.environment, "PATH"));
    const std::vector<char*> candidate_pointers = pointers(candidates);
    const std::vector<char*> arguments = pointers(what.arguments);
    const std::vector<char*> environment = pointers(what.environment);
    std::vector<spawn_request::descriptor> moves = what.descriptors;
    int first_free = 3;
    for (const spawn_request::descriptor& each : moves) {
        first_free = std::max(first_free, each.target + 1);
    }
    child_plan plan{candidate_pointers.data(),
                    arguments.data(),
                    environment.data(),
                    what.directory.empty() ? nullptr : what.directory.c_str(),
                    what.new_group,
                    what.new_session,
                    moves.data(),
                    moves.size(),
                    first_free};
    int pidfd = -1;
    const int child = clone_child(plan, pidfd);
    if (child < 0) {
        throw error(system_code(child), "start " + shown(what.arguments.front()));
    }
    if (plan.failed_at != step::none) {
        // It is at its end already; this does not wait for anything.
        siginfo_t ended;
        while (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &ended, WEXITED) != 0 &&
               errno == EINTR) {
        }
        ::close(pidfd);
        throw_failure(plan, what);
    }
    return {child, pidfd};
}

}  // namespace ringlet::detail
