/* Versions that must prove themselves: baselines, challengers in shadow, verdicts, restarts. */
#include "loop/core/internal.h"
#include "loop/test/test_support.h"
#include "loop/whatif.h"

static int set_up_proven(void **state)
{
    if (set_up_closed(state) != 0) return -1;
    fixture *f = *state;
    f->options.gate.promotion = TL_PROMOTION_PROVEN;
    f->options.cold_labels = 60;
    f->options.audit_rate = 1.0;
    f->options.gate.unit = TL_EVIDENCE_ITEM;
    f->env = known_env();
    open_loop(f);
    return 0;
}

#define PROVEN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_proven, tear_down)

static size_t shadows_of(fixture *f)
{
    settle(f);
    return f->loop->core->shadow_count;
}

static const tl_gate_note *newest_note(fixture *f, tl_gate_note_kind kind)
{
    settle(f);
    const tl_core *core = f->loop->core;
    for (size_t i = core->note_count; i-- > 0;)
        if (core->notes[i].kind == kind) return &core->notes[i];
    return NULL;
}

/* All features turned round: what was learned is worse than nothing. */
static void label_turned(fixture *f, tl_rng *rng, int count, bool as_learned)
{
    for (int i = 0; i < count; i++) {
        uint32_t label;
        float x[FEATURES];
        draw(rng, &label, x);
        uint32_t said = as_learned ? label : (label + 1) % 3;
        tl_prediction prediction = predict(f, x, NO_ID);
        label_as(f, prediction.id, CLASSES[said], NULL);
    }
}

static void all_stages_are_measured(fixture *f)
{
    tl_loop_stage stages[TL_LOOP_STAGE_COUNT];
    tl_loop_stages(f->loop, stages);
    for (size_t i = 0; i < TL_LOOP_STAGE_COUNT; i++)
        if (stages[i].count == 0) fail_msg("nothing of stage %s", stages[i].name);
}

static void a_cold_loop_publishes_and_a_warm_one_has_a_baseline(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, 59);
    drain(f);
    uint64_t champion = status_of(f).champion;
    assert_true(champion > 1);
    assert_int_equal(shadows_of(f), 0);
    label_some(f, &rng, 1);
    drain(f);
    assert_true(shadows_of(f) >= 1);
    assert_non_null(newest_note(f, TL_NOTE_BASELINE));
    label_some(f, &rng, 60);
    drain(f);
    assert_non_null(newest_note(f, TL_NOTE_CHALLENGE));
    assert_int_equal(status_of(f).champion, champion); /* nothing to prove: both are right */
    all_stages_are_measured(f);
    verify(f);
}

static void predict_at(fixture *f, const char *site, int count)
{
    tl_error err = { 0 };
    float x[FEATURES] = { 0 };
    for (int i = 0; i < count; i++) {
        tl_prediction prediction;
        tl_item item = { .features = x, .feature_count = FEATURES, .site = site };
        ok(tl_loop_predict(f->loop, &item, &prediction, &err), &err);
    }
}

/* The gate is told of items that the challenger calls otherwise: first of some at south, where it is
 * wrong, then of north, where it is right, until it wins over all. */
static void disagree_by_site(tl_core *core, uint64_t key)
{
    tl_error err = { 0 };
    for (uint64_t i = 1; i <= 1000; i++) { /* whatever it disagreed about before */
        bool south = i <= 20, flags = i % 3 == 0;
        tl_gate_item item = { .position = core->position + i,
                              .time_us = core->now_us,
                              .site = tl_shadow_site_of(south ? "south" : "north"),
                              .flagged = !flags,
                              .drawn = true,
                              .propensity = 1,
                              .shadow = { { key, flags } },
                              .shadow_count = 1 };
        ok(tl_gate_item_add(core->gate, &item, &err), &err);
        (void)tl_gate_label(core->gate, item.position, flags != south, 1);
    }
}

static void a_site_that_loses_is_called_by_its_name(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, 120);
    predict_at(f, "north", 2);
    predict_at(f, "south", 1);
    settle(f);
    reopen(f); /* names outlive a restart */
    assert_true(shadows_of(f) >= 1);
    tl_core *core = f->loop->core;
    const tl_shadow *challenger = tl_core_find_watched(core, TL_WATCH_CHALLENGER);
    assert_non_null(challenger);
    disagree_by_site(core, challenger->key);
    tl_standing standings[TL_GATE_SHADOW_MAX];
    size_t at = 0, count = tl_core_standings(core, standings, TL_COUNT_OF(standings));
    while (at < count && strcmp(standings[at].role, "challenger") != 0) at++;
    assert_true(at < count);
    const tl_standing *s = &standings[at];
    assert_true(s->blocked_by_site);
    assert_non_null(strstr(s->site_words, "better over all, but proven worse at site south: "));
    assert_non_null(strstr(s->site_words, "right in 0 of 20 reviewed disagreements"));
    assert_null(strstr(s->site_words, "north"));
    bool south_second = strcmp(s->sites[1].name, "south") == 0;
    assert_int_equal(s->site_count, 2);
    assert_string_equal(s->sites[!south_second].name, "north");
    assert_true(s->sites[south_second].worse && !s->sites[!south_second].worse);
}

/* Nobody disagrees, so nothing can be proven: a newer version gets its turn. */
static void a_challenger_that_gets_nowhere_gives_way(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, 100);
    drain(f);
    const tl_gate_note *first = newest_note(f, TL_NOTE_CHALLENGE);
    assert_non_null(first);
    uint64_t version = first->version;
    tl_verdict_info told[4]; /* what the core forgets the journal tells */
    assert_int_equal(tl_loop_verdicts(f->loop, version, told, 4), 1);
    assert_string_equal(told[0].kind, "challenge");
    tl_version_info info;
    tl_error err = { 0 };
    ok(tl_loop_version(f->loop, version, &info, &err), &err);
    assert_true(info.number == version && !info.champion);
    assert_int_equal(tl_loop_version(f->loop, version + 1000, &info, &err), TL_ENOTFOUND);
    label_some(f, &rng, 200);
    drain(f);
    assert_int_equal(newest_note(f, TL_NOTE_CHALLENGE)->version, version);
    label_some(f, &rng, 150);
    drain(f);
    assert_true(newest_note(f, TL_NOTE_CHALLENGE)->version > version);
    verify(f);
}

/* The world changes: what learns is proven better than its baseline, and the certificate is an
 * event with a time to improvement. */
static void learning_is_certified_when_it_is_proven(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, 64);
    drain(f);
    label_turned(f, &rng, 400, false);
    drain(f);
    const tl_gate_note *certified = newest_note(f, TL_NOTE_CERTIFIED);
    const tl_gate_note *promoted = newest_note(f, TL_NOTE_PROMOTED);
    assert_true(certified != NULL || promoted != NULL);
    const tl_core *core = f->loop->core;
    size_t proven = 0; /* a baseline may have been given up for a version that the cold loop made */
    while (proven < core->tti_count && !core->tti[proven].proven) proven++;
    assert_true(proven < core->tti_count);
    assert_true(core->tti[proven].labels > 0 && core->tti[proven].labels <= 400);
    tl_verdict_info verdicts[64];
    size_t at = 0, count = tl_loop_verdicts(f->loop, 0, verdicts, TL_COUNT_OF(verdicts));
    while (at < count && !verdicts[at].judged) at++;
    assert_true(at < count && verdicts[at].tti_proven);
    size_t last = core->tti_count;
    while (last-- > 0 && !core->tti[last].proven) {
    }
    assert_int_equal(verdicts[at].tti_labels, core->tti[last].labels);
    reopen(f);
    verify(f);
}

static tl_status with_alpha(void *context, tl_gate_options *gate, tl_error *err)
{
    (void)err;
    if (context != NULL) gate->alpha = *(const double *)context;
    return TL_OK;
}

static tl_whatif_report what_if(fixture *f, double *alpha)
{
    tl_error err = { 0 };
    tl_journal_reader *reader = NULL;
    tl_arena arena;
    const char *name, *config;
    tl_whatif_report report;
    tl_arena_init(&arena, 1 << 20);
    ok(tl_journal_reader_open(f->runtime->journal, &reader, &err), &err);
    ok(tl_journal_loop_info(reader, 1, &arena, &name, &config, &err), &err);
    ok(tl_whatif_run(reader, 1, config, with_alpha, alpha, &report, &err), &err);
    tl_journal_reader_close(&reader);
    tl_arena_destroy(&arena);
    return report;
}

/* Under the policy that was in force the journal's verdicts come as they came; under a stricter one
 * none does before its evidence ends. */
static void a_journal_tells_what_another_policy_would_have_said(void **state)
{
    fixture *f = *state;
    double strict = 1e-9, loose = 0.5;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, 64);
    drain(f);
    label_turned(f, &rng, 400, false);
    drain(f);
    tl_whatif_report same = what_if(f, NULL);
    size_t recorded = 0;
    for (size_t i = 0; i < same.count; i++) {
        const tl_whatif_verdict *v = &same.verdicts[i];
        recorded += v->recorded;
        if (!v->recorded) continue;
        assert_true(v->comes);
        assert_true(v->position_now <= v->position_then);
        assert_true(v->log_e >= v->log_needed);
    }
    assert_true(recorded > 0 && same.labels == 464 && same.shadows > 0);
    tl_whatif_report less = what_if(f, &strict), more = what_if(f, &loose);
    for (size_t i = 0; i < less.count; i++)
        if (less.verdicts[i].recorded && strcmp(less.verdicts[i].kind, "take_back") != 0)
            assert_true(!less.verdicts[i].comes &&
                        less.verdicts[i].log_e < less.verdicts[i].log_needed);
    size_t earlier = 0;
    for (size_t i = 0; i < more.count; i++)
        earlier += more.verdicts[i].recorded && more.verdicts[i].comes &&
                   more.verdicts[i].labels_now < more.verdicts[i].labels_then;
    assert_true(earlier > 0);
    tl_whatif_clear(&same), tl_whatif_clear(&less), tl_whatif_clear(&more);
}

/* What is drawn is answered truthfully; of the rest a source says what it likes. */
static void label_with_lies(fixture *f, tl_rng *rng, int count)
{
    for (int i = 0; i < count; i++) {
        uint32_t label;
        float x[FEATURES];
        draw(rng, &label, x);
        tl_prediction prediction = predict(f, x, NO_ID);
        label_as(f, prediction.id, CLASSES[prediction.review ? label : 1],
                 prediction.review ? "alice" : "mallory");
    }
}

/* Volunteered lies spoil what learns, and are no evidence: the baseline wins, and learning rests. */
static void harm_is_taken_back(void **state)
{
    fixture *f = *state;
    f->options.audit_rate = 0.4;
    f->options.gate.take_back_days = 1;
    f->runtime_options.trainer_threads =
        0; /* else a version without the lies may be proven first */
    reopen(f);
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, 64);
    drain(f);
    for (int i = 0; i < 200 && status_of(f).rollbacks == 0; i++) label_with_lies(f, &rng, 10);
    assert_int_equal(status_of(f).rollbacks, 1);
    assert_false(status_of(f).learning);
    assert_non_null(newest_note(f, TL_NOTE_TAKEN_BACK));
    tl_verdict_info verdicts[64];
    size_t count = tl_loop_verdicts(f->loop, 0, verdicts, TL_COUNT_OF(verdicts));
    assert_true(count >= 2);
    assert_string_equal(verdicts[0].kind, "take_back");
    assert_string_equal(verdicts[0].who, "gate");
    assert_true(verdicts[0].judged && verdicts[0].disagreements > 0);
    assert_true(verdicts[0].log_e >= verdicts[0].log_needed);
    assert_true(verdicts[0].tti_labels > 0 && !verdicts[0].tti_proven); /* given up: censored */
    for (size_t i = 1; i < count; i++) assert_true(verdicts[i].position < verdicts[i - 1].position);
    assert_string_equal(verdicts[count - 1].kind, "publish");
    assert_false(verdicts[count - 1].judged);
    count = tl_loop_verdicts(f->loop, 1, verdicts, TL_COUNT_OF(verdicts));
    assert_true(count >= 1 && verdicts[0].version == 1);
    assert_true(label_some(f, &rng, 100) >= 95); /* it answers as it did before */
    verify(f);
}

/* A frozen line learns nothing and promotes nothing, and answers bit for bit the same. */
static void a_frozen_line_stays_as_it_is(void **state)
{
    static const float X[FEATURES] = { 2, 0.5f, 0, 2, 0, 0.2f, 2, 0 };
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    label_some(f, &rng, 64);
    drain(f);
    tl_error err = { 0 };
    ok(tl_loop_set_frozen(f->loop, true, "me", &err), &err);
    tl_prediction before = predict(f, X, NO_ID);
    label_turned(f, &rng, 100, false);
    drain(f);
    tl_prediction after = predict(f, X, NO_ID);
    assert_memory_equal(before.scores, after.scores, 3 * sizeof(float));
    assert_true(before.threshold == after.threshold);
    reopen(f);
    after = predict(f, X, NO_ID);
    assert_memory_equal(before.scores, after.scores, 3 * sizeof(float));
    assert_int_equal(tl_loop_set_learning(f->loop, true, "me", &err), TL_ECONFLICT);
    ok(tl_loop_set_frozen(f->loop, false, "me", &err), &err);
    assert_true(status_of(f).learning);
    after = predict(f, X, NO_ID);
    assert_memory_not_equal(before.scores, after.scores, 3 * sizeof(float));
    drain(f);
    verify(f);
}

/* A kept version is tried by hand: it is shadowed or waits, and is not promoted for the asking. */
static void a_kept_version_may_try_again(void **state)
{
    fixture *f = *state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    tl_error err = { 0 };
    label_some(f, &rng, 64);
    drain(f);
    label_turned(f, &rng, 200, false);
    drain(f);
    uint64_t champion = status_of(f).champion;
    tl_version_info versions[32];
    size_t count = tl_loop_versions(f->loop, versions, 32);
    uint64_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (versions[i].kept && versions[i].number != champion) kept = versions[i].number;
    assert_true(kept > 0);
    assert_int_equal(tl_loop_challenge(f->loop, champion, "me", &err), TL_ECONFLICT);
    assert_int_equal(tl_loop_challenge(f->loop, 9999, "me", &err), TL_ENOTFOUND);
    ok(tl_loop_challenge(f->loop, kept, "me", &err), &err);
    bool known = false;
    tl_gate_event events[8];
    size_t told = tl_loop_gate_events(f->loop, events, 8);
    for (size_t i = 0; i < told; i++) known = known || events[i].version == kept;
    assert_true(known);
    label_turned(f, &rng, 100, false);
    drain(f);
    assert_int_not_equal(status_of(f).champion, kept);
    reopen(f);
    verify(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROVEN_TEST(a_cold_loop_publishes_and_a_warm_one_has_a_baseline),
        PROVEN_TEST(a_challenger_that_gets_nowhere_gives_way),
        PROVEN_TEST(a_site_that_loses_is_called_by_its_name),
        PROVEN_TEST(learning_is_certified_when_it_is_proven),
        PROVEN_TEST(a_journal_tells_what_another_policy_would_have_said),
        PROVEN_TEST(harm_is_taken_back),
        PROVEN_TEST(a_frozen_line_stays_as_it_is),
        PROVEN_TEST(a_kept_version_may_try_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
