/* What the loads for TLS servers share: the address, the latencies of a round, the lines they obey.
 * Each is one program of one file, so all of it is static. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { connections_max = 256, seconds_max = 60, latencies_max = 1 << 20, drain_ms_max = 5000 };

static struct sockaddr_in server;
static uint64_t answers_limit, answers_count, errors_count;
static uint32_t latencies_ns[latencies_max];

static void fail(const char *sentence) {
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, sentence);
    exit(2);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* An answer more, to a message that was begun then. */
static void count_answer(uint64_t begun_ns) {
    uint64_t took = now_ns() - begun_ns;
    if (answers_count < latencies_max) {
        latencies_ns[answers_count] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    }
    answers_count++;
}

static int by_size(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void print_round(uint64_t took_ns) {
    size_t kept = answers_count;
    if (kept > latencies_max) kept = latencies_max;
    qsort(latencies_ns, kept, sizeof *latencies_ns, by_size);
    printf("answers %llu errors %llu p50 %.1f p99 %.1f seconds %.4f\n",
           (unsigned long long)answers_count, (unsigned long long)errors_count,
           kept ? latencies_ns[kept / 2] / 1e3 : 0, kept ? latencies_ns[kept * 99 / 100] / 1e3 : 0,
           (double)took_ns / 1e9);
}

static void parse_address(char *text, const char *usage) {
    char *colon = strrchr(text, ':');
    if (!colon) fail(usage);
    *colon = '\0';
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, text, &server.sin_addr) != 1 ||
        ntohl(server.sin_addr.s_addr) >> 24 != 127) {
        fail("only loopback addresses are loaded");
    }
}

/* Says that the connections stand, and runs the rounds that stdin asks for. */
static void obey(int connections_count, void (*run_round)(double seconds)) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ready %d\n", connections_count);
    char line[128];
    while (fgets(line, sizeof line, stdin)) {
        double seconds = 0;
        unsigned long long limit = UINT64_MAX;
        if (sscanf(line, "round %lf %llu", &seconds, &limit) < 1 || !(seconds > 0) ||
            seconds > (double)seconds_max) {
            fail("a line must be: round SECONDS [ANSWERS], at most 60 seconds");
        }
        answers_limit = limit;
        run_round(seconds);
    }
}
