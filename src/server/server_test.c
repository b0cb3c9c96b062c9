/* The server's endpoints, over the stub loop. */
#include "server/test_client.h"

static void health_and_metadata(void **state)
{
    assert_int_equal(ask(*state, "GET", "/v2/health/live", "")->code, 200);
    assert_int_equal(ask(*state, "GET", "/v2/health/ready", "")->code, 200);
    const answer *a = ask(*state, "GET", "/v2", "");
    assert_int_equal(a->code, 200);
    assert_contains(a->body, "\"name\":\"tightloop\"");
    assert_contains(a->body, "binary_tensor_data");
    a = ask(*state, "GET", VECTORS, "");
    assert_int_equal(a->code, 200);
    assert_contains(a->body, "\"inputs\":[{\"name\":\"features\",\"datatype\":\"FP32\","
                             "\"shape\":[-1,4]}]");
    assert_contains(a->body, "\"versions\":[\"2\",\"1\"]");
    assert_contains(ask(*state, "GET", BOARDS, "")->body, "\"name\":\"reference\"");
    assert_int_equal(ask(*state, "GET", VECTORS "/versions/2", "")->code, 200);
    assert_int_equal(ask(*state, "GET", VECTORS "/ready", "")->code, 200);
    assert_int_equal(ask(*state, "GET", VECTORS "/versions/2/ready", "")->code, 200);
    assert_refused(ask(*state, "GET", VECTORS "/versions/9/ready", ""), 404, "no version 9");
    assert_refused(ask(*state, "GET", VECTORS "/versions/x", ""), 404, "number of a version");
}

static void a_prediction_is_answered(void **state)
{
    const answer *a = ask(*state, "POST", VECTORS "/infer",
                          "{\"id\":\"me\",\"parameters\":{\"site\":\"hall 2\"},"
                          "\"inputs\":[{\"name\":\"features\",\"shape\":[2,4],"
                          "\"datatype\":\"FP64\",\"data\":[[0,1,1,1],[2,1,1,1]]}]}");
    assert_int_equal(a->code, 200);
    assert_contains(a->body, "\"model_name\":\"vectors\",\"model_version\":\"1\",\"id\":\"me\"");
    assert_contains(a->body, "\"review\":[false,true],\"propensity\":[0.0625,1],\"blind\":[false,"
                             "false],\"zone\":[\"accept\",\"accept\"]");
    assert_contains(a->body, "\"name\":\"scores\",\"datatype\":\"FP32\",\"shape\":[2,3],"
                             "\"data\":[0.5,0.25,0.25,0.25,0.25,0.5]");
    assert_contains(a->body, "\"name\":\"label\",\"datatype\":\"BYTES\",\"shape\":[2,1],"
                             "\"data\":[\"ok\",\"short\"]");
    assert_contains(a->body, "\"name\":\"flagged\",\"datatype\":\"BOOL\",\"shape\":[2],"
                             "\"data\":[false,true]");
    assert_string_equal(stub.last_site, "hall 2");
    assert_true(stub.last_item.features != NULL && stub.last_item.feature_count == 4);
}

static void versions_are_asked_for(void **state)
{
    const answer *a = ask(*state, "POST", VECTORS "/versions/2/infer", GOOD_BODY);
    assert_int_equal(a->code, 200);
    assert_contains(a->body, "\"model_version\":\"2\"");
    a = ask(*state, "POST", VECTORS "/infer",
            "{\"parameters\":{\"version\":2},\"inputs\":[{\"name\":\"features\",\"shape\":[1,4],"
            "\"datatype\":\"FP32\",\"data\":[1,2,3,4]}]}");
    assert_contains(a->body, "\"model_version\":\"2\"");
    assert_refused(ask(*state, "POST", VECTORS "/versions/7/infer", GOOD_BODY), 404, "not kept");
}

static void retries_carry_their_key(void **state)
{
    const char *key = "Idempotency-Key: part-17\r\n";
    ask_bytes(*state, "POST", VECTORS "/infer", key, GOOD_BODY, strlen(GOOD_BODY));
    assert_string_equal(stub.last_request_id, "part-17");
    uint64_t first = stub.last_hash[0];
    assert_true(first != 0);
    ask_bytes(*state, "POST", VECTORS "/infer", key, GOOD_BODY, strlen(GOOD_BODY));
    assert_true(stub.last_hash[0] == first);
    ask_bytes(*state, "POST", VECTORS "/versions/2/infer", key, GOOD_BODY, strlen(GOOD_BODY));
    assert_true(stub.last_hash[0] != first);
    ask(*state, "POST", VECTORS "/infer", GOOD_BODY);
    assert_string_equal(stub.last_request_id, "");
    assert_refused(ask_bytes(*state, "POST", VECTORS "/infer", "Idempotency-Key: a\tb\r\n",
                             GOOD_BODY, strlen(GOOD_BODY)),
                   400, "printable");
}

/* Cuts the first prediction id out of an answer. */
static void first_id(const answer *a, char id[TL_ID_TEXT_BYTES])
{
    const char *at = strstr(a->body, "\"prediction_ids\":[\"");
    assert_non_null(at);
    snprintf(id, TL_ID_TEXT_BYTES, "%s", at + strlen("\"prediction_ids\":[\""));
}

static void feedback_is_taken(void **state)
{
    char id[TL_ID_TEXT_BYTES], body[512];
    first_id(ask(*state, "POST", VECTORS "/infer", GOOD_BODY), id);
    snprintf(body, sizeof body, "{\"prediction_id\":\"%s\",\"label\":\"open\"}", id);
    const answer *a = ask(*state, "POST", VECTORS "/feedback", body);
    assert_int_equal(a->code, 200);
    assert_contains(a->body, "\"state\":\"applied\"");
    assert_contains(a->body, id);
    assert_string_equal(stub.last_source, "local");
    /* Not known yet: kept, and said so. */
    a = ask(*state, "POST", VECTORS "/feedback",
            "[{\"prediction_id\":\"0123456789abcdef0123456789abcdef\",\"verdict\":\"incorrect\","
            "\"time\":1700000000.25}]");
    assert_int_equal(a->code, 202);
    assert_contains(a->body, "\"state\":\"pending\"");
    assert_int_equal(stub.last_feedback.time_us, 1700000000250000);
    assert_false(stub.last_feedback.correct);
    snprintf(body, sizeof body,
             "{\"feedback\":[{\"prediction_id\":\"0123456789abcdef0123456789abcdef\","
             "\"verdict\":\"correct\"},{\"prediction_id\":\"%s\",\"withdraw\":true}]}",
             id);
    a = ask(*state, "POST", VECTORS "/feedback", body);
    assert_int_equal(a->code, 200);
    assert_contains(a->body, "withdrawn");
    assert_refused(ask(*state, "POST", VECTORS "/feedback",
                       "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\","
                       "\"label\":\"gone\"}"),
                   400, "no class \\\"gone\\\"");
}

static void a_loop_is_controlled(void **state)
{
    const answer *a = ask(*state, "GET", VECTORS "/loop", "");
    assert_contains(a->body, "\"precision\":{\"value\":0.5,\"low\":0.25,\"high\":0.75,\"hits\":2,"
                             "\"count\":4}");
    assert_contains(a->body, "\"gate\":{\"shadows\":[{\"version\":1,\"role\":\"baseline\"");
    assert_contains(a->body, "\"needed\":40,");
    assert_contains(a->body, "\"events\":[{\"kind\":\"challenge\",\"version\":2,\"position\":7");
    assert_contains(a->body, "\"tti\":{\"seconds\":{\"p50\":60,\"low\":30,\"high\":null},"
                             "\"labels\":{\"p50\":40,\"low\":20,\"high\":null},\"proven\":2,"
                             "\"censored\":1},\"frozen\":false,\"alarms\":3}");
    a = ask(*state, "GET", VECTORS "/versions/2/explain", "");
    assert_contains(a->body, "\"stage\":\"challenges\",\"version\":{\"number\":2");
    assert_contains(a->body, "\"shadows\":[{\"version\":2,\"role\":\"challenger\"");
    assert_contains(a->body, "\"verdicts\":[],\"events\":[{\"kind\":\"challenge\"");
    a = ask(*state, "GET", VECTORS "/versions/1/explain", "");
    assert_contains(a->body, "\"stage\":\"answers\"");
    assert_contains(a->body, "\"verdicts\":[{\"kind\":\"publish\"");
    assert_refused(ask(*state, "GET", VECTORS "/versions/9/explain", ""), 404, "no version 9");
    a = ask(*state, "GET", VECTORS "/versions?limit=1", "");
    assert_contains(a->body, "\"number\":2");
    assert_null(strstr(a->body, "\"number\":1,"));
    assert_contains(a->body, "\"refused\":[{\"judged\":0,\"position\":41,\"labels\":64,"
                             "\"verdict\":\"refused, not better\"}]");
    a = ask(*state, "GET", VECTORS "/review", "");
    assert_contains(a->body, "\"open\":7,\"people\":[{\"name\":\"anna\"");
    assert_contains(a->body, "\"time\":1.5,\"until\":2.5,\"blind\":false,\"why\":\"flagged\"");
    assert_contains(a->body, "\"flagged\":null,\"label\":null,\"defect_score\":null");
    assert_contains(a->body, "\"people\":[{\"name\":\"anna\",\"open\":3}]");
    assert_refused(ask(*state, "GET", VECTORS "/review?person=moon", ""), 400, "nobody called");
    a = ask(*state, "GET", VECTORS "/review?limit=1&person=anna", "");
    assert_null(strstr(a->body, "\"blind\":true"));
    assert_refused(ask(*state, "GET", VECTORS "/review?limit=0", ""), 400, "limit must be 1 to");
    assert_refused(ask(*state, "GET", VECTORS "/review?limit=257", ""), 400, "1 to 256");
    assert_refused(ask(*state, "GET", VECTORS "/review?limit=5x", ""), 400, "1 to 256");
    assert_refused(ask(*state, "GET", VECTORS "/review?limit=99999999999999999999", ""), 400,
                   "1 to 256");
    a = ask(*state, "GET", VECTORS "/report?by=site&since=1.5", "");
    assert_contains(a->body, "\"against\":\"operators\",\"items\":7");
    assert_contains(a->body, "\"drawn\":1500000");
    assert_contains(a->body, "\"escapes\":{\"value\":0.5,\"low\":0.25");
    assert_contains(a->body, "\"by\":\"site\",\"rows\":[{\"name\":\"hall 2\"");
    assert_contains(ask(*state, "GET", VECTORS "/report", "")->body, "\"by\":\"all\"");
    assert_refused(ask(*state, "GET", VECTORS "/report?by=moon", ""), 400, "not by ");
    assert_refused(ask(*state, "GET", VECTORS "/report?since=x", ""), 400, "Unix seconds");
    assert_contains(ask(*state, "POST", VECTORS "/versions/2/promote", "")->body, "\"champion\":2");
    a = ask(*state, "POST", VECTORS "/rollback", "");
    assert_contains(a->body, "\"champion\":1");
    assert_contains(a->body, "\"learning\":false");
    assert_contains(ask(*state, "POST", VECTORS "/rollback", "{\"version\":2}")->body,
                    "\"champion\":2");
    assert_contains(ask(*state, "POST", VECTORS "/frozen", "{\"on\":true}")->body,
                    "\"frozen\":true");
    assert_contains(ask(*state, "POST", VECTORS "/frozen", "{\"on\":false}")->body,
                    "\"frozen\":false");
    assert_refused(ask(*state, "POST", VECTORS "/frozen", "{}"), 400, "{");
    assert_contains(ask(*state, "POST", VECTORS "/learning", "{\"on\":true}")->body,
                    "\"learning\":true");
    assert_contains(ask(*state, "POST", VECTORS "/classes", "{\"name\":\"spur\"}")->body,
                    "\"spur\"");
    assert_refused(ask(*state, "POST", VECTORS "/classes", "{\"name\":\"spur\"}"), 409, "already");
    assert_refused(ask(*state, "POST", VECTORS "/learning", "{}"), 400, "\\\"on\\\"");
    assert_refused(ask(*state, "POST", VECTORS "/rollback", "{\"version\":-1}"), 400, "version");
    assert_refused(ask(*state, "POST", VECTORS "/versions/9/promote", ""), 404, "not kept");
}

static void the_golden_set_is_edited(void **state)
{
    const char *item = "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\"}";
    assert_contains(ask(*state, "POST", VECTORS "/golden", item)->body, "\"count\":1");
    const answer *a = ask(*state, "GET", VECTORS "/golden", "");
    assert_contains(a->body, "01234567-89ab-cdef-0123-456789abcdef");
    assert_contains(ask(*state, "DELETE", VECTORS "/golden", item)->body, "\"count\":0");
    assert_refused(ask(*state, "DELETE", VECTORS "/golden", item), 404, "golden");
    assert_refused(ask(*state, "POST", VECTORS "/golden", "{\"prediction_id\":7}"), 400, "id");
}

static void the_repository_is_listed(void **state)
{
    const answer *a = ask(*state, "POST", "/v2/repository/index", "");
    assert_contains(a->body, "{\"name\":\"vectors\",\"version\":\"1\",\"state\":\"READY\","
                             "\"reason\":\"\"}");
    assert_contains(ask(*state, "POST", "/v2/repository/index", "{\"ready\":true}")->body,
                    "boards");
    assert_int_equal(ask(*state, "POST", "/v2/repository/models/vectors/load", "{}")->code, 200);
    assert_refused(ask(*state, "POST", "/v2/repository/models/vectors/unload", "{}"), 422, "stays");
    assert_refused(ask(*state, "POST", "/v2/repository/models/x/load", "{}"), 404, "no loop");
}

static void methods_and_paths_are_checked(void **state)
{
    assert_refused(ask(*state, "GET", "/v3", ""), 404, "/v3");
    assert_refused(ask(*state, "GET", "/v2/models/nope/loop", ""), 404, "vectors, boards");
    assert_refused(ask(*state, "POST", "/v2/models//infer", "{}"), 404, "nothing at");
    const answer *a = ask(*state, "GET", VECTORS "/infer", "");
    assert_refused(a, 405, "use POST, OPTIONS");
    assert_int_equal(strncmp(answer_header(a, "Allow"), "POST, OPTIONS", 13), 0);
    a = ask(*state, "OPTIONS", VECTORS "/golden", "");
    assert_int_equal(a->code, 204);
    assert_int_equal(strncmp(answer_header(a, "Allow"), "GET, HEAD, POST, DELETE", 23), 0);
    assert_refused(ask(*state, "BREW", "/v2", ""), 405, "BREW");
    /* HEAD: the headers of GET, and no body. */
    int fd = client_open(*state);
    client_say(fd, "HEAD /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    char text[1024] = "";
    size_t bytes = 0;
    ssize_t more;
    while ((more = recv(fd, text + bytes, sizeof text - 1 - bytes, 0)) > 0) bytes += (size_t)more;
    close(fd);
    assert_contains(text, "200 OK");
    assert_contains(text, "Content-Length: 13");
    assert_null(strstr(text, "live\":"));
}

static void errors_of_the_loop_have_their_code(void **state)
{
    static const struct {
        tl_status status;
        int code;
    } cases[] = { { TL_EINVAL, 400 },       { TL_ESHAPE, 400 },    { TL_EPERM, 403 },
                  { TL_ENOTFOUND, 404 },    { TL_ECONFLICT, 409 }, { TL_ELIMIT, 413 },
                  { TL_EUNSUPPORTED, 422 }, { TL_EFULL, 503 },     { TL_ENOSPC, 507 },
                  { TL_ECLOSED, 503 },      { TL_EIO, 500 } };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        atomic_store(&stub.predict_refuses, cases[i].status);
        assert_refused(ask(*state, "POST", VECTORS "/infer", GOOD_BODY), cases[i].code, "refuse");
        atomic_store(&stub.predict_refuses, TL_OK);
        atomic_store(&stub.predict_fails, cases[i].status);
        const answer *a = ask(*state, "POST", VECTORS "/infer", GOOD_BODY);
        assert_refused(a, cases[i].code, "told to fail");
        assert_true((answer_header(a, "Retry-After") != NULL) == (cases[i].code == 503));
        atomic_store(&stub.predict_fails, TL_OK);
        atomic_store(&stub.control_fails, cases[i].status);
        assert_refused(ask(*state, "POST", VECTORS "/versions/1/promote", ""), cases[i].code,
                       "told to fail");
        atomic_store(&stub.control_fails, TL_OK);
    }
    assert_int_equal(ask(*state, "POST", VECTORS "/infer", GOOD_BODY)->code, 200);
}

static void metrics_count(void **state)
{
    ask(*state, "POST", VECTORS "/infer", GOOD_BODY);
    ask(*state, "POST", VECTORS "/infer", "{");
    ask(*state, "GET", "/nowhere", "");
    const answer *a = ask(*state, "GET", "/metrics", "");
    assert_int_equal(a->code, 200);
    assert_contains(answer_header(a, "Content-Type"), "version=0.0.4");
    assert_contains(a->body, "tightloop_http_requests_total{endpoint=\"infer\",code=\"200\"} 1\n");
    assert_contains(a->body, "tightloop_http_requests_total{endpoint=\"infer\",code=\"400\"} 1\n");
    assert_contains(a->body, "tightloop_http_requests_total{endpoint=\"none\",code=\"404\"} 1\n");
    assert_contains(a->body, "_bucket{endpoint=\"infer\",le=\"+Inf\"} 2\n");
    assert_contains(a->body, "tightloop_loop_predictions_total{loop=\"vectors\"} 1\n");
    assert_contains(a->body, "tightloop_loop_precision_low_ratio{loop=\"vectors\"} 0.25\n");
    assert_contains(a->body, "tightloop_gate_log_e{loop=\"vectors\",version=\"2\","
                             "role=\"challenger\"} 1.5\n");
    assert_contains(a->body, "tightloop_gate_needed{loop=\"vectors\",version=\"1\","
                             "role=\"baseline\"} nan\n");
    assert_contains(a->body, "tightloop_tti_seconds{loop=\"vectors\",bound=\"low\"} 30\n");
    assert_contains(a->body, "tightloop_tti_open{loop=\"vectors\",version=\"1\"} ");
    assert_null(strstr(a->body, "tightloop_tti_open{loop=\"vectors\",version=\"2\"}"));
    assert_contains(a->body, "tightloop_tti_proven{loop=\"vectors\"} 2\n");
    assert_contains(a->body, "tightloop_alarms_total{loop=\"vectors\"} 3\n");
    assert_contains(a->body, "tightloop_loop_stage_seconds{loop=\"vectors\",stage=\"commit\","
                             "quantile=\"0.5\"} 0.25\n");
}

/* Where promtool is installed, it must find nothing to complain about. */
static void metrics_please_promtool(void **state)
{
    if (system("command -v promtool >/dev/null 2>&1") != 0) skip();
    ask(*state, "POST", VECTORS "/infer", GOOD_BODY);
    const answer *a = ask(*state, "GET", "/metrics", "");
    FILE *tool = popen("promtool check metrics >/dev/null 2>&1", "w");
    assert_non_null(tool);
    fwrite(a->body, 1, a->body_bytes, tool);
    assert_int_equal(pclose(tool), 0);
}

static void the_page_needs_nothing_from_outside(void **state)
{
    const answer *a = ask(*state, "GET", "/", "");
    assert_int_equal(a->code, 200);
    assert_contains(answer_header(a, "Content-Type"), "text/html");
    assert_contains(answer_header(a, "Content-Security-Policy"), "default-src 'none'");
    assert_null(strstr(a->body, "http:"));
    assert_null(strstr(a->body, "https:"));
    a = ask(*state, "GET", "/page.js", "");
    assert_int_equal(a->code, 200);
    assert_null(strstr(a->body, "innerHTML"));
}

static void a_slow_change_does_not_hold_up_others(void **state)
{
    atomic_store(&stub.control_ms, 1500);
    int fd = client_open(*state);
    assert_true(client_request(fd, "POST", VECTORS "/versions/2/promote", "", "", 0));
    assert_contains(ask(*state, "GET", VECTORS "/loop", "")->body, "\"champion\":1");
    assert_int_equal(ask(*state, "POST", VECTORS "/infer", GOOD_BODY)->code, 200);
    static answer a;
    assert_true(client_read(fd, &a));
    assert_contains(a.body, "\"champion\":2");
    close(fd);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(health_and_metadata),
        CASE(a_prediction_is_answered),
        CASE(versions_are_asked_for),
        CASE(retries_carry_their_key),
        CASE(feedback_is_taken),
        CASE(a_loop_is_controlled),
        CASE(the_golden_set_is_edited),
        CASE(the_repository_is_listed),
        CASE(methods_and_paths_are_checked),
        CASE(errors_of_the_loop_have_their_code),
        CASE(metrics_count),
        CASE(metrics_please_promtool),
        CASE(the_page_needs_nothing_from_outside),
        CASE(a_slow_change_does_not_hold_up_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
