/* The floor of io_uring: the same echo as `floor echo`, on a bare ring. `uring_echo PORT`.
 *
 * Not a model, a yardstick: what the driver above it may cost is the distance to this. It is the
 * shape that measured cheapest here: DEFER_TASKRUN, multishot receive over a buffer ring, one
 * system call per turn that submits all sends of the turn and waits. A received buffer is sent
 * as it is and goes back to the ring when its send has completed; buffers that arrive meanwhile
 * queue behind it, so that one send is in flight per connection and nothing is reordered. */
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    submissions_max = 1024,
    completions_max = 16384,
    batch_max = 1024,
    buffers_count = 256,
    buffer_bytes = 16 * 1024,
    descriptors_max = 20000,
    none = -1
};

enum kind { kind_accept, kind_receive, kind_send };

struct connection {
    int first; /* The buffer in the kernel's hands, `none` when no send is in flight. */
    int last;
    bool ended; /* No more is received; closed when the last send is done. */
};

static struct io_uring ring;
static struct io_uring_buf_ring *buffer_ring;
static unsigned char *buffers;
static int next_buffer[buffers_count];
static unsigned filled_bytes[buffers_count];
static struct connection connections[descriptors_max];
static int starved[descriptors_max];
static int starved_count;
static int given_back;

static void die(const char *what, int error) {
    fprintf(stderr, "uring_echo: %s: %s\n", what, strerror(error));
    exit(1);
}

static struct io_uring_sqe *next_submission(enum kind kind, int fd) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    while (!sqe) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    memset(sqe, 0, sizeof *sqe);
    sqe->fd = fd;
    sqe->user_data = (uint64_t)fd << 8 | kind;
    return sqe;
}

static void start_accept(int listener) {
    struct io_uring_sqe *sqe = next_submission(kind_accept, listener);
    sqe->opcode = IORING_OP_ACCEPT;
    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
    sqe->accept_flags = SOCK_CLOEXEC;
}

static void start_receive(int fd) {
    struct io_uring_sqe *sqe = next_submission(kind_receive, fd);
    sqe->opcode = IORING_OP_RECV;
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->flags = IOSQE_BUFFER_SELECT;
}

static void start_send(int fd) {
    int buffer = connections[fd].first;
    struct io_uring_sqe *sqe = next_submission(kind_send, fd);
    sqe->opcode = IORING_OP_SEND;
    sqe->addr = (uint64_t)(uintptr_t)(buffers + (size_t)buffer * buffer_bytes);
    sqe->len = filled_bytes[buffer];
    sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
}

static void give_back(int buffer) {
    io_uring_buf_ring_add(buffer_ring, buffers + (size_t)buffer * buffer_bytes, buffer_bytes,
                          (unsigned short)buffer, buffers_count - 1, given_back++);
}

static void end(int fd) {
    connections[fd].ended = true;
    if (connections[fd].first == none) close(fd);
}

static void on_received(const struct io_uring_cqe *cqe, int fd) {
    struct connection *connection = &connections[fd];
    if (cqe->res == -ENOBUFS) {
        starved[starved_count++] = fd;
        return;
    }
    if (cqe->res <= 0) return end(fd);
    int buffer = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    filled_bytes[buffer] = (unsigned)cqe->res;
    next_buffer[buffer] = none;
    if (connection->first == none) {
        connection->first = connection->last = buffer;
        start_send(fd);
    } else {
        next_buffer[connection->last] = buffer;
        connection->last = buffer;
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) start_receive(fd);
}

static void on_sent(const struct io_uring_cqe *cqe, int fd) {
    struct connection *connection = &connections[fd];
    bool failed = cqe->res < (int)filled_bytes[connection->first];
    if (failed) shutdown(fd, SHUT_RDWR); /* The receive then ends, and with it the connection. */
    do {
        int done = connection->first;
        connection->first = next_buffer[done];
        give_back(done);
    } while (failed && connection->first != none);
    if (connection->first != none) {
        start_send(fd);
    } else if (connection->ended) {
        close(fd);
    }
}

static void on_completion(const struct io_uring_cqe *cqe) {
    int fd = (int)(cqe->user_data >> 8);
    enum kind kind = cqe->user_data & 0xff;
    if (kind == kind_receive) return on_received(cqe, fd);
    if (kind == kind_send) return on_sent(cqe, fd);
    if (cqe->res >= descriptors_max) {
        close(cqe->res);
    } else if (cqe->res >= 0) {
        connections[cqe->res] = (struct connection){.first = none, .last = none};
        start_receive(cqe->res);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) start_accept(fd);
}

static void set_up_ring(void) {
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = completions_max};
    int error = io_uring_queue_init_params(submissions_max, &ring, &parameters);
    if (error < 0) die("io_uring_queue_init_params", -error);
    io_uring_register_ring_fd(&ring);
    size_t bytes = buffers_count * (sizeof(struct io_uring_buf) + (size_t)buffer_bytes);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) die("mmap", errno);
    buffer_ring = memory;
    buffers = (unsigned char *)memory + buffers_count * sizeof(struct io_uring_buf);
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)buffer_ring,
                                            .ring_entries = buffers_count};
    error = io_uring_register_buf_ring(&ring, &registration, 0);
    if (error < 0) die("io_uring_register_buf_ring", -error);
    for (int i = 0; i < buffers_count; i++) give_back(i);
}

static int listen_on(int port) {
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* Inherited by accepted ones. */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die("bind", errno);
    if (listen(fd, 4096) < 0) die("listen", errno);
    return fd;
}

int main(int argc, char **argv) {
    int port = argc == 2 ? atoi(argv[1]) : 0;
    if (port < 1 || port > 65535) {
        fprintf(stderr, "usage: uring_echo PORT\n");
        return 2;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    set_up_ring();
    start_accept(listen_on(port));
    for (;;) {
        if (given_back > 0) {
            io_uring_buf_ring_advance(buffer_ring, given_back);
            given_back = 0;
            while (starved_count > 0) start_receive(starved[--starved_count]);
        }
        int error = io_uring_submit_and_wait(&ring, 1);
        if (error < 0 && error != -EINTR && error != -EBUSY) die("io_uring_enter", -error);
        static struct io_uring_cqe *batch[batch_max];
        unsigned count = io_uring_peek_batch_cqe(&ring, batch, batch_max);
        for (unsigned i = 0; i < count; i++) on_completion(batch[i]);
        io_uring_cq_advance(&ring, count);
    }
}
