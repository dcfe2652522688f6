/* The floor for TLS: OpenSSL on the socket and nothing else.
 *
 *   tls_floor PORT CERTIFICATE KEY [inline|epoll]
 *
 * A thread for each connection reads what one record brings and writes it back. `inline`: no
 * threads, one connection after the other, which is the cheapest way to shake hands. `epoll`: one
 * thread waits for all connections; a message must fit into the socket's buffer. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { record_bytes_max = 16384, events_max = 256 };

static SSL_CTX *settings;

static void fail(const char *sentence) {
    fprintf(stderr, "tls_floor: %s\n", sentence);
    exit(2);
}

static void *serve(void *connected) {
    int fd = (int)(long)connected;
    char bytes[record_bytes_max];
    SSL *ssl = SSL_new(settings);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        int got;
        while ((got = SSL_read(ssl, bytes, sizeof bytes)) > 0 && SSL_write(ssl, bytes, got) > 0) {
        }
    }
    SSL_free(ssl);
    close(fd);
    return NULL;
}

static void go_on(SSL *ssl) {
    char bytes[record_bytes_max];
    int got;
    do {
        got = SSL_read(ssl, bytes, sizeof bytes);
        if (got > 0 && SSL_write(ssl, bytes, got) != got) got = 0;
    } while (got > 0 && SSL_has_pending(ssl));
    if (got > 0) return;
    if (SSL_get_error(ssl, got) != SSL_ERROR_WANT_READ) {
        close(SSL_get_fd(ssl));
        SSL_free(ssl);
    }
}

static void serve_all(int door) {
    struct epoll_event events[events_max], event = {.events = EPOLLIN, .data.ptr = NULL};
    int one = 1, poll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(poll, EPOLL_CTL_ADD, door, &event);
    SSL_CTX_set_read_ahead(settings, 1);
    for (;;) {
        int count = epoll_wait(poll, events, events_max, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr != NULL) {
                go_on(events[i].data.ptr);
                continue;
            }
            int fd = accept(door, NULL, NULL);
            if (fd < 0) fail("accept was refused");
            fcntl(fd, F_SETFL, O_NONBLOCK);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            SSL *ssl = SSL_new(settings);
            SSL_set_fd(ssl, fd);
            SSL_set_accept_state(ssl);
            event.data.ptr = ssl;
            epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        }
    }
}

int main(int argc, char **argv) {
    int one = 1;
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (argc < 4) fail("usage: tls_floor PORT CERTIFICATE KEY [inline|epoll]");
    signal(SIGPIPE, SIG_IGN);
    where.sin_port = htons((unsigned short)atoi(argv[1]));
    settings = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(settings, argv[2]) != 1 ||
        SSL_CTX_use_PrivateKey_file(settings, argv[3], SSL_FILETYPE_PEM) != 1) {
        fail("the certificate or its key cannot be used");
    }
    SSL_CTX_set_session_cache_mode(settings, SSL_SESS_CACHE_OFF);
    int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(door, (struct sockaddr *)&where, sizeof where) < 0 || listen(door, 1024) < 0) {
        fail("the port cannot be taken");
    }
    if (argc > 4 && !strcmp(argv[4], "epoll")) serve_all(door);
    for (;;) {
        pthread_t thread;
        int fd = accept(door, NULL, NULL);
        if (fd < 0) fail("accept was refused");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (argc > 4) {
            serve((void *)(long)fd);
        } else if (pthread_create(&thread, NULL, serve, (void *)(long)fd) == 0) {
            pthread_detach(thread);
        } else {
            close(fd);
        }
    }
}
