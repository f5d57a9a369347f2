/*
 * What does an HTTP proxy have to carry? Clients that keep their connections, and count every byte.
 *
 *   requests --port PORT --path PATH [--count N] [--at-once N] [--down N] [--up N]
 *
 *   --count requests over --at-once connections, one behind the other on each; with --up each is a POST of that many
 *   bytes. Each answer must be 200, and its body --down bytes; or, behind a POST, the number of bytes that came.
 *
 * Strategy: as load.c. The head of an answer is looked at for its status and Content-Length alone; what follows is
 * counted. The report is one line of JSON: errors and short reads are counted, never retried.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (256 * 1024)
#define HEAD 16384
#define TURNS 4     /* reads or writes of one connection before others get their turn */
#define PATIENCE 30 /* seconds without any event after which the work has failed */
#define EVENTS 256

struct conn {
    int fd;
    uint64_t begun;          /* ns: of the request */
    size_t asked;            /* bytes of its head that were sent */
    uint64_t up;             /* bytes of its body that were sent */
    char head[HEAD + 1];
    size_t head_length;
    bool body;               /* the head has been read */
    uint64_t left, length;   /* of the body */
    char number[32];         /* what a POST is answered */
    bool writing;
};

static struct { int port; const char *path; uint64_t count, at_once, down, up; } want = {.path = "/", .count = 1, .at_once = 1};
static struct { uint64_t done, errors, shorts, up, down; char first_error[200]; } seen;
static int epoll;
static char request[4096];
static size_t request_length;
static unsigned char scratch[CHUNK];
static uint32_t *latencies;
static uint64_t timed, to_begin, live;

static void die(const char *what)
{
    fprintf(stderr, "requests: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static bool fail(const char *what)
{
    if (!seen.first_error[0])
        snprintf(seen.first_error, sizeof seen.first_error, "%.199s", what);
    seen.errors++;
    return false;
}

static void watch(struct conn *c, int how)
{
    struct epoll_event event = {.events = (uint32_t)EPOLLIN | (c->writing ? (uint32_t)EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll, how, c->fd, &event) < 0)
        die("epoll_ctl");
}

static void begin(struct conn *c)
{
    c->begun = now();
    c->asked = c->head_length = 0;
    c->up = 0;
    c->body = false;
    c->number[0] = 0;
    to_begin--;
}

/* @return: whether the connection lives. */
static bool put(struct conn *c)
{
    while (c->asked < request_length) {
        ssize_t sent = send(c->fd, request + c->asked, request_length - c->asked, MSG_NOSIGNAL | (want.up ? MSG_MORE : 0));
        if (sent < 0)
            return errno == EAGAIN ? true : fail("a request was not taken");
        c->asked += (size_t)sent;
    }
    for (int turn = 0; c->up < want.up && turn < TURNS; turn++) {
        uint64_t left = want.up - c->up;
        ssize_t sent = send(c->fd, scratch, left < CHUNK ? (size_t)left : CHUNK, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN ? true : fail("a body was not taken");
        c->up += (uint64_t)sent;
        seen.up += (uint64_t)sent;
    }
    return true;
}

static bool read_head(struct conn *c)
{
    if (strncmp(c->head, "HTTP/1.1 200 ", 13)) {
        c->head[60] = 0;
        for (char *at = c->head; *at; at++)
            if (*at < ' ' || *at == '"')
                *at = ' ';
        return fail(c->head);
    }
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    if (!length)
        return fail("an answer without a length");
    c->left = c->length = strtoull(length + 17, NULL, 10);
    c->body = true;
    return want.up || c->left == want.down ? true : fail("an answer of another length");
}

/* The body of an answer. @return: whether the connection lives. */
static bool feed(struct conn *c, const unsigned char *data, size_t length)
{
    if (length > c->left)
        return fail("more bytes than were asked for");
    if (want.up) {
        uint64_t at = c->length - c->left;
        if (at + length < sizeof c->number) {
            memcpy(c->number + at, data, length);
            c->number[at + length] = 0;
        }
    }
    c->left -= length;
    seen.down += length;
    if (c->left)
        return true;
    if (want.up && strtoull(c->number, NULL, 10) != want.up)
        return fail("not all bytes of a body have come");
    latencies[timed++] = (uint32_t)((now() - c->begun) / 1000);
    seen.done++;
    if (!to_begin)
        return false;
    begin(c);
    return put(c);
}

static bool step(struct conn *c)
{
    if (!put(c))
        return false;
    for (int turn = 0; turn < TURNS; turn++) {
        bool body = c->body;
        ssize_t got = body ? recv(c->fd, scratch, sizeof scratch, 0) : recv(c->fd, c->head + c->head_length, HEAD - c->head_length, 0);
        if (got < 0)
            return errno == EAGAIN ? true : fail("an answer was broken off");
        if (!got) {
            seen.shorts++;
            return fail("an answer ended too soon");
        }
        if (body) {
            if (!feed(c, scratch, (size_t)got))
                return false;
            continue;
        }
        c->head_length += (size_t)got;
        c->head[c->head_length] = 0;
        char *end = strstr(c->head, "\r\n\r\n");
        if (!end) {
            if (c->head_length == HEAD)
                return fail("an endless head");
            continue;
        }
        size_t more = c->head_length - (size_t)(end + 4 - c->head);
        end[2] = 0;
        if (!read_head(c))
            return false;
        if ((more || !c->left) && !feed(c, (unsigned char *)end + 4, more))
            return false;
    }
    return true;
}

static void client_open(void)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)want.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct conn *c = calloc(1, sizeof *c);
    if (fd < 0 || !c)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->fd = fd;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        die("connect");
    begin(c);
    c->writing = true;
    watch(c, EPOLL_CTL_ADD);
    live++;
}

static void run(void)
{
    struct epoll_event events[EVENTS];
    for (uint64_t at = 0; at < want.at_once; at++)
        client_open();
    while (live) {
        int ready = epoll_wait(epoll, events, EVENTS, PATIENCE * 1000);
        if (ready <= 0) {
            fail("nothing has happened for too long");
            return;
        }
        for (int at = 0; at < ready; at++) {
            struct conn *c = events[at].data.ptr;
            if (!step(c)) {
                close(c->fd);
                free(c);
                live--;
                continue;
            }
            bool writing = c->asked < request_length || c->up < want.up;
            if (writing != c->writing) {
                c->writing = writing;
                watch(c, EPOLL_CTL_MOD);
            }
        }
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'}, {"path", required_argument, NULL, 'f'}, {"count", required_argument, NULL, 'n'},
        {"at-once", required_argument, NULL, 'o'}, {"down", required_argument, NULL, 'd'}, {"up", required_argument, NULL, 'u'},
        {NULL, 0, NULL, 0},
    };
    for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (letter) {
        case 'p': want.port = atoi(optarg); break;
        case 'f': want.path = optarg; break;
        case 'n': want.count = strtoull(optarg, NULL, 10); break;
        case 'o': want.at_once = strtoull(optarg, NULL, 10); break;
        case 'd': want.down = strtoull(optarg, NULL, 10); break;
        case 'u': want.up = strtoull(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    if (!want.port || !want.at_once || want.count < want.at_once || optind != argc) {
        fprintf(stderr, "usage: see the head of requests.c\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    int length = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: requests\r\nAccept: */*\r\n",
                          want.up ? "POST" : "GET", want.path);
    if (want.up)
        length += snprintf(request + length, sizeof request - (size_t)length, "Content-Length: %" PRIu64 "\r\n", want.up);
    length += snprintf(request + length, sizeof request - (size_t)length, "\r\n");
    request_length = (size_t)length;
    latencies = malloc((want.count + 1) * sizeof *latencies);
    if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0 || !latencies)
        die("epoll");
    memset(scratch, 'x', sizeof scratch);
    to_begin = want.count;
    uint64_t begun = now();
    run();
    double seconds = (double)(now() - begun) / 1e9;
    qsort(latencies, timed, sizeof *latencies, by_size);
    printf("{\"done\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"short_reads\": %" PRIu64 ", \"up\": %" PRIu64 ", \"down\": %" PRIu64
           ", \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u, \"first_error\": \"%s\"}\n",
           seen.done, seen.errors, seen.shorts, seen.up, seen.down, seconds, timed ? latencies[timed / 2] : 0,
           timed ? latencies[timed * 99 / 100] : 0, seen.first_error);
    return seen.errors || seen.done != want.count;
}
