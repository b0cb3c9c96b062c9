/* Labels that nobody gave: certified by audits, learned from a little, evidence for nothing. */
#include "learn/slow/learner_state.h"
#include "loop/core/internal.h"
#include "loop/test/test_support.h"
#include "loop/version/trainer_internal.h"

enum { LEARNED = 300 };

/* A loop whose version has learned, and serves from now on. */
static int set_up_learned(void **state)
{
    if (set_up_closed(state) != 0) return -1;
    fixture *f = *state;
    f->options.cold_labels = 60;
    f->options.audit_rate = 0.5;
    f->options.review.automatic = true;
    f->options.review.automatic_precision = 0.9;
    f->env = known_env();
    open_loop(f);
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, LEARNED);
    drain(f);
    f->options.publish_every_labels = 100000;
    reopen(f);
    return 0;
}

#define LEARNED_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_learned, tear_down)

static const tl_automatic_memory *memory_of(fixture *f)
{
    drain(f);
    return &f->loop->trainer->learner->automatic;
}

static tl_prediction predict_one(fixture *f, tl_rng *rng, uint32_t *label)
{
    float x[FEATURES];
    draw(rng, label, x);
    return predict(f, x, NO_ID);
}

/* What is drawn is answered, rightly or as something else. */
static void answer_drawn(fixture *f, tl_rng *rng, int count, bool rightly)
{
    for (int i = 0; i < count; i++) {
        uint32_t label;
        tl_prediction p = predict_one(f, rng, &label);
        if (p.review) label_as(f, p.id, CLASSES[rightly ? label : (p.label + 1) % 3], "alice");
    }
}

/* Until calls of good are certified: of defects nobody is left unasked. */
static void certify(fixture *f, tl_rng *rng)
{
    for (int i = 0; i < 40 && estimates_of(f).automatic_labels == 0; i++)
        answer_drawn(f, rng, 50, true);
    assert_true(estimates_of(f).automatic_bins > 0 && estimates_of(f).automatic_labels > 0);
}

static tl_blob state_of(fixture *f)
{
    tl_blob blob;
    tl_blob_init(&blob);
    settle(f);
    tl_core_automatic_save(f->loop->core, &blob);
    return blob;
}

static void certified_calls_are_learned_from(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    assert_int_equal(estimates_of(f).automatic_labels, 0);
    certify(f, &rng);
    for (int i = 0; i < 40 && estimates_of(f).automatic_labels <= 20; i++)
        answer_drawn(f, &rng, 50, true);
    tl_estimates e = estimates_of(f);
    assert_true(e.automatic_labels > 20);
    assert_true(e.automatic_audits >= e.automatic_precision.count);
    assert_true(e.automatic_precision.count > 50 && e.automatic_precision.low > 0.9);
    assert_non_null(strstr(e.automatic_words, "never used as evidence"));
    const tl_automatic_memory *memory = memory_of(f);
    assert_true(memory->count > 20 && memory->count <= e.automatic_labels);
    assert_true(memory->weight == 0.3f);
    for (uint32_t i = 0; i < memory->count; i++) {
        assert_int_equal(memory->items[i].label, 0); /* whatever is flagged is reviewed */
        assert_null(tl_replay_find(tl_trainer_replay(f->loop->trainer), memory->items[i].key));
    }
    tl_blob before = state_of(f);
    reopen(f);
    tl_blob after = state_of(f);
    assert_int_equal(before.bytes, after.bytes);
    assert_memory_equal(before.data, after.data, before.bytes);
    assert_true(memory_of(f)->count > 20);
    tl_blob_destroy(&before);
    tl_blob_destroy(&after);
    verify(f);
}

/* The trainer that read its state goes on as the one that never stopped; versions that learned from
 * such labels come out the same when all is done again. */
static void versions_made_of_them_are_made_again(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    certify(f, &rng);
    answer_drawn(f, &rng, 100, true);
    uint64_t publishes = status_of(f).publishes;
    f->options.publish_every_labels = 64;
    reopen(f);
    answer_drawn(f, &rng, 300, true);
    drain(f);
    assert_true(status_of(f).publishes > publishes);
    reopen(f);
    answer_drawn(f, &rng, 100, true);
    tl_verify_report report = verify(f);
    assert_true(report.judgements > 0 && report.checkpoints > 0);
}

static void a_drop_in_quality_ends_the_certificate(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    certify(f, &rng);
    answer_drawn(f, &rng, 100, true);
    assert_true(memory_of(f)->count > 0);
    tl_error err = { 0 };
    ok(tl_loop_set_learning(f->loop, false, "me", &err), &err); /* what answers stays */
    for (int i = 0; i < 40 && estimates_of(f).automatic_bins > 0; i++)
        answer_drawn(f, &rng, 20, false);
    ok(tl_loop_set_learning(f->loop, true, "me", &err), &err);
    tl_estimates ended = estimates_of(f);
    assert_int_equal(ended.automatic_bins, 0);
    assert_true(ended.automatic_ended > 0);
    assert_int_equal(memory_of(f)->count, 0); /* they may have been worse than certified */
    answer_drawn(f, &rng, 40, true);
    assert_int_equal(estimates_of(f).automatic_labels, ended.automatic_labels);
    verify(f);
}

/* Between two labels by people nothing of a loop moves but the slow learner's memory. */
static void they_are_no_evidence(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    certify(f, &rng);
    answer_drawn(f, &rng, 50, true);
    tl_estimates before = estimates_of(f);
    const tl_core *core = f->loop->core;
    const tl_mixture mixture = core->mixture;
    const tl_calibrator calibrator = core->review.calibrator;
    const tl_suspects suspects = core->review.suspects;
    uint64_t labels = core->labels, digest = core->digest, stats = stats_digest(f);
    uint64_t steps = tl_learner_steps(f->loop->trainer->learner);
    uint64_t learned = tl_trainer_labels(f->loop->trainer), window = f->loop->trainer->window_count;
    tl_automatic_reading audits, audits_after;
    tl_automatic_read(&core->automatic.calls, &audits);
    uint64_t remembered = tl_replay_count(tl_trainer_replay(f->loop->trainer));
    uint64_t op_count = tl_core_op_count(core);
    for (int i = 0; i < 150; i++) {
        uint32_t label;
        predict_one(f, &rng, &label);
    }
    tl_estimates after = estimates_of(f);
    assert_true(after.automatic_labels > before.automatic_labels);
    assert_in_range(after.automatic_labels, before.automatic_labels + 1,
                    before.automatic_labels + 8);
    assert_int_equal(tl_core_op_count(core) - op_count,
                     after.automatic_labels - before.automatic_labels);
    drain(f);
    assert_true(after.items > before.items);
    assert_int_equal(after.verified, before.verified);
    assert_int_equal(core->labels, labels);
    assert_true(core->digest == digest && stats_digest(f) == stats);
    assert_memory_equal(&core->mixture, &mixture, sizeof mixture);
    assert_memory_equal(&core->review.calibrator, &calibrator, sizeof calibrator);
    assert_memory_equal(&core->review.suspects, &suspects, sizeof suspects);
    tl_automatic_read(&core->automatic.calls, &audits_after);
    assert_int_equal(audits_after.audits, audits.audits);
    assert_int_equal(tl_learner_steps(f->loop->trainer->learner), steps);
    assert_int_equal(tl_trainer_labels(f->loop->trainer), learned);
    assert_int_equal(f->loop->trainer->window_count, window);
    assert_int_equal(tl_replay_count(tl_trainer_replay(f->loop->trainer)), remembered);
}

static void a_persons_word_takes_the_place(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    certify(f, &rng);
    answer_drawn(f, &rng, 50, true);
    uint64_t given = estimates_of(f).automatic_labels;
    tl_prediction p;
    do {
        uint32_t label;
        p = predict_one(f, &rng, &label);
        if (p.review) label_as(f, p.id, CLASSES[label], "alice");
    } while (estimates_of(f).automatic_labels == given);
    const tl_automatic_memory *memory = memory_of(f);
    assert_true(memory->items[memory->count - 1].key == p.position);
    label_as(f, p.id, CLASSES[2], "alice");
    memory = memory_of(f);
    for (uint32_t i = 0; i < memory->count; i++) assert_true(memory->items[i].key != p.position);
    const tl_replay_entry *entry = tl_replay_find(tl_trainer_replay(f->loop->trainer), p.position);
    assert_non_null(entry);
    assert_int_equal(entry->label, 2);
    verify(f);
}

/* Audits counted as wrong; a certificate that ends forgets those of its bin, and counts as one. */
static uint64_t wrong_audits(fixture *f)
{
    uint64_t wrong = estimates_of(f).automatic_ended;
    const tl_automatic *calls = &f->loop->core->automatic.calls;
    for (int call = 0; call < 2; call++)
        for (int k = 0; k < TL_AUTOMATIC_BINS; k++) wrong += calls->bin[call][k].errors;
    return wrong;
}

static void audits_that_nobody_answers_count_as_wrong(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    certify(f, &rng);
    uint32_t label;
    for (int i = 0; i < 60; i++) predict_one(f, &rng, &label);
    uint64_t before = wrong_audits(f);
    tl_core_review *review = &f->loop->core->review;
    for (size_t i = 0; i < review->drawn_count; i++) tl_drawn_at(review, i)->time_us = 0;
    predict_one(f, &rng, &label);
    assert_true(wrong_audits(f) > before);
}

static void another_version_begins_anew(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    certify(f, &rng);
    uint64_t champion = status_of(f).champion;
    f->options.publish_every_labels = 32;
    reopen(f);
    for (int i = 0; i < 40 && status_of(f).champion == champion; i++) {
        answer_drawn(f, &rng, 20, true);
        drain(f);
    }
    assert_true(status_of(f).champion != champion);
    uint32_t label;
    predict_one(f, &rng, &label);
    tl_estimates e = estimates_of(f);
    assert_int_equal(e.automatic_bins, 0);
    assert_true(e.automatic_audits <= 20); /* of what was answered since */
    verify(f);
}

static void switched_off_it_is_forgotten(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 4, 0);
    certify(f, &rng);
    answer_drawn(f, &rng, 50, true);
    assert_true(memory_of(f)->count > 0);
    f->options.review.automatic = false;
    reopen(f);
    answer_drawn(f, &rng, 20, true);
    tl_estimates e = estimates_of(f);
    assert_string_equal(e.automatic_words, "Automatic labels are off.");
    assert_int_equal(memory_of(f)->count, 0);
    verify(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEARNED_TEST(certified_calls_are_learned_from),
        LEARNED_TEST(versions_made_of_them_are_made_again),
        LEARNED_TEST(a_drop_in_quality_ends_the_certificate),
        LEARNED_TEST(they_are_no_evidence),
        LEARNED_TEST(a_persons_word_takes_the_place),
        LEARNED_TEST(audits_that_nobody_answers_count_as_wrong),
        LEARNED_TEST(another_version_begins_anew),
        LEARNED_TEST(switched_off_it_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
