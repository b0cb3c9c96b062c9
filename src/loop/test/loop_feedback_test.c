/* What statements do: joining, folding, and that their effect can be taken back exactly. */
#include "loop/test/test_support.h"

static const float X[FEATURES] = { 1, 2, 3, 4, 5, 6, 7, 8 };

static tl_feedback_state verdict(fixture *f, tl_id id, bool correct, const char *source)
{
    return feed(f->loop, (tl_feedback){ .prediction_id = id,
                                        .kind = TL_FEEDBACK_VERDICT,
                                        .correct = correct,
                                        .source = source })
        .state;
}

static void states_are_the_same_across_a_restart(void **state)
{
    fixture *f = *state;
    tl_id id = predict(f, X, NO_ID).id;
    assert_int_equal(verdict(f, id, false, "ann"), TL_FEEDBACK_NOTED);
    reopen(f);
    assert_int_equal(label_as(f, id, "dent", "ann"), TL_FEEDBACK_APPLIED);
    reopen(f);
    assert_int_equal(label_as(f, id, "dent", "bob"), TL_FEEDBACK_REPEATED);
    reopen(f);
    assert_int_equal(label_as(f, id, "ok", "bob"), TL_FEEDBACK_CORRECTED);
    reopen(f);
    assert_int_equal(withdraw(f, id, "bob"), TL_FEEDBACK_CORRECTED);
    assert_int_equal(withdraw(f, id, "ann"), TL_FEEDBACK_WITHDRAWN);
    reopen(f);
    assert_int_equal(withdraw(f, id, "ann"), TL_FEEDBACK_NOTED);
    assert_int_equal(status_of(f).labels, 0);
    assert_int_equal(label_as(f, id_of(7), "dent", NULL), TL_FEEDBACK_PENDING);
    reopen(f);
    assert_int_equal(status_of(f).pending, 1);
    predict(f, X, id_of(7));
    drain(f);
    assert_int_equal(status_of(f).pending, 0);
    assert_int_equal(status_of(f).labels, 1);
    verify(f);
}

static void taking_back_leaves_the_statistics_as_if_it_had_never_been(void **state)
{
    fixture *f = *state;
    f->options.publish_every_labels = 1000;
    open_loop(f);
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, 12);
    uint64_t before = stats_digest(f);
    tl_id id = predict(f, X, NO_ID).id;
    label_as(f, id, "dent", "ann");
    assert_true(stats_digest(f) != before);
    label_as(f, id, "ok", "bob");
    withdraw(f, id, "bob");
    withdraw(f, id, "ann");
    assert_true(stats_digest(f) == before);
    label_as(f, id, "scratch", "ann"); /* again, and corrected: as if it had been right at once */
    label_as(f, id, "dent", "ann");
    uint64_t corrected = stats_digest(f);
    withdraw(f, id, "ann");
    label_as(f, id, "dent", "ann");
    assert_true(stats_digest(f) == corrected);
}

static void a_pause_defers_labels_and_what_is_said_of_them_later(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, 10);
    tl_id early = predict(f, X, NO_ID).id, late = predict(f, X, NO_ID).id,
          gone = predict(f, X, NO_ID).id;
    label_as(f, early, "ok", NULL);
    uint64_t before = stats_digest(f);
    tl_prediction first = predict(f, X, NO_ID);
    ok(tl_loop_set_learning(f->loop, false, "me", NULL), NULL);
    label_as(f, late, "scratch", NULL);
    label_as(f, gone, "dent", NULL);
    assert_true(stats_digest(f) == before);
    assert_int_equal(label_as(f, late, "dent", NULL), TL_FEEDBACK_CORRECTED);
    assert_int_equal(withdraw(f, gone, NULL), TL_FEEDBACK_WITHDRAWN);
    tl_prediction paused = predict(f, X, NO_ID);
    assert_memory_equal(first.scores, paused.scores, 3 * sizeof(float));
    reopen(f);
    assert_false(status_of(f).learning);
    ok(tl_loop_set_learning(f->loop, true, "me", NULL), NULL);
    uint64_t resumed = stats_digest(f);
    assert_true(resumed != before);
    withdraw(f, late, NULL);
    assert_true(stats_digest(f) == before);
    assert_int_equal(status_of(f).trained_labels, 12);
    verify(f);
}

/* Of two classes "incorrect" names the other one, and goes on doing so when a third comes. */
static void an_old_verdict_keeps_its_meaning_when_a_class_comes(void **state)
{
    fixture *f = *state;
    f->options.class_count = 2;
    open_loop(f);
    tl_prediction p = predict(f, X, NO_ID), q = predict(f, X, NO_ID);
    assert_int_equal(verdict(f, p.id, false, "ann"), TL_FEEDBACK_APPLIED);
    ok(tl_loop_add_class(f->loop, "rust", "me", NULL), NULL);
    assert_int_equal(label_as(f, p.id, CLASSES[1 - p.label], "bob"), TL_FEEDBACK_REPEATED);
    assert_int_equal(status_of(f).labels, 1);
    assert_int_equal(verdict(f, q.id, false, "ann"), TL_FEEDBACK_NOTED);
    assert_int_equal(label_as(f, q.id, "rust", "ann"), TL_FEEDBACK_APPLIED);
    verify(f);
}

static void only_the_newest_statements_on_an_id_are_looked_at(void **state)
{
    fixture *f = *state;
    tl_id id = predict(f, X, NO_ID).id;
    label_as(f, id, "dent", "ann");
    char source[16];
    for (int i = 0; i < 300; i++) {
        snprintf(source, sizeof source, "s%d", i);
        tl_feedback_state got = verdict(f, id, false, source);
        assert_int_equal(got, i == 254  ? TL_FEEDBACK_WITHDRAWN
                              : i < 254 ? TL_FEEDBACK_REPEATED
                                        : TL_FEEDBACK_NOTED);
    }
    assert_int_equal(status_of(f).labels, 0);
    assert_int_equal(label_as(f, id, "dent", "zoe"), TL_FEEDBACK_APPLIED);
    verify(f);
}

typedef struct reply {
    pthread_mutex_t mutex;
    pthread_cond_t came;
    bool finished;
    tl_status status;
    tl_feedback_result result;
} reply;

static void take_reply(void *context, tl_status status, const tl_feedback_result *results,
                       size_t count, const tl_error *err)
{
    (void)err;
    reply *r = context;
    pthread_mutex_lock(&r->mutex);
    r->status = status;
    if (count > 0) r->result = results[0];
    r->finished = true;
    pthread_cond_signal(&r->came);
    pthread_mutex_unlock(&r->mutex);
}

static reply say(fixture *f, tl_id id, const char *label, const char *request, uint64_t hash)
{
    reply r = { .mutex = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER };
    tl_feedback feedback = { .prediction_id = id, .kind = TL_FEEDBACK_LABEL, .label = label };
    tl_feedback_request all = {
        .items = &feedback, .count = 1, .request_id = request, .body_hash = { hash, 0 }
    };
    tl_error err = { 0 };
    ok(tl_loop_feedback_async(f->loop, &all, take_reply, &r, &err), &err);
    pthread_mutex_lock(&r.mutex);
    while (!r.finished) pthread_cond_wait(&r.came, &r.mutex);
    pthread_mutex_unlock(&r.mutex);
    return r;
}

static void assert_same_result(const tl_feedback_result *a, const tl_feedback_result *b)
{
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->epoch, b->epoch);
}

static void a_retry_is_answered_as_the_first_time(void **state)
{
    fixture *f = *state;
    tl_id id = predict(f, X, NO_ID).id;
    reply first = say(f, id, "dent", "r1", 5);
    assert_int_equal(first.result.state, TL_FEEDBACK_APPLIED);
    label_as(f, id, "ok", "bob");
    reply again = say(f, id, "dent", "r1", 5);
    assert_int_equal(again.status, TL_OK);
    assert_same_result(&first.result, &again.result);
    assert_int_equal(say(f, id, "dent", "r1", 6).status, TL_ECONFLICT);
    reply early = say(f, id_of(3), "dent", "r2", 5);
    predict(f, X, id_of(3));
    reopen(f);
    reply late = say(f, id_of(3), "dent", "r2", 5);
    assert_int_equal(early.result.state, TL_FEEDBACK_PENDING);
    assert_same_result(&early.result, &late.result);
    assert_int_equal(status_of(f).feedback, 3);
}

/* The id of another loop's prediction is not known here. */
static void ids_belong_to_their_loop(void **state)
{
    fixture *f = *state;
    tl_loop *other = NULL;
    tl_loop_options options = f->options;
    options.name = "others";
    tl_error err = { 0 };
    ok(tl_loop_open(f->runtime, &options, &other, &err), &err);
    tl_id id = predict_by(other, X, NO_ID).id;
    assert_int_equal(label_as(f, id, "dent", NULL), TL_FEEDBACK_PENDING);
    predict(f, X, id); /* the same id may come here too */
    drain(f);
    assert_int_equal(status_of(f).labels, 1);
    tl_loop_state state_of_other;
    tl_loop_status(other, &state_of_other);
    assert_int_equal(state_of_other.labels, 0);
}

static void too_much_that_waits_stops_unknown_ids_only(void **state)
{
    fixture *f = *state;
    tl_id id = predict(f, X, NO_ID).id;
    assert_int_equal(label_as(f, id_of(1), "ok", NULL), TL_FEEDBACK_PENDING);
    f->loop->pending_limit = 0;
    tl_feedback feedback = { .prediction_id = id_of(2), .kind = TL_FEEDBACK_LABEL, .label = "ok" };
    tl_error err;
    assert_int_equal(tl_loop_feedback(f->loop, &feedback, NULL, &err), TL_EFULL);
    assert_int_equal(label_as(f, id, "dent", NULL), TL_FEEDBACK_APPLIED);
}

/* One feature in 0..0.01 tells the classes apart, the others are noise of some +-10. */
static void features_of_different_scales_are_learned(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    int correct = 0;
    for (int i = 0; i < 400; i++) {
        uint32_t label = (uint32_t)tl_rng_below(&rng, 2);
        float x[FEATURES];
        for (int j = 0; j < FEATURES; j++) x[j] = (float)(20.0 * tl_rng_unit(&rng) - 10.0);
        x[2] = (float)(0.004 * tl_rng_unit(&rng) + (label == 1 ? 0.006 : 0.0));
        tl_prediction p = predict(f, x, NO_ID);
        if (i >= 300) correct += p.label == label;
        label_as(f, p.id, CLASSES[label], NULL);
    }
    assert_in_range(correct, 95, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(states_are_the_same_across_a_restart),
        CLOSED_TEST(taking_back_leaves_the_statistics_as_if_it_had_never_been),
        LOOP_TEST(a_pause_defers_labels_and_what_is_said_of_them_later),
        CLOSED_TEST(an_old_verdict_keeps_its_meaning_when_a_class_comes),
        LOOP_TEST(only_the_newest_statements_on_an_id_are_looked_at),
        LOOP_TEST(a_retry_is_answered_as_the_first_time),
        LOOP_TEST(ids_belong_to_their_loop),
        LOOP_TEST(too_much_that_waits_stops_unknown_ids_only),
        LOOP_TEST(features_of_different_scales_are_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
