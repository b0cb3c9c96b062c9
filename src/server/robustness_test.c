/* Bad input, slow and vanishing clients, many of them, and stopping while they are there. */
#include "server/test_client.h"

#include <sys/resource.h>

/* Whatever happened before, the server still serves. */
static void assert_serves(const fixture *f)
{
    assert_int_equal(ask(f, "POST", VECTORS "/infer", GOOD_BODY)->code, 200);
}

static void malformed_bodies_get_400(void **state)
{
    static const char *const bodies[] = {
        "", "{", "nonsense", "[1,2", "{\"inputs\":[}", "\xff\xfe", "null", "7", "\"text\""
    };
    static const char *const paths[] = { VECTORS "/infer", VECTORS "/feedback", VECTORS "/classes",
                                         VECTORS "/learning", VECTORS "/golden" };
    for (size_t p = 0; p < TL_COUNT_OF(paths); p++)
        for (size_t i = 0; i < TL_COUNT_OF(bodies); i++)
            assert_refused(ask(*state, "POST", paths[p], bodies[i]), 400, "");
    static char deep[100001];
    memset(deep, '[', sizeof deep - 1);
    const answer *a = ask(*state, "POST", VECTORS "/feedback", deep);
    assert_true(a->code == 400 || a->code == 413);
    assert_serves(*state);
}

static void binary_sizes_get_400(void **state)
{
    static const char *const headers[] = {
        "Inference-Header-Content-Length: 10\r\n",
        "Inference-Header-Content-Length: 100000\r\n",
        "Inference-Header-Content-Length: -1\r\n",
        "Inference-Header-Content-Length: x\r\n",
        "Inference-Header-Content-Length: \r\n",
        "Inference-Header-Content-Length: 0\r\n",
        "Inference-Header-Content-Length: 99999999999999999999\r\n",
    };
    for (size_t i = 0; i < TL_COUNT_OF(headers); i++)
        assert_refused(
            ask_bytes(*state, "POST", VECTORS "/infer", headers[i], GOOD_BODY, strlen(GOOD_BODY)),
            400, "");
    assert_serves(*state);
}

static void bad_feedback_gets_400(void **state)
{
    static const char *const bodies[] = {
        "{}",
        "[]",
        "{\"feedback\":[]}",
        "{\"feedback\":7}",
        "{\"prediction_id\":\"x\",\"label\":\"ok\"}",
        "{\"prediction_id\":\"00000000000000000000000000000000\",\"label\":\"ok\"}",
        "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\"}",
        "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\",\"label\":7}",
        "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\",\"label\":\"ok\","
        "\"verdict\":\"correct\"}",
        "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\",\"verdict\":\"good\"}",
        "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\",\"withdraw\":false}",
        "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\",\"label\":\"ok\","
        "\"time\":\"yesterday\"}",
        "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\",\"label\":\"ok\",\"time\":-1}",
        "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\",\"label\":\"ok\",\"time\":1e300}",
    };
    for (size_t i = 0; i < TL_COUNT_OF(bodies); i++)
        assert_refused(ask(*state, "POST", VECTORS "/feedback", bodies[i]), 400, "");
    assert_refused(ask(*state, "POST", VECTORS "/feedback",
                       "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\",\"reward\":1}"),
                   422, "rewards");
    assert_serves(*state);
}

/* ---- Sizes ----------------------------------------------------------------------------------- */

static int setup_small(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->options = test_options();
    f->options.max_body_bytes = 4096;
    f->options.max_pending_body_bytes = 6000;
    f->options.idle_timeout_s = 2;
    f->options.request_timeout_s = 3;
    f->options.max_connections = 40;
    fixture_open(f);
    *state = f;
    return 0;
}

static void a_large_body_gets_413(void **state)
{
    static char large[100000];
    memset(large, ' ', sizeof large);
    static answer a;
    assert_refused(ask_bytes(*state, "POST", VECTORS "/infer", "", large, sizeof large), 413,
                   "over 4096 bytes");
    /* The connection goes on after a refusal. */
    int fd = client_open(*state);
    assert_true(client_request(fd, "POST", VECTORS "/infer", "", large, sizeof large));
    assert_true(client_read(fd, &a));
    assert_int_equal(a.code, 413);
    assert_true(client_request(fd, "POST", VECTORS "/infer", "", GOOD_BODY, strlen(GOOD_BODY)));
    assert_true(client_read(fd, &a));
    assert_int_equal(a.code, 200);
    close(fd);
    /* Without Content-Length it is stopped where it passes the bound. */
    fd = client_open(*state);
    client_say(fd, "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 10; i++) {
        client_say(fd, "400\r\n");
        assert_true(client_send(fd, large, 1024));
        client_say(fd, "\r\n");
    }
    client_say(fd, "0\r\n\r\n");
    assert_true(client_read(fd, &a));
    assert_int_equal(a.code, 413);
    close(fd);
    assert_serves(*state);
}

static void expect_is_answered_before_the_body(void **state)
{
    static answer a;
    int fd = client_open(*state);
    client_say(fd, "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\n"
                   "Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n");
    assert_true(client_read(fd, &a));
    assert_int_equal(a.code, 413);
    close(fd);
    fd = client_open(*state);
    char head[256];
    snprintf(head, sizeof head,
             "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n"
             "Expect: 100-continue\r\n\r\n",
             strlen(GOOD_BODY));
    client_say(fd, head);
    assert_true(client_read(fd, &a));
    assert_int_equal(a.code, 100);
    client_say(fd, GOOD_BODY);
    assert_true(client_read(fd, &a));
    assert_int_equal(a.code, 200);
    close(fd);
}

static void a_chunked_body_is_taken(void **state)
{
    static answer a;
    char request[512];
    int fd = client_open(*state);
    snprintf(request, sizeof request,
             "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\n"
             "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n",
             strlen(GOOD_BODY), GOOD_BODY);
    client_say(fd, request);
    assert_true(client_read(fd, &a));
    assert_int_equal(a.code, 200);
    close(fd);
}

static void ambiguous_lengths_are_refused(void **state)
{
    static answer a;
    int fd = client_open(*state);
    client_say(fd, "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_true(client_read(fd, &a));
    assert_refused(&a, 400, "not both");
    close(fd);
    static const char *const lengths[] = { "-5", "x", "5x", "99999999999999999999999" };
    for (size_t i = 0; i < TL_COUNT_OF(lengths); i++) {
        char head[256];
        fd = client_open(*state);
        snprintf(head, sizeof head,
                 "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %s\r\n\r\n",
                 lengths[i]);
        client_say(fd, head);
        if (client_read(fd, &a)) assert_true(a.code == 400 || a.code == 413);
        close(fd);
    }
    assert_refused(ask_bytes(*state, "POST", VECTORS "/infer", "Content-Encoding: gzip\r\n",
                             GOOD_BODY, strlen(GOOD_BODY)),
                   415, "gzip");
    assert_serves(*state);
}

static void large_headers_are_refused(void **state)
{
    static char header[40000];
    static answer a;
    memset(header, 'a', sizeof header);
    int fd = client_open(*state);
    client_say(fd, "GET /v2 HTTP/1.1\r\nHost: localhost\r\nX-Large: ");
    client_send(fd, header, sizeof header);
    client_send(fd, "\r\n\r\n", 4);
    if (client_read(fd, &a)) assert_true(a.code == 431 || a.code == 413 || a.code == 400);
    close(fd);
    assert_serves(*state);
}

static void bodies_together_are_bounded(void **state)
{
    static char part[4000];
    static answer a;
    memset(part, ' ', sizeof part);
    int first = client_open(*state), second = client_open(*state);
    client_say(first, "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\n"
                      "Content-Length: 4001\r\n\r\n");
    assert_true(client_send(first, part, sizeof part));
    wait_for_metric(*state, "tightloop_http_pending_body_bytes 4000\n");
    assert_true(client_request(second, "POST", VECTORS "/infer", "", part, sizeof part));
    assert_true(client_read(second, &a));
    assert_int_equal(a.code, 503);
    assert_non_null(answer_header(&a, "Retry-After"));
    close(first);
    wait_for_metric(*state, "tightloop_http_pending_body_bytes 0\n");
    assert_true(client_request(second, "POST", VECTORS "/infer", "", part, sizeof part));
    assert_true(client_read(second, &a));
    assert_int_equal(a.code, 400);
    close(second);
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void slow_clients_are_timed_out(void **state)
{
    static answer a;
    /* Stands still in its body. */
    int still = client_open(*state);
    client_say(still, "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\n"
                      "Content-Length: 100\r\n\r\n{");
    /* Sends a byte now and then, for ever. */
    int drip = client_open(*state);
    client_say(drip, "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\n"
                     "Content-Length: 100\r\n\r\n");
    /* Says nothing at all; and never ends its headers. */
    int silent = client_open(*state), headers = client_open(*state);
    client_say(headers, "GET /v2 HTTP/1.1\r\nHost: ");
    bool closed = false;
    for (int i = 0; i < 200 && !closed; i++) {
        usleep(100000);
        closed = !client_send(drip, " ", 1);
        client_send(headers, "a", 1);
    }
    assert_true(client_read(still, &a));
    assert_int_equal(a.code, 408);
    assert_contains(a.body, "in time");
    assert_true(client_read(drip, &a));
    assert_int_equal(a.code, 408);
    assert_true(client_read(silent, &a));
    assert_int_equal(a.code, 408);
    assert_true(client_read(headers, &a));
    assert_int_equal(a.code, 408);
    char byte;
    assert_int_equal(recv(still, &byte, 1, 0), 0);
    close(still);
    close(drip);
    close(silent);
    close(headers);
    assert_serves(*state);
}

static void an_idle_connection_is_closed_without_words(void **state)
{
    static answer a;
    int fd = client_open(*state);
    assert_true(client_request(fd, "POST", VECTORS "/infer", "", GOOD_BODY, strlen(GOOD_BODY)));
    assert_true(client_read(fd, &a));
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

static void work_is_not_timed_out(void **state)
{
    static answer a;
    atomic_store(&stub.hold, true);
    int fd = client_open(*state);
    assert_true(client_request(fd, "POST", VECTORS "/infer", "", GOOD_BODY, strlen(GOOD_BODY)));
    sleep(5);
    atomic_store(&stub.hold, false);
    assert_true(client_read(fd, &a));
    assert_int_equal(a.code, 200);
    close(fd);
}

/* ---- Many ------------------------------------------------------------------------------------ */

static void pipelined_requests_are_answered_in_order(void **state)
{
    enum { COUNT = 20 };
    static answer a;
    char text[COUNT * 512] = "";
    size_t bytes = 0;
    for (int i = 0; i < COUNT; i++) {
        char body[256];
        int length = snprintf(body, sizeof body,
                              "{\"id\":\"%d\",\"inputs\":[{\"name\":\"features\",\"shape\":[1,4],"
                              "\"datatype\":\"FP32\",\"data\":[%d,0,0,0]}]}",
                              i, i);
        bytes += (size_t)snprintf(text + bytes, sizeof text - bytes,
                                  "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\n"
                                  "Content-Length: %d\r\n\r\n%s",
                                  length, body);
    }
    int fd = client_open(*state);
    assert_true(client_send(fd, text, bytes));
    for (int i = 0; i < COUNT; i++) {
        char id[32];
        assert_true(client_read(fd, &a));
        assert_int_equal(a.code, 200);
        snprintf(id, sizeof id, "\"id\":\"%d\"", i);
        assert_contains(a.body, id);
        assert_contains(a.body, test_classes[i % 3]);
    }
    close(fd);
}

static void clients_may_vanish_while_they_wait(void **state)
{
    fixture *f = *state;
    atomic_store(&stub.hold, true);
    for (int i = 0; i < 30; i++) {
        int fd = client_open(f);
        assert_true(client_request(fd, "POST", VECTORS "/infer", "", GOOD_BODY, strlen(GOOD_BODY)));
        struct linger hard = { .l_onoff = 1 };
        if (i % 2 == 0) setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); /* RST */
        usleep(5000);
        close(fd);
    }
    atomic_store(&stub.hold, false);
    assert_serves(f);
    wait_for_metric(f, "tightloop_http_requests_waiting 1\n"); /* the asking one */
}

static void a_full_queue_gets_503(void **state)
{
    static answer a;
    atomic_store(&stub.hold, true);
    atomic_store(&stub.jobs_max, 2);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_open(*state);
        assert_true(
            client_request(fds[i], "POST", VECTORS "/infer", "", GOOD_BODY, strlen(GOOD_BODY)));
        if (i < 2) wait_for_jobs(*state, (size_t)i + 1);
    }
    assert_true(client_read(fds[2], &a));
    assert_int_equal(a.code, 503);
    assert_non_null(answer_header(&a, "Retry-After"));
    atomic_store(&stub.hold, false);
    for (int i = 0; i < 2; i++) {
        assert_true(client_read(fds[i], &a));
        assert_int_equal(a.code, 200);
    }
    for (int i = 0; i < 3; i++) close(fds[i]);
}

static void connections_are_bounded(void **state)
{
    int fds[80];
    for (size_t i = 0; i < TL_COUNT_OF(fds); i++) fds[i] = client_open(*state);
    for (size_t i = 0; i < TL_COUNT_OF(fds); i++) close(fds[i]);
    /* Those that were too many are gone; somebody new is served. */
    for (int i = 0; i < 50; i++) {
        static answer a;
        int fd = client_open(*state);
        bool ok = client_request(fd, "GET", "/v2", "", "", 0) && client_read(fd, &a);
        close(fd);
        if (ok) return;
        usleep(50000);
    }
    fail_msg("nobody is served any more");
}

static int setup_threads(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->options = test_options();
    f->options.io_threads = 4;
    fixture_open(f);
    *state = f;
    return 0;
}

static int setup_many(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->options = test_options();
    f->options.max_connections = 6000;
    fixture_open(f);
    *state = f;
    return 0;
}

/* As many as this process may open, up to 5,000, all alive at once and each served. */
static void thousands_of_connections(void **state)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    size_t count = limit.rlim_cur > 10600 ? 5000 : (size_t)(limit.rlim_cur - 600) / 2;
    int *fds = calloc(count, sizeof *fds);
    static answer a;
    for (size_t i = 0; i < count; i++) {
        fds[i] = client_open(*state);
        assert_true(fds[i] >= 0);
    }
    for (size_t i = 0; i < count; i++)
        assert_true(
            client_request(fds[i], "POST", VECTORS "/infer", "", GOOD_BODY, strlen(GOOD_BODY)));
    for (size_t i = 0; i < count; i++) {
        assert_true(client_read(fds[i], &a));
        assert_int_equal(a.code, 200);
    }
    for (size_t i = 0; i < count; i++) close(fds[i]);
    free(fds);
    assert_serves(*state);
}

/* ---- Stopping -------------------------------------------------------------------------------- */

typedef struct load {
    const fixture *f;
    pthread_t thread;
    _Atomic bool *stop;
    int sent, answered, refused, cut;
} load;

/* Requests on one connection until that ends; every request sent is answered, or the connection was
 * closed between two requests. */
static void *load_run(void *context)
{
    load *l = context;
    answer *a = malloc(sizeof *a);
    int fd = client_open(l->f);
    while (fd >= 0 && !atomic_load(l->stop)) {
        if (!client_request(fd, "POST", VECTORS "/infer", "", GOOD_BODY, strlen(GOOD_BODY))) break;
        l->sent++;
        if (!client_read(fd, a)) {
            l->cut++;
            break;
        }
        if (a->code == 200) l->answered++;
        if (a->code == 503) {
            l->refused++;
            break;
        }
        const char *connection = answer_header(a, "Connection");
        if (connection != NULL && strncasecmp(connection, "close", 5) == 0) break;
    }
    if (fd >= 0) close(fd);
    free(a);
    return NULL;
}

static void *stop_run(void *context)
{
    fixture *f = context;
    tl_server_stop(&f->server);
    return NULL;
}

/* Until nobody listens any more: then the server is stopping. */
static void wait_for_refusal(const fixture *f)
{
    int fd;
    while ((fd = client_open(f)) >= 0) {
        close(fd);
        usleep(5000);
    }
}

static void stopping_answers_what_was_accepted(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        fixture f = { .options = test_options() };
        f.options.io_threads = round % 2 == 0 ? 1 : 3;
        fixture_open(&f);
        static load loads[16];
        _Atomic bool stop = false;
        for (size_t i = 0; i < TL_COUNT_OF(loads); i++) {
            loads[i] = (load){ .f = &f, .stop = &stop };
            pthread_create(&loads[i].thread, NULL, load_run, &loads[i]);
        }
        usleep(100000 + round * 20000);
        /* Held requests are answered once the loop lets them go, though the server is stopping. */
        atomic_store(&stub.hold, true);
        int held = client_open(&f);
        assert_true(
            client_request(held, "POST", VECTORS "/infer", "", GOOD_BODY, strlen(GOOD_BODY)));
        wait_for_jobs(&f, TL_COUNT_OF(loads) + 1);
        pthread_t stopper;
        pthread_create(&stopper, NULL, stop_run, &f);
        wait_for_refusal(&f);
        atomic_store(&stub.hold, false);
        pthread_join(stopper, NULL);
        assert_null(f.server);
        static answer a;
        assert_true(client_read(held, &a));
        assert_int_equal(a.code, 200);
        close(held);
        int answered = 0;
        for (size_t i = 0; i < TL_COUNT_OF(loads); i++) {
            pthread_join(loads[i].thread, NULL);
            answered += loads[i].answered;
            /* A request may cross the closing of its idle connection, but never be lost after it
             * was read: then it was not sent to the loop either. */
            assert_true(loads[i].cut <= 1);
            assert_int_equal(loads[i].sent, loads[i].answered + loads[i].refused + loads[i].cut);
        }
        assert_true(answered > 0);
        pthread_mutex_lock(&f.runtime->mutex);
        uint64_t predicted = f.runtime->loops[0].predictions;
        pthread_mutex_unlock(&f.runtime->mutex);
        assert_int_equal(predicted, answered + 1);
        tl_runtime_close(&f.runtime);
    }
}

static void stopping_waits_for_a_body_that_is_under_way(void **state)
{
    (void)state;
    fixture f = { .options = test_options() };
    static answer a;
    char head[256];
    fixture_open(&f);
    size_t half = strlen(GOOD_BODY) / 2;
    int fd = client_open(&f);
    snprintf(head, sizeof head,
             "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
             strlen(GOOD_BODY));
    client_say(fd, head);
    assert_true(client_send(fd, GOOD_BODY, half));
    char line[64];
    snprintf(line, sizeof line, "tightloop_http_pending_body_bytes %zu\n", half);
    wait_for_metric(&f, line);
    pthread_t stopper;
    pthread_create(&stopper, NULL, stop_run, &f);
    wait_for_refusal(&f);
    client_say(fd, &GOOD_BODY[half]);
    assert_true(client_read(fd, &a));
    assert_int_equal(a.code, 200);
    assert_non_null(answer_header(&a, "Connection"));
    pthread_join(stopper, NULL);
    close(fd);
    tl_runtime_close(&f.runtime);
}

static void stopping_does_not_wait_for_ever(void **state)
{
    fixture *f = *state; /* teardown stops it while this client stands still in its body */
    int fd = client_open(f);
    client_say(fd, "POST " VECTORS "/infer HTTP/1.1\r\nHost: localhost\r\n"
                   "Content-Length: 100\r\n\r\n{");
    wait_for_metric(f, "tightloop_http_pending_body_bytes 1\n");
    tl_server_stop(&f->server);
    char byte;
    while (recv(fd, &byte, 1, 0) > 0) continue;
    close(fd);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define CASE(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define SMALL(name) cmocka_unit_test_setup_teardown(name, setup_small, teardown)
    const struct CMUnitTest tests[] = {
        CASE(malformed_bodies_get_400),
        CASE(binary_sizes_get_400),
        CASE(bad_feedback_gets_400),
        SMALL(a_large_body_gets_413),
        SMALL(expect_is_answered_before_the_body),
        CASE(a_chunked_body_is_taken),
        CASE(ambiguous_lengths_are_refused),
        CASE(large_headers_are_refused),
        SMALL(bodies_together_are_bounded),
        SMALL(slow_clients_are_timed_out),
        SMALL(an_idle_connection_is_closed_without_words),
        SMALL(work_is_not_timed_out),
        CASE(pipelined_requests_are_answered_in_order),
        CASE(clients_may_vanish_while_they_wait),
        cmocka_unit_test_setup_teardown(pipelined_requests_are_answered_in_order, setup_threads,
                                        teardown),
        cmocka_unit_test_setup_teardown(clients_may_vanish_while_they_wait, setup_threads,
                                        teardown),
        CASE(a_full_queue_gets_503),
        SMALL(connections_are_bounded),
        cmocka_unit_test_setup_teardown(thousands_of_connections, setup_many, teardown),
        cmocka_unit_test(stopping_answers_what_was_accepted),
        cmocka_unit_test(stopping_waits_for_a_body_that_is_under_way),
        CASE(stopping_does_not_wait_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
