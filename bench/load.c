/* The load: a closed-loop client that keeps its connections open between rounds.
 *
 *   load echo ADDRESS:PORT CONNECTIONS BYTES
 *   load http ADDRESS:PORT CONNECTIONS DEPTH [TARGET]
 *
 * Prints `ready N` when N connections stand, then obeys lines on stdin: `round SECONDS [ANSWERS]`
 * sends on every connection, waits for the whole answer, sends again, until the time is over or
 * the answers are counted, waits for what is under way and prints
 * `answers N errors M p50 US p99 US seconds S`. It ends at end of file. In echo mode each message
 * carries the connection and a sequence number at both ends, checked in the answer. In http mode
 * DEPTH requests are sent at once; the first response is parsed, and every later one must be a 200
 * of the same length. Only loopback addresses are accepted, so that no mistake loads anyone. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    connections_max = 16384,
    connections_per_source = 4096, /* A source address has some 28,000 ports; stay far below. */
    message_bytes_max = 1 << 20,
    depth_max = 256,
    seconds_max = 60,
    events_max = 512,
    drain_ms_max = 5000,
    mark_bytes = 8,
    steps_per_octave = 64,
    octaves = 40
};

struct connection {
    int fd; /* -1 when lost; reopened before the next round. */
    bool waits; /* An answer is under way. */
    uint32_t sequence;
    size_t sent;
    size_t received;
    uint64_t sent_ns;
};

static struct connection connections[connections_max];
static int connections_count;
static int epoll_fd;
static struct sockaddr_in server;
static bool http;
static char *message;
static size_t message_bytes;
static size_t answer_bytes; /* Expected for one message; 0 until the first response is parsed. */
static size_t response_bytes;
static size_t answers_per_message = 1;
static char received_bytes[message_bytes_max + 1];

static bool sending;
static int waiting_count;
static uint64_t answers_limit, answers_count, errors_count;
static uint64_t latencies[octaves * steps_per_octave];

static void fail(const char *sentence) {
    fprintf(stderr, "load: %s\n", sentence);
    exit(2);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Latencies are kept in steps of 1/64 octave: an error of about 1 %, and no memory that grows. */
static size_t latency_step(uint64_t ns) {
    if (ns < steps_per_octave) return (size_t)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - 6u;
    size_t step = (shift + 1u) * steps_per_octave + (size_t)(ns >> shift) - steps_per_octave;
    size_t last = octaves * steps_per_octave - 1;
    return step < last ? step : last;
}

static double latency_us(double share) {
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < octaves * steps_per_octave; i++) total += latencies[i];
    for (size_t i = 0; i < octaves * steps_per_octave; i++) {
        seen += latencies[i];
        if (total == 0 || (double)seen < share * (double)total) continue;
        if (i < steps_per_octave) return (double)i / 1e3;
        uint64_t mantissa = steps_per_octave + i % steps_per_octave;
        return (double)(mantissa << (i / steps_per_octave - 1)) / 1e3;
    }
    return 0;
}

static void watch(int operation, struct connection *connection, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(epoll_fd, operation, connection->fd, &event) < 0) fail("epoll_ctl was refused");
}

static bool open_connection(int index) {
    struct connection *connection = &connections[index];
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint32_t source_number = 1u + (uint32_t)index / connections_per_source;
    struct sockaddr_in source = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(0x7f000000u + source_number)};
    *connection = (struct connection){.fd = fd};
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&source, sizeof source) < 0 ||
        connect(fd, (struct sockaddr *)&server, sizeof server) < 0) {
        if (fd >= 0) close(fd);
        connection->fd = -1;
        return false;
    }
    watch(EPOLL_CTL_ADD, connection, EPOLLIN);
    return true;
}

static void lose(struct connection *connection) {
    close(connection->fd);
    connection->fd = -1;
    errors_count++;
    if (connection->waits) waiting_count--;
    connection->waits = false;
}

static void mark(const struct connection *connection, char *at) {
    uint32_t words[2] = {(uint32_t)(connection - connections), connection->sequence};
    memcpy(at, words, mark_bytes);
}

/* Sends the rest of the message. The message is rebuilt each time, since all connections share
 * its bytes. */
static void send_rest(struct connection *connection) {
    if (!http) {
        mark(connection, message);
        mark(connection, message + message_bytes - mark_bytes);
    }
    bool was_partial = connection->sent > 0;
    ssize_t sent = send(connection->fd, message + connection->sent,
                        message_bytes - connection->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return lose(connection);
    if (sent > 0) connection->sent += (size_t)sent;
    bool partial = connection->sent < message_bytes;
    if (partial != was_partial || (partial && sent < 0)) {
        watch(EPOLL_CTL_MOD, connection, partial ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

static void start_message(struct connection *connection, uint64_t now) {
    connection->sequence++;
    connection->sent = 0;
    connection->received = 0;
    connection->sent_ns = now;
    connection->waits = true;
    waiting_count++;
    send_rest(connection);
}

/* Learns the length of a response from the first one. */
static bool parse_first_response(size_t bytes) {
    static const char length_name[] = "\r\ncontent-length:";
    received_bytes[bytes] = '\0';
    char *body = strstr(received_bytes, "\r\n\r\n");
    char *length = strcasestr(received_bytes, length_name);
    if (!body) return true;
    if (!length || length > body) fail("the response has no Content-Length");
    response_bytes = (size_t)(body + 4 - received_bytes) +
                     strtoul(length + sizeof length_name - 1, NULL, 10);
    answer_bytes = response_bytes * answers_per_message;
    if (answer_bytes > message_bytes_max) fail("the responses to one message are too long");
    return true;
}

/* Checks what lies at known places of the answer and arrived whole between begin and end. */
static bool is_expected(struct connection *connection, size_t begin, size_t end) {
    if (http) {
        static const char status[] = "HTTP/1.1 200";
        size_t first = (begin + response_bytes - 1) / response_bytes * response_bytes;
        for (size_t at = first; at + sizeof status - 1 <= end; at += response_bytes) {
            if (memcmp(received_bytes + at, status, sizeof status - 1) != 0) return false;
        }
        return true;
    }
    char marked[mark_bytes];
    mark(connection, marked);
    if (begin == 0 && end >= mark_bytes && memcmp(received_bytes, marked, mark_bytes) != 0) {
        return false;
    }
    size_t tail = message_bytes - mark_bytes;
    return end < message_bytes || begin > tail ||
           memcmp(received_bytes + tail, marked, mark_bytes) == 0;
}

static void on_readable(struct connection *connection) {
    size_t begin = connection->received;
    size_t room = answer_bytes > 0 ? answer_bytes - begin : message_bytes_max - begin;
    if (!connection->waits) room = 1; /* Nothing is due: an end of file, or a byte too many. */
    ssize_t got = recv(connection->fd, received_bytes + begin, room, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0 || !connection->waits) return lose(connection);
    connection->received += (size_t)got;
    if (answer_bytes == 0) parse_first_response(connection->received);
    if (answer_bytes == 0) return;
    if (!is_expected(connection, begin, connection->received)) return lose(connection);
    if (connection->received < answer_bytes) return;
    if (connection->received > answer_bytes) return lose(connection);
    uint64_t now = now_ns();
    connection->waits = false;
    waiting_count--;
    answers_count += answers_per_message;
    latencies[latency_step(now - connection->sent_ns)]++;
    if (answers_count >= answers_limit) sending = false;
    if (sending) start_message(connection, now);
}

static void run_round(double seconds) {
    uint64_t begin = now_ns();
    uint64_t stop = begin + (uint64_t)(seconds * 1e9);
    uint64_t give_up = stop + (uint64_t)drain_ms_max * 1000000u;
    answers_count = errors_count = 0;
    memset(latencies, 0, sizeof latencies);
    for (int i = 0; i < connections_count; i++) {
        if (connections[i].fd < 0 && !open_connection(i)) errors_count++;
    }
    sending = true;
    for (int i = 0; i < connections_count && sending; i++) {
        if (connections[i].fd >= 0) start_message(&connections[i], now_ns());
    }
    while (waiting_count > 0) {
        struct epoll_event events[events_max];
        int count = epoll_wait(epoll_fd, events, events_max, 50);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection->fd >= 0 && events[i].events & EPOLLOUT) send_rest(connection);
            if (connection->fd >= 0 && events[i].events & ~(uint32_t)EPOLLOUT) {
                on_readable(connection);
            }
        }
        uint64_t now = now_ns();
        if (now >= stop) sending = false;
        if (now < give_up) continue;
        for (int i = 0; i < connections_count; i++) {
            if (connections[i].waits) lose(&connections[i]);
        }
    }
    printf("answers %llu errors %llu p50 %.1f p99 %.1f seconds %.4f\n",
           (unsigned long long)answers_count, (unsigned long long)errors_count, latency_us(0.5),
           latency_us(0.99), (double)(now_ns() - begin) / 1e9);
}

static void parse_address(char *text) {
    char *colon = strrchr(text, ':');
    int port = colon ? atoi(colon + 1) : 0;
    if (colon) *colon = '\0';
    if (port < 1 || port > 65535 || inet_pton(AF_INET, text, &server.sin_addr) != 1) {
        fail("the address must be like 127.0.0.1:8000");
    }
    if (ntohl(server.sin_addr.s_addr) >> 24 != 127) fail("only loopback addresses are loaded");
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)port);
}

static void prepare_message(long size, const char *target) {
    if (!http) {
        if (size < 2 * mark_bytes || size > message_bytes_max) fail("BYTES must be 16..1048576");
        answer_bytes = message_bytes = (size_t)size;
        message = malloc(message_bytes);
        if (message) memset(message, 'r', message_bytes);
        return;
    }
    if (size < 1 || size > depth_max) fail("DEPTH must be 1..256");
    char request[1024];
    int bytes = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
                         target, ntohs(server.sin_port));
    if (bytes >= (int)sizeof request) fail("TARGET is too long");
    answers_per_message = (size_t)size;
    message_bytes = (size_t)bytes * answers_per_message;
    message = malloc(message_bytes + 1);
    if (!message) fail("no memory for the message");
    for (size_t i = 0; i < answers_per_message; i++) {
        memcpy(message + i * (size_t)bytes, request, (size_t)bytes);
    }
}

int main(int argc, char **argv) {
    if (argc < 5 || (strcmp(argv[1], "echo") != 0 && strcmp(argv[1], "http") != 0)) {
        fail("usage: load echo ADDRESS:PORT CONNECTIONS BYTES, "
             "or load http ADDRESS:PORT CONNECTIONS DEPTH [TARGET]");
    }
    http = strcmp(argv[1], "http") == 0;
    parse_address(argv[2]);
    connections_count = atoi(argv[3]);
    if (connections_count < 1 || connections_count > connections_max) {
        fail("CONNECTIONS must be 1..16384");
    }
    prepare_message(atol(argv[4]), argc > 5 ? argv[5] : "/plaintext");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < connections_count; i++) {
        if (!open_connection(i)) fail("the server did not take all connections");
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ready %d\n", connections_count);
    char line[128];
    while (fgets(line, sizeof line, stdin)) {
        double seconds = 0;
        unsigned long long limit_answers = UINT64_MAX;
        if (sscanf(line, "round %lf %llu", &seconds, &limit_answers) < 1 || !(seconds > 0) ||
            seconds > seconds_max) {
            fail("a line must be: round SECONDS [ANSWERS], at most 60 seconds");
        }
        answers_limit = limit_answers;
        run_round(seconds);
    }
    return 0;
}
