/*
 * What does a proxy have to carry? Both ends of the work: a back end, and clients that count every byte.
 *
 *   load backend --answer PORT --echo PORT --bytes PORT [--tls-answer PORT --cert F --key F --ca F]
 *   load answer|echo|bytes|hold|silent --port PORT [--hello NAME | --tls NAME --ca F [--resume] [--cert F --key F]]
 *               [--count N] [--at-once N] [--up N] [--down N] [--piece N] [--pace N] [--wait]
 *
 *   answer   one request, 64 bytes back and the end; --count times, --at-once at a time
 *   echo     --count round trips of 64 bytes over --at-once connections; with --wait, one more over each first, and the
 *            others when a line comes on standard input
 *   bytes    --at-once streams, each of which carries --up bytes there and --down bytes back at the same time; both ends
 *            write --piece bytes at a time, and the client reads no more than --pace bytes in a second of each stream
 *   hold     --at-once connections, each idle after one round trip, held until standard input ends
 *   silent   --at-once connections held likewise; every other one has sent half a ClientHello, the others nothing
 *
 * Strategy: one thread, level-triggered epoll, one machine for each end. What travels is a pattern whose period is a prime, so that
 * lost, doubled and reordered bytes show by the count or at the seams; and the back end ends each stream with the number
 * of bytes that it has seen. The ClientHello of --hello is OpenSSL's own; what follows it need not be TLS, since
 * nobody on the way can know. The report is one line of JSON: errors and short reads are counted, never retried.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE 64
#define TRAILER 8
#define ORDER 32
#define GREETING "an order" /* 8 bytes, and no numbers: the first could be that of a ClientHello */
#define PERIOD 65521 /* a prime: no buffer size divides it */
#define CHUNK (256 * 1024)
#define SEAM 32      /* bytes compared at each end of a piece */
#define TURNS 4      /* reads or writes of one connection before others get their turn */
#define PATIENCE 30  /* seconds without any event after which the work has failed */
#define EVENTS 256
#define BEAT 5       /* ms between two looks at those who read slowly */

enum kind { ANSWER, ECHO, BYTES, HOLD, SILENT };
#define KINDS 5
enum stage { FIRST, RECORD, SKIP, HEAD, BODY, REPLY };
enum { AGAIN = -1, BROKEN = -2 };

struct conn {
    int fd;
    SSL *ssl;
    enum kind kind;
    enum stage stage;             /* of the back end: what the next byte is */
    bool server, shaken, held, priming;
    uint32_t interest;
    uint64_t begun;               /* ns: of the connection, or of the round trip */
    uint64_t in, in_total;        /* bytes of the body */
    uint64_t out, out_total;
    uint64_t piece;               /* bytes of one write; 0 for as many as go */
    size_t head;                  /* bytes of the prefix that were sent */
    size_t skip;                  /* what is left of the ClientHello */
    unsigned char small[4 * MESSAGE];
    size_t small_length;
    struct conn *next;            /* among the free */
};

struct listener {
    int fd;
    enum kind kind;
    bool tls;
};

static struct {
    enum kind kind;
    int port;
    const char *hello, *tls, *ca, *cert, *key;
    bool resume, wait;
    uint64_t count, at_once, up, down, piece, pace;
} want = {.count = 1, .at_once = 1};

static struct {
    uint64_t started, done, errors, shorts, resumed, bare_ends, up, down;
    char first_error[200];
} seen;

static int epoll;
static SSL_CTX *context;
static SSL_SESSION *ticket;
static struct conn *spare;
static uint64_t live;             /* connections that are open */
static struct conn **kept;        /* those of --pace and --wait; NULL where one has ended */
static uint64_t keeping;
static bool waiting;              /* no connection does more than its first round trip yet */
static uint64_t begun;            /* ns: of the work that is reported */
static unsigned char pattern[PERIOD + CHUNK], scratch[CHUNK], prefix[20000], answer[MESSAGE];
static size_t prefix_length;
static uint32_t *latencies;       /* µs */
static uint64_t timed;
static volatile sig_atomic_t ended;

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "failed");
    ERR_print_errors_fp(stderr);
    exit(2);
}

static uint64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static size_t least(uint64_t a, uint64_t b)
{
    return (size_t)(a < b ? a : b);
}

/* -- one connection ---------------------------------------------------------------------------------------------- */

static void remember(const char *format, ...)
{
    if (seen.first_error[0])
        return;
    va_list rest;
    va_start(rest, format);
    vsnprintf(seen.first_error, sizeof seen.first_error, format, rest);
    va_end(rest);
    for (char *each = seen.first_error; *each; each++)
        if (*each == '"' || *each == '\\' || *each < ' ')
            *each = '\'';
}

static struct conn *conn_new(int fd, enum kind kind, bool server)
{
    struct conn *c = spare;
    if (c)
        spare = c->next;
    else if (!(c = malloc(sizeof *c)))
        die("memory");
    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->kind = kind;
    c->server = server;
    live++;
    return c;
}

static void conn_free(struct conn *c)
{
    if (c->ssl) {
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or OpenSSL takes the ticket for spoilt */
        SSL_free(c->ssl);
    }
    close(c->fd);
    c->next = spare;
    spare = c;
    live--;
}

static void watch(struct conn *c, uint32_t interest)
{
    if (interest == c->interest)
        return;
    struct epoll_event event = {.events = interest, .data.ptr = c};
    if (epoll_ctl(epoll, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) < 0)
        die("epoll_ctl");
    c->interest = interest;
}

static ssize_t tls_result(struct conn *c, int result, const char *what)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        remember("%s: %s", what, strerror(errno));
        return BROKEN;
    default:
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING && SSL_is_init_finished(c->ssl)) {
            ERR_clear_error();
            seen.bare_ends++; /* an end without close_notify: not an error here, but worth knowing */
            return 0;
        }
        remember("%s: %s", what, ERR_reason_error_string(ERR_peek_error()));
        return BROKEN;
    }
}

/* @return: the bytes taken, 0 at the end, AGAIN, or BROKEN. */
static ssize_t take(struct conn *c, void *to, size_t length)
{
    if (c->ssl) {
        ERR_clear_error();
        int got = SSL_read(c->ssl, to, (int)length);
        return got > 0 ? got : tls_result(c, got, "TLS read");
    }
    ssize_t got = recv(c->fd, to, length, 0);
    if (got >= 0)
        return got;
    if (errno == EAGAIN)
        return AGAIN;
    remember("recv: %s", strerror(errno));
    return BROKEN;
}

/* @return: the bytes put, AGAIN, or BROKEN. */
static ssize_t put(struct conn *c, const void *from, size_t length)
{
    if (c->ssl) {
        ERR_clear_error();
        int sent = SSL_write(c->ssl, from, (int)least(length, 16384));
        return sent > 0 ? sent : tls_result(c, sent, "TLS write");
    }
    ssize_t sent = send(c->fd, from, length, MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN)
        return AGAIN;
    remember("send: %s", strerror(errno));
    return BROKEN;
}

/* @return: 1 when the handshake is over, AGAIN with the interest set, or BROKEN. */
static ssize_t shake(struct conn *c)
{
    if (!c->ssl || c->shaken)
        return 1;
    ERR_clear_error();
    int result = SSL_do_handshake(c->ssl);
    if (result == 1) {
        c->shaken = true;
        if (!c->server && SSL_session_reused(c->ssl))
            seen.resumed++;
        return 1;
    }
    ssize_t told = tls_result(c, result, "TLS handshake");
    if (told != AGAIN)
        return BROKEN;
    watch(c, SSL_want_write(c->ssl) ? EPOLLOUT : EPOLLIN);
    return AGAIN;
}

static bool as_expected(uint64_t at, const unsigned char *data, size_t length)
{
    size_t seam = least(length, SEAM), last = length - seam;
    return !memcmp(data, pattern + at % PERIOD, seam) && !memcmp(data + last, pattern + (at + last) % PERIOD, seam);
}

/* Send what the other end will count. @return: whether the connection lives. */
static bool put_pattern(struct conn *c)
{
    for (int turn = 0; turn < TURNS * (c->ssl ? 8 : 1) && c->out < c->out_total; turn++) {
        ssize_t sent = put(c, pattern + c->out % PERIOD, least(c->out_total - c->out, c->piece ? c->piece : CHUNK));
        if (sent == AGAIN)
            break;
        if (sent <= 0)
            return false;
        c->out += (uint64_t)sent;
    }
    return true;
}

static uint64_t number(const unsigned char *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value); /* both ends are this program on this machine */
    return value;
}

/* -- the back end ------------------------------------------------------------------------------------------------- */

/* @return: false when these bytes cannot be. */
static bool server_feed(struct conn *c, const unsigned char *data, size_t length)
{
    while (length) {
        size_t used = 0;
        switch (c->stage) {
        case FIRST:
            c->stage = *data == 0x16 ? RECORD : c->kind == ECHO ? BODY : HEAD;
            break;
        case RECORD:
            used = least(length, 5 - c->small_length);
            memcpy(c->small + c->small_length, data, used);
            if ((c->small_length += used) == 5) {
                c->skip = (size_t)c->small[3] << 8 | c->small[4];
                c->small_length = 0;
                c->stage = SKIP;
            }
            break;
        case SKIP:
            used = least(length, c->skip);
            if (!(c->skip -= used))
                c->stage = c->kind == ANSWER ? REPLY : c->kind == ECHO ? BODY : HEAD;
            break;
        case HEAD: {
            size_t need = c->kind == BYTES ? ORDER : MESSAGE;
            used = least(length, need - c->small_length);
            memcpy(c->small + c->small_length, data, used);
            if ((c->small_length += used) == need) {
                if (c->kind == BYTES) {
                    c->in_total = number(c->small + 8);
                    c->out_total = number(c->small + 16);
                    c->piece = least(number(c->small + 24), CHUNK);
                }
                c->small_length = 0;
                c->stage = c->kind == BYTES ? BODY : REPLY;
            }
            break;
        }
        case BODY:
            used = length;
            if (c->kind == ECHO) {
                if (c->small_length + length > sizeof c->small) {
                    fprintf(stderr, "load: back end: %zu bytes at once to echo\n", c->small_length + length);
                    return false;
                }
                memcpy(c->small + c->small_length, data, length);
                c->small_length += length;
            } else {
                if (c->in + length > c->in_total || !as_expected(c->in, data, length)) {
                    fprintf(stderr, "load: back end: other bytes than were sent: %zu at byte %" PRIu64 " of %" PRIu64 "\n",
                            length, c->in, c->in_total);
                    return false;
                }
                c->in += length;
            }
            break;
        case REPLY:
            return false;
        }
        data += used;
        length -= used;
    }
    return true;
}

/* @return: whether the connection lives. */
static bool server_step(struct conn *c)
{
    ssize_t got = shake(c);
    if (got != 1)
        return got == AGAIN;
    for (int turn = 0; turn < TURNS; turn++) {
        got = take(c, scratch, sizeof scratch);
        if (got == AGAIN)
            break;
        if (got <= 0 || !server_feed(c, scratch, (size_t)got))
            return false;
        if (c->kind != BYTES)
            break;
    }
    bool more = false;
    if (c->stage == REPLY) {
        ssize_t sent = put(c, answer, MESSAGE); /* the first bytes of an empty buffer: all of them or none */
        if (sent != AGAIN) {
            if (c->ssl)
                SSL_shutdown(c->ssl);
            seen.done += sent == MESSAGE;
            return false;
        }
        more = true;
    } else if (c->kind == ECHO && c->small_length) {
        ssize_t sent = put(c, c->small, c->small_length);
        if (sent == BROKEN)
            return false;
        if (sent > 0)
            memmove(c->small, c->small + sent, c->small_length -= (size_t)sent);
        more = c->small_length;
    } else if (c->kind == BYTES && c->stage == BODY) {
        if (!put_pattern(c))
            return false;
        more = c->out < c->out_total;
        if (!more && c->in == c->in_total) {
            memcpy(c->small, &c->in, TRAILER);
            ssize_t sent = put(c, c->small + c->small_length, TRAILER - c->small_length);
            if (sent == BROKEN)
                return false;
            if (sent > 0 && (c->small_length += (size_t)sent) == TRAILER) {
                seen.done++;
                return false;
            }
            more = true;
        }
    }
    watch(c, EPOLLIN | (more ? (uint32_t)EPOLLOUT : 0));
    return true;
}

static void server_accept(struct listener *from)
{
    for (int turn = 0; turn < 64; turn++) {
        int fd = accept4(from->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
                return;
            die("accept");
        }
        struct conn *c = conn_new(fd, from->kind, true);
        if (from->tls) {
            c->ssl = SSL_new(context);
            if (!c->ssl || !SSL_set_fd(c->ssl, fd))
                die("SSL_new");
            SSL_set_accept_state(c->ssl);
        }
        if (from->kind != ANSWER || from->tls)
            watch(c, EPOLLIN);
        else if (!server_step(c)) /* a proxy says at once what it has to */
            conn_free(c);
    }
}

static struct listener server_listen(int port, enum kind kind, bool tls)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* inherited by what is accepted */
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 4096) < 0)
        die("listen");
    return (struct listener){fd, kind, tls};
}

static void on_end(int number)
{
    (void)number;
    ended = 1;
}

static int serve(struct listener *listeners, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        /* A tag in the lowest bit tells a listener from a connection. */
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uintptr_t)&listeners[at] | 1};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, listeners[at].fd, &event) < 0)
            die("epoll_ctl");
    }
    struct sigaction action = {.sa_handler = on_end};
    sigaction(SIGTERM, &action, NULL);
    puts("{\"ready\": true}");
    fflush(stdout);
    struct epoll_event events[EVENTS];
    while (!ended) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int at = 0; at < ready; at++) {
            if (events[at].data.u64 & 1) {
                server_accept((struct listener *)(uintptr_t)(events[at].data.u64 & ~(uint64_t)1));
                continue;
            }
            struct conn *c = events[at].data.ptr;
            if (!server_step(c))
                conn_free(c);
        }
    }
    printf("{\"done\": %" PRIu64 ", \"first_error\": \"%s\"}\n", seen.done, seen.first_error);
    return 0;
}

/* -- the clients -------------------------------------------------------------------------------------------------- */

static void note_time(uint64_t begun)
{
    if (timed < want.count)
        latencies[timed++] = (uint32_t)((now() - begun) / 1000);
}

/* @return: a connection whose turn it is at once, for a near host has answered already; NULL if there is none. */
static struct conn *client_open(bool priming)
{
    uint64_t begun = now();
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)want.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct conn *c = conn_new(fd, want.kind, false);
    c->begun = begun;
    c->priming = priming;
    c->in_total = want.kind == BYTES ? want.down : MESSAGE;
    c->out_total = want.kind == BYTES ? want.up : want.kind == ANSWER || want.kind == SILENT ? 0 : MESSAGE;
    c->piece = want.piece;
    if (want.kind == SILENT && seen.started % 2)
        c->head = prefix_length; /* nothing more to say */
    if (want.pace || want.wait)
        kept[keeping++] = c;
    seen.started++;
    if (want.tls) {
        c->ssl = SSL_new(context);
        if (!c->ssl || !SSL_set_fd(c->ssl, fd) || !SSL_set_tlsext_host_name(c->ssl, want.tls) || !SSL_set1_host(c->ssl, want.tls))
            die("SSL_new");
        SSL_set_connect_state(c->ssl);
        if (ticket && !SSL_set_session(c->ssl, ticket))
            die("SSL_set_session");
    }
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        remember("connect: %s", strerror(errno));
        seen.errors++;
        conn_free(c);
        return NULL;
    }
    return c;
}

enum outcome { LIVES, FINE, SHORT, WRONG };

static enum outcome client_put(struct conn *c)
{
    while (c->head < prefix_length) {
        ssize_t sent = put(c, prefix + c->head, prefix_length - c->head);
        if (sent == AGAIN)
            return LIVES;
        if (sent <= 0)
            return WRONG;
        c->head += (size_t)sent;
    }
    return put_pattern(c) ? LIVES : WRONG;
}

/* @return: LIVES while the end is not there, whatever was read. */
static enum outcome client_feed(struct conn *c, const unsigned char *data, size_t length)
{
    size_t body = least(length, c->in_total - c->in);
    if (body) {
        if (c->kind == ANSWER ? memcmp(data, answer + c->in, body) != 0 : !as_expected(c->in, data, body)) {
            remember("other bytes than were sent, near byte %" PRIu64, c->in);
            return WRONG;
        }
        c->in += body;
    }
    if (length == body)
        return LIVES;
    if (c->kind != BYTES || c->small_length + length - body > TRAILER) {
        remember("more bytes than were asked for");
        return WRONG;
    }
    memcpy(c->small + c->small_length, data + body, length - body);
    c->small_length += length - body;
    return LIVES;
}

static enum outcome client_end(struct conn *c)
{
    if (c->kind == ECHO || c->kind == HOLD || c->kind == SILENT || c->in < c->in_total)
        return SHORT;
    if (c->kind == ANSWER)
        return FINE;
    if (c->small_length != TRAILER || c->out != c->out_total || number(c->small) != want.up)
        return SHORT;
    return FINE;
}

/* @return: the bytes that may be read now. */
static size_t allowance(const struct conn *c)
{
    if (!want.pace || c->in >= c->in_total)
        return sizeof scratch;
    double so_far = (double)want.pace * (double)(now() - c->begun) / 1e9;
    return so_far <= (double)c->in ? 0 : least((uint64_t)so_far - c->in, sizeof scratch);
}

/* @param ready: what epoll has told, or what is to be tried. */
static enum outcome client_step(struct conn *c, uint32_t ready, uint64_t *left)
{
    ssize_t got = shake(c);
    if (got != 1)
        return got == AGAIN ? LIVES : WRONG;
    enum outcome outcome = client_put(c);
    size_t allowed = 1;
    bool readable = c->ssl || ready & ~(uint32_t)EPOLLOUT;
    for (int turn = 0; outcome == LIVES && readable && turn < TURNS && (allowed = allowance(c)); turn++) {
        got = take(c, scratch, allowed);
        if (got == AGAIN)
            break;
        if (got == BROKEN)
            return WRONG;
        if (!got)
            return client_end(c);
        outcome = client_feed(c, scratch, (size_t)got);
        if (outcome == LIVES && ready & EPOLLRDHUP && !(ready & EPOLLERR) && (size_t)got < allowed)
            return client_end(c); /* that was all, and the end has come */
    }
    if (outcome != LIVES)
        return outcome;
    if (c->kind == SILENT && c->head == prefix_length)
        c->held = true;
    if ((c->kind == ECHO || c->kind == HOLD) && c->in == MESSAGE && !c->held) {
        if (c->kind == HOLD || waiting) {
            c->held = true;
            watch(c, EPOLLIN);
            return LIVES;
        }
        note_time(c->begun);
        seen.done++;
        if (!*left)
            return FINE;
        --*left;
        c->in = c->out = 0;
        c->begun = now();
        if (!put_pattern(c))
            return WRONG;
    }
    bool more = c->head < prefix_length || c->out < c->out_total;
    /* Never 0: that is for those who are not watched yet. */
    uint32_t end = c->kind == ANSWER && !c->ssl ? (uint32_t)EPOLLRDHUP : 0;
    watch(c, (allowed ? (uint32_t)EPOLLIN : (uint32_t)EPOLLPRI) | end | (more ? (uint32_t)EPOLLOUT : 0));
    return LIVES;
}

/* One connection's turn. @return: how many more of them are held now: 1, 0 or -1. */
static int turn_of(struct conn *c, uint32_t ready, uint64_t *left)
{
    bool was_held = c->held;
    enum outcome outcome = client_step(c, ready, left);
    if (outcome == LIVES) {
        if (c->held == was_held)
            return 0;
        seen.done++;
        return 1;
    }
    if (outcome == FINE) {
        if (c->kind != ECHO && !c->priming) {
            note_time(c->begun);
            seen.done++;
        }
    } else if (outcome == SHORT) {
        remember("ended after %" PRIu64 " of %" PRIu64 " bytes", c->in, c->in_total);
        seen.shorts++;
    } else {
        seen.errors++;
    }
    if (c->kind == BYTES) {
        seen.up += c->out;
        seen.down += c->in;
    }
    for (uint64_t at = 0; at < keeping; at++)
        if (kept[at] == c)
            kept[at] = NULL;
    conn_free(c);
    return was_held ? -1 : 0;
}

/* Wait for the line of --wait, and let all connections that are held go on. */
static void release(void)
{
    char line[16];
    if (!fgets(line, sizeof line, stdin))
        die("standard input");
    waiting = false;
    seen.done = 0;
    begun = now();
    for (uint64_t at = 0; at < keeping; at++) {
        struct conn *c = kept[at];
        if (!c)
            continue; /* which was counted as an error or a short read */
        c->held = false;
        c->in = c->out = 0;
        c->begun = now();
        if (!put_pattern(c))
            seen.errors++;
        watch(c, EPOLLIN | (c->out < c->out_total ? (uint32_t)EPOLLOUT : 0));
    }
}

/* Run until nothing is left to open and nothing is open; or, when holding, until all are held, and then until standard input ends. */
static void run(uint64_t left, uint64_t at_once, bool priming)
{
    bool holding = want.kind == HOLD || want.kind == SILENT, told = false;
    uint64_t held = 0, to_open = want.kind == ECHO ? at_once : left, opening = holding || waiting ? 64 : at_once;
    uint64_t heard = now();
    struct epoll_event events[EVENTS];
    if (want.kind == ECHO)
        left -= least(left, at_once); /* each connection begins with one of them */
    for (;;) {
        while (to_open && live - held < opening) {
            to_open--;
            struct conn *c = client_open(priming);
            if (c)
                held += (uint64_t)turn_of(c, EPOLLOUT, &left);
        }
        if (!live)
            return;
        if ((holding || waiting) && !told && held == live && !to_open) {
            printf("{\"held\": %" PRIu64 "}\n", held);
            fflush(stdout);
            if (waiting) {
                release();
                held = 0;
                heard = now();
                continue;
            }
            struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
            if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
                die("epoll_ctl");
            told = true;
        }
        int ready = epoll_wait(epoll, events, EVENTS, told ? -1 : want.pace ? BEAT : PATIENCE * 1000);
        if (ready)
            heard = now();
        else if (now() - heard >= PATIENCE * 1000000000ull && !told) {
            remember("%" PRIu64 " connections without a sign of life for %d s", live, PATIENCE);
            seen.errors += live - held + to_open;
            return;
        }
        for (int at = 0; at < ready; at++) {
            struct conn *c = events[at].data.ptr;
            if (!c)
                return;
            held += (uint64_t)turn_of(c, events[at].events, &left);
        }
        for (uint64_t at = 0; want.pace && at < keeping; at++)
            if (kept[at] && (kept[at]->interest & EPOLLPRI || kept[at]->ssl) && allowance(kept[at]))
                turn_of(kept[at], EPOLLIN, &left);
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(double seconds)
{
    qsort(latencies, timed, sizeof *latencies, by_size);
    uint32_t p50 = timed ? latencies[timed / 2] : 0, p99 = timed ? latencies[timed * 99 / 100] : 0;
    printf("{\"sessions\": %" PRIu64 ", \"done\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"short_reads\": %" PRIu64
           ", \"resumed\": %" PRIu64 ", \"bare_ends\": %" PRIu64 ", \"up\": %" PRIu64 ", \"down\": %" PRIu64
           ", \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u, \"first_error\": \"%s\"}\n",
           seen.started, seen.done, seen.errors, seen.shorts, seen.resumed, seen.bare_ends, seen.up, seen.down, seconds, p50, p99,
           seen.first_error);
}

/* -- TLS ---------------------------------------------------------------------------------------------------------- */

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    if (!want.resume || ticket)
        return 0;
    ticket = session;
    return 1;
}

/*
 * To verify a chain each time would take a sixth of what a client does, for which the proxy would have to wait: a
 * certificate whose key was found good before is good. That the far end has the key, each handshake proves.
 */
static int on_certificate(X509_STORE_CTX *store, void *unused)
{
    (void)unused;
    static ASN1_BIT_STRING *good;
    ASN1_BIT_STRING *key = X509_get0_pubkey_bitstr(X509_STORE_CTX_get0_cert(store));
    if (good && key && good->length == key->length && memcmp(good->data, key->data, (size_t)key->length) == 0) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    int verified = X509_verify_cert(store);
    if (verified == 1 && key && !good)
        good = ASN1_STRING_dup(key);
    return verified;
}

static void tls_prepare(bool server)
{
    context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION))
        die("TLS context");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    if (want.ca) {
        if (SSL_CTX_load_verify_locations(context, want.ca, NULL) != 1)
            die(want.ca);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        SSL_CTX_set_cert_verify_callback(context, on_certificate, NULL);
    }
    if (want.cert && SSL_CTX_use_certificate_chain_file(context, want.cert) != 1)
        die(want.cert);
    if (want.key && SSL_CTX_use_PrivateKey_file(context, want.key, SSL_FILETYPE_PEM) != 1)
        die(want.key);
    if (server) {
        SSL_CTX_set_session_id_context(context, (const unsigned char *)"load", 4);
    } else {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, on_session);
    }
}

/* The first flight of a real client. */
static void record_hello(const char *name)
{
    SSL_CTX *any = SSL_CTX_new(TLS_client_method());
    SSL *ssl = any ? SSL_new(any) : NULL;
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    if (!ssl || !in || !out || !SSL_set_tlsext_host_name(ssl, name))
        die("ClientHello");
    SSL_set_bio(ssl, in, out);
    SSL_connect(ssl);
    int length = BIO_read(out, prefix, sizeof prefix - ORDER);
    if (length <= 0)
        die("ClientHello");
    prefix_length = (size_t)length;
    SSL_free(ssl);
    SSL_CTX_free(any);
    ERR_clear_error();
}

/* -- the command line --------------------------------------------------------------------------------------------- */

static int work(void)
{
    if (want.hello)
        record_hello(want.hello);
    if (want.tls)
        tls_prepare(false);
    if (want.kind == ANSWER && !want.hello) {
        memset(prefix, 'r', MESSAGE);
        prefix_length = MESSAGE;
    }
    if (want.kind == BYTES) {
        memcpy(prefix + prefix_length, GREETING, 8);
        memcpy(prefix + prefix_length + 8, &want.up, 8);
        memcpy(prefix + prefix_length + 16, &want.down, 8);
        memcpy(prefix + prefix_length + 24, &want.piece, 8);
        prefix_length += ORDER;
    }
    if (want.kind == SILENT)
        prefix_length /= 2;
    if (want.kind == BYTES || want.kind == HOLD || want.kind == SILENT)
        want.count = want.at_once;
    latencies = malloc((want.count + 1) * sizeof *latencies);
    kept = malloc((want.count + 1) * sizeof *kept);
    if (!latencies || !kept)
        die("memory");
    if (want.resume) {
        run(1, 1, true);
        if (!ticket)
            remember("no session ticket was given");
        seen.resumed = 0;
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* or each new ticket takes the first out of use */
    }
    waiting = want.wait;
    begun = now();
    if (!want.resume || ticket)
        run(want.count, want.at_once, false);
    else
        seen.errors = want.count;
    report((double)(now() - begun) / 1e9);
    return seen.errors || seen.shorts || seen.done != want.count;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"answer", required_argument, NULL, 'A'}, {"echo", required_argument, NULL, 'E'}, {"bytes", required_argument, NULL, 'B'},
        {"tls-answer", required_argument, NULL, 'T'}, {"port", required_argument, NULL, 'p'}, {"hello", required_argument, NULL, 'h'},
        {"tls", required_argument, NULL, 't'}, {"ca", required_argument, NULL, 'a'}, {"cert", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'}, {"resume", no_argument, NULL, 'r'}, {"count", required_argument, NULL, 'n'},
        {"at-once", required_argument, NULL, 'o'}, {"up", required_argument, NULL, 'u'}, {"down", required_argument, NULL, 'd'},
        {"piece", required_argument, NULL, 'i'}, {"pace", required_argument, NULL, 's'},
        {"wait", no_argument, NULL, 'w'},
        {NULL, 0, NULL, 0},
    };
    static const char *const kinds[KINDS] = {"answer", "echo", "bytes", "hold", "silent"};
    int ports[KINDS] = {0}, tls_port = 0, at = -1;
    for (int letter; (letter = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (letter) {
        case 'A': ports[ANSWER] = atoi(optarg); break;
        case 'E': ports[ECHO] = atoi(optarg); break;
        case 'B': ports[BYTES] = atoi(optarg); break;
        case 'T': tls_port = atoi(optarg); break;
        case 'p': want.port = atoi(optarg); break;
        case 'h': want.hello = optarg; break;
        case 't': want.tls = optarg; break;
        case 'a': want.ca = optarg; break;
        case 'c': want.cert = optarg; break;
        case 'k': want.key = optarg; break;
        case 'r': want.resume = true; break;
        case 'w': want.wait = true; break;
        case 'n': want.count = strtoull(optarg, NULL, 10); break;
        case 'o': want.at_once = strtoull(optarg, NULL, 10); break;
        case 'u': want.up = strtoull(optarg, NULL, 10); break;
        case 'd': want.down = strtoull(optarg, NULL, 10); break;
        case 'i': want.piece = strtoull(optarg, NULL, 10); break;
        case 's': want.pace = strtoull(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    for (size_t byte = 0; byte < sizeof pattern; byte++)
        pattern[byte] = (unsigned char)((byte % PERIOD) * 2654435761u >> 11);
    memset(answer, 'a', sizeof answer);
    if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die("epoll");
    if (optind == argc - 1 && !strcmp(argv[optind], "backend")) {
        static struct listener listeners[4];
        size_t count = 0;
        for (int kind = ANSWER; kind <= BYTES; kind++)
            if (ports[kind])
                listeners[count++] = server_listen(ports[kind], (enum kind)kind, false);
        if (tls_port) {
            tls_prepare(true);
            listeners[count++] = server_listen(tls_port, ANSWER, true);
        }
        return serve(listeners, count);
    }
    for (int kind = 0; optind == argc - 1 && kind < KINDS; kind++)
        if (!strcmp(argv[optind], kinds[kind]))
            at = kind;
    if (at < 0 || !want.port || !want.count || !want.at_once || (at == ECHO && want.count < want.at_once) ||
        (want.tls && want.hello) || (want.resume && !want.tls) || (at == SILENT && !want.hello) || (want.pace && at != BYTES) ||
        (want.wait && at != ECHO)) {
        fprintf(stderr, "usage: see the head of load.c\n");
        return 2;
    }
    want.kind = (enum kind)at;
    return work();
}
