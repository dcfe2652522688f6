/* The load for HTTPS and for handshakes, obeying the same lines as load.c and printing the same
 * answers; for echoes there is tls_echo_load.c.
 *
 *   tls_load http ADDRESS:PORT CONNECTIONS 1
 *   tls_load handshake ADDRESS:PORT CONNECTIONS new|resumed
 *
 * http: GET /plaintext over and over; all responses have the first one's length. handshake: each
 * answer is a new connection, its handshake, a request and the first bytes that come back;
 * `resumed` takes up the session of the last one. Certificates are not verified: what is measured
 * is the server. Only loopback addresses are accepted. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/tls_load_parts.h"

enum { answer_bytes_max = 1 << 20 };

static const char request[] = "GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
static const size_t request_bytes = sizeof request - 1;

struct connection {
    int fd;
    SSL *ssl;
    bool waits;
    size_t sent, received;
    uint64_t begun_ns;
    char *answer;
};

static struct connection connections[connections_max];
static int connections_count, epoll_fd;
static bool http, resume;
static SSL_CTX *settings;
static SSL_SESSION *session;
static size_t answer_bytes; /* Of one response; 0 until the first is parsed. */
static bool sending;
static int waiting_count;

static int keep_session(SSL *ssl, SSL_SESSION *fresh) {
    (void)ssl;
    SSL_SESSION_free(session);
    session = fresh;
    return 1;
}

static void open_connection(struct connection *c) {
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0) {
        fail("the server did not take a connection");
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->ssl = SSL_new(settings);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_connect_state(c->ssl);
    if (resume && session) SSL_set_session(c->ssl, session);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) fail("epoll_ctl was refused");
}

/* By a reset, so that no port waits for its end. */
static void close_connection(struct connection *c) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    close(c->fd);
    c->ssl = NULL;
}

static void lose(struct connection *c) {
    errors_count++;
    if (c->waits) waiting_count--;
    c->waits = false;
    if (c->ssl) close_connection(c);
    ERR_clear_error();
}

/* True when OpenSSL only waits for the socket. */
static bool must_wait(struct connection *c, int result) {
    int why = SSL_get_error(c->ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static bool answer_is_whole(struct connection *c) {
    if (!http) return c->received > 0;
    if (answer_bytes == 0) {
        c->answer[c->received] = '\0';
        char *body = strstr(c->answer, "\r\n\r\n");
        char *length = strcasestr(c->answer, "\r\ncontent-length:");
        if (!body || !length) return false;
        answer_bytes = (size_t)(body + 4 - c->answer) + strtoul(length + 17, NULL, 10);
    }
    return c->received >= answer_bytes;
}

static bool answer_is_right(struct connection *c) {
    return !http || (c->received == answer_bytes && !memcmp(c->answer + 9, "200", 3));
}

static void go_on(struct connection *c);

static void start_message(struct connection *c) {
    c->sent = c->received = 0;
    c->begun_ns = now_ns();
    c->waits = true;
    waiting_count++;
    if (!c->ssl) open_connection(c);
    go_on(c);
}

static void finish_message(struct connection *c) {
    if (!answer_is_right(c)) {
        lose(c);
        return;
    }
    count_answer(c->begun_ns);
    c->waits = false;
    waiting_count--;
    if (!http) close_connection(c);
    if (answers_count >= answers_limit) sending = false;
}

/* Writes and reads, both as far as the socket lets it. */
static void go_on(struct connection *c) {
    while (c->waits) {
        bool moved = false;
        if (c->sent < request_bytes) {
            int done = SSL_write(c->ssl, request + c->sent, (int)(request_bytes - c->sent));
            if (done <= 0 && !must_wait(c, done)) return lose(c);
            if (done > 0) c->sent += (size_t)done, moved = true;
        }
        if (SSL_is_init_finished(c->ssl)) {
            int got = SSL_read(c->ssl, c->answer + c->received,
                               (int)(answer_bytes_max - c->received));
            if (got <= 0 && !must_wait(c, got)) return lose(c);
            if (got > 0) c->received += (size_t)got, moved = true;
            if (got > 0 && answer_is_whole(c)) finish_message(c);
        }
        if (!moved) return;
    }
}

static void run_round(double seconds) {
    uint64_t begin = now_ns();
    uint64_t stop = begin + (uint64_t)(seconds * 1e9);
    uint64_t give_up = stop + (uint64_t)drain_ms_max * 1000000u;
    answers_count = errors_count = 0;
    sending = true;
    for (;;) {
        for (int i = 0; i < connections_count && sending; i++) {
            if (!connections[i].waits) start_message(&connections[i]);
        }
        if (waiting_count == 0 && !sending) break;
        struct epoll_event events[connections_max];
        int count = waiting_count ? epoll_wait(epoll_fd, events, connections_max, 50) : 0;
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->ssl) go_on(c);
        }
        uint64_t now = now_ns();
        if (now >= stop) sending = false;
        for (int i = 0; i < connections_count && now >= give_up; i++) {
            if (connections[i].waits) lose(&connections[i]);
        }
    }
    print_round(now_ns() - begin);
}

static void parse(int argc, char **argv) {
    static const char usage[] =
        "usage: tls_load http|handshake ADDRESS:PORT CONNECTIONS 1|new|resumed";
    if (argc != 5) fail(usage);
    parse_address(argv[2], usage);
    http = !strcmp(argv[1], "http");
    resume = !strcmp(argv[4], "resumed");
    connections_count = atoi(argv[3]);
    if (connections_count < 1 || connections_count > connections_max) {
        fail("CONNECTIONS must be 1..256");
    }
}

int main(int argc, char **argv) {
    parse(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    settings = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(settings, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(settings, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(settings, keep_session);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < connections_count; i++) {
        struct connection *c = &connections[i];
        c->answer = malloc(answer_bytes_max + 1);
        if (!c->answer) fail("no memory for the answers");
    }
    obey(connections_count, run_round);
    return 0;
}
