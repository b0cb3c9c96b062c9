/* A study from a journal: what people said when reviews were put up again. */
#include "cli/journal.h"
#include "cli/quality/study.h"
#include "loop/test/test_support.h"

enum { ITEMS = 40 };

static int64_t ahead_us; /* the test turns the clock */

static int64_t wall_us(void *context)
{
    (void)context;
    return tl_env_wall_us(tl_env_system()) + ahead_us;
}

static tl_env turned;

static void open_turned(fixture *f, double repeats)
{
    tl_error err = { 0 };
    turned = *tl_env_system();
    turned.wall_us = wall_us;
    f->options.review.repeats = repeats;
    ok(tl_runtime_open_in(&f->runtime_options, &turned, NULL, &f->runtime, &err), &err);
    ok(tl_loop_open(f->runtime, &f->options, &f->loop, &err), &err);
}

/* Items of a cold loop, so that each is reviewed; "anna" calls all of them good. */
static void answer(fixture *f, tl_id *ids)
{
    for (size_t i = 0; i < ITEMS; i++) {
        float x[FEATURES] = { (float)i };
        ids[i] = predict(f, x, NO_ID).id;
        label_as(f, ids[i], "ok", "anna");
    }
}

static tl_status read_study(fixture *f, tl_study *study, tl_error *err)
{
    tl_journal_reader *reader = NULL;
    tl_cli_loop loop;
    tl_arena arena;
    tl_runtime_close(&f->runtime);
    tl_arena_init(&arena, 16 << 20);
    tl_status status = tl_journal_reader_open_path(f->path, &reader, err);
    if (status == TL_OK) status = tl_cli_journal_loop(reader, NULL, &arena, &loop, err);
    if (status == TL_OK)
        status = tl_study_read_journal(reader, loop.number, loop.config, study, err);
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    return status;
}

static void repeats_make_a_study(void **state)
{
    fixture *f = *state;
    static tl_id ids[ITEMS];
    tl_study study = { 0 };
    tl_people_result *result = NULL;
    tl_error err = { 0 };
    ahead_us = 0;
    f->options.cold_labels = 1000;
    open_turned(f, 1.0);
    answer(f, ids);
    label_as(f, ids[0], "dent", "anna"); /* a second thought is no repeat */
    ahead_us = 3600000000LL;
    for (size_t i = 0; i < ITEMS; i++) {
        const char *label = i % 10 == 1 ? "dent" : "ok";
        label_as(f, ids[i], label, i % 2 == 1 ? "anna" : "ben");
    }
    ok(read_study(f, &study, &err), &err);
    assert_int_equal(study.parts, ITEMS);
    assert_int_equal(study.operators, 2);
    assert_int_equal(study.known[0], TL_PEOPLE_NOTHING);
    ok(tl_study_judge(&study, &result, &err), &err);
    assert_int_equal(result->each[0].repeatable.count, ITEMS / 2);
    assert_int_equal(result->each[0].repeatable.hits, ITEMS / 2 - ITEMS / 10);
    assert_int_equal(result->each[0].right.count, 0); /* nobody knows */
    assert_int_equal(result->all_agree.hits, ITEMS - ITEMS / 10);
    free(result);
    tl_study_free(&study);
}

static void without_repeats_there_is_none(void **state)
{
    fixture *f = *state;
    static tl_id ids[ITEMS];
    tl_study study = { 0 };
    tl_error err = { 0 };
    ahead_us = 0;
    open_turned(f, 0.0);
    answer(f, ids);
    ahead_us = 3600000000LL;
    label_as(f, ids[1], "dent", "ben"); /* a correction is no repeat */
    assert_int_equal(read_study(f, &study, &err), TL_ENOTFOUND);
    assert_non_null(strstr(err.text, "review.repeats"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED_TEST(repeats_make_a_study),
        CLOSED_TEST(without_repeats_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
