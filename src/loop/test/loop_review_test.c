/* What is known from review: estimates, time-outs, the certificate of a frozen line, drift. */
#include "loop/core/internal.h"
#include "loop/test/test_support.h"

enum { WARM = 60 };

static int set_up_warm(void **state)
{
    if (set_up_closed(state) != 0) return -1;
    fixture *f = *state;
    f->options.cold_labels = WARM;
    f->options.audit_rate = 0.25;
    f->options.publish_every_labels = 100000; /* what serves stays */
    f->options.gate.drift_items = 1000;
    f->options.review.escapes = 0.05;
    f->runtime_options.trainer_threads = 0;
    f->env = known_env();
    open_loop(f);
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, WARM);
    drain(f);
    return 0;
}

#define WARM_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_warm, tear_down)

/* What is drawn is answered; returns the defects among all items, and those flagged. */
static void answer_drawn(fixture *f, tl_rng *rng, int count, uint64_t *defects, uint64_t *found)
{
    for (int i = 0; i < count; i++) {
        uint32_t label;
        float x[FEATURES];
        draw(rng, &label, x);
        tl_prediction prediction = predict(f, x, NO_ID);
        assert_true(prediction.blind == (prediction.review && !prediction.flagged));
        if (label != 0) *defects += 1;
        if (label != 0 && prediction.flagged) *found += 1;
        if (prediction.review) label_as(f, prediction.id, CLASSES[label], "alice");
    }
}

/* Items that look like nothing in particular: a person's word on half of them is "dent". */
static void draw_unclear(tl_rng *rng, float x[FEATURES])
{
    for (int j = 0; j < FEATURES; j++) x[j] = (float)(0.6 + 0.3 * tl_rng_normal(rng));
}

static void answer_unclear(fixture *f, tl_rng *rng, int count)
{
    for (int i = 0; i < count; i++) {
        float x[FEATURES];
        draw_unclear(rng, x);
        tl_prediction prediction = predict(f, x, NO_ID);
        if (prediction.review) label_as(f, prediction.id, CLASSES[tl_rng_below(rng, 2)], "alice");
    }
}

static void estimates_hold_the_truth(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    uint64_t defects = 0, found = 0;
    answer_drawn(f, &rng, 1000, &defects, &found);
    tl_estimates e = estimates_of(f);
    double recall = (double)found / (double)defects;
    assert_true(e.recall.low <= recall && recall <= e.recall.high);
    assert_true(e.recall.low > 0.5 && e.recall.count > 100);
    double prevalence = (double)defects / 1000;
    assert_true(e.prevalence.low <= prevalence && prevalence <= e.prevalence.high);
    assert_int_equal(e.items, 1000); /* none from when it was cold */
    assert_true(e.rules_kept);
    reopen(f);
    tl_estimates again = estimates_of(f);
    assert_true(again.recall.low == e.recall.low && again.items == e.items);
    verify(f);
}

/* The first of the next items that is put up for review. */
static tl_prediction predict_drawn(fixture *f, tl_rng *rng)
{
    tl_prediction prediction;
    do {
        uint32_t label;
        float x[FEATURES];
        draw(rng, &label, x);
        prediction = predict(f, x, NO_ID);
    } while (!prediction.review);
    return prediction;
}

/* Corrected and withdrawn answers are counted as they stand. */
static void corrections_leave_no_trace(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    tl_prediction prediction = predict_drawn(f, &rng);
    tl_estimates before = estimates_of(f);
    label_as(f, prediction.id, CLASSES[0], "alice");
    label_as(f, prediction.id, CLASSES[1], "alice");
    tl_estimates corrected = estimates_of(f);
    assert_int_equal(corrected.verified, before.verified + 1);
    label_as(f, prediction.id, CLASSES[0], "bob");
    withdraw(f, prediction.id, "bob");
    withdraw(f, prediction.id, "alice");
    assert_int_equal(estimates_of(f).verified, before.verified);
}

/* What comes after its time-out, and is then corrected and withdrawn, changes nothing. */
static void late_answers_leave_no_trace(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    tl_prediction prediction = predict_drawn(f, &rng);
    tl_estimates before = estimates_of(f);
    tl_core_review *review = &f->loop->core->review;
    for (size_t i = 0; i < review->drawn_count; i++) tl_drawn_at(review, i)->time_us = 0;
    predict_drawn(f, &rng); /* by whose time the others are timed out */
    tl_estimates timed_out = estimates_of(f);
    assert_true(timed_out.verified > before.verified); /* as errors */
    label_as(f, prediction.id, CLASSES[0], "alice");
    label_as(f, prediction.id, CLASSES[2], "alice");
    withdraw(f, prediction.id, "alice");
    assert_int_equal(estimates_of(f).verified, timed_out.verified);
}

static void what_nobody_answers_is_told(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    uint64_t drawn = 0;
    for (int i = 0; i < 50; i++) {
        uint32_t label;
        float x[FEATURES];
        draw(&rng, &label, x);
        drawn += predict(f, x, NO_ID).review;
    }
    assert_true(drawn > 0);
    tl_estimates e = estimates_of(f);
    assert_true(e.open_reviews >= drawn);
    assert_int_equal(e.verified, 0);
}

static void a_frozen_line_gets_its_certificate(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    uint64_t defects = 0, found = 0;
    tl_error err = { 0 };
    answer_drawn(f, &rng, 300, &defects, &found);
    tl_estimates moving = estimates_of(f);
    assert_false(moving.certified);
    ok(tl_loop_set_frozen(f->loop, true, "me", &err), &err);
    for (int i = 0; i < 60 && !estimates_of(f).certified; i++) {
        answer_drawn(f, &rng, 100, &defects, &found);
        answer_unclear(f, &rng, 40);
    }
    tl_estimates frozen = estimates_of(f);
    assert_true(frozen.certified);
    assert_true(frozen.accept_below > 0.0);
    bool in_zone = false; /* between accepting and flagging a person decides */
    for (int i = 0; i < 200; i++) {
        float x[FEATURES];
        draw_unclear(&rng, x);
        double accept_below = estimates_of(f).accept_below;
        tl_prediction p = predict(f, x, NO_ID);
        bool between = !p.flagged && p.defect_score >= (float)accept_below;
        assert_true((p.zone == TL_ZONE_REVIEW) == between);
        assert_true(p.zone == TL_ZONE_ACCEPT || p.review);
        in_zone = in_zone || between;
    }
    assert_true(in_zone);
    reopen(f);
    assert_true(estimates_of(f).certified);
    ok(tl_loop_set_frozen(f->loop, false, "me", &err), &err);
    assert_false(estimates_of(f).certified);
    verify(f);
}

/* Items that nobody has labelled look different: it is told, and nothing else happens. */
static void drift_is_told(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    tl_error err = { 0 };
    ok(tl_loop_set_learning(f->loop, false, "me", &err), &err);
    uint64_t defects = 0, found = 0;
    answer_drawn(f, &rng, 300, &defects, &found);
    uint64_t before = estimates_of(f).drift_alarms;
    for (int i = 0; i < 300; i++) {
        float x[FEATURES] = { 0 };
        for (int j = 0; j < FEATURES; j++) x[j] = (float)(0.6 + 0.2 * tl_rng_normal(&rng));
        predict(f, x, NO_ID);
    }
    assert_true(estimates_of(f).drift_alarms > before);
    tl_gate_event event;
    assert_int_equal(tl_loop_gate_events(f->loop, &event, 1), 1);
    assert_string_equal(event.kind, "drift");
    assert_true(tl_core_audit_factor(f->loop->core) == 1.0);
    f->options.gate.drift = TL_RESPONSE_ACT;
    reopen(f);
    for (int i = 0; i < 600 && tl_core_audit_factor(f->loop->core) == 1.0; i++) {
        float x[FEATURES] = { 0 };
        double centre = i < 300 ? 2.0 : 0.6;
        for (int j = 0; j < FEATURES; j++)
            x[j] = (float)((j % 3 == 0 || i >= 300 ? centre : 0.0) + 0.2 * tl_rng_normal(&rng));
        predict(f, x, NO_ID);
        settle(f);
    }
    assert_true(tl_core_audit_factor(f->loop->core) == TL_REVIEW_ALARM_FACTOR);
}

/* With a budget answers teach what scores mean, and the reviewer is told; without one nothing of it is
 * kept. Both come back from the checkpoint and from the journal. */
static void a_budget_calibrates_what_the_reviewer_is_told(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    uint64_t defects = 0, found = 0;
    answer_drawn(f, &rng, 100, &defects, &found);
    settle(f);
    assert_null(tl_core_calibrator(f->loop->core));
    assert_null(f->loop->novelty);
    assert_int_equal(f->loop->core->review.calibrator.labels, 0);
    f->options.review.budget = 0.8;
    reopen(f);
    answer_drawn(f, &rng, 300, &defects, &found);
    settle(f);
    const tl_calibrator before = *tl_core_calibrator(f->loop->core);
    assert_true(before.labels > 100 && before.defects > 50);
    assert_non_null(f->loop->novelty);
    float x[FEATURES] = { 0 };
    predict(f, x, NO_ID); /* the batcher looks at what was shared before it answers */
    settle(f);
    assert_true(f->loop->calibrator.fitted_at == before.fitted_at);
    assert_true(f->loop->calibrator.a == before.a && f->loop->calibrator.b == before.b);
    assert_true(before.a != 1.0);
    reopen(f);
    settle(f);
    assert_memory_equal(tl_core_calibrator(f->loop->core), &before, sizeof before);
    predict(f, x, NO_ID);
    settle(f);
    assert_true(f->loop->calibrator.fitted_at == before.fitted_at);
    verify(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WARM_TEST(estimates_hold_the_truth),
        WARM_TEST(corrections_leave_no_trace),
        WARM_TEST(late_answers_leave_no_trace),
        WARM_TEST(what_nobody_answers_is_told),
        WARM_TEST(a_frozen_line_gets_its_certificate),
        WARM_TEST(drift_is_told),
        WARM_TEST(a_budget_calibrates_what_the_reviewer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
