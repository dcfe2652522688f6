// The step from process_options to a running program, without coroutines: what net/process.cpp
// stands on. The child is made by clone with CLONE_VFORK, CLONE_VM and CLONE_PIDFD: nothing of the
// parent is copied, the parent stands still until the child has exec'ed or given up, and the
// pidfd comes with the child, so that nobody can collect it before. In between the child runs on
// the parent's memory: it allocates nothing, and says what failed by writing it there.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ringlet::detail {

struct spawn_request {
    std::vector<std::string> arguments;
    std::vector<std::string> environment;
    std::string directory;  // empty: ours
    bool new_group = false;
    bool new_session = false;
    // Descriptor `source` of ours becomes `target` in the child. Of others only 0 to 2 are kept.
    struct descriptor {
        int source;
        int target;
    };
    std::vector<descriptor> descriptors;
};

struct spawned {
    pid_t id;
    int pidfd;  // close-on-exec, the caller's
};

// Throws `error` that says what failed; then no child is left.
spawned spawn(const spawn_request& what);

// The value of `name` in an environment; null when it is not there.
const char* find_variable(const std::vector<std::string>& environment, std::string_view name);

// What is tried, in order, to run `program`: itself when it has a '/', else each folder of `path`.
std::vector<std::string> program_candidates(const std::string& program, const char* path);

}  // namespace ringlet::detail
