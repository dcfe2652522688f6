// dump_tasks: what every live job of a loop (a task that was spawned, a fiber, a running handler)
// waits for, since when, and where it was spawned; for programs that hang. docs/dumps.md says how
// to read one. Nothing is recorded for it but a few words per job and the time per wait, and it
// changes nothing. Loop thread only, any time, also inside a task (which then is "running").
//
// A task awaited by another is a part of the same job and has no line of its own.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/signals.h"
#include "coro/job.h"

namespace ringlet {

struct live_job {
    const job* which;              // gone when it has ended
    std::size_t depth = 0;         // how many parents are above it
    bool waits = false;            // false: it runs, or awaits what is not ours
    wait_description wait = {};
};

// Every live job, after its parent.
std::vector<live_job> live_jobs(loop& owner);

// A line per job, indented below its parent.
std::string dump_tasks(loop& owner);
// One JSON object: `driver`, `now_s`, `operations`, `timers`, and `tasks`, in which each has `id`,
// `parent` (an id or null), `what`, `cancelled`, `spawned` (`file` and `line`, or null) and `waits`
// (`for_s`, `kind`, `detail`, and, if known, `descriptor` and `ends_in_s`; or null).
std::string dump_tasks_json(loop& owner);

// While it lives, a signal writes dump_tasks on stderr.
class dump_on_signal {
public:
    // Throws `error` like signal_watch.
    explicit dump_on_signal(loop& owner, int number = SIGUSR1);

private:
    signal_watch watch_;
};

}  // namespace ringlet
