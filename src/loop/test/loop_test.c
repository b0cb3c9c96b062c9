/* The whole loop through its public header: predict, feedback, learning, restart, replay. */
#include "loop/test/test_support.h"

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
    tl_prediction first = predict(f, x, NO_ID), other = predict(f, y, NO_ID);
    label_as(f, other.id, "ok", NULL);
    tl_feedback_result result = feed(
        f->loop,
        (tl_feedback){ .prediction_id = first.id, .kind = TL_FEEDBACK_LABEL, .label = "dent" });
    assert_int_equal(result.state, TL_FEEDBACK_APPLIED);
    tl_prediction second = predict(f, x, NO_ID);
    assert_true(second.scores[2] > first.scores[2]);
    assert_true(second.epoch >= result.epoch);
}

static void label_while_cold(fixture *f, int count, const char *label)
{
    float x[FEATURES] = { 0 };
    for (int i = 0; i < count; i++) {
        tl_prediction prediction = predict(f, x, NO_ID);
        assert_true(prediction.review && prediction.propensity == 1.0f);
        label_as(f, prediction.id, label, NULL);
    }
}

static void a_cold_loop_asks_about_everything(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 6, 0);
    label_some(f, &rng, 19);
    assert_true(status_of(f).cold);
    for (int i = 0; i < 20 && status_of(f).cold; i++) label_some(f, &rng, 1);
    assert_false(status_of(f).cold); /* defects are found by now */
}

static void a_loop_that_finds_no_defects_stays_cold(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 10; i++) { /* nothing tells defects apart, and most items are good */
        label_while_cold(f, 4, "ok");
        label_while_cold(f, 1, "dent");
    }
    assert_true(status_of(f).cold);
    tl_rng rng;
    tl_rng_seed(&rng, 6, 0);
    for (int i = 0; i < 100 && status_of(f).cold; i++) label_some(f, &rng, 1);
    assert_false(status_of(f).cold);
}

static void without_any_defect_a_loop_is_not_cold_for_ever(void **state)
{
    fixture *f = *state;
    label_while_cold(f, 200, "ok");
    assert_false(status_of(f).cold);
}

static void feedback_has_the_effect_that_is_stated(void **state)
{
    fixture *f = *state;
    float x[FEATURES] = { 1 };
    tl_prediction p = predict(f, x, NO_ID);
    assert_int_equal(label_as(f, p.id, "dent", "ann"), TL_FEEDBACK_APPLIED);
    assert_int_equal(label_as(f, p.id, "dent", "ann"), TL_FEEDBACK_REPEATED);
    assert_int_equal(label_as(f, p.id, "ok", "ann"), TL_FEEDBACK_CORRECTED);
    assert_int_equal(label_as(f, p.id, "scratch", "bob"), TL_FEEDBACK_CORRECTED);
    assert_int_equal(status_of(f).labels, 1);
    assert_int_equal(withdraw(f, p.id, "bob"), TL_FEEDBACK_CORRECTED); /* ann's stands */
    assert_int_equal(withdraw(f, p.id, "ann"), TL_FEEDBACK_WITHDRAWN);
    assert_int_equal(status_of(f).labels, 0);
    assert_int_equal(status_of(f).withdrawn, 1);
}

static void verdicts_name_the_class_where_they_can(void **state)
{
    fixture *f = *state;
    float x[FEATURES] = { 1 };
    tl_prediction p = predict(f, x, NO_ID);
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
    assert_int_equal(label_as(f, id, "dent", NULL), TL_FEEDBACK_PENDING);
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
    tl_prediction odd_one = predict(f, odd, NO_ID);
    tl_prediction before = predict(f, x, NO_ID);
    label_as(f, odd_one.id, "dent", NULL);
    tl_prediction with = predict(f, x, NO_ID);
    withdraw(f, odd_one.id, NULL);
    tl_prediction after = predict(f, x, NO_ID);
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
    tl_prediction good = predict(f, x, NO_ID);
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
    tl_prediction first = predict(f, x, NO_ID);
    reopen(f);
    tl_loop_state after = status_of(f);
    tl_prediction second = predict(f, x, NO_ID);
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
    tl_prediction p = predict(f, x, NO_ID);
    label_as(f, p.id, "dent", NULL);
    label_as(f, p.id, "ok", NULL);
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
    open_loop(f);
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
        label_as(f, predict(f, x, NO_ID).id, "rust", NULL);
    }
    tl_prediction p = predict(f, rust, NO_ID);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(it_learns_from_the_first_labels_on),
        LOOP_TEST(a_label_changes_the_next_answer),
        LOOP_TEST(a_cold_loop_asks_about_everything),
        LOOP_TEST(a_loop_that_finds_no_defects_stays_cold),
        LOOP_TEST(without_any_defect_a_loop_is_not_cold_for_ever),
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
