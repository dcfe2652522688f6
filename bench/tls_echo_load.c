/* The load for echo servers that speak TLS 1.3, obeying the same lines as load.c and printing the
 * same answers.
 *
 *   tls_echo_load echo ADDRESS:PORT CONNECTIONS BYTES
 *
 * A client that seals each message when it sends it and opens each answer when it comes costs as
 * much as the server; the server then waits for it, message by message, and what is measured is
 * how dear it is to fall asleep and wake. So the messages of a round are sealed before it begins
 * and the answers opened and compared after it has ended; in between, ciphertext is moved and
 * records are counted, which is as cheap as the load without TLS. Only loopback addresses are
 * accepted; certificates are not verified. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/tls_load_parts.h"

enum {
    message_bytes_max = 1 << 20,
    mark_bytes = 8,
    record_plain_max = 16384,
    header_bytes = 5,
    record_end_bytes = 17, /* RFC 8446 5.2: the type and a tag of 16, within the record's length. */
    messages_first = 64 /* Of each connection, sealed for the first round. */
};
static const size_t round_bytes_max = 256u << 20;

struct connection {
    int fd;
    SSL *ssl;
    bool waits;
    uint32_t first; /* The number of the first message in `sealed`. */
    uint32_t ready, begun, done; /* Messages of this round: sealed, begun, answered. */
    char *sealed, *answers;
    size_t sent;                    /* Of the message under way. */
    size_t arrived, scanned, plain; /* In `answers`; plain: of the message under way. */
    uint64_t begun_ns;
};

static struct connection connections[connections_max];
static int connections_count, epoll_fd;
static SSL_CTX *settings;
static size_t message_bytes, sealed_bytes; /* Of one message, before and after sealing. */
static size_t answers_bytes;               /* Room for the answers to one connection. */
static char message[message_bytes_max], opened[message_bytes_max];
static uint32_t messages_each = messages_first;
static bool sending;
static int waiting_count;

static void mark(const struct connection *c, uint32_t sequence) {
    uint32_t words[2] = {(uint32_t)(c - connections), sequence};
    memcpy(message, words, mark_bytes);
    memcpy(message + message_bytes - mark_bytes, words, mark_bytes);
}

/* Shakes hands and has one message echoed in the ordinary way, so that the server's session
 * tickets have been read; from then on OpenSSL seals and opens in memory only. */
static void open_connection(struct connection *c) {
    int one = 1;
    *c = (struct connection){.sealed = c->sealed, .answers = c->answers};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0) {
        fail("the server did not take a connection");
    }
    c->ssl = SSL_new(settings);
    SSL_set_fd(c->ssl, c->fd);
    char first[] = "a first message";
    if (SSL_connect(c->ssl) != 1 || SSL_write(c->ssl, first, sizeof first) != sizeof first) {
        fail("the handshake failed");
    }
    for (size_t got = 0; got < sizeof first;) {
        int more = SSL_read(c->ssl, first + got, (int)(sizeof first - got));
        if (more <= 0) fail("the first message did not come back");
        got += (size_t)more;
    }
    SSL_set_bio(c->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) fail("epoll_ctl was refused");
}

static void lose(struct connection *c) {
    errors_count++;
    if (c->waits) waiting_count--;
    c->waits = false;
    close(c->fd);
    SSL_free(c->ssl);
    c->ssl = NULL;
}

/* Keeps what was sealed and not begun, since the numbers of TLS records have no gaps. */
static void seal(struct connection *c) {
    uint32_t left = c->ready - c->begun;
    if (c->ready > 0) {
        memmove(c->sealed, c->sealed + c->begun * sealed_bytes, left * sealed_bytes);
    }
    c->first += c->begun;
    c->begun = c->done = 0;
    c->arrived = c->scanned = 0;
    c->ready = left > messages_each ? left : messages_each;
    answers_bytes = 2 * c->ready * sealed_bytes; /* Twice: an answer may have more records. */
    c->sealed = realloc(c->sealed, c->ready * sealed_bytes);
    c->answers = realloc(c->answers, answers_bytes);
    if (c->sealed == NULL || c->answers == NULL) fail("no memory for the messages");
    for (; left < c->ready; left++) {
        mark(c, c->first + left);
        SSL_write(c->ssl, message, (int)message_bytes);
        int sealed = BIO_read(SSL_get_wbio(c->ssl), c->sealed + left * sealed_bytes,
                              (int)sealed_bytes);
        if (sealed != (int)sealed_bytes || BIO_ctrl_pending(SSL_get_wbio(c->ssl)) > 0) {
            fail("sealed messages differ in length");
        }
    }
}

/* Opens the answers and compares them, every byte. */
static void check(struct connection *c) {
    size_t given = 0;
    for (uint32_t i = 0; i < c->done; i++) {
        mark(c, c->first + i);
        for (size_t got = 0; got < message_bytes;) {
            int more = SSL_read(c->ssl, opened + got, (int)(message_bytes - got));
            if (more > 0) {
                got += (size_t)more;
                continue;
            }
            size_t bytes = c->arrived - given < sealed_bytes ? c->arrived - given : sealed_bytes;
            if (bytes == 0) fail("an answer ended within a record");
            BIO_write(SSL_get_rbio(c->ssl), c->answers + given, (int)bytes);
            given += bytes;
        }
        if (memcmp(opened, message, message_bytes) != 0) fail("an answer is not the message");
    }
}

static void watch(struct connection *c, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event) < 0) fail("epoll_ctl was refused");
}

static void send_rest(struct connection *c) {
    bool was_partial = c->sent > 0;
    ssize_t sent = send(c->fd, c->sealed + (c->begun - 1) * sealed_bytes + c->sent,
                        sealed_bytes - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return lose(c);
    if (sent > 0) c->sent += (size_t)sent;
    bool partial = c->sent < sealed_bytes;
    if (partial != was_partial || (partial && sent < 0)) {
        watch(c, partial ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

static void start_message(struct connection *c, uint64_t now) {
    if (c->begun == c->ready) { /* The round is over before its time. */
        sending = false;
        return;
    }
    c->begun++;
    c->sent = c->plain = 0;
    c->begun_ns = now;
    c->waits = true;
    waiting_count++;
    send_rest(c);
}

/* Counts what whole records have brought. */
static void scan(struct connection *c) {
    for (;;) {
        const unsigned char *header = (const unsigned char *)c->answers + c->scanned;
        if (c->arrived - c->scanned < header_bytes) return;
        size_t bytes = (size_t)header[3] << 8 | header[4];
        if (c->arrived - c->scanned < header_bytes + bytes) return;
        c->scanned += header_bytes + bytes;
        c->plain += bytes - record_end_bytes;
    }
}

static void on_readable(struct connection *c) {
    ssize_t got = recv(c->fd, c->answers + c->arrived, answers_bytes - c->arrived, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0 || !c->waits) return lose(c);
    c->arrived += (size_t)got;
    scan(c);
    if (c->plain < message_bytes) return;
    if (c->plain > message_bytes || c->scanned < c->arrived) return lose(c);
    count_answer(c->begun_ns);
    c->waits = false;
    c->done++;
    waiting_count--;
    if (answers_count >= answers_limit) sending = false;
    if (sending) start_message(c, now_ns());
}

static void prepare_round(void) {
    uint32_t most = 0;
    for (int i = 0; i < connections_count; i++) {
        if (connections[i].done > most) most = connections[i].done;
    }
    size_t each_max = round_bytes_max / 3 / sealed_bytes / (size_t)connections_count;
    if (most * 2 > messages_each) messages_each = most * 2;
    if (messages_each > each_max) messages_each = (uint32_t)each_max;
    if (messages_each == 0) messages_each = 1;
    for (int i = 0; i < connections_count; i++) {
        if (!connections[i].ssl) open_connection(&connections[i]);
        seal(&connections[i]);
    }
}

static void run_round(double seconds) {
    answers_count = errors_count = 0;
    prepare_round();
    uint64_t begin = now_ns();
    uint64_t stop = begin + (uint64_t)(seconds * 1e9);
    uint64_t give_up = stop + (uint64_t)drain_ms_max * 1000000u;
    sending = true;
    for (int i = 0; i < connections_count && sending; i++) {
        start_message(&connections[i], now_ns());
    }
    while (waiting_count > 0) {
        struct epoll_event events[connections_max];
        int count = epoll_wait(epoll_fd, events, connections_max, 50);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->ssl && events[i].events & EPOLLOUT) send_rest(c);
            if (c->ssl && events[i].events & ~(uint32_t)EPOLLOUT) on_readable(c);
        }
        uint64_t now = now_ns();
        if (now >= stop) sending = false;
        for (int i = 0; i < connections_count && now >= give_up; i++) {
            if (connections[i].waits) lose(&connections[i]);
        }
    }
    uint64_t end = now_ns();
    for (int i = 0; i < connections_count; i++) {
        if (connections[i].ssl) check(&connections[i]);
    }
    print_round(end - begin);
}

static void parse(int argc, char **argv) {
    static const char usage[] = "usage: tls_echo_load echo ADDRESS:PORT CONNECTIONS BYTES";
    if (argc != 5 || strcmp(argv[1], "echo") != 0) fail(usage);
    parse_address(argv[2], usage);
    connections_count = atoi(argv[3]);
    long bytes = atol(argv[4]);
    if (connections_count < 1 || connections_count > connections_max || bytes < 2 * mark_bytes ||
        bytes > message_bytes_max) {
        fail("CONNECTIONS must be 1..256 and BYTES 16..1048576");
    }
    message_bytes = (size_t)bytes;
    size_t records = (message_bytes + record_plain_max - 1) / record_plain_max;
    sealed_bytes = message_bytes + records * (header_bytes + record_end_bytes);
}

int main(int argc, char **argv) {
    parse(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    settings = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(settings, TLS1_3_VERSION);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    memset(message, 'r', message_bytes);
    for (int i = 0; i < connections_count; i++) open_connection(&connections[i]);
    obey(connections_count, run_round);
    return 0;
}
