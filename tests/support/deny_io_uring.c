/* Runs a program as a container without io_uring would: deny_io_uring PROGRAM [ARGUMENT]...
 * A seccomp filter answers EPERM to the three io_uring system calls, in this process and in all it
 * starts. It needs no privilege, because it gives up the right to gain one (no_new_privs). */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    /* The numbers are the same on every architecture, so the architecture is not looked at. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_io_uring_setup, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, __NR_io_uring_register, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof code[0], .filter = code};
    if (argc < 2) {
        fprintf(stderr, "usage: deny_io_uring PROGRAM [ARGUMENT]...\n");
        return 2;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        fprintf(stderr, "deny_io_uring: the filter was refused: %s\n", strerror(errno));
        return 2;
    }
    /* Without this check a filter that let io_uring pass would make the suite prove nothing. */
    if (syscall(__NR_io_uring_setup, 1, NULL) != -1 || errno != EPERM) {
        fprintf(stderr, "deny_io_uring: io_uring still answers\n");
        return 2;
    }
    execvp(argv[1], argv + 1);
    fprintf(stderr, "deny_io_uring: %s: %s\n", argv[1], strerror(errno));
    return 2;
}
