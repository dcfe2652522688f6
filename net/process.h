// Child processes: spawned without copying this one, waited for by pidfd, their streams as pipes.
//
// `process` owns the child. Whoever drops it kills the child (SIGKILL; its whole group, if it was
// given one) and need not wait: the loop collects it when it has died. So no child outlives its
// handle and none stays a zombie while its loop turns; a loop's end waits for what it killed. No
// SIGCHLD handler is installed and none of the program's is needed (docs/processes.md).
//
// A child gets: the arguments, the environment, the three standard streams as the options say; no
// other descriptor but those of `keep`; an empty signal mask, no handler, SIGPIPE as the system has
// it. The spawn blocks the loop until the program was exec'ed or refused, about a millisecond.
// Loop thread only; a process must die before its loop.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/loop.h"
#include "coro/suspension.h"
#include "coro/task.h"
#include "coro/wait_list.h"
#include "net/pipe.h"

namespace ringlet {

// Where a standard stream of a child leads.
class child_stream {
public:
    static child_stream inherit() noexcept { return {kind::inherit, -1}; }
    static child_stream null() noexcept { return {kind::null, -1}; }
    // The other end is in the `process`.
    static child_stream pipe() noexcept { return {kind::pipe, -1}; }
    // A copy of `fd`, which stays the caller's.
    static child_stream descriptor(int fd) noexcept { return {kind::descriptor, fd}; }
    // For the error stream: where the output goes.
    static child_stream output() noexcept { return {kind::output, -1}; }

    bool is_inherited() const noexcept { return kind_ == kind::inherit; }

private:
    friend class spawner;
    enum class kind : unsigned char { inherit, null, pipe, descriptor, output };
    child_stream(kind what, int fd) noexcept : kind_(what), fd_(fd) {}

    kind kind_;
    int fd_;
};

enum class process_group : unsigned char {
    inherit,  // ours: a terminal's Ctrl-C reaches the child as well
    own,      // one of its own, which it leads
    session   // a session, and so a group, of its own, without a terminal
};

// No aggregates, these two: GCC 12 destroys such twice where a co_await makes them from `{}`.
struct process_options {
    process_options() {}

    // The program and its arguments. A name without '/' is looked for in the PATH of the child's
    // environment.
    std::vector<std::string> arguments;
    std::optional<std::vector<std::string>> environment = {};  // "NAME=value"; none: ours
    std::vector<std::string> set_variables = {};  // "NAME=value": put into it, or replaced there
    std::string directory = {};                   // to work in; empty: ours
    child_stream input = child_stream::inherit();
    child_stream output = child_stream::inherit();
    child_stream errors = child_stream::inherit();
    process_group group = process_group::inherit;
    std::vector<int> keep = {};  // descriptors the child gets under the same numbers, from 3 up
};

// How a process ended, and what it used.
struct process_status {
    int exit_code = -1;      // -1 when a signal ended it
    int ended_by = 0;        // that signal, or 0
    bool core_dumped = false;
    nanoseconds user_time{};
    nanoseconds system_time{};
    std::size_t memory_bytes_max = 0;  // resident

    bool ok() const noexcept { return exit_code == 0; }
    // "exit code 3", "ended by SIGKILL".
    std::string text() const;
};

class process {
public:
    class end_wait;

    process() noexcept = default;
    // Throws `error` with the errno of what failed and a sentence that names it: "no such program:
    // x". Then nothing was started.
    process(loop& owner, const process_options& options);
    process(process&& other) noexcept;
    process& operator=(process&& other) noexcept;
    ~process() { drop(); }

    explicit operator bool() const noexcept { return core_ != nullptr; }
    pid_t id() const noexcept;
    bool ended() const noexcept;

    // co_await it: a process_status. Any number of coroutines may wait, also after the end. Resumed
    // from the ready queue. Cancel ends the wait, not the process. Throws ECHILD when somebody else
    // has collected the child.
    end_wait wait() noexcept;
    // False when it has ended already. Never hits another process.
    bool send_signal(int number) noexcept;
    // The same to all of its group. Requires: it has one of its own.
    bool signal_group(int number) noexcept;
    // SIGTERM, and SIGKILL when it has not ended after `grace`; to the group, if it has its own.
    task<process_status> terminate(nanoseconds grace);
    // Kills it, if it lives; see above. Requires: nobody waits for it or uses a pipe of it.
    void drop() noexcept;

    // Those that were asked for.
    pipe_writer input;
    pipe_reader output;
    pipe_reader errors;

private:
    class core;
    core* core_ = nullptr;
};

class [[nodiscard]] process::end_wait final : public suspension<end_wait>,
                                              public detail::wait_link {
public:
    explicit end_wait(core& of) noexcept : core_(of) {}
    bool await_ready() const noexcept;
    void enlist() noexcept;
    void delist() noexcept;
    void describe_wait(wait_description& into) const;
    process_status await_resume() const;

private:
    core& core_;
};

struct run_process_options {
    run_process_options() {}

    std::string input = {};  // written to its standard input, which then ends
    std::size_t output_bytes_max = 16 * 1024 * 1024;  // of each of the two streams
    nanoseconds timeout = wait_forever;
};

struct process_result {
    process_status status;
    std::string output;
    std::string errors;  // empty when it went elsewhere
};

// Runs a program to its end, and the end of its output. Its input is what `how` says, its output
// and (where `what` says `inherit`) its error stream are collected. More output than the limit, or
// no end in time, kills it and throws errc::limit_exceeded or errc::timed_out, as cancelling does.
// That a program ended badly is no error here: look at the status.
task<process_result> run_process(loop& owner, process_options what, run_process_options how = {});

}  // namespace ringlet
