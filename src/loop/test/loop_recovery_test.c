/* What comes back after damage, faults of the disk, and opening in other ways. */
#include "journal/test/simdisk_impl.h"
#include "loop/core/internal.h"
#include "loop/test/test_support.h"

#include <sqlite3.h>

static const float X[FEATURES] = { 2, 0.5f, 0, 2, 0, 0.2f, 2, 0 };

static sqlite3 *open_file(fixture *f)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/journal.db", f->path);
    assert_int_equal(access(path, R_OK | W_OK), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static void sql(fixture *f, const char *text)
{
    sqlite3 *db = open_file(f);
    char *message = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK) fail_msg("%s", message);
    sqlite3_close(db);
}

static int64_t sql_number(fixture *f, const char *text)
{
    sqlite3 *db = open_file(f);
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return number;
}

#define DAMAGE_NEWEST(skip)                                                                        \
    "UPDATE checkpoint SET body=zeroblob(length(body)) WHERE position IN (SELECT position FROM "   \
    "checkpoint WHERE kept ORDER BY position DESC LIMIT 1 OFFSET " skip ")"

/* A loop with versions and two checkpoints. */
static tl_loop_state grow(fixture *f, int rounds)
{
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    for (int i = 0; i < rounds; i++) {
        label_some(f, &rng, 60);
        drain(f);
        reopen(f);
    }
    return status_of(f);
}

static void assert_same(fixture *f, const tl_loop_state *before, const tl_prediction *said)
{
    tl_loop_state after = status_of(f);
    tl_prediction now = predict(f, X, NO_ID);
    assert_true(after.digest == before->digest);
    assert_int_equal(after.labels, before->labels);
    assert_int_equal(after.champion, before->champion);
    assert_true(after.position > before->position); /* the prediction before the end */
    assert_memory_equal(now.scores, said->scores, 3 * sizeof(float));
    tl_rng rng;
    tl_rng_seed(&rng, 6, 0);
    for (int i = 0; i < 2; i++) { /* no damaged checkpoint is among the kept ones then */
        label_some(f, &rng, 40);
        drain(f);
        reopen(f);
    }
    verify(f);
}

static void a_damaged_checkpoint_is_passed_over(void **state)
{
    fixture *f = *state;
    tl_loop_state before = grow(f, 3);
    tl_prediction said = predict(f, X, NO_ID);
    tl_runtime_close(&f->runtime);
    sql(f, DAMAGE_NEWEST("0"));
    open_loop(f);
    before.predictions++;
    assert_int_equal(status_of(f).predictions, before.predictions);
    assert_same(f, &before, &said);
}

static void without_checkpoints_the_journal_is_read_from_its_beginning(void **state)
{
    fixture *f = *state;
    tl_loop_state before = grow(f, 3);
    tl_prediction said = predict(f, X, NO_ID);
    tl_runtime_close(&f->runtime);
    sql(f, "UPDATE checkpoint SET body=zeroblob(length(body))");
    open_loop(f);
    assert_same(f, &before, &said);
}

/* Nor do the weights of versions that fell out of reach exist any more: they are trained again. */
static void versions_that_are_not_kept_are_trained_again(void **state)
{
    fixture *f = *state;
    f->options.publish_every_labels = 4;
    open_loop(f);
    tl_loop_state before = grow(f, 6);
    tl_prediction said = predict(f, X, NO_ID);
    tl_runtime_close(&f->runtime);
    assert_true(sql_number(f, "SELECT count(*) FROM version WHERE weights IS NULL") > 3);
    sql(f, "UPDATE checkpoint SET body=zeroblob(length(body))");
    open_loop(f);
    assert_same(f, &before, &said);
}

static void predictions_alone_need_no_reading_again(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 50; i++) predict(f, X, NO_ID);
    reopen(f);
    assert_int_equal(status_of(f).predictions, 50);
    assert_true(f->loop->checkpoint_position >= 50);
    tl_runtime_close(&f->runtime);
    assert_int_equal(sql_number(f, "SELECT count(*) FROM checkpoint"), 1);
    open_loop(f);
    verify(f);
}

static void a_step_that_failed_is_made_good(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    label_some(f, &rng, 40);
    drain(f);
    assert_int_equal(tl_control_barrier(f->loop, NULL), TL_OK);
    /* As if the last step had gone wrong half-way. */
    tl_loop_state before = status_of(f);
    tl_id id = predict(f, X, NO_ID).id;
    while (atomic_load(&f->loop->inflight) > 0) tl_control_barrier(f->loop, NULL);
    assert_int_equal(tl_control_barrier(f->loop, NULL), TL_OK);
    f->loop->core->labels += 7;
    f->loop->broken = true;
    tl_feedback feedback = { .prediction_id = id, .kind = TL_FEEDBACK_LABEL, .label = "dent" };
    tl_feedback_result result;
    tl_error err;
    assert_int_equal(tl_loop_feedback(f->loop, &feedback, &result, &err), TL_EIO);
    assert_int_equal(tl_loop_feedback(f->loop, &feedback, &result, &err), TL_OK);
    assert_int_equal(result.state, TL_FEEDBACK_REPEATED); /* it is durable, and counts */
    assert_int_equal(status_of(f).labels, before.labels + 1);
    drain(f);
    verify(f);
}

static void looking_only_changes_nothing(void **state)
{
    fixture *f = *state;
    tl_loop_state before = grow(f, 2);
    tl_version_info versions[32], seen[32];
    size_t count = tl_loop_versions(f->loop, versions, 32);
    tl_runtime_close(&f->runtime);
    int64_t events = sql_number(f, "SELECT count(*) FROM event");
    f->runtime_options.read_only = true;
    f->options.cold_labels = 7; /* not applied */
    open_loop(f);
    tl_item item = { .features = X, .feature_count = FEATURES };
    tl_prediction prediction;
    tl_feedback feedback = { .prediction_id = id_of(1), .kind = TL_FEEDBACK_WITHDRAW };
    tl_error err;
    assert_true(status_of(f).digest == before.digest);
    assert_int_equal(tl_loop_versions(f->loop, seen, 32), count);
    assert_int_equal(tl_loop_predict(f->loop, &item, &prediction, &err), TL_EPERM);
    assert_int_equal(tl_loop_feedback(f->loop, &feedback, NULL, &err), TL_EPERM);
    assert_int_equal(tl_loop_rollback(f->loop, 1, "me", &err), TL_EPERM);
    assert_int_equal(tl_loop_set_learning(f->loop, false, "me", &err), TL_EPERM);
    assert_int_equal(tl_loop_drain(f->loop, &err), TL_OK);
    tl_loop *none;
    tl_loop_options options = f->options;
    options.name = "none";
    assert_int_equal(tl_loop_open(f->runtime, &options, &none, &err), TL_ENOTFOUND);
    tl_runtime_close(&f->runtime);
    assert_int_equal(sql_number(f, "SELECT count(*) FROM event"), events);
}

static void a_loop_that_cannot_work_is_not_recorded(void **state)
{
    fixture *f = *state;
    open_runtime(f);
    tl_loop_options options = f->options;
    options.model_path = "/nowhere/model.onnx";
    tl_error err;
    assert_int_not_equal(tl_loop_open(f->runtime, &options, &f->loop, &err), TL_OK);
    ok(tl_loop_open(f->runtime, &f->options, &f->loop, &err), &err);
    assert_int_equal(tl_loop_open(f->runtime, &f->options, &f->loop, &err), TL_ECONFLICT);
}

static void the_options_may_name_the_classes_that_came(void **state)
{
    fixture *f = *state;
    static const char *const more[] = { "ok", "scratch", "dent", "rust" };
    ok(tl_loop_add_class(f->loop, "rust", "me", NULL), NULL);
    f->options.classes = more;
    f->options.class_count = 4;
    reopen(f);
    static const char *const others[] = { "ok", "scratch", "dent", "hole", "burr" };
    tl_runtime_close(&f->runtime);
    open_runtime(f);
    tl_error err;
    f->options.classes = others;
    assert_int_equal(tl_loop_open(f->runtime, &f->options, &f->loop, &err), TL_ECONFLICT);
    f->options.class_count = 5;
    assert_int_equal(tl_loop_open(f->runtime, &f->options, &f->loop, &err), TL_ECONFLICT);
}

static void a_full_journal_refuses_predictions_and_takes_feedback(void **state)
{
    fixture *f = *state;
    f->runtime_options.quota_bytes = 400000;
    open_loop(f);
    tl_item item = { .features = X, .feature_count = FEATURES };
    tl_prediction p = { 0 }, last = { 0 };
    tl_error err = { 0 };
    tl_status status;
    for (int i = 0; (status = tl_loop_predict(f->loop, &item, &p, &err)) == TL_OK && i < 20000; i++)
        last = p;
    assert_int_equal(status, TL_ENOSPC);
    assert_int_equal(label_as(f, last.id, "dent", NULL), TL_FEEDBACK_APPLIED);
    f->runtime_options.quota_bytes = 0;
    reopen(f);
    predict(f, X, NO_ID);
    verify(f);
}

/* Whatever was acknowledged is there after the disk was full, or failed, at any moment. */
static void faults_of_the_disk_lose_nothing(void **state)
{
    fixture *f = *state;
    static const tl_simdisk_fault faults[] = { TL_SIMDISK_FULL, TL_SIMDISK_WRITE, TL_SIMDISK_SYNC };
    tl_simdisk *disk = tl_simdisk_create("loop-recovery", 1);
    f->vfs = "loop-recovery";
    f->runtime_options.path = "journal.db";
    f->runtime_options.durability = TL_DURABILITY_FULL;
    snprintf(f->path, sizeof f->path, "journal.db");
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    for (int round = 0; round < 24; round++) {
        open_loop(f);
        uint64_t known = status_of(f).labels, acknowledged = 0, asked = 0;
        tl_simdisk_fail(disk, faults[round % 3], 1 + tl_rng_below(&rng, 150), 1 + (round & 3));
        for (int i = 0; i < 60; i++) {
            uint32_t label;
            float x[FEATURES];
            draw(&rng, &label, x);
            tl_item item = { .features = x, .feature_count = FEATURES };
            tl_prediction p;
            if (tl_loop_predict(f->loop, &item, &p, NULL) != TL_OK) continue;
            tl_feedback feedback = { .prediction_id = p.id,
                                     .kind = TL_FEEDBACK_LABEL,
                                     .label = CLASSES[label] };
            asked++;
            acknowledged += tl_loop_feedback(f->loop, &feedback, NULL, NULL) == TL_OK;
        }
        tl_runtime_close(&f->runtime);
        tl_simdisk_fail(disk, faults[round % 3], UINT64_MAX, 0);
        tl_simdisk_power_on(disk);
        open_loop(f);
        uint64_t now = status_of(f).labels;
        assert_true(now >= known + acknowledged && now <= known + asked);
        verify(f);
    }
    f->vfs = NULL;
    tl_simdisk_destroy(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(a_damaged_checkpoint_is_passed_over),
        LOOP_TEST(without_checkpoints_the_journal_is_read_from_its_beginning),
        CLOSED_TEST(versions_that_are_not_kept_are_trained_again),
        LOOP_TEST(predictions_alone_need_no_reading_again),
        LOOP_TEST(a_step_that_failed_is_made_good),
        LOOP_TEST(looking_only_changes_nothing),
        CLOSED_TEST(a_loop_that_cannot_work_is_not_recorded),
        LOOP_TEST(the_options_may_name_the_classes_that_came),
        CLOSED_TEST(a_full_journal_refuses_predictions_and_takes_feedback),
        CLOSED_TEST(faults_of_the_disk_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
