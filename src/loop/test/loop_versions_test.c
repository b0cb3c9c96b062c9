/* Versions that come and go: rolling back, overtaken candidates, the golden set, the backlog. */
#include "loop/test/test_support.h"

static const float X[FEATURES] = { 2, 0.5f, 0, 2, 0, 0.2f, 2, 0 };

/* A version after the first one, with everything trained. */
static uint64_t learn_versions(fixture *f, tl_rng *rng, int labels)
{
    label_some(f, rng, labels);
    drain(f);
    uint64_t champion = status_of(f).champion;
    assert_true(champion > 1);
    return champion;
}

static void a_rollback_answers_bit_for_bit_as_before_and_pauses(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    tl_id labelled = predict(f, X, NO_ID).id;
    label_as(f, labelled, "dent", NULL);
    uint64_t good = learn_versions(f, &rng, 31);
    ok(tl_loop_set_learning(f->loop, false, "me", NULL), NULL);
    tl_prediction before = predict(f, X, NO_ID);
    ok(tl_loop_set_learning(f->loop, true, "me", NULL), NULL);
    while (status_of(f).champion == good) learn_versions(f, &rng, 1);
    tl_loop_state now = status_of(f);
    tl_prediction between = predict(f, X, NO_ID);
    assert_memory_not_equal(before.scores, between.scores, 3 * sizeof(float));
    tl_error err = { 0 };
    ok(tl_loop_rollback(f->loop, good, "me", &err), &err);
    tl_prediction first = predict(f, X, NO_ID);
    label_some(f, &rng, 40);
    withdraw(f, labelled, NULL); /* forgotten by what will be learned on, not by what serves */
    drain(f);
    tl_prediction later = predict(f, X, NO_ID);
    reopen(f);
    tl_prediction restarted = predict(f, X, NO_ID);
    assert_int_equal(first.version, good);
    assert_memory_equal(first.scores, later.scores, 3 * sizeof(float));
    assert_memory_equal(first.scores, restarted.scores, 3 * sizeof(float));
    assert_true(first.threshold == restarted.threshold);
    assert_int_equal(status_of(f).trained_labels, now.trained_labels);
    assert_false(status_of(f).learning);
    ok(tl_loop_set_learning(f->loop, true, "me", &err), &err);
    drain(f);
    assert_int_equal(status_of(f).trained_labels, now.trained_labels + 40);
    verify(f);
}

/* The very scores that a version gave as it was replaced come back with it. */
static void a_version_is_returned_to_as_it_was_replaced(void **state)
{
    fixture *f = *state;
    f->runtime_options.trainer_threads = 0;
    open_loop(f);
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    label_some(f, &rng, 64);
    tl_prediction before = predict(f, X, NO_ID);
    assert_int_equal(before.version, 1);
    f->runtime_options.trainer_threads = 1;
    reopen(f);
    drain(f); /* 64 labels are worked through now: versions, without any new label */
    assert_true(status_of(f).champion > 1);
    tl_error err = { 0 };
    ok(tl_loop_rollback(f->loop, 1, "me", &err), &err);
    tl_prediction after = predict(f, X, NO_ID);
    assert_int_equal(after.version, 1);
    assert_memory_equal(before.scores, after.scores, 3 * sizeof(float));
    verify(f);
}

static void candidates_made_before_a_rollback_do_not_undo_it(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    uint64_t champion = learn_versions(f, &rng, 32);
    tl_runtime_close(&f->runtime);
    f->runtime_options.trainer_threads = 0; /* labels pile up, untrained */
    open_loop(f);
    label_some(f, &rng, 64);
    tl_error err = { 0 };
    ok(tl_loop_rollback(f->loop, 1, "me", &err), &err);
    ok(tl_loop_set_learning(f->loop, true, "me", &err), &err);
    f->runtime_options.trainer_threads = 1;
    reopen(f);
    drain(f);
    tl_loop_state now = status_of(f);
    assert_int_equal(now.trained_labels, 96);
    assert_int_equal(now.champion, 1);
    assert_true(now.refused > 0);
    label_some(f, &rng, 32);
    drain(f);
    assert_true(status_of(f).champion > champion);
    verify(f);
}

static void the_slow_learner_rests_during_a_pause(void **state)
{
    fixture *f = *state;
    f->runtime_options.trainer_threads = 0;
    open_loop(f);
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    label_some(f, &rng, 48);
    ok(tl_loop_set_learning(f->loop, false, "me", NULL), NULL);
    f->runtime_options.trainer_threads = 1;
    reopen(f);
    drain(f); /* does not wait for what rests */
    assert_int_equal(status_of(f).trained_labels, 0);
    assert_int_equal(status_of(f).champion, 1);
    ok(tl_loop_set_learning(f->loop, true, "me", NULL), NULL);
    drain(f);
    assert_int_equal(status_of(f).trained_labels, 48);
    assert_true(status_of(f).champion > 1);
    verify(f);
}

static void twice_back_is_two_versions_back(void **state)
{
    fixture *f = *state;
    f->options.publish_every_labels = 8;
    open_loop(f);
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    while (status_of(f).publishes < 4) learn_versions(f, &rng, 16);
    tl_version_info versions[16];
    size_t count = tl_loop_versions(f->loop, versions, 16), served = 0;
    uint64_t kept[16];
    for (size_t i = 0; i < count; i++)
        if (versions[i].kept) kept[served++] = versions[i].number;
    assert_true(served >= 3 && versions[0].champion);
    tl_error err = { 0 };
    ok(tl_loop_rollback(f->loop, 0, "me", &err), &err);
    assert_int_equal(status_of(f).champion, kept[1]);
    ok(tl_loop_rollback(f->loop, 0, "me", &err), &err);
    assert_int_equal(status_of(f).champion, kept[2]);
    ok(tl_loop_promote(f->loop, kept[0], "me", &err), &err);
    assert_int_equal(status_of(f).champion, kept[0]);
    assert_int_equal(tl_loop_promote(f->loop, kept[0], "me", &err), TL_ECONFLICT);
    assert_int_equal(tl_loop_promote(f->loop, 999, "me", &err), TL_ENOTFOUND);
    verify(f);
}

/* Golden items that contradict what is learned: whatever fits the labels makes them wrong. */
static void the_golden_set_refuses_a_candidate(void **state)
{
    fixture *f = *state;
    float odd[FEATURES];
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    for (int i = 0; i < 6; i++) {
        for (int j = 0; j < FEATURES; j++) odd[j] = (j % 3 == 1 ? 2.0f : 0.0f) + 0.01f * (float)i;
        tl_id id = predict(f, odd, NO_ID).id;
        tl_error err = { 0 };
        assert_int_equal(tl_loop_golden_add(f->loop, id, "me", &err), TL_EINVAL); /* no label */
        label_as(f, id, "ok", NULL); /* class 1 by its looks */
        ok(tl_loop_golden_add(f->loop, id, "me", &err), &err);
    }
    assert_int_equal(status_of(f).golden, 6);
    assert_int_equal(tl_loop_golden(f->loop, NULL, 0), 6);
    label_some(f, &rng, 120);
    drain(f);
    tl_loop_state now = status_of(f);
    assert_true(now.refused >= 3);
    tl_refusal_info refusals[64];
    size_t judged = tl_loop_refusals(f->loop, refusals, 64);
    assert_int_equal(judged, now.refused);
    for (size_t i = 0; i < judged; i++) {
        assert_non_null(strstr(refusals[i].verdict, "refused, "));
        assert_true(refusals[i].labels > 0 && refusals[i].judged_us > 0);
        assert_true(i == 0 || refusals[i].position < refusals[i - 1].position);
    }
    assert_non_null(strstr(refusals[0].verdict, "golden"));
    assert_int_equal(tl_loop_refusals(f->loop, refusals, 2), 2); /* the newest */
    assert_int_equal(refusals[0].labels, now.trained_labels / 16 * 16);
    tl_version_info versions[16]; /* the first one answers "ok" to everything, as is golden */
    size_t count = tl_loop_versions(f->loop, versions, 16);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(versions[i].golden_errors, 0);
        assert_int_equal(versions[i].golden_count, versions[i].number == 1 ? 0 : 6);
    }
    tl_id golden[8];
    assert_int_equal(tl_loop_golden(f->loop, golden, 8), 6);
    for (int i = 0; i < 6; i++) ok(tl_loop_golden_remove(f->loop, golden[i], "me", NULL), NULL);
    learn_versions(f, &rng, 32);
    verify(f);
}

static bool in_replay(fixture *f, uint64_t position, bool *excluded, uint32_t *label)
{
    drain(f);
    const tl_replay_entry *entry = tl_replay_find(tl_trainer_replay(f->loop->trainer), position);
    if (entry == NULL) return false;
    *excluded = entry->excluded != 0;
    *label = entry->label;
    return true;
}

static void a_golden_item_is_out_of_training_as_it_is_labelled_then(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    label_some(f, &rng, 8);
    uint64_t without = stats_digest(f);
    tl_prediction p = predict(f, X, NO_ID);
    label_as(f, p.id, "dent", NULL);
    uint64_t with = stats_digest(f);
    bool excluded;
    uint32_t label;
    tl_error err = { 0 };
    ok(tl_loop_golden_add(f->loop, p.id, "me", &err), &err);
    assert_true(stats_digest(f) == without);
    assert_true(in_replay(f, p.position, &excluded, &label) && excluded);
    ok(tl_loop_golden_remove(f->loop, p.id, "me", &err), &err);
    assert_true(stats_digest(f) == with);
    ok(tl_loop_golden_add(f->loop, p.id, "me", &err), &err);
    label_as(f, p.id, "scratch", NULL);
    assert_true(stats_digest(f) == without);
    assert_true(in_replay(f, p.position, &excluded, &label) && excluded && label == 1);
    withdraw(f, p.id, NULL);
    assert_int_equal(status_of(f).golden, 0);
    assert_false(in_replay(f, p.position, &excluded, &label)); /* not learned from again */
    assert_true(stats_digest(f) == without);
    verify(f);
}

static void a_slow_learner_that_is_far_behind_skips_steps(void **state)
{
    fixture *f = *state;
    f->runtime_options.trainer_threads = 0;
    f->options.publish_every_labels = 512;
    f->options.replay_per_label = 0;
    open_loop(f);
    enum { LABELS = 4096 + 2 * 512 + 100 };
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    for (uint32_t i = 0; i < LABELS; i++) {
        float x[FEATURES];
        uint32_t label;
        draw(&rng, &label, x);
        tl_prediction p = predict(f, x, NO_ID);
        label_as(f, p.id, CLASSES[label], NULL);
    }
    f->runtime_options.trainer_threads = 1;
    reopen(f);
    drain(f);
    tl_loop_state now = status_of(f);
    assert_int_equal(now.labels, LABELS);
    assert_int_equal(now.trained_labels, LABELS - 100);
    assert_int_equal(tl_replay_count(tl_trainer_replay(f->loop->trainer)), LABELS);
    label_some(f, &rng, 10); /* it has caught up: these get their steps */
    drain(f);
    assert_int_equal(status_of(f).trained_labels, LABELS - 90);
    verify(f);
}

static void knobs_may_change_between_openings(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    label_some(f, &rng, 20);
    drain(f);
    f->options.target_precision = 0.9;
    f->options.replay_per_label = 2;
    f->options.publish_every_labels = 8;
    reopen(f);
    label_some(f, &rng, 20);
    drain(f);
    reopen(f); /* nothing changes now */
    assert_true(tl_core_config(f->loop->core)->target_precision == 0.9);
    verify(f);
    f->options.replay_per_label = 600;
    tl_error err;
    open_runtime(f);
    assert_int_equal(tl_loop_open(f->runtime, &f->options, &f->loop, &err), TL_EINVAL);
}

typedef struct answer {
    pthread_mutex_t mutex;
    pthread_cond_t came;
    bool finished;
    tl_prediction prediction;
} answer;

static void take_answer(void *context, tl_status status, const tl_prediction *predictions,
                        size_t count, const tl_error *err)
{
    (void)status, (void)err;
    answer *a = context;
    pthread_mutex_lock(&a->mutex);
    if (count > 0) a->prediction = predictions[0];
    a->finished = true;
    pthread_cond_signal(&a->came);
    pthread_mutex_unlock(&a->mutex);
}

static tl_status ask_version(fixture *f, uint64_t version, tl_prediction *out)
{
    answer a = { .mutex = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER };
    tl_item item = { .features = X, .feature_count = FEATURES };
    tl_predict_request request = { .items = &item, .count = 1, .version = version };
    tl_status status = tl_loop_predict_async(f->loop, &request, take_answer, &a, NULL);
    if (status != TL_OK) return status;
    pthread_mutex_lock(&a.mutex);
    while (!a.finished) pthread_cond_wait(&a.came, &a.mutex);
    pthread_mutex_unlock(&a.mutex);
    *out = a.prediction;
    return TL_OK;
}

static void a_kept_version_answers_for_the_classes_of_now(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    uint64_t champion = learn_versions(f, &rng, 48);
    tl_prediction p;
    assert_int_equal(ask_version(f, 1, &p), TL_OK);
    assert_int_equal(p.version, 1);
    assert_int_equal(p.class_count, 3);
    ok(tl_loop_add_class(f->loop, "rust", "me", NULL), NULL);
    assert_int_equal(ask_version(f, 1, &p), TL_OK);
    assert_int_equal(p.class_count, 4);
    assert_int_equal(ask_version(f, champion, &p), TL_OK);
    assert_int_equal(p.version, champion);
    assert_int_equal(ask_version(f, 999, &p), TL_ENOTFOUND);
}

/* A number beyond feature_range counts as the range; it spoils neither answers nor training. */
static void features_out_of_range_are_clamped(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    float far[FEATURES] = { 1e30f, -1e30f }, edge[FEATURES] = { 16, -16 };
    learn_versions(f, &rng, 48);
    tl_prediction p = predict(f, far, NO_ID), q = predict(f, edge, NO_ID);
    assert_memory_equal(p.scores, q.scores, 3 * sizeof(float));
    label_as(f, p.id, "dent", NULL);
    assert_int_equal(status_of(f).clamped, 2);
    uint64_t champion = status_of(f).champion;
    label_some(f, &rng, 64);
    drain(f);
    assert_true(status_of(f).champion > champion);
    assert_in_range(label_some(f, &rng, 50), 45, 50);
    verify(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(a_rollback_answers_bit_for_bit_as_before_and_pauses),
        CLOSED_TEST(a_version_is_returned_to_as_it_was_replaced),
        LOOP_TEST(candidates_made_before_a_rollback_do_not_undo_it),
        CLOSED_TEST(the_slow_learner_rests_during_a_pause),
        CLOSED_TEST(twice_back_is_two_versions_back),
        LOOP_TEST(the_golden_set_refuses_a_candidate),
        LOOP_TEST(a_golden_item_is_out_of_training_as_it_is_labelled_then),
        CLOSED_TEST(a_slow_learner_that_is_far_behind_skips_steps),
        LOOP_TEST(a_kept_version_answers_for_the_classes_of_now),
        LOOP_TEST(features_out_of_range_are_clamped),
        LOOP_TEST(knobs_may_change_between_openings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
