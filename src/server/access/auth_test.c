/* Tokens: the file, the rights, rotation; and what is refused where there are none. */
#include "server/test_client.h"
#include "server/tokens.h"

#include <sys/stat.h>

static char folder[] = "/tmp/tl-auth-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) return 1;
    snprintf(path, sizeof path, "%s/tokens", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* ---- The file -------------------------------------------------------------------------------- */

static void tokens_are_made_listed_and_revoked(void **state)
{
    (void)state;
    tl_error err;
    char one[TL_TOKEN_TEXT_BYTES], two[TL_TOKEN_TEXT_BYTES];
    unlink(path);
    assert_int_equal(tl_tokens_create(path, "line-1", TL_RIGHT_PREDICT, one, &err), TL_OK);
    assert_int_equal(tl_tokens_create(path, "qa", TL_RIGHT_FEEDBACK | TL_RIGHT_ADMIN, two, &err),
                     TL_OK);
    assert_int_equal(strlen(one), 46);
    assert_string_not_equal(one, two);
    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    tl_token_info list[4];
    size_t count;
    assert_int_equal(tl_tokens_list(path, list, 4, &count, &err), TL_OK);
    assert_int_equal(count, 2);
    assert_string_equal(list[1].name, "qa");
    assert_int_equal(list[1].rights, TL_RIGHT_FEEDBACK | TL_RIGHT_ADMIN);
    /* The token itself is nowhere in the file. */
    char text[4096] = "";
    FILE *in = fopen(path, "r");
    assert_true(fread(text, 1, sizeof text - 1, in) > 0);
    fclose(in);
    assert_null(strstr(text, one + 3));
    assert_int_equal(tl_tokens_create(path, "qa", TL_RIGHT_ALL, one, &err), TL_ECONFLICT);
    assert_int_equal(tl_tokens_create(path, "a b", TL_RIGHT_ALL, one, &err), TL_EINVAL);
    assert_int_equal(tl_tokens_create(path, "", TL_RIGHT_ALL, one, &err), TL_EINVAL);
    assert_int_equal(tl_tokens_create(path, "x", 0, one, &err), TL_EINVAL);
    assert_int_equal(tl_tokens_create(path, "x", 64, one, &err), TL_EINVAL);
    assert_int_equal(tl_tokens_revoke(path, "line", &err), TL_ENOTFOUND);
    assert_int_equal(tl_tokens_revoke(path, "line-1", &err), TL_OK);
    assert_int_equal(tl_tokens_list(path, list, 4, &count, &err), TL_OK);
    assert_int_equal(count, 1);
    assert_int_equal(tl_tokens_revoke(path, "qa", &err), TL_OK);
    assert_int_equal(tl_tokens_list(path, list, 4, &count, &err), TL_OK);
    assert_int_equal(count, 0);
    unlink(path);
    assert_int_equal(tl_tokens_list(path, list, 4, &count, &err), TL_ENOTFOUND);
    assert_int_equal(tl_tokens_revoke(path, "qa", &err), TL_ENOTFOUND);
}

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void damaged_files_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "name predict\n",
        "name predict " HASH " more\n",
        "name fly " HASH "\n",
        "name predict, " HASH "\n",
        "name predict 0011\n",
        "name predict " HASH "00\n",
        "na/me predict " HASH "\n",
        "name predict zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n",
        "a predict " HASH "\na feedback " HASH "\n",
    };
    tl_error err;
    tl_token_info list[4];
    size_t count;
    for (size_t i = 0; i < TL_COUNT_OF(texts); i++) {
        write_file(texts[i]);
        assert_int_equal(tl_tokens_list(path, list, 4, &count, &err), TL_EINVAL);
        assert_contains(err.text, "line ");
    }
    write_file("# a comment\n\nname predict,admin " HASH "\r\n");
    assert_int_equal(tl_tokens_list(path, list, 4, &count, &err), TL_OK);
    assert_int_equal(count, 1);
}

/* ---- Serving with tokens --------------------------------------------------------------------- */

static char tokens[4][TL_TOKEN_TEXT_BYTES]; /* predict, feedback, admin, all */

static int setup_tokens(void **state)
{
    tl_error err;
    unlink(path);
    static const char *const names[] = { "camera", "operator", "boss", "all" };
    static const unsigned rights[] = { TL_RIGHT_PREDICT, TL_RIGHT_FEEDBACK, TL_RIGHT_ADMIN,
                                       TL_RIGHT_ALL };
    for (size_t i = 0; i < 4; i++)
        if (tl_tokens_create(path, names[i], rights[i], tokens[i], &err) != TL_OK) return 1;
    fixture *f = calloc(1, sizeof *f);
    f->options = test_options();
    f->options.tokens_path = path;
    fixture_open(f);
    *state = f;
    return 0;
}

static int code_with(const fixture *f, const char *token, const char *method, const char *target,
                     const char *body)
{
    char headers[256] = "";
    if (token != NULL) snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", token);
    return ask_bytes(f, method, target, headers, body, strlen(body))->code;
}

#define FEEDBACK "{\"prediction_id\":\"0123456789abcdef0123456789abcdef\",\"verdict\":\"correct\"}"

static void rights_are_separate(void **state)
{
    static const struct {
        const char *method, *target, *body;
        int codes[4]; /* for each of the tokens */
    } cases[] = {
        { "POST", VECTORS "/infer", GOOD_BODY, { 200, 403, 403, 200 } },
        { "POST", VECTORS "/feedback", FEEDBACK, { 403, 202, 403, 202 } },
        { "POST", VECTORS "/versions/1/promote", "", { 403, 403, 200, 200 } },
        { "POST", VECTORS "/rollback", "", { 403, 403, 200, 200 } },
        { "POST", VECTORS "/learning", "{\"on\":true}", { 403, 403, 200, 200 } },
        { "POST", VECTORS "/golden", FEEDBACK, { 403, 403, 200, 200 } },
        { "GET", VECTORS "/loop", "", { 200, 200, 200, 200 } },
        { "GET", "/metrics", "", { 200, 200, 200, 200 } },
        { "GET", "/nowhere", "", { 404, 404, 404, 404 } },
    };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        for (size_t t = 0; t < 4; t++)
            assert_int_equal(
                code_with(*state, tokens[t], cases[i].method, cases[i].target, cases[i].body),
                cases[i].codes[t]);
        assert_int_equal(code_with(*state, NULL, cases[i].method, cases[i].target, cases[i].body),
                         401);
        assert_int_equal(
            code_with(*state, "tl_wrong", cases[i].method, cases[i].target, cases[i].body), 401);
    }
    assert_int_equal(code_with(*state, NULL, "GET", "/v2/health/live", ""), 200);
    assert_int_equal(code_with(*state, NULL, "GET", "/", ""), 200);
    const answer *a = ask(*state, "GET", "/v2", "");
    assert_contains(answer_header(a, "WWW-Authenticate"), "Bearer");
    a = ask_bytes(*state, "GET", "/v2", "Authorization: Basic dGw6dGw=\r\n", "", 0);
    assert_refused(a, 401, "Authorization: Bearer");
}

static void the_source_is_the_token(void **state)
{
    assert_int_equal(code_with(*state, tokens[1], "POST", VECTORS "/feedback", FEEDBACK), 202);
    assert_string_equal(stub.last_source, "operator");
    assert_int_equal(code_with(*state, tokens[2], "POST", VECTORS "/rollback", ""), 200);
    assert_string_equal(stub.last_source, "boss");
    /* Keys of two callers do not meet. */
    char headers[256];
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\nIdempotency-Key: 1\r\n",
             tokens[0]);
    ask_bytes(*state, "POST", VECTORS "/infer", headers, GOOD_BODY, strlen(GOOD_BODY));
    assert_string_equal(stub.last_request_id, "camera/1");
    char key[121];
    memset(key, 'k', 120);
    key[120] = '\0';
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\nIdempotency-Key: %s\r\n",
             tokens[0], key);
    ask_bytes(*state, "POST", VECTORS "/infer", headers, GOOD_BODY, strlen(GOOD_BODY));
    assert_string_equal(stub.last_request_id + 0, stub.last_request_id);
    assert_true(strlen(stub.last_request_id) <= 127);
}

static void tokens_rotate_while_serving(void **state)
{
    fixture *f = *state;
    tl_error err;
    char fresh[TL_TOKEN_TEXT_BYTES];
    assert_int_equal(tl_tokens_create(path, "camera-2", TL_RIGHT_PREDICT, fresh, &err), TL_OK);
    assert_int_equal(tl_tokens_revoke(path, "camera", &err), TL_OK);
    assert_int_equal(tl_server_reload(f->server, &err), TL_OK);
    assert_int_equal(code_with(f, fresh, "POST", VECTORS "/infer", GOOD_BODY), 200);
    assert_int_equal(code_with(f, tokens[0], "POST", VECTORS "/infer", GOOD_BODY), 401);
    /* A damaged file changes nothing; without being told, the server sees the change by itself. */
    write_file("damaged\n");
    assert_int_equal(tl_server_reload(f->server, &err), TL_EINVAL);
    assert_int_equal(code_with(f, fresh, "POST", VECTORS "/infer", GOOD_BODY), 200);
    write_file("# nobody\n");
    int code = 200;
    for (int i = 0; i < 100 && code != 401; i++) {
        usleep(100000);
        code = code_with(f, fresh, "POST", VECTORS "/infer", GOOD_BODY);
    }
    assert_int_equal(code, 401);
}

static void metrics_may_be_open(void **state)
{
    (void)state;
    fixture f = { .options = test_options() };
    f.options.tokens_path = path;
    f.options.open_metrics = true;
    write_file("# nobody\n");
    fixture_open(&f);
    assert_int_equal(ask(&f, "GET", "/metrics", "")->code, 200);
    assert_int_equal(ask(&f, "GET", "/v2", "")->code, 401);
    fixture_close(&f);
}

/* ---- Serving without ------------------------------------------------------------------------- */

static tl_status try_start(const tl_server_options *options, tl_error *err)
{
    tl_runtime *runtime;
    tl_server *server = NULL;
    tl_runtime_options runtime_options = tl_runtime_options_default();
    assert_int_equal(tl_runtime_open(&runtime_options, &runtime, err), TL_OK);
    tl_status status = tl_server_start(runtime, options, &server, err);
    assert_true((status == TL_OK) == (server != NULL));
    tl_server_stop(&server);
    tl_runtime_close(&runtime);
    return status;
}

static void other_machines_need_tokens(void **state)
{
    (void)state;
    static const char *const addresses[] = { "0.0.0.0", "::", "192.0.2.1" };
    tl_error err;
    tl_server_options options = test_options();
    for (size_t i = 0; i < TL_COUNT_OF(addresses); i++) {
        options.address = addresses[i];
        assert_int_equal(try_start(&options, &err), TL_EPERM);
        assert_contains(err.text, "tokens");
    }
    options.address = "0.0.0.0";
    options.allow_unauthenticated = true;
    assert_int_equal(try_start(&options, &err), TL_OK);
    write_file("# nobody\n");
    options.allow_unauthenticated = false;
    options.tokens_path = path;
    assert_int_equal(try_start(&options, &err), TL_OK);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    tl_error err;
    tl_server_options options = test_options();
    options.address = "example.com";
    assert_int_equal(try_start(&options, &err), TL_EINVAL);
    options = test_options();
    options.io_threads = 0;
    assert_int_equal(try_start(&options, &err), TL_EINVAL);
    options = test_options();
    options.tokens_path = "/nonexistent/tokens";
    assert_int_equal(try_start(&options, &err), TL_ENOTFOUND);
    options = test_options();
    options.tls_key_path = "/nonexistent/key";
    assert_int_equal(try_start(&options, &err), TL_EINVAL);
    options.tls_certificate_path = "/nonexistent/certificate";
    assert_int_equal(try_start(&options, &err), TL_ENOTFOUND);
    write_file("this is no certificate\n");
    options.tls_certificate_path = options.tls_key_path = path;
    assert_int_equal(try_start(&options, &err), TL_EINVAL);
    /* A port that is taken. */
    fixture f = { .options = test_options() };
    fixture_open(&f);
    options = test_options();
    options.port = tl_server_port(f.server);
    tl_server *second = NULL;
    assert_int_equal(tl_server_start(f.runtime, &options, &second, &err), TL_EIO);
    assert_contains(err.text, "another port");
    fixture_close(&f);
}

static void pages_of_others_are_refused(void **state)
{
    static answer a;
    static const struct {
        const char *host, *origin;
        int code;
    } cases[] = { { "localhost:8080", NULL, 200 },
                  { "127.0.0.1:8080", NULL, 200 },
                  { "[::1]:8080", NULL, 200 },
                  { "evil.example", NULL, 403 },
                  { "evil.example:8080", "http://evil.example:8080", 403 },
                  { "[", NULL, 403 },
                  { "localhost:8080", "http://localhost:8080", 200 },
                  { "localhost:8080", "http://evil.example", 403 },
                  { "localhost:8080", "null", 403 } };
    for (size_t i = 0; i < TL_COUNT_OF(cases); i++) {
        char head[512];
        int fd = client_open(*state);
        snprintf(head, sizeof head,
                 "POST " VECTORS
                 "/infer HTTP/1.1\r\nHost: %s\r\n%s%s%sContent-Length: %zu\r\n\r\n%s",
                 cases[i].host, cases[i].origin != NULL ? "Origin: " : "",
                 cases[i].origin != NULL ? cases[i].origin : "",
                 cases[i].origin != NULL ? "\r\n" : "", strlen(GOOD_BODY), GOOD_BODY);
        client_say(fd, head);
        assert_true(client_read(fd, &a));
        if (a.code != cases[i].code) fail_msg("%s: %d", cases[i].host, a.code);
        close(fd);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup_tokens, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_made_listed_and_revoked),
        cmocka_unit_test(damaged_files_are_refused),
        CASE(rights_are_separate),
        CASE(the_source_is_the_token),
        CASE(tokens_rotate_while_serving),
        cmocka_unit_test(metrics_may_be_open),
        cmocka_unit_test(other_machines_need_tokens),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test_setup_teardown(pages_of_others_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
