/* The HTTP client, the operators and the lines against a scripted server. */
#include "sim/factory.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- The scripted server --------------------------------------------------------------------- */

typedef struct script {
    int listener;
    uint16_t port;
    pthread_t thread;
    void (*answer)(struct script *script, int socket, const char *request, size_t bytes);
    _Atomic int connections, requests, busy_answers;
    char last_request[16384];
    size_t last_bytes;
} script;

static void reply(int socket, const char *text)
{
    ssize_t n = send(socket, text, strlen(text), MSG_NOSIGNAL);
    (void)n;
}

static void reply_json(int socket, int code, const char *json)
{
    char text[2048];
    snprintf(text, sizeof text, "HTTP/1.1 %d X\r\ncontent-length: %zu\r\n\r\n%s", code,
             strlen(json), json);
    reply(socket, text);
}

typedef struct visitor {
    script *script;
    int socket;
} visitor;

static void *serve_connection(void *context)
{
    visitor v = *(visitor *)context;
    free(context);
    char buffer[16384];
    size_t used = 0;
    for (;;) {
        ssize_t n = recv(v.socket, buffer + used, sizeof buffer - 1 - used, 0);
        if (n <= 0) break;
        used += (size_t)n;
        buffer[used] = '\0';
        char *end = memmem(buffer, used, "\r\n\r\n", 4), *length;
        if (end == NULL || (length = strstr(buffer, "Content-Length: ")) == NULL) continue;
        size_t need = (size_t)(end + 4 - buffer) + strtoul(length + 16, NULL, 10);
        if (used < need) continue;
        atomic_fetch_add(&v.script->requests, 1);
        v.script->answer(v.script, v.socket, buffer, need);
        memmove(buffer, buffer + need, used - need);
        used -= need;
    }
    close(v.socket);
    return NULL;
}

static void *accept_connections(void *context)
{
    script *s = context;
    for (;;) {
        int socket = accept(s->listener, NULL, NULL);
        if (socket < 0) return NULL;
        atomic_fetch_add(&s->connections, 1);
        visitor *v = malloc(sizeof *v);
        if (v == NULL) abort();
        *v = (visitor){ s, socket };
        pthread_t thread;
        pthread_create(&thread, NULL, serve_connection, v);
        pthread_detach(thread);
    }
}

static void script_start(script *s, void (*answer)(script *, int, const char *, size_t))
{
    *s = (script){ .answer = answer };
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof address;
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listener, 64), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &bytes), 0);
    s->port = ntohs(address.sin_port);
    pthread_create(&s->thread, NULL, accept_connections, s);
}

static void script_stop(script *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
}

static tl_client *open_client(const script *s)
{
    tl_client *client;
    tl_client_options options = { .port = s->port, .token = "secret", .timeout_ms = 5000 };
    assert_int_equal(tl_client_open(&options, &client, NULL), TL_OK);
    return client;
}

/* ---- The client ------------------------------------------------------------------------------ */

static void echo(script *s, int socket, const char *request, size_t bytes)
{
    memcpy(s->last_request, request, bytes);
    s->last_bytes = bytes;
    reply_json(socket, 200, "{\"ok\":true}");
}

static void keeps_its_connection(void **state)
{
    (void)state;
    script s;
    script_start(&s, echo);
    tl_client *client = open_client(&s);
    tl_client_answer answer;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(tl_client_call(client, "POST", "/x", "{}", &answer, NULL), TL_OK);
        bool ok = false;
        assert_true(tl_json_bool(tl_json_get(answer.json, "ok"), &ok) && ok);
    }
    assert_int_equal(atomic_load(&s.connections), 1);
    assert_non_null(strstr(s.last_request, "POST /x HTTP/1.1\r\n"));
    assert_non_null(strstr(s.last_request, "Authorization: Bearer secret\r\n"));
    tl_client_close(&client);
    script_stop(&s);
}

static void close_each(script *s, int socket, const char *request, size_t bytes)
{
    echo(s, socket, request, bytes);
    shutdown(socket, SHUT_RDWR);
}

static void connects_again_when_closed(void **state)
{
    (void)state;
    script s;
    script_start(&s, close_each);
    tl_client *client = open_client(&s);
    tl_client_answer answer;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tl_client_call(client, "GET", "/x", NULL, &answer, NULL), TL_OK);
        usleep(20000); /* let the end of the connection arrive */
    }
    assert_int_equal(atomic_load(&s.connections), 3);
    tl_client_close(&client);
    script_stop(&s);
}

static void misbehave(script *s, int socket, const char *request, size_t bytes)
{
    (void)bytes;
    (void)s;
    if (strstr(request, "/refuse")) reply_json(socket, 404, "{\"error\":\"no such loop\"}");
    if (strstr(request, "/nonsense")) reply(socket, "SMTP ready\r\n\r\n");
    if (strstr(request, "/short")) {
        reply(socket, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        shutdown(socket, SHUT_RDWR);
    }
    if (strstr(request, "/huge"))
        reply(socket, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
    if (strstr(request, "/chunked"))
        reply(socket, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    if (strstr(request, "/continue"))
        reply(socket,
              "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    if (strstr(request, "/until-end")) {
        reply(socket, "HTTP/1.1 200 OK\r\n\r\n{\"a\":1}");
        shutdown(socket, SHUT_RDWR);
    }
    if (strstr(request, "/vanish")) shutdown(socket, SHUT_RDWR);
}

static void survives_bad_servers(void **state)
{
    (void)state;
    script s;
    script_start(&s, misbehave);
    tl_client *client = open_client(&s);
    tl_client_answer answer;
    tl_error err;
    assert_int_equal(tl_client_call(client, "GET", "/refuse", NULL, &answer, &err), TL_ENOTFOUND);
    assert_string_equal(err.text, "no such loop");
    assert_int_equal(tl_client_call(client, "GET", "/nonsense", NULL, &answer, &err), TL_EINVAL);
    assert_int_equal(tl_client_call(client, "GET", "/short", NULL, &answer, &err), TL_EIO);
    assert_int_equal(tl_client_call(client, "GET", "/huge", NULL, &answer, &err), TL_ELIMIT);
    assert_int_equal(tl_client_call(client, "GET", "/chunked", NULL, &answer, &err),
                     TL_EUNSUPPORTED);
    assert_int_equal(tl_client_call(client, "GET", "/vanish", NULL, &answer, &err), TL_EIO);
    assert_int_equal(tl_client_call(client, "GET", "/continue", NULL, &answer, &err), TL_OK);
    assert_int_equal(answer.code, 200);
    assert_int_equal(tl_client_call(client, "GET", "/until-end", NULL, &answer, &err), TL_OK);
    assert_non_null(answer.json);
    tl_client_close(&client);
    uint16_t port = s.port;
    script_stop(&s);
    tl_client_options gone = { .port = port };
    assert_int_equal(tl_client_open(&gone, &client, NULL), TL_OK);
    assert_int_equal(tl_client_call(client, "GET", "/", NULL, &answer, &err), TL_EIO);
    assert_non_null(strstr(err.text, "is the server running?"));
    tl_client_close(&client);
}

static void reads_addresses(void **state)
{
    (void)state;
    char host[256];
    uint16_t port;
    assert_int_equal(tl_client_parse_url("http://localhost:8080", host, &port, NULL), TL_OK);
    assert_string_equal(host, "localhost");
    assert_int_equal(port, 8080);
    assert_int_equal(tl_client_parse_url("http://[::1]:99/", host, &port, NULL), TL_OK);
    assert_string_equal(host, "::1");
    assert_int_equal(port, 99);
    assert_int_equal(tl_client_parse_url("http://a", host, &port, NULL), TL_OK);
    assert_int_equal(port, 80);
    assert_int_equal(tl_client_parse_url("https://a", host, &port, NULL), TL_EUNSUPPORTED);
    assert_int_equal(tl_client_parse_url("a:80", host, &port, NULL), TL_EINVAL);
    assert_int_equal(tl_client_parse_url("http://a:0", host, &port, NULL), TL_EINVAL);
    assert_int_equal(tl_client_parse_url("http://a:70000", host, &port, NULL), TL_EINVAL);
    assert_int_equal(tl_client_parse_url("http://a/b", host, &port, NULL), TL_EINVAL);
    assert_int_equal(tl_client_parse_url("http://:80", host, &port, NULL), TL_EINVAL);
}

/* ---- The plant ------------------------------------------------------------------------------- */

static const char ANSWER[] =
    "{\"model_name\":\"b\",\"model_version\":\"3\",\"parameters\":{\"prediction_ids\":"
    "[\"0192aaaa-0000-7000-8000-000000000001\"],\"review\":[true]},\"outputs\":["
    "{\"name\":\"label\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"short\"]},"
    "{\"name\":\"flagged\",\"datatype\":\"BOOL\",\"shape\":[1],\"data\":[true]}]}";

/* Calls every board a short; the first two verdicts meet a busy server. */
static void inspect_all(script *s, int socket, const char *request, size_t bytes)
{
    (void)bytes;
    if (strstr(request, "/infer") != NULL) {
        reply_json(socket, 200, ANSWER);
    } else if (atomic_fetch_add(&s->busy_answers, 1) < 2) {
        reply_json(socket, 503, "{\"error\":\"busy\"}");
    } else {
        reply_json(socket, 200, "{}");
    }
}

static void infer_sends_binary_tensors(void **state)
{
    (void)state;
    script s;
    script_start(&s, inspect_all);
    tl_client *client = open_client(&s);
    tl_sim_board board;
    tl_sim_board_draw(&(tl_sim_plant){ 1, 1.0 }, 0, 0, &board);
    tl_client_verdict verdict;
    const tl_client_origin origin = { .line = "line-1", .board = "1-0000007" };
    assert_int_equal(tl_client_infer(client, "b", &origin, &board, &verdict, NULL), TL_OK);
    assert_int_equal(verdict.code, 200);
    assert_string_equal(verdict.id, "0192aaaa-0000-7000-8000-000000000001");
    assert_int_equal(verdict.label, TL_SIM_SHORT);
    assert_true(verdict.flagged && verdict.review);
    assert_int_equal(verdict.version, 3);
    s.answer = echo;
    assert_int_equal(tl_client_infer(client, "b", &origin, &board, &verdict, NULL), TL_EINVAL);
    assert_non_null(strstr(s.last_request, "POST /v2/models/b/infer"));
    assert_non_null(strstr(s.last_request, "\"board\":\"1-0000007\",\"lot\":\"\""));
    assert_memory_equal(s.last_request + s.last_bytes - 8192, board.image, TL_SIM_PIXELS);
    assert_memory_equal(s.last_request + s.last_bytes - 4096, board.reference, TL_SIM_PIXELS);
    tl_client_close(&client);
    script_stop(&s);
}

static void lines_and_people_work(void **state)
{
    (void)state;
    script s;
    script_start(&s, inspect_all);
    tl_factory_options options = tl_factory_options_default();
    options.plant.defect_rate = 0.5;
    options.line_count = 3;
    options.boards_per_s = 50.0;
    options.people.server = (tl_client_options){ .port = s.port };
    options.people.loop = "b";
    options.people.delay_s_median = 0.02;
    options.people.error_rate = 0.0;
    tl_factory *factory;
    assert_int_equal(tl_factory_start(&options, &factory, NULL), TL_OK);
    tl_operators_counts people;
    tl_factory_line line;
    int patience = 2000; /* 20 s at most, however slow the machine */
    do {
        nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
        tl_factory_people_count(factory, &people);
        tl_factory_line_count(factory, 2, 10, &line);
    } while (--patience > 0 && (people.given < 30 || line.window < 10));
    assert_true(people.given >= 30);
    assert_true(people.asked >= people.given);
    assert_int_equal(people.wrong, 0);
    assert_int_equal(people.refused, 0);
    assert_int_equal(people.retried, 2);
    assert_int_equal(line.window, 10);
    assert_int_equal(line.flagged, 10);
    assert_int_equal(line.hits, line.defects);
    assert_int_equal(line.version, 3);
    assert_int_equal(line.failed, 0);
    assert_in_range(line.boards, 10, 900);
    tl_factory_line_count(factory, 2, 0, &line);
    assert_int_equal(line.window, 0);
    char failure[TL_ERROR_TEXT_BYTES];
    tl_factory_last_failure(factory, failure);
    assert_string_equal(failure, "");
    tl_factory_stop(&factory);
    assert_null(factory);
    script_stop(&s);
}

static void pass_all(script *s, int socket, const char *request, size_t bytes)
{
    (void)s;
    (void)request;
    (void)bytes;
    reply_json(socket, 200,
               "{\"parameters\":{\"prediction_ids\":[\"0192aaaa-0000-7000-8000-000000000002\"],"
               "\"review\":[false]},\"outputs\":[{\"name\":\"label\",\"data\":[\"ok\"]},"
               "{\"name\":\"flagged\",\"data\":[false]}]}");
}

static void misses_are_no_hits(void **state)
{
    (void)state;
    script s;
    script_start(&s, pass_all);
    tl_factory_options options = tl_factory_options_default();
    options.plant.defect_rate = 1.0;
    options.line_count = 1;
    options.boards_per_s = 100.0;
    options.people.server = (tl_client_options){ .port = s.port };
    options.people.loop = "b";
    tl_factory *factory;
    assert_int_equal(tl_factory_start(&options, &factory, NULL), TL_OK);
    tl_factory_line line;
    int patience = 2000;
    do {
        nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
        tl_factory_line_count(factory, 0, 10, &line);
    } while (--patience > 0 && line.window < 10);
    assert_int_equal(line.defects, 10);
    assert_int_equal(line.flagged, 0);
    assert_int_equal(line.hits, 0);
    assert_int_equal(line.right_class, 0);
    tl_operators_counts people;
    tl_factory_people_count(factory, &people);
    assert_int_equal(people.asked, 0);
    tl_factory_stop(&factory);
    script_stop(&s);
}

static void refuses_odd_plants(void **state)
{
    (void)state;
    tl_factory *factory = NULL;
    tl_factory_options options = tl_factory_options_default();
    options.people.loop = "b";
    options.line_count = 0;
    assert_int_equal(tl_factory_start(&options, &factory, NULL), TL_EINVAL);
    options.line_count = 1;
    options.boards_per_s = 0.0;
    assert_int_equal(tl_factory_start(&options, &factory, NULL), TL_EINVAL);
    options.boards_per_s = 1.0;
    options.people.count = 0;
    assert_int_equal(tl_factory_start(&options, &factory, NULL), TL_EINVAL);
    assert_null(factory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_its_connection),       cmocka_unit_test(connects_again_when_closed),
        cmocka_unit_test(survives_bad_servers),       cmocka_unit_test(reads_addresses),
        cmocka_unit_test(infer_sends_binary_tensors), cmocka_unit_test(lines_and_people_work),
        cmocka_unit_test(misses_are_no_hits),         cmocka_unit_test(refuses_odd_plants),
    };
    return cmocka_run_group_tests_name("sim/factory", tests, NULL, NULL);
}
