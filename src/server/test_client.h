/* test_client.h - for the server's tests: a server over the stub loop, and a client that sends
 * exactly the bytes that it is told to. Layer: tests of the server. */
#ifndef TL_SERVER_TEST_CLIENT_H
#define TL_SERVER_TEST_CLIENT_H

#include "server/server.h"
#include "server/stub_loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- The server ------------------------------------------------------------------------------ */

typedef struct fixture {
    tl_runtime *runtime;
    tl_server *server;
    tl_server_options options;
    uint16_t port; /* kept when the server is gone */
} fixture;

static const char *const test_classes[] = { "ok", "open", "short" };

/* "vectors": 4 numbers; "boards": 8 x 8 grey images with templates. */
static inline void fixture_open(fixture *f)
{
    tl_error err = { 0 };
    memset(&stub, 0, sizeof stub);
    tl_runtime_options runtime_options = tl_runtime_options_default();
    assert_int_equal(tl_runtime_open(&runtime_options, &f->runtime, &err), TL_OK);
    tl_loop *loop;
    tl_loop_options options = tl_loop_options_default();
    options.classes = test_classes;
    options.class_count = TL_COUNT_OF(test_classes);
    options.name = "vectors";
    options.input = TL_INPUT_FEATURES;
    options.feature_count = 4;
    assert_int_equal(tl_loop_open(f->runtime, &options, &loop, &err), TL_OK);
    options.name = "boards";
    options.input = TL_INPUT_IMAGE;
    options.has_template = true;
    options.height = options.width = 8;
    assert_int_equal(tl_loop_open(f->runtime, &options, &loop, &err), TL_OK);
    tl_status status = tl_server_start(f->runtime, &f->options, &f->server, &err);
    if (status != TL_OK) fail_msg("cannot start: %s", err.text);
    f->port = tl_server_port(f->server);
}

static inline void fixture_close(fixture *f)
{
    atomic_store(&stub.hold, false);
    tl_server_stop(&f->server);
    tl_runtime_close(&f->runtime);
}

static inline tl_server_options test_options(void)
{
    tl_server_options options = tl_server_options_default();
    options.port = 0;
    options.stop_timeout_s = 5;
    return options;
}

/* cmocka's setup and teardown for a server with these defaults. */
static inline int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->options = test_options();
    fixture_open(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

/* ---- The client ------------------------------------------------------------------------------ */

enum { ANSWER_BYTES_MAX = 1 << 20 };

typedef struct answer {
    int code;
    char *head, *body; /* NUL-terminated, in `data` */
    size_t body_bytes, total_bytes;
    char data[ANSWER_BYTES_MAX];
} answer;

static inline int client_open(const fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct timeval patience = { .tv_sec = 20 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons(f->port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline bool client_send(int fd, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        at += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

static inline void client_say(int fd, const char *text)
{
    assert_true(client_send(fd, text, strlen(text)));
}

/* Text of a header, up to the end of its line; NULL: not there. */
static inline const char *answer_header(const answer *a, const char *name)
{
    size_t bytes = strlen(name);
    for (const char *line = a->head; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncasecmp(line, name, bytes) == 0 && line[bytes] == ':')
            return line + bytes + 1 + strspn(line + bytes + 1, " ");
    }
    return NULL;
}

/* One answer with a Content-Length. Bytes of the next one that came along are not lost: reading is
 * exact. False: the connection ended before. */
static inline bool client_read(int fd, answer *a)
{
    size_t bytes = 0;
    a->code = 0;
    a->head = a->data;
    while (bytes < 4 || memcmp(a->data + bytes - 4, "\r\n\r\n", 4) != 0) {
        if (bytes + 1 >= ANSWER_BYTES_MAX) return false;
        if (recv(fd, a->data + bytes, 1, 0) != 1) return false;
        bytes++;
    }
    a->data[bytes - 1] = '\0';
    a->body = a->data + bytes;
    if (sscanf(a->data, "HTTP/1.1 %d", &a->code) != 1) return false;
    const char *length = answer_header(a, "Content-Length");
    a->body_bytes = length == NULL ? 0 : strtoul(length, NULL, 10);
    if (a->body_bytes + bytes + 1 > ANSWER_BYTES_MAX) return false;
    size_t got = 0;
    while (got < a->body_bytes) {
        ssize_t more = recv(fd, a->body + got, a->body_bytes - got, 0);
        if (more <= 0) return false;
        got += (size_t)more;
    }
    a->body[a->body_bytes] = '\0';
    return true;
}

/* A request with extra header lines ("" or "Name: value\r\n...") and a body of `bytes`. */
static inline bool client_request(int fd, const char *method, const char *path, const char *headers,
                                  const void *body, size_t bytes)
{
    char head[4096];
    int length = snprintf(head, sizeof head,
                          "%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n",
                          method, path, headers, bytes);
    return client_send(fd, head, (size_t)length) && client_send(fd, body, bytes);
}

/* The same with a connection of its own. The answer is static: good until the next call. */
static inline const answer *ask_bytes(const fixture *f, const char *method, const char *path,
                                      const char *headers, const void *body, size_t bytes)
{
    static answer a;
    int fd = client_open(f);
    assert_true(fd >= 0);
    assert_true(client_request(fd, method, path, headers, body, bytes));
    if (!client_read(fd, &a)) fail_msg("no answer to %s %s", method, path);
    close(fd);
    /* What the stub remembered is visible here from now on. */
    pthread_mutex_lock(&f->runtime->mutex);
    pthread_mutex_unlock(&f->runtime->mutex);
    return &a;
}

static inline const answer *ask(const fixture *f, const char *method, const char *path,
                                const char *body)
{
    return ask_bytes(f, method, path, "", body, strlen(body));
}

/* Ask for the metrics until they have this line. */
static inline void wait_for_metric(const fixture *f, const char *line)
{
    for (int i = 0; i < 2000; i++) {
        if (strstr(ask(f, "GET", "/metrics", "")->body, line) != NULL) return;
        usleep(10000);
    }
    fail_msg("the metrics never had: %s", line);
}

/* Wait until so many requests are with the stub, which is told to hold them. */
static inline void wait_for_jobs(const fixture *f, size_t count)
{
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&f->runtime->mutex);
        size_t have = f->runtime->job_count;
        pthread_mutex_unlock(&f->runtime->mutex);
        if (have >= count) return;
        usleep(10000);
    }
    fail_msg("never had %zu requests waiting", count);
}

#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (strstr(text, part) == NULL) fail_msg("no \"%s\" in: %s", part, text);                  \
    } while (0)

#define assert_refused(reply, status, part)                                                        \
    do {                                                                                           \
        const answer *refused_ = (reply);                                                          \
        if (refused_->code != (status))                                                            \
            fail_msg("got %d, not %d: %s", refused_->code, status, refused_->body);                \
        assert_int_equal(strncmp(refused_->body, "{\"error\":\"", 10), 0);                         \
        assert_contains(refused_->body, part);                                                     \
    } while (0)

#define VECTORS "/v2/models/vectors"
#define BOARDS  "/v2/models/boards"

/* One item with four numbers, of which the first says the label. */
#define GOOD_BODY                                                                                  \
    "{\"inputs\":[{\"name\":\"features\",\"shape\":[1,4],\"datatype\":\"FP32\","                   \
    "\"data\":[1,2,3,4]}]}"

#endif
