/* Server-sent events: order, slow clients, the bound on clients, the end. */
#include "server/test_client.h"

static int setup_events(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->options = test_options();
    f->options.max_event_clients = 2;
    fixture_open(f);
    *state = f;
    return 0;
}

/* Opens a stream and reads until `part` is there; what was read stays in `text`. */
static int listen_to(const fixture *f)
{
    int fd = client_open(f);
    client_say(fd, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return fd;
}

static bool read_until(int fd, const char *part, char *text, size_t capacity)
{
    size_t bytes = strlen(text);
    while (strstr(text, part) == NULL) {
        ssize_t more = recv(fd, text + bytes, capacity - 1 - bytes, 0);
        if (more <= 0) return false;
        bytes += (size_t)more;
        text[bytes] = '\0';
    }
    return true;
}

static void events_arrive_in_order(void **state)
{
    fixture *f = *state;
    static char one[65536], two[65536];
    one[0] = two[0] = '\0';
    int first = listen_to(f), second = listen_to(f);
    assert_true(read_until(first, "retry: 2000\n\n", one, sizeof one));
    assert_true(read_until(second, "retry: 2000\n\n", two, sizeof two));
    assert_non_null(strstr(one, "Content-Type: text/event-stream"));
    stub_event(f->runtime, "{\"type\":\"publish\",\"version\":2}");
    stub_event(f->runtime, "{\"type\":\"two\"}\nignored: line");
    assert_true(read_until(first, "id: 2\ndata: {\"type\":\"two\"}\n\n", one, sizeof one));
    assert_true(read_until(second, "id: 2\n", two, sizeof two));
    assert_non_null(strstr(one, "id: 1\ndata: {\"type\":\"publish\",\"version\":2}\n\n"));
    assert_null(strstr(one, "ignored"));
    assert_contains(ask(f, "GET", "/metrics", "")->body, "tightloop_http_event_clients 2\n");
    close(first);
    close(second);
}

static void too_many_listeners_get_503(void **state)
{
    fixture *f = *state;
    static char text[4096];
    int fds[2];
    for (int i = 0; i < 2; i++) {
        text[0] = '\0';
        fds[i] = listen_to(f);
        assert_true(read_until(fds[i], "retry", text, sizeof text));
    }
    assert_refused(ask(f, "GET", "/events", ""), 503, "2 clients");
    for (int i = 0; i < 2; i++) close(fds[i]);
}

static void a_slow_listener_is_dropped_and_others_are_not(void **state)
{
    fixture *f = *state;
    static char text[4096], event[8000];
    text[0] = '\0';
    int slow = listen_to(f);
    assert_true(read_until(slow, "retry", text, sizeof text));
    memset(event, 'x', sizeof event - 1);
    memcpy(event, "{\"", 2);
    /* More than any socket buffer holds. */
    for (int i = 0; i < 2000; i++) stub_event(f->runtime, event);
    const answer *a = ask(f, "GET", "/metrics", "");
    assert_contains(a->body, "tightloop_http_event_clients_dropped_total 1\n");
    /* Its stream ends after what was in the buffer. */
    static char sink[65536];
    while (recv(slow, sink, sizeof sink, 0) > 0) continue;
    close(slow);
    assert_int_equal(ask(f, "POST", VECTORS "/infer", GOOD_BODY)->code, 200);
}

static void streams_end_when_the_server_stops(void **state)
{
    fixture *f = *state;
    static char text[4096];
    text[0] = '\0';
    int fd = listen_to(f);
    assert_true(read_until(fd, "retry", text, sizeof text));
    tl_server_stop(&f->server);
    assert_true(read_until(fd, "0\r\n\r\n", text, sizeof text)); /* the last chunk */
    close(fd);
}

static void a_listener_may_vanish(void **state)
{
    fixture *f = *state;
    static char text[4096];
    for (int i = 0; i < 20; i++) {
        text[0] = '\0';
        int fd = listen_to(f);
        /* The place of the one before is free once the server has noticed. */
        bool heard = read_until(fd, "\r\n\r\n", text, sizeof text);
        close(fd);
        assert_true(heard);
        for (int k = 0; k < 3; k++) {
            stub_event(f->runtime, "{\"type\":\"tick\"}");
            usleep(2000);
        }
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup_events, teardown)
    const struct CMUnitTest tests[] = {
        CASE(events_arrive_in_order),
        CASE(too_many_listeners_get_503),
        CASE(a_slow_listener_is_dropped_and_others_are_not),
        CASE(streams_end_when_the_server_stops),
        CASE(a_listener_may_vanish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
