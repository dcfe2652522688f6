// bench_spawn N: the floor for processes: N times posix_spawn of /bin/true and waitpid, one after
// the other. Prints the CPU time of this process for each and the time each took, both in ns.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char** environ;

static double now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int count, char** arguments) {
    const long wanted = count > 1 ? atol(arguments[1]) : 0;
    if (wanted <= 0) {
        fputs("usage: bench_spawn N\n", stderr);
        return 2;
    }
    char* const program[] = {"/bin/true", NULL};
    const double cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    const double wall = now_ns(CLOCK_MONOTONIC);
    for (long i = 0; i < wanted; i++) {
        pid_t child = 0;
        int status = 0;
        if (posix_spawn(&child, program[0], NULL, NULL, program, environ) != 0 ||
            waitpid(child, &status, 0) != child || status != 0) {
            fputs("bench_spawn: /bin/true could not be run\n", stderr);
            return 1;
        }
    }
    printf("%.0f %.0f\n", (now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)wanted,
           (now_ns(CLOCK_MONOTONIC) - wall) / (double)wanted);
    return 0;
}
