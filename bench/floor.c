/* The floor: what a TCP answer costs when nothing but the kernel is paid for.
 *
 * A single-threaded, level-triggered epoll server that does one recv and one send per readiness
 * and nothing else. `floor echo PORT` sends back what it got; `floor http PORT [BYTES]` sends one
 * fixed response for every blank line, all answers to one recv in one send. BYTES pads that
 * response, so that it can be made as long as the response of the server it is compared with.
 * All connections share one hot buffer; only what the kernel did not take at once is copied aside,
 * and while something is aside the connection is not read. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    events_max = 512,
    buffer_bytes = 64 * 1024,
    carry_bytes = 3, /* A blank line may be cut after at most three of its four bytes. */
    response_bytes_max = 4096,
    answers_max = buffer_bytes / 4 + 1
};

struct connection {
    char *aside;
    size_t aside_offset;
    size_t aside_bytes;
    char carry[carry_bytes];
};

static struct connection *connections;
static size_t connections_max;
static int epoll_fd;
static bool http;
static char buffer[carry_bytes + buffer_bytes];
static char *answers;
static size_t response_bytes;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int operation, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll_fd, operation, fd, &event) < 0) die("epoll_ctl");
}

static void drop(int fd) {
    free(connections[fd].aside);
    connections[fd].aside = NULL;
    close(fd);
}

static void send_or_keep(int fd, const char *data, size_t bytes) {
    ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);
    if (sent == (ssize_t)bytes) return;
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) return drop(fd);
        sent = 0;
    }
    struct connection *connection = &connections[fd];
    connection->aside_bytes = bytes - (size_t)sent;
    connection->aside_offset = 0;
    connection->aside = malloc(connection->aside_bytes);
    if (!connection->aside) die("malloc");
    memcpy(connection->aside, data + sent, connection->aside_bytes);
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void send_aside(int fd) {
    struct connection *connection = &connections[fd];
    ssize_t sent = send(fd, connection->aside + connection->aside_offset,
                        connection->aside_bytes - connection->aside_offset, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) drop(fd);
        return;
    }
    connection->aside_offset += (size_t)sent;
    if (connection->aside_offset < connection->aside_bytes) return;
    free(connection->aside);
    connection->aside = NULL;
    watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

/* Counts the blank lines in what was just received and in the bytes carried from before it. */
static size_t count_requests(int fd, size_t bytes) {
    char *carry = connections[fd].carry;
    char *end = buffer + carry_bytes + bytes;
    memcpy(buffer, carry, carry_bytes);
    size_t requests = 0;
    for (char *at = buffer; (at = memmem(at, (size_t)(end - at), "\r\n\r\n", 4)); at += 4) {
        requests++;
    }
    memcpy(carry, end - carry_bytes, carry_bytes);
    if (memcmp(end - carry_bytes, "\n\r\n", carry_bytes) == 0) memset(carry, 0, carry_bytes);
    return requests;
}

static void on_readable(int fd) {
    ssize_t got = recv(fd, buffer + carry_bytes, buffer_bytes, 0);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) drop(fd);
        return;
    }
    if (!http) return send_or_keep(fd, buffer + carry_bytes, (size_t)got);
    size_t requests = count_requests(fd, (size_t)got);
    if (requests > 0) send_or_keep(fd, answers, requests * response_bytes);
}

static void on_accept(int listener) {
    int one = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    if ((size_t)fd >= connections_max) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connections[fd] = (struct connection){0};
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

static void prepare_answers(size_t wanted_bytes) {
    char response[response_bytes_max + 1];
    const char *form = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n"
                       "%s%.*s%s\r\nHello, World!";
    char fill[response_bytes_max];
    memset(fill, '-', sizeof fill);
    int plain = snprintf(response, sizeof response, form, "", 0, fill, "");
    int room = (int)wanted_bytes - plain - (int)strlen("X-Fill: \r\n");
    if (room >= 0) {
        snprintf(response, sizeof response, form, "X-Fill: ", room, fill, "\r\n");
    }
    response_bytes = strlen(response);
    answers = malloc(response_bytes * answers_max);
    if (!answers) die("malloc");
    for (size_t i = 0; i < answers_max; i++) {
        memcpy(answers + i * response_bytes, response, response_bytes);
    }
}

static int listen_on(int port) {
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
    if (listen(fd, 4096) < 0) die("listen");
    return fd;
}

int main(int argc, char **argv) {
    bool known = argc >= 3 && (strcmp(argv[1], "echo") == 0 || strcmp(argv[1], "http") == 0);
    int port = known ? atoi(argv[2]) : 0;
    long wanted = argc > 3 ? atol(argv[3]) : 0;
    if (port < 1 || port > 65535 || wanted < 0 || wanted > response_bytes_max) {
        fprintf(stderr, "usage: floor echo|http PORT [BYTES of a response, at most %d]\n",
                response_bytes_max);
        return 2;
    }
    http = strcmp(argv[1], "http") == 0;
    if (http) prepare_answers((size_t)wanted);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    connections_max = limit.rlim_cur < 1u << 20 ? limit.rlim_cur : 1u << 20;
    connections = calloc(connections_max, sizeof *connections);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!connections || epoll_fd < 0) die("floor");
    int listener = listen_on(port);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        struct epoll_event events[events_max];
        int count = epoll_wait(epoll_fd, events, events_max, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                on_accept(fd);
            } else if (connections[fd].aside) {
                send_aside(fd);
            } else {
                on_readable(fd);
            }
        }
    }
}
