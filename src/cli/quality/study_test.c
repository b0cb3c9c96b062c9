/* A study from the golden items of a loop: what was said afterwards, under whose name. */
#include "cli/quality/study.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PARTS = 4, FEATURES = 2 };

typedef struct fixture {
    char path[64];
    tl_runtime *runtime;
    tl_loop *loop;
    tl_id parts[PARTS];
} fixture;

static void say(fixture *f, int part, const char *label, const char *who)
{
    tl_error err;
    tl_feedback feedback = {
        .prediction_id = f->parts[part], .kind = TL_FEEDBACK_LABEL, .label = label, .source = who
    };
    if (tl_loop_feedback(f->loop, &feedback, NULL, &err) != TL_OK) fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    static const char *const classes[] = { "ok", "dent" };
    fixture *f = calloc(1, sizeof *f);
    snprintf(f->path, sizeof f->path, "/tmp/tl-study-test-XXXXXX");
    if (f == NULL || mkdtemp(f->path) == NULL) return -1;
    tl_runtime_options runtime = tl_runtime_options_default();
    runtime.path = f->path;
    runtime.durability = TL_DURABILITY_RELAXED;
    tl_loop_options loop = tl_loop_options_default();
    loop.name = "parts";
    loop.input = TL_INPUT_FEATURES;
    loop.feature_count = FEATURES;
    loop.classes = classes;
    loop.class_count = 2;
    if (tl_runtime_open(&runtime, &f->runtime, NULL) != TL_OK) return -1;
    if (tl_loop_open(f->runtime, &loop, &f->loop, NULL) != TL_OK) return -1;
    for (int i = 0; i < PARTS; i++) {
        float features[FEATURES] = { (float)i, 1.0f };
        tl_prediction answer;
        tl_item item = { .features = features, .feature_count = FEATURES };
        if (tl_loop_predict(f->loop, &item, &answer, NULL) != TL_OK) return -1;
        f->parts[i] = answer.id;
        say(f, i, i % 2 == 0 ? "ok" : "dent", "expert");
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    char command[128];
    tl_runtime_close(&f->runtime);
    snprintf(command, sizeof command, "rm -rf '%s'", f->path);
    free(f);
    return system(command);
}

static tl_status read_study(fixture *f, tl_study *out, tl_error *err)
{
    tl_journal_reader *reader = NULL;
    const char *name, *config;
    tl_arena arena;
    tl_arena_init(&arena, 1 << 20);
    assert_int_equal(tl_journal_reader_open_path(f->path, &reader, NULL), TL_OK);
    assert_int_equal(tl_journal_loop_info(reader, 1, &arena, &name, &config, NULL), TL_OK);
    tl_status status = tl_study_read_journal(reader, 1, config, out, err);
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    return status;
}

static uint8_t call_of(const tl_study *s, size_t part, const char *who, size_t trial)
{
    for (size_t o = 0; o < s->operators; o++)
        if (strcmp(s->operator_names[o], who) == 0)
            return s->calls[(part * s->operators + o) * s->trials + trial];
    fail_msg("nobody is called %s", who);
    return TL_PEOPLE_NOTHING;
}

static void golden_items_are_parts(void **state)
{
    fixture *f = *state;
    tl_study study = { 0 };
    tl_error err;
    assert_int_equal(read_study(f, &study, &err), TL_ENOTFOUND);
    for (int i = 0; i < PARTS - 1; i++)
        assert_int_equal(tl_loop_golden_add(f->loop, f->parts[i], "expert", NULL), TL_OK);
    assert_int_equal(read_study(f, &study, &err), TL_ENOTFOUND); /* nobody has judged them again */
    for (int trial = 0; trial < 2; trial++)
        for (int i = 0; i < PARTS; i++) { /* the last one is not golden */
            say(f, i, i % 2 == 0 ? "ok" : "dent", "ann");
            say(f, i, i == 1 && trial == 1 ? "ok" : i % 2 == 0 ? "ok" : "dent", "bob");
        }
    say(f, 0, "dent", "cid"); /* once, one part */
    if (read_study(f, &study, &err) != TL_OK) fail_msg("%s", err.text);
    assert_int_equal(study.parts, PARTS - 1);
    assert_int_equal(study.operators, 3); /* the expert has said nothing since */
    assert_int_equal(study.trials, 2);
    assert_int_equal(study.calls_made, 2 * 2 * (PARTS - 1) + 1);
    /* Parts come from the newest golden item on. */
    assert_int_equal(study.known[0], 0);
    assert_int_equal(study.known[1], 1);
    assert_int_equal(study.known[2], 0);
    assert_int_equal(call_of(&study, 1, "ann", 1), 1);
    assert_int_equal(call_of(&study, 1, "bob", 0), 1);
    assert_int_equal(call_of(&study, 1, "bob", 1), 0);
    assert_int_equal(call_of(&study, 2, "cid", 0), 1);
    assert_int_equal(call_of(&study, 2, "cid", 1), TL_PEOPLE_NOTHING);
    tl_people_result *result = NULL;
    if (tl_study_judge(&study, &result, &err) != TL_OK) fail_msg("%s", err.text);
    assert_int_equal(result->found.hits, 3);
    assert_int_equal(result->found.count, 4);
    free(result);
    tl_study_free(&study);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(golden_items_are_parts, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
