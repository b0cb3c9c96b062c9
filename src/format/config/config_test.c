/* config_test.c - what a configuration means, what is refused and on which line, and that template
 * and reference agree with the table. With --reference it prints docs/configuration.md. */
#include "format/config.h"

#include "format/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* As stated in tightloop.h; the functions that return them live in a layer above. */
static const tl_config_defaults DEFAULTS = {
    .runtime = { .trainer_threads = 1,
                 .batch_max = 32,
                 .queue_max = 4096,
                 .precision = TL_PRECISION_AUTO },
    .loop = { .height = 64,
              .width = 64,
              .channels = 1,
              .feature_range = 16,
              .seed = 1,
              .replay_per_label = 16,
              .publish_every_labels = 32,
              .cold_labels = 400,
              .campaign_labels = 256,
              .audit_rate = 0.02,
              .target_precision = 0.994,
              .gate = { .alpha = 0.05,
                        .effect = 0.0005,
                        .cost_miss = 1,
                        .cost_false_alarm = 1,
                        .alarm_days = 90,
                        .take_back_days = 90,
                        .timeout_s = 86400,
                        .take_back = TL_RESPONSE_ACT,
                        .drift = TL_RESPONSE_DRY_RUN,
                        .drift_items = 1000000 },
              .review = { .escapes = 0.01,
                          .confidence = 0.95,
                          .disagreements = 0.05,
                          .automatic_precision = 0.995 } },
};

static tl_config *read_ok(const char *text)
{
    tl_error err = { 0 };
    tl_config *config = NULL;
    if (tl_config_parse(text, strlen(text), "t.yaml", &DEFAULTS, &config, &err) != TL_OK)
        fail_msg("%s\n%s", err.text, text);
    assert_non_null(config);
    return config;
}

static void refused(const char *text, const char *words)
{
    tl_error err = { 0 };
    tl_config *config = NULL;
    char *copy = strdup(text); /* on the heap, for the sanitizers */
    assert_non_null(copy);
    assert_int_equal(tl_config_parse(copy, strlen(text), "t.yaml", &DEFAULTS, &config, &err),
                     TL_EINVAL);
    free(copy);
    assert_null(config);
    if (strstr(err.text, words) == NULL) fail_msg("%s\ngave: %s\nnot: %s", text, err.text, words);
}

static void reads_everything(void **state)
{
    (void)state;
    tl_config *c = read_ok(
        "server: {listen: \"[::1]:9000\", tls_certificate: a.crt, tls_key: a.key, tokens_file: t,\n"
        "  allow_unauthenticated: yes, max_body_bytes: 1MiB, max_connections: 7,\n"
        "  max_connections_per_ip: 3, idle_timeout_s: 5, request_timeout_s: 6, open_metrics: on,\n"
        "  io_threads: 2}\n"
        "journal: {path: /var/j, durability: relaxed, quota: 50GB,\n"
        "  retention: {size: 1.5 KiB, days: 30}}\n"
        "engine: {trainer_threads: 0, batch_max: 8, queue_max: 99, precision: bf16}\n"
        "loops:\n"
        "  - name: boards\n"
        "    input: image\n"
        "    size: 48x96\n"
        "    channels: 3\n"
        "    template: true\n"
        "    classes: [ok, open, 'short circuit']\n"
        "    model: m.onnx\n"
        "    seed: 18446744073709551615\n"
        "    replay_per_label: 3\n"
        "    publish_every_labels: 4\n"
        "    cold_labels: 5\n"
        "    audit_rate: 0.5\n"
        "    target_precision: 1\n"
        "  - {name: wear, input: features, features: 30, feature_range: 2.5, classes: [no, "
        "yes]}\n");
    assert_string_equal(c->server.host, "::1");
    assert_int_equal(c->server.port, 9000);
    assert_string_equal(c->server.tls_certificate, "a.crt");
    assert_string_equal(c->server.tls_key, "a.key");
    assert_string_equal(c->server.tokens_file, "t");
    assert_true(c->server.allow_unauthenticated);
    assert_int_equal(c->server.max_body_bytes, 1 << 20);
    assert_int_equal(c->server.max_connections, 7);
    assert_int_equal(c->server.idle_timeout_s, 5);
    assert_int_equal(c->server.max_connections_per_ip, 3);
    assert_int_equal(c->server.request_timeout_s, 6);
    assert_true(c->server.open_metrics);
    assert_int_equal(c->server.io_threads, 2);
    assert_string_equal(c->runtime.path, "/var/j");
    assert_int_equal(c->runtime.durability, TL_DURABILITY_RELAXED);
    assert_int_equal(c->runtime.quota_bytes, 50000000000);
    assert_int_equal(c->runtime.retention_bytes, 1536);
    assert_int_equal(c->runtime.retention_days, 30);
    assert_int_equal(c->runtime.trainer_threads, 0);
    assert_int_equal(c->runtime.precision, TL_PRECISION_BF16);
    assert_int_equal(c->runtime.batch_max, 8);
    assert_int_equal(c->runtime.queue_max, 99);
    assert_int_equal(c->loop_count, 2);
    const tl_loop_options *b = &c->loops[0], *w = &c->loops[1];
    assert_string_equal(b->name, "boards");
    assert_int_equal(b->input, TL_INPUT_IMAGE);
    assert_int_equal(b->height, 48);
    assert_int_equal(b->width, 96);
    assert_int_equal(b->channels, 3);
    assert_true(b->has_template);
    assert_int_equal(b->class_count, 3);
    assert_string_equal(b->classes[2], "short circuit");
    assert_string_equal(b->model_path, "m.onnx");
    assert_true(b->seed == UINT64_MAX);
    assert_int_equal(b->replay_per_label, 3);
    assert_int_equal(b->publish_every_labels, 4);
    assert_int_equal(b->cold_labels, 5);
    assert_true(b->audit_rate == 0.5 && b->target_precision == 1);
    assert_int_equal(w->input, TL_INPUT_FEATURES);
    assert_int_equal(w->feature_count, 30);
    assert_true(w->feature_range == 2.5f);
    assert_string_equal(w->classes[0], "no");
    assert_true(w->audit_rate == 0.02);
    tl_config_destroy(&c);
    tl_config_destroy(&c);
    assert_null(c);
}

static void left_out_means_default(void **state)
{
    (void)state;
    static const char *const TEXTS[] = { "", "# nothing\n", "---\n", "server:\njournal: ~\n",
                                         "server: {listen: , tls_key: }\nloops: []\n" };
    for (size_t i = 0; i < TL_COUNT_OF(TEXTS); i++) {
        tl_config *c = read_ok(TEXTS[i]);
        assert_string_equal(c->server.host, "127.0.0.1");
        assert_int_equal(c->server.port, 8080);
        assert_null(c->server.tls_key);
        assert_int_equal(c->server.max_body_bytes, 16777216);
        assert_string_equal(c->runtime.path, "./tightloop-journal");
        assert_int_equal(c->runtime.queue_max, 4096);
        assert_int_equal(c->loop_count, 0);
        tl_config_destroy(&c);
    }
}

static void refuses_and_says_where(void **state)
{
    (void)state;
    refused("server:\n  listen: 1.2.3.4:80\n  max_conections: 5\n",
            "t.yaml, line 3: unknown key \"max_conections\"; did you mean \"max_connections\"?");
    refused("loops:\n- name: a\n  chanels: 1\n", "line 3: unknown key \"chanels\"; did you mean");
    refused("zzzzzzz: 1\n", "known here: server, journal, engine, loops");
    refused("server: 5\n", "line 1: server: expected a group of keys, found a value");
    refused("server: [1]\n", "found a list");
    refused("journal: {path: [a]}\n", "path: expected a single value, found a list");
    refused("journal: {path: {a: b}}\n", "found a group of keys");
    refused("[server]\n", "expected a group of keys");
    refused("server: {listen: a:1, listen: b:1}\n", "key \"listen\" is given twice");
    refused("server: {listen: 8080}\n", "is not address:port");
    refused("server: {listen: 'a:99999'}\n", "is not address:port");
    refused("server: {listen: '::1:80'}\n", "is not address:port");
    refused("server: {listen: ':80'}\n", "is not address:port");
    refused("server: {listen: '[]:80'}\n", "is not address:port");
    refused("server: {max_connections: 0}\n", "0 is out of range, expected 1 to 100000");
    refused("server: {max_connections: -1}\n", "is not a whole number");
    refused("server: {max_connections: 1.5}\n", "is not a whole number");
    refused("server: {max_connections: 99999999999999999999999}\n", "is not a whole number");
    refused("server: {max_body_bytes: 16XB}\n", "is not a size such as");
    refused("server: {max_body_bytes: 2GiB}\n", "out of range");
    refused("server: {allow_unauthenticated: maybe}\n", "neither true nor false");
    refused("server: {tls_key: a}\n", "go together");
    refused("journal: {durability: best}\n", "\"best\" is not one of: full, relaxed");
    refused("loops: {name: a}\n", "expected a list");
    refused("loops: [a]\n", "loop: expected a group of keys");
    refused("loops:\n- {classes: [a, b]}\n", "line 2: this loop has no name");
    refused("loops:\n- {name: a}\n", "line 2: loop \"a\" has no classes");
    refused("loops:\n- {name: a, classes: [a]}\n", "at least 2 classes");
    refused("loops:\n- {name: a, classes: [a, a]}\n", "\"a\" is there twice");
    refused("loops:\n- {name: a, classes: [a, [b]]}\n", "expected a single value");
    refused("loops:\n- {name: a, classes: ok}\n", "expected a list such as");
    refused("loops:\n- {name: a/b, classes: [a, b]}\n", "is no name");
    refused("loops:\n- {name: a, classes: [a, \"b\\0c\"]}\n", "NUL");
    refused("loops:\n- {name: a, classes: [a, \"b\\n\"]}\n", "printable");
    refused("loops:\n- {name: a, size: 64, classes: [a, b]}\n", "is not a height x width");
    refused("loops:\n- {name: a, size: 0x64, classes: [a, b]}\n", "sides are 1 to 1024");
    refused("loops:\n- {name: a, channels: 2, classes: [a, b]}\n", "1 (grey) or 3 (colour)");
    refused("loops:\n- {name: a, input: features, classes: [a, b]}\n", "features: how many");
    refused("loops:\n- {name: a, audit_rate: 1.01, classes: [a, b]}\n", "out of range");
    refused("loops:\n- {name: a, audit_rate: .nan, classes: [a, b]}\n", "is not a number");
    refused("loops:\n- {name: a, classes: [a, b]}\n- {name: a, classes: [a, b]}\n",
            "line 3: two loops are called \"a\"");
}

static void refuses_what_yaml_can_do_beyond(void **state)
{
    (void)state;
    refused("server: &a {listen: a:1}\n", "anchors");
    refused("server: *a\n", "aliases");
    refused("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n", "unknown key");
    refused("loops: &a [*a, *a]\n", "anchors");
    refused("server: {listen: !!str a:1}\n", "tags");
    refused("server: {}\n---\njournal: {}\n", "second document");
    refused("server: {listen: a:1\n", "not YAML");
    refused("server:\n\tlisten: a:1\n", "line 2: not YAML");
    refused("server: {listen: \"a\xFF:1\"}\n", "not YAML");
    refused("? [a]\n: b\n", "expected a single value");
    tl_text text;
    tl_text_init(&text, 1 << 20);
    for (int i = 0; i < 100000; i++) tl_text_puts(&text, "[");
    refused(text.data, "expected a group");
    tl_text_clear(&text);
    tl_text_puts(&text, "server: ");
    for (int i = 0; i < 100000; i++) tl_text_puts(&text, "{");
    refused(text.data, "t.yaml, line 1");
    while (text.bytes <= TL_CONFIG_BYTES_MAX) tl_text_puts(&text, "# padding\n");
    tl_config *config = NULL;
    assert_int_equal(tl_config_parse(text.data, text.bytes, "t.yaml", &DEFAULTS, &config, NULL),
                     TL_ELIMIT);
    tl_text_destroy(&text);
}

static void sizes_have_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } GOOD[] = { { "0", 0 },
                 { "1", 1 },
                 { "12B", 12 },
                 { "1KB", 1000 },
                 { "1kb", 1000 },
                 { "1KiB", 1024 },
                 { "2.5MB", 2500000 },
                 { "3 GiB", 3221225472 },
                 { "1TB", 1000000000000 },
                 { "1tib", 1099511627776 } };
    for (size_t i = 0; i < TL_COUNT_OF(GOOD); i++) {
        uint64_t bytes = 77;
        assert_true(tl_config_parse_bytes(GOOD[i].text, &bytes));
        assert_int_equal(bytes, GOOD[i].bytes);
    }
    static const char *const BAD[] = { "",    "B",       "-1",   "1X",           "1 K B",
                                       "1e9", "1.2.3KB", "1KBs", "99999999999TB" };
    for (size_t i = 0; i < TL_COUNT_OF(BAD); i++) {
        uint64_t bytes = 77;
        assert_false(tl_config_parse_bytes(BAD[i], &bytes));
        assert_int_equal(bytes, 77);
    }
}

static void the_template_reads_back(void **state)
{
    (void)state;
    static const char *const CLASSES[] = { "ok", "no", "a b", "7", "x\"y", "- z", "\xC3\xA4" };
    tl_loop_options loop = DEFAULTS.loop;
    loop.name = "boards.v2";
    loop.classes = CLASSES;
    loop.class_count = TL_COUNT_OF(CLASSES);
    loop.height = 32;
    loop.has_template = true;
    loop.feature_range = 0.1f;
    tl_config_defaults defaults = DEFAULTS;
    defaults.runtime.quota_bytes = 50000000000;
    defaults.runtime.path = "./a journal: here # yes";
    for (int round = 0; round < 2; round++) {
        loop.input = round == 0 ? TL_INPUT_IMAGE : TL_INPUT_FEATURES;
        loop.feature_count = round == 0 ? 0 : 30;
        loop.model_path = round == 0 ? NULL : "m.onnx";
        loop.normalisation = round == 0 ? NULL : "127/128";
        loop.keep_head = round == 1;
        loop.learning = round == 0 ? TL_LEARNING_AUTO : TL_LEARNING_CAMPAIGN;
        tl_text text;
        tl_text_init(&text, 1 << 16);
        tl_config_write_template(&defaults, &loop, &text);
        assert_true(tl_text_ok(&text));
        assert_non_null(
            strstr(text.data, "[ok, \"no\", ")); /* other readers of YAML see no boolean */
        tl_config *c = read_ok(text.data);
        assert_int_equal(c->loop_count, 1);
        const tl_loop_options *l = &c->loops[0];
        assert_string_equal(l->name, loop.name);
        assert_int_equal(l->input, loop.input);
        assert_int_equal(l->height, 32);
        assert_int_equal(l->width, 64);
        assert_true(l->has_template);
        assert_true(l->feature_range == 0.1f);
        assert_int_equal(l->feature_count, loop.feature_count);
        assert_int_equal(l->class_count, loop.class_count);
        for (size_t i = 0; i < loop.class_count; i++)
            assert_string_equal(l->classes[i], CLASSES[i]);
        assert_true(l->target_precision == 0.994 && l->audit_rate == 0.02 && l->seed == 1);
        if (round == 0) assert_null(l->model_path);
        if (round == 1) assert_string_equal(l->model_path, "m.onnx");
        if (round == 1) assert_string_equal(l->normalisation, "127/128");
        assert_int_equal(l->keep_head, loop.keep_head);
        assert_int_equal(l->learning, loop.learning);
        assert_int_equal(l->campaign_labels, 256);
        assert_int_equal(c->runtime.quota_bytes, 50000000000);
        assert_string_equal(c->runtime.path, defaults.runtime.path);
        assert_int_equal(c->server.max_body_bytes, 16 << 20);
        assert_int_equal(c->server.port, 8080);
        tl_config_destroy(&c);
        tl_text_destroy(&text);
    }
}

static void loads_files(void **state)
{
    (void)state;
    tl_error err = { 0 };
    tl_config *c = NULL;
    assert_int_equal(tl_config_load("/nonexistent.yaml", &DEFAULTS, &c, &err), TL_ENOTFOUND);
    char path[] = "/tmp/tl-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    fputs("server: {listen: localhost:0}\n", file);
    fclose(file);
    assert_int_equal(tl_config_load(path, &DEFAULTS, &c, &err), TL_OK);
    assert_string_equal(c->server.host, "localhost");
    assert_int_equal(c->server.port, 0);
    tl_config_destroy(&c);
    remove(path);
}

/* Refresh with: format_config_test --reference > docs/configuration.md */
static void the_reference_is_current(void **state)
{
    (void)state;
    tl_text text;
    tl_text_init(&text, 1 << 20);
    tl_config_write_reference(&DEFAULTS, &text);
    void *file = NULL;
    size_t bytes = 0;
    assert_int_equal(
        tl_file_read(TL_SOURCE_DIR "/docs/configuration.md", 1 << 20, &file, &bytes, NULL), TL_OK);
    assert_string_equal((const char *)file, text.data);
    free(file);
    tl_text_destroy(&text);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--reference") == 0) {
        tl_text text;
        tl_text_init(&text, 1 << 20);
        tl_config_write_reference(&DEFAULTS, &text);
        fputs(text.data, stdout);
        tl_text_destroy(&text);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_everything),
        cmocka_unit_test(left_out_means_default),
        cmocka_unit_test(refuses_and_says_where),
        cmocka_unit_test(refuses_what_yaml_can_do_beyond),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(the_template_reads_back),
        cmocka_unit_test(loads_files),
        cmocka_unit_test(the_reference_is_current),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
