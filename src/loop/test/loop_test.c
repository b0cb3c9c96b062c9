/* The whole loop through its public header: predict, feedback, learning, restart, replay. */
#include "base/rng.h"
#include "loop/replay.h"

#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tightloop.h>
#include <unistd.h>

#include <cmocka.h>

enum { FEATURES = 8 };

static const char *const CLASSES[] = { "ok", "scratch", "dent" };

typedef struct fixture {
    char path[64];
    tl_runtime *runtime;
    tl_loop *loop;
} fixture;

static void open_loop(fixture *f, uint32_t publish_every)
{
    tl_error err = { 0 };
    tl_runtime_options runtime = tl_runtime_options_default();
    runtime.path = f->path;
    runtime.durability = TL_DURABILITY_RELAXED;
    if (tl_runtime_open(&runtime, &f->runtime, &err) != TL_OK) fail_msg("open: %s", err.text);
    tl_loop_options loop = tl_loop_options_default();
    loop.name = "parts";
    loop.input = TL_INPUT_FEATURES;
    loop.feature_count = FEATURES;
    loop.classes = CLASSES;
    loop.class_count = 3;
    loop.cold_labels = 20;
    loop.publish_every_labels = publish_every;
    if (tl_loop_open(f->runtime, &loop, &f->loop, &err) != TL_OK) fail_msg("loop: %s", err.text);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    snprintf(f->path, sizeof f->path, "/tmp/tightloop-test-XXXXXX");
    if (f == NULL || mkdtemp(f->path) == NULL) return -1;
    open_loop(f, 16);
    *state = f;
    return 0;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static int tear_down(void **state)
{
    fixture *f = *state;
    tl_runtime_close(&f->runtime);
    nftw(f->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static void reopen(fixture *f)
{
    tl_runtime_close(&f->runtime);
    open_loop(f, 16);
}

/* Three Gaussian classes, well apart. */
static void draw(tl_rng *rng, uint32_t *label, float x[FEATURES])
{
    *label = (uint32_t)tl_rng_below(rng, 3);
    for (int i = 0; i < FEATURES; i++)
        x[i] = (float)(tl_rng_normal(rng) * 0.5 + (i % 3 == (int)*label ? 2.0 : 0.0));
}

static tl_prediction predict(fixture *f, const float *x, tl_id id)
{
    tl_error err = { 0 };
    tl_item item = { .id = id, .features = x, .feature_count = FEATURES };
    tl_prediction prediction = { 0 };
    if (tl_loop_predict(f->loop, &item, &prediction, &err) != TL_OK)
        fail_msg("predict: %s", err.text);
    return prediction;
}

static tl_feedback_result feed_label(fixture *f, tl_id id, const char *label, const char *source)
{
    tl_error err = { 0 };
    tl_feedback feedback = {
        .prediction_id = id, .kind = TL_FEEDBACK_LABEL, .label = label, .source = source
    };
    tl_feedback_result result = { 0 };
    if (tl_loop_feedback(f->loop, &feedback, &result, &err) != TL_OK)
        fail_msg("feedback: %s", err.text);
    return result;
}

static tl_feedback_result withdraw(fixture *f, tl_id id, const char *source)
{
    tl_error err = { 0 };
    tl_feedback feedback = { .prediction_id = id, .kind = TL_FEEDBACK_WITHDRAW, .source = source };
    tl_feedback_result result = { 0 };
    if (tl_loop_feedback(f->loop, &feedback, &result, &err) != TL_OK)
        fail_msg("withdraw: %s", err.text);
    return result;
}

static tl_loop_state status_of(fixture *f)
{
    tl_loop_state state;
    tl_loop_status(f->loop, &state);
    return state;
}

static const tl_id NONE;

static int label_some(fixture *f, tl_rng *rng, int count)
{
    int correct = 0;
    for (int i = 0; i < count; i++) {
        uint32_t label;
        float x[FEATURES];
        draw(rng, &label, x);
        tl_prediction prediction = predict(f, x, NONE);
        correct += prediction.label == label;
        feed_label(f, prediction.id, CLASSES[label], NULL);
    }
    return correct;
}

static void it_learns_from_the_first_labels_on(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    label_some(f, &rng, 40);
    assert_in_range(label_some(f, &rng, 100), 95, 100);
    tl_loop_state now = status_of(f);
    assert_int_equal(now.labels, 140);
    assert_int_equal(now.predictions, 140);
    assert_false(now.cold);
    assert_true(now.accuracy.count > 100 && now.accuracy.low > 0.8 && now.accuracy.high <= 1.0);
}

static void a_label_changes_the_next_answer(void **state)
{
    fixture *f = *state;
    float x[FEATURES] = { 1, 2, 3, 4, 5, 6, 7, 8 }, y[FEATURES] = { -1, 3, -2, 2, 0, 1, -4, 2 };
    tl_prediction first = predict(f, x, NONE), other = predict(f, y, NONE);
    feed_label(f, other.id, "ok", NULL);
    tl_feedback_result result = feed_label(f, first.id, "dent", NULL);
    assert_int_equal(result.state, TL_FEEDBACK_APPLIED);
    tl_prediction second = predict(f, x, NONE);
    assert_true(second.scores[2] > first.scores[2]);
    assert_true(second.epoch >= result.epoch);
}

static void a_cold_loop_asks_about_everything(void **state)
{
    fixture *f = *state;
    float x[FEATURES] = { 0 };
    for (int i = 0; i < 20; i++) {
        tl_prediction prediction = predict(f, x, NONE);
        assert_true(prediction.review && prediction.propensity == 1.0f);
        feed_label(f, prediction.id, "ok", NULL);
    }
    assert_false(status_of(f).cold);
}

static void feedback_has_the_effect_that_is_stated(void **state)
{
    fixture *f = *state;
    float x[FEATURES] = { 1 };
    tl_prediction p = predict(f, x, NONE);
    assert_int_equal(feed_label(f, p.id, "dent", "ann").state, TL_FEEDBACK_APPLIED);
    assert_int_equal(feed_label(f, p.id, "dent", "ann").state, TL_FEEDBACK_REPEATED);
    assert_int_equal(feed_label(f, p.id, "ok", "ann").state, TL_FEEDBACK_CORRECTED);
    assert_int_equal(feed_label(f, p.id, "scratch", "bob").state, TL_FEEDBACK_CORRECTED);
    assert_int_equal(status_of(f).labels, 1);
    assert_int_equal(withdraw(f, p.id, "bob").state, TL_FEEDBACK_CORRECTED); /* ann's stands */
    assert_int_equal(withdraw(f, p.id, "ann").state, TL_FEEDBACK_WITHDRAWN);
    assert_int_equal(status_of(f).labels, 0);
    assert_int_equal(status_of(f).withdrawn, 1);
}

static void verdicts_name_the_class_where_they_can(void **state)
{
    fixture *f = *state;
    float x[FEATURES] = { 1 };
    tl_prediction p = predict(f, x, NONE);
    tl_feedback feedback = { .prediction_id = p.id, .kind = TL_FEEDBACK_VERDICT };
    tl_feedback_result result;
    assert_int_equal(tl_loop_feedback(f->loop, &feedback, &result, NULL), TL_OK);
    assert_int_equal(result.state, TL_FEEDBACK_NOTED); /* three classes: which of the others? */
    feedback.correct = true;
    assert_int_equal(tl_loop_feedback(f->loop, &feedback, &result, NULL), TL_OK);
    assert_int_equal(result.state, TL_FEEDBACK_APPLIED);
    assert_int_equal(status_of(f).labels, 1);
}

static void feedback_may_come_before_its_prediction(void **state)
{
    fixture *f = *state;
    tl_id id;
    assert_int_equal(tl_id_parse("0123456789abcdef0123456789abcdef", 32, &id), TL_OK);
    assert_int_equal(feed_label(f, id, "dent", NULL).state, TL_FEEDBACK_PENDING);
    assert_int_equal(status_of(f).pending, 1);
    float x[FEATURES] = { 1 };
    predict(f, x, id);
    assert_int_equal(tl_loop_drain(f->loop, NULL), TL_OK);
    assert_int_equal(status_of(f).pending, 0);
    assert_int_equal(status_of(f).labels, 1);
}

static void an_id_can_be_used_once(void **state)
{
    fixture *f = *state;
    tl_id id;
    float x[FEATURES] = { 1 };
    assert_int_equal(tl_id_parse("00000000000000000000000000000001", 32, &id), TL_OK);
    predict(f, x, id);
    tl_item item = { .id = id, .features = x, .feature_count = FEATURES };
    tl_prediction prediction;
    tl_error err;
    assert_int_equal(tl_loop_predict(f->loop, &item, &prediction, &err), TL_ECONFLICT);
}

/* The statistics are exact: withdrawing leaves what never seeing would have left. */
static void a_withdrawn_label_leaves_no_trace_in_the_fast_head(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 9, 0);
    label_some(f, &rng, 12);
    float x[FEATURES] = { 2, 0, 0, 2, 0, 0, 2, 0 }, odd[FEATURES] = { 9, -9, 9, -9, 9, -9, 9, -9 };
    tl_prediction odd_one = predict(f, odd, NONE);
    tl_prediction before = predict(f, x, NONE);
    feed_label(f, odd_one.id, "dent", NULL);
    tl_prediction with = predict(f, x, NONE);
    withdraw(f, odd_one.id, NULL);
    tl_prediction after = predict(f, x, NONE);
    assert_memory_not_equal(before.scores, with.scores, 3 * sizeof(float));
    /* The mixture's weights moved with the odd label and do not move back: compare the classes. */
    assert_int_equal(before.label, after.label);
}

static void bad_input_changes_nothing(void **state)
{
    fixture *f = *state;
    tl_error err;
    tl_prediction prediction;
    float x[FEATURES] = { 1 };
    tl_item item = { .features = x, .feature_count = FEATURES - 1 };
    assert_int_equal(tl_loop_predict(f->loop, &item, &prediction, &err), TL_ESHAPE);
    item.feature_count = FEATURES;
    x[3] = 0.0f / (x[2] - x[2]);
    assert_int_equal(tl_loop_predict(f->loop, &item, &prediction, &err), TL_EINVAL);
    x[3] = 0.0f;
    item.site = "line\nbreak";
    assert_int_equal(tl_loop_predict(f->loop, &item, &prediction, &err), TL_EINVAL);
    tl_prediction good = predict(f, x, NONE);
    tl_feedback feedback = { .prediction_id = good.id, .kind = TL_FEEDBACK_LABEL, .label = "rust" };
    assert_int_equal(tl_loop_feedback(f->loop, &feedback, NULL, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "known: ok, scratch, dent"));
    assert_int_equal(status_of(f).predictions, 1);
    assert_int_equal(status_of(f).feedback, 0);
}

static void state_survives_a_restart(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    label_some(f, &rng, 70);
    assert_int_equal(tl_loop_drain(f->loop, NULL), TL_OK);
    tl_loop_state before = status_of(f);
    float x[FEATURES] = { 2, 0, 0, 2 };
    tl_prediction first = predict(f, x, NONE);
    reopen(f);
    tl_loop_state after = status_of(f);
    tl_prediction second = predict(f, x, NONE);
    assert_true(before.digest == after.digest);
    assert_int_equal(after.labels, 70);
    assert_int_equal(after.predictions, 71);
    assert_int_equal(after.champion, before.champion);
    assert_memory_equal(first.scores, second.scores, 3 * sizeof(float));
    label_some(f, &rng, 70);
    assert_int_equal(tl_loop_drain(f->loop, NULL), TL_OK);
    assert_int_equal(status_of(f).trained_labels, 140);
}

static void replaying_the_journal_gives_the_same_state(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    label_some(f, &rng, 50);
    float x[FEATURES] = { 1 };
    tl_prediction p = predict(f, x, NONE);
    feed_label(f, p.id, "dent", NULL);
    feed_label(f, p.id, "ok", NULL);
    assert_int_equal(tl_loop_add_class(f->loop, "rust", "me", NULL), TL_OK);
    assert_int_equal(tl_loop_golden_add(f->loop, p.id, "me", NULL), TL_OK);
    reopen(f);
    label_some(f, &rng, 30);
    assert_int_equal(tl_loop_set_learning(f->loop, false, "me", NULL), TL_OK);
    label_some(f, &rng, 20);
    assert_int_equal(tl_loop_set_learning(f->loop, true, "me", NULL), TL_OK);
    label_some(f, &rng, 20);
    assert_int_equal(tl_loop_drain(f->loop, NULL), TL_OK);
    tl_loop_state live = status_of(f);
    tl_runtime_close(&f->runtime);

    tl_verify_options options = { .path = f->path, .loop = "parts" };
    tl_verify_report report;
    tl_error err = { 0 };
    tl_status status = tl_replay_verify(&options, &report, &err);
    if (status != TL_OK) fail_msg("verify: %s", err.text);
    if (report.mismatches > 0) fail_msg("mismatch: %s", report.first_mismatch);
    assert_true(report.digest == live.digest);
    assert_int_equal(report.labels, live.labels);
    assert_true(report.judgements >= 5);
    assert_true(report.checkpoints >= 1);
    open_loop(f, 16);
}

static void a_rollback_serves_the_version_before_and_pauses(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    label_some(f, &rng, 64);
    assert_int_equal(tl_loop_drain(f->loop, NULL), TL_OK);
    tl_loop_state before = status_of(f);
    assert_true(before.champion > 1);
    tl_error err = { 0 };
    if (tl_loop_rollback(f->loop, 0, "me", &err) != TL_OK) fail_msg("%s", err.text);
    tl_loop_state back = status_of(f);
    assert_int_equal(back.champion, before.champion - 1);
    assert_false(back.learning);
    assert_int_equal(tl_loop_rollback(f->loop, 999, "me", &err), TL_ENOTFOUND);
    assert_int_equal(tl_loop_promote(f->loop, before.champion, "me", &err), TL_OK);
    assert_int_equal(tl_loop_set_learning(f->loop, true, "me", &err), TL_OK);
    label_some(f, &rng, 64);
    assert_int_equal(tl_loop_drain(f->loop, NULL), TL_OK);
    assert_true(status_of(f).champion > before.champion);
    tl_version_info versions[32];
    size_t count = tl_loop_versions(f->loop, versions, 32);
    assert_true(count >= 3 && versions[0].number > versions[1].number);
}

static void a_new_class_can_be_learned_while_running(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    label_some(f, &rng, 40);
    assert_int_equal(tl_loop_add_class(f->loop, "rust", "me", NULL), TL_OK);
    assert_int_equal(tl_loop_add_class(f->loop, "rust", "me", NULL), TL_ECONFLICT);
    float rust[FEATURES] = { -4, -4, -4, -4, -4, -4, -4, -4 };
    for (int i = 0; i < 6; i++) {
        float x[FEATURES];
        for (int j = 0; j < FEATURES; j++) x[j] = rust[j] + (float)(0.3 * tl_rng_normal(&rng));
        feed_label(f, predict(f, x, NONE).id, "rust", NULL);
    }
    tl_prediction p = predict(f, rust, NONE);
    assert_int_equal(p.class_count, 4);
    assert_int_equal(p.label, 3);
}

typedef struct answer {
    pthread_mutex_t mutex;
    pthread_cond_t came;
    bool finished;
    tl_status status;
    tl_prediction prediction;
} answer;

static void take_answer(void *context, tl_status status, const tl_prediction *predictions,
                        size_t count, const tl_error *err)
{
    (void)err;
    answer *a = context;
    pthread_mutex_lock(&a->mutex);
    a->status = status;
    if (count > 0) a->prediction = predictions[0];
    a->finished = true;
    pthread_cond_signal(&a->came);
    pthread_mutex_unlock(&a->mutex);
}

static answer ask(fixture *f, const float *x, const char *request_id, uint64_t hash)
{
    answer a = { .mutex = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER };
    tl_item item = { .features = x, .feature_count = FEATURES };
    tl_predict_request request = {
        .items = &item, .count = 1, .request_id = request_id, .body_hash = { hash, 0 }
    };
    assert_int_equal(tl_loop_predict_async(f->loop, &request, take_answer, &a, NULL), TL_OK);
    pthread_mutex_lock(&a.mutex);
    while (!a.finished) pthread_cond_wait(&a.came, &a.mutex);
    pthread_mutex_unlock(&a.mutex);
    return a;
}

static void a_retry_gets_the_answer_of_the_first_time(void **state)
{
    fixture *f = *state;
    float x[FEATURES] = { 1 };
    answer first = ask(f, x, "r-1", 7);
    answer again = ask(f, x, "r-1", 7);
    answer other = ask(f, x, "r-1", 8);
    assert_int_equal(first.status, TL_OK);
    assert_memory_equal(&first.prediction, &again.prediction, sizeof first.prediction);
    assert_int_equal(other.status, TL_ECONFLICT);
    assert_int_equal(status_of(f).predictions, 1);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(it_learns_from_the_first_labels_on),
        LOOP_TEST(a_label_changes_the_next_answer),
        LOOP_TEST(a_cold_loop_asks_about_everything),
        LOOP_TEST(feedback_has_the_effect_that_is_stated),
        LOOP_TEST(verdicts_name_the_class_where_they_can),
        LOOP_TEST(feedback_may_come_before_its_prediction),
        LOOP_TEST(an_id_can_be_used_once),
        LOOP_TEST(a_withdrawn_label_leaves_no_trace_in_the_fast_head),
        LOOP_TEST(bad_input_changes_nothing),
        LOOP_TEST(state_survives_a_restart),
        LOOP_TEST(replaying_the_journal_gives_the_same_state),
        LOOP_TEST(a_rollback_serves_the_version_before_and_pauses),
        LOOP_TEST(a_new_class_can_be_learned_while_running),
        LOOP_TEST(a_retry_gets_the_answer_of_the_first_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
