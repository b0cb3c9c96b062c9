/* run.c - sending, waiting, counting. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 256, ANSWER_BYTES_MAX = 32 * 1024, WAITING_MAX = 1 << 16, DRAIN_S = 10 };

typedef enum role { ROLE_PREDICT, ROLE_FEEDBACK, ROLE_SWAP } role;

typedef struct connection {
    int fd;
    role role;
    bool busy;
    int64_t due_ns;
    uint64_t index; /* of the item */
    size_t have;
    struct connection *next_idle;
    char answer[ANSWER_BYTES_MAX];
} connection;

/* Feedback that waits for a free connection. */
typedef struct waiting {
    int64_t due_ns;
    uint64_t index;
    char id[ID_BYTES];
} waiting;

typedef struct runner {
    const load_options *options;
    const load_requests *requests;
    load_result *result;
    int epoll;
    connection *connections;
    size_t count;
    connection *idle[3]; /* by role */
    int64_t start_ns, count_from_ns, end_ns;
    int64_t now_ns;
    uint64_t sent, in_flight;
    double label_credit;
    waiting *feedback; /* ring */
    size_t feedback_head, feedback_count;
    uint64_t swaps_sent;
    bool broken;
} runner;

int64_t load_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void fail(runner *r, const char *what, const char *detail)
{
    if (r->result->failure[0] == '\0')
        snprintf(r->result->failure, sizeof r->result->failure, "%s: %.150s", what, detail);
}

static void give_up(runner *r, const char *what, const char *detail)
{
    fail(r, what, detail);
    r->broken = true;
}

/* ---- Connections ----------------------------------------------------------------------------- */

static bool connection_open(runner *r, connection *c)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(r->options->port),
                                   .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = c };
    return epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &event) == 0;
}

/* A server closes what was silent for long; that is no failure while nothing is asked on it. */
static void closed(runner *r, connection *c, const char *why)
{
    close(c->fd);
    c->fd = -1;
    if (c->busy || !connection_open(r, c)) give_up(r, "receive", why);
}

/* A request fits the socket's buffer but for odd moments; those are waited out. */
static bool send_parts(const connection *c, struct iovec *parts, size_t count)
{
    while (count > 0) {
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = count };
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
        if (sent < 0) {
            struct pollfd wait = { .fd = c->fd, .events = POLLOUT };
            if (poll(&wait, 1, 1000) == 0) return false;
            continue;
        }
        size_t left = (size_t)sent;
        while (count > 0 && left >= parts->iov_len) {
            left -= parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + left;
            parts->iov_len -= left;
        }
    }
    return true;
}

static void start(runner *r, connection *c, int64_t due_ns, uint64_t index, struct iovec *parts,
                  size_t count)
{
    c->busy = true;
    c->due_ns = due_ns;
    c->index = index;
    c->have = 0;
    r->in_flight++;
    if (!send_parts(c, parts, count)) give_up(r, "send", strerror(errno));
}

/* ---- Sending --------------------------------------------------------------------------------- */

static load_count *swap_count(const runner *r, int64_t due_ns)
{
    if (r->options->swap[0] == 0) return NULL;
    return &r->result->swap[((due_ns - r->start_ns) / 1000000000) % 2];
}

static void predict(runner *r, connection *c, int64_t due_ns)
{
    struct iovec parts[PARTS_MAX];
    uint64_t index = r->sent++;
    size_t count = load_request_parts(r->requests, index, parts);
    if (due_ns >= r->count_from_ns) r->result->all.sent++;
    start(r, c, due_ns, index, parts, count);
}

static int64_t due_of(const runner *r, uint64_t index)
{
    return r->start_ns + (int64_t)((double)index * (1e9 / r->options->rate));
}

static connection *take_idle(runner *r, role as)
{
    connection *c = r->idle[as];
    if (c != NULL) r->idle[as] = c->next_idle;
    return c;
}

static void send_due_predictions(runner *r)
{
    while (r->options->rate > 0.0 && r->idle[ROLE_PREDICT] != NULL && !r->broken) {
        int64_t due_ns = due_of(r, r->sent);
        if (due_ns > r->now_ns || due_ns >= r->end_ns) return;
        double late_ms = (double)(r->now_ns - due_ns) / 1e6;
        if (late_ms > r->result->rate_late_ms) r->result->rate_late_ms = late_ms;
        predict(r, take_idle(r, ROLE_PREDICT), due_ns);
    }
}

static void send_waiting_feedback(runner *r)
{
    char text[512];
    while (r->feedback_count > 0 && r->idle[ROLE_FEEDBACK] != NULL && !r->broken) {
        waiting *w = &r->feedback[r->feedback_head];
        r->feedback_head = (r->feedback_head + 1) % WAITING_MAX;
        r->feedback_count--;
        size_t bytes = load_feedback_write(r->requests, w->index, w->id, text, sizeof text);
        struct iovec part = { text, bytes };
        if (w->due_ns >= r->count_from_ns) r->result->feedback.sent++;
        start(r, take_idle(r, ROLE_FEEDBACK), w->due_ns, w->index, &part, 1);
    }
}

/* Swaps are spread over every second second; the number of the next one tells when it is due. */
static int64_t swap_due_ns(const runner *r)
{
    uint64_t second = r->swaps_sent / r->options->swaps * 2 + 1;
    uint64_t part = r->swaps_sent % r->options->swaps;
    return r->start_ns + (int64_t)second * 1000000000 +
           (int64_t)(part * 1000000000 / r->options->swaps);
}

static void send_due_swap(runner *r)
{
    if (r->options->swap[0] == 0 || r->idle[ROLE_SWAP] == NULL) return;
    int64_t due_ns = swap_due_ns(r);
    if (due_ns > r->now_ns || due_ns >= r->end_ns) return;
    char text[256];
    uint64_t version = r->options->swap[r->swaps_sent % 2];
    int bytes = snprintf(text, sizeof text,
                         "POST /v2/models/%s/versions/%llu/promote HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                         "Content-Length: 0\r\n\r\n",
                         r->options->loop, (unsigned long long)version);
    struct iovec part = { text, (size_t)bytes };
    r->swaps_sent++;
    start(r, take_idle(r, ROLE_SWAP), r->now_ns, 0, &part, 1);
}

/* ---- Answers --------------------------------------------------------------------------------- */

/* Bytes of the whole answer, 0 while it is not known, SIZE_MAX when it cannot be read. */
static size_t answer_bytes(const connection *c, size_t *body_start)
{
    const char *end = memmem(c->answer, c->have, "\r\n\r\n", 4);
    if (end == NULL) return c->have == ANSWER_BYTES_MAX ? SIZE_MAX : 0;
    *body_start = (size_t)(end - c->answer) + 4;
    const char *length = memmem(c->answer, *body_start, "Content-Length: ", 16);
    if (length == NULL) return SIZE_MAX;
    size_t bytes = *body_start + strtoul(length + 16, NULL, 10);
    return bytes > ANSWER_BYTES_MAX ? SIZE_MAX : bytes;
}

static void count_answer(load_count *count, unsigned code, int64_t span_ns)
{
    if (code == 503) {
        count->refused++;
    } else if (code != 200) {
        count->failed++;
    } else {
        count->answered++;
        tl_histogram_record_ns(&count->latency, span_ns);
        if (span_ns > count->worst_ns) count->worst_ns = span_ns;
    }
}

/* Whether this answer is one of those that get a label, and its feedback if so. */
static void want_feedback(runner *r, const connection *c, size_t body_start, size_t bytes)
{
    r->label_credit += r->options->labels;
    if (r->label_credit < 1.0) return;
    r->label_credit -= 1.0;
    static const char key[] = "\"prediction_ids\":[\"";
    const char *at = memmem(c->answer + body_start, bytes - body_start, key, sizeof key - 1);
    if (at == NULL || r->feedback_count == WAITING_MAX) {
        fail(r, "feedback", at == NULL ? "no prediction id in the answer" : "too much waits");
        return;
    }
    waiting *w = &r->feedback[(r->feedback_head + r->feedback_count++) % WAITING_MAX];
    w->due_ns = r->now_ns;
    w->index = c->index;
    memcpy(w->id, at + sizeof key - 1, ID_BYTES);
}

static void count_one(runner *r, const connection *c, unsigned code)
{
    int64_t span_ns = r->now_ns - c->due_ns;
    if (c->role == ROLE_SWAP) {
        r->result->swaps += code == 200;
        tl_histogram_record_ns(&r->result->swap_latency, span_ns);
    } else if (c->due_ns >= r->count_from_ns && c->role == ROLE_FEEDBACK) {
        count_answer(&r->result->feedback, code, span_ns);
    } else if (c->due_ns >= r->count_from_ns) {
        /* In a closed loop what comes after the end is not part of the rate. */
        if (r->options->rate == 0.0 && r->now_ns > r->end_ns) return;
        load_count *side = swap_count(r, c->due_ns);
        count_answer(&r->result->all, code, span_ns);
        if (side != NULL) count_answer(side, code, span_ns);
    }
}

static void answered(runner *r, connection *c, size_t body_start, size_t bytes)
{
    unsigned code = (unsigned)strtoul(c->answer + 9, NULL, 10);
    r->now_ns = load_now_ns();
    c->busy = false;
    r->in_flight--;
    r->result->answer_bytes = c->role == ROLE_PREDICT ? bytes : r->result->answer_bytes;
    count_one(r, c, code);
    if (code != 200) {
        c->answer[bytes < ANSWER_BYTES_MAX ? bytes : ANSWER_BYTES_MAX - 1] = '\0';
        fail(r, "answer", c->answer + body_start);
    }
    bool again = c->role == ROLE_PREDICT && r->options->rate == 0.0 && r->now_ns < r->end_ns;
    if (code == 200 && c->role == ROLE_PREDICT && r->options->labels > 0.0)
        want_feedback(r, c, body_start, bytes);
    if (again) {
        predict(r, c, r->now_ns);
    } else {
        c->next_idle = r->idle[c->role];
        r->idle[c->role] = c;
    }
}

static void receive(runner *r, connection *c)
{
    while (!r->broken) {
        ssize_t got = recv(c->fd, c->answer + c->have, ANSWER_BYTES_MAX - c->have, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            closed(r, c, got == 0 ? "the server closed a connection" : strerror(errno));
            return;
        }
        if (!c->busy) { /* "408 Request Timeout" before it is closed */
            closed(r, c, "");
            return;
        }
        c->have += (size_t)got;
        size_t body_start = 0, bytes = answer_bytes(c, &body_start);
        if (bytes == SIZE_MAX) give_up(r, "receive", "this is no answer");
        if (bytes == 0 || bytes == SIZE_MAX || c->have < bytes) continue;
        answered(r, c, body_start, bytes);
        return; /* one request at a time: nothing more can be there */
    }
}

/* ---- The loop -------------------------------------------------------------------------------- */

static int64_t wait_ns(const runner *r)
{
    int64_t until = r->now_ns + 100000000;
    if (r->options->rate > 0.0 && r->idle[ROLE_PREDICT] != NULL) {
        int64_t due_ns = due_of(r, r->sent);
        if (due_ns < r->end_ns && due_ns < until) until = due_ns;
    }
    if (r->options->swap[0] != 0 && r->idle[ROLE_SWAP] != NULL && swap_due_ns(r) < until)
        until = swap_due_ns(r);
    return until > r->now_ns ? until - r->now_ns : 0;
}

static void loop(runner *r)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t give_up_ns = r->end_ns + (int64_t)DRAIN_S * 1000000000;
    for (;;) {
        r->now_ns = load_now_ns();
        send_due_swap(r);
        send_due_predictions(r);
        send_waiting_feedback(r);
        bool over = r->now_ns >= r->end_ns && (r->in_flight == 0 || r->now_ns > give_up_ns);
        if (over || r->broken) return;
        int64_t ns = wait_ns(r);
        struct timespec wait = { ns / 1000000000, ns % 1000000000 };
        int count = epoll_pwait2(r->epoll, events, EVENTS_MAX, &wait, NULL);
        for (int i = 0; i < count; i++) receive(r, events[i].data.ptr);
    }
}

static bool connect_all(runner *r)
{
    const load_options *o = r->options;
    for (size_t i = 0; i < r->count; i++) {
        role as = ROLE_SWAP;
        if (i < o->connections)
            as = ROLE_PREDICT;
        else if (i < o->connections + o->feedback_connections)
            as = ROLE_FEEDBACK;
        connection *c = &r->connections[i];
        c->role = as;
        if (!connection_open(r, c)) {
            fail(r, "connect", strerror(errno));
            return false;
        }
        c->next_idle = r->idle[as];
        r->idle[as] = c;
    }
    return true;
}

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

bool load_run(const load_options *options, const load_requests *requests, load_result *result)
{
    runner r = { .options = options, .requests = requests, .result = result };
    r.count = options->connections + options->feedback_connections + 1;
    r.epoll = epoll_create1(EPOLL_CLOEXEC);
    r.connections = calloc(r.count, sizeof *r.connections);
    r.feedback = malloc(WAITING_MAX * sizeof *r.feedback);
    if (r.connections == NULL || r.feedback == NULL || r.epoll < 0) abort();
    if (connect_all(&r)) {
        double cpu = cpu_s();
        r.start_ns = r.now_ns = load_now_ns();
        r.count_from_ns = r.start_ns + (int64_t)(options->warm_s * 1e9);
        r.end_ns = r.count_from_ns + (int64_t)(options->seconds * 1e9);
        while (options->rate == 0.0 && r.idle[ROLE_PREDICT] != NULL && !r.broken)
            predict(&r, take_idle(&r, ROLE_PREDICT), load_now_ns());
        loop(&r);
        if (r.in_flight > 0) give_up(&r, "end", "requests were not answered");
        result->cpu_s = cpu_s() - cpu;
        result->seconds = options->seconds;
    } else {
        r.broken = true;
    }
    for (size_t i = 0; i < r.count; i++)
        if (r.connections[i].fd > 0) close(r.connections[i].fd);
    close(r.epoll);
    free(r.connections);
    free(r.feedback);
    return !r.broken;
}
