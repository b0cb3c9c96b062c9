/* Labels that are wrong: by noise, and by one source that wants something. */
#include "gate/internal.h"
#include "gate/test/line.h"
#include "gate/test/series.h"

static void the_cap_is_a_share_at_every_time(void **state)
{
    (void)state;
    tl_sources sources;
    tl_sources_init(&sources);
    assert_true(tl_sources_take(&sources, 1, 1, 0.1)); /* the first of all */
    assert_false(tl_sources_has_room(&sources, 1, 1, 0.1));
    for (uint64_t n = 2; n <= 400; n++) {
        uint64_t source = 1; /* wants all of them */
        if (!tl_sources_take(&sources, source, 1, 0.1))
            assert_true(tl_sources_take(&sources, 100 + n % 30, 1, 0.1));
        for (uint32_t i = 0; i < sources.count; i++)
            assert_true(sources.given[i] <= ceil(0.1 * (double)n) + 1e-9);
    }
    assert_true(sources.given[0] == 40);
    assert_false(tl_sources_has_room(&sources, 1, 100, 0.1)); /* weights count */
}

static void ten_sources_in_turn_are_all_heard(void **state)
{
    (void)state;
    tl_sources sources;
    tl_sources_init(&sources);
    for (uint64_t n = 0; n < 1000; n++) assert_true(tl_sources_take(&sources, n % 10, 1, 0.1));
}

/* The evidence with doubt is that of a gate that was told the opposite by any one source. */
static void doubt_is_what_a_lie_would_have_changed(void **state)
{
    (void)state;
    enum { LABELS = 40, SOURCES = 8 };
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    double payoff[LABELS];
    tl_bettor all;
    tl_doubt *doubt = malloc(sizeof *doubt);
    assert_non_null(doubt);
    tl_bettor_init(&all);
    tl_doubt_init(doubt);
    for (unsigned i = 0; i < LABELS; i++) {
        payoff[i] = tl_rng_unit(&rng) < 0.8 ? 0.9 : -1;
        tl_bettor_bet(&all, payoff[i]);
        tl_doubt_add(doubt, i % SOURCES, payoff[i], -1);
    }
    double least = tl_bettor_log_e(&all);
    for (unsigned source = 0; source < SOURCES; source++) {
        tl_bettor without;
        tl_bettor_init(&without);
        for (unsigned i = 0; i < LABELS; i++)
            tl_bettor_bet(&without, i % SOURCES == source ? -1 : payoff[i]);
        least = fmin(least, tl_bettor_log_e(&without));
    }
    assert_true(fabs(tl_doubt_log_e(doubt, &all, NULL) - least) < 1e-9);
    assert_true(least < tl_bettor_log_e(&all) - 1);
    free(doubt);
}

/* All by itself a source promotes nothing, and others are asked where it may not answer. */
static void one_source_proves_nothing(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    policy.hostile = 0.1;
    policy.timeout_us = 1000;
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 1);
    for (unsigned i = 0; i < 200; i++)
        tl_gate_label(l.gate, line_item(&l, false, true, true), true, 1);
    line_no_verdict(&l);
    assert_true(line_standing(&l).over_cap > 100);
    assert_true(line_standing(&l).log_e_better < 0);
    tl_gate_restart(l.gate, l.position);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t position = line_item(&l, false, true, true);
        if (!tl_gate_label(l.gate, position, true, 1))
            assert_true(tl_gate_label(l.gate, position, true, 2 + i % 30));
    }
    line_verdict(&l, TL_GATE_PROMOTE);
    line_end(&l);
}

/* A loop of challengers that are no better, under one kind of labels; how many are promoted. */
static unsigned promoted_of(series *of, unsigned loops, unsigned challengers)
{
    unsigned promoted = 0;
    of->win_flags = series_even(&of->policy);
    of->win_passes = 1 - of->win_flags;
    for (unsigned loop = 0; loop < loops; loop++) {
        tl_gate *gate = NULL;
        assert_int_equal(tl_gate_create(&of->policy, &gate, NULL), TL_OK);
        tl_rng rng;
        tl_rng_seed(&rng, 77, loop);
        uint64_t position = 0, unit = 0;
        for (unsigned i = 0; i < challengers; i++)
            promoted += series_go(of, gate, &rng, &position, &unit).promoted;
        tl_gate_destroy(&gate);
    }
    return promoted;
}

static series nulls(void)
{
    series of = { .policy = tl_gate_policy_default(),
                  .by_board = true,
                  .cluster = 5,
                  .correlation = 0.3,
                  .sources = 40,
                  .propensity = 1,
                  .limit = 500 };
    of.policy.effect = 0;
    return of;
}

/* Small `nulls`: twenty loops of thirty challengers, each kind of labels; and what the protection is
 * for, left out. Expected at most one loop of twenty. */
static void nulls_are_not_promoted(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 6; kind++) {
        series of = nulls();
        if (kind >= 3) of.policy.cost_false_alarm = 0.1;
        of.flags_only = kind >= 3;
        if (kind % 3 == 1) of.noise = of.policy.noise = 0.1;
        if (kind % 3 == 2) of.policy.hostile = 0.1;
        if (kind % 3 == 2) of.hostile = 50;
        assert_true(promoted_of(&of, 20, 30) <= 2);
    }
}

static void without_protection_they_are(void **state)
{
    (void)state;
    series of = nulls(); /* every disagreement a unit of its own, though five have one cause */
    of.by_board = false;
    assert_true(promoted_of(&of, 20, 30) >= 5);
    of = nulls(); /* no margin for noise, at unequal costs */
    of.policy.cost_false_alarm = 0.1;
    of.flags_only = true;
    of.noise = 0.1;
    of.limit = 2000;
    assert_true(promoted_of(&of, 1, 30) >= 20);
    of = nulls(); /* no cap, no doubt */
    of.hostile = 200;
    of.limit = 2000;
    assert_true(promoted_of(&of, 1, 30) >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cap_is_a_share_at_every_time),
        cmocka_unit_test(ten_sources_in_turn_are_all_heard),
        cmocka_unit_test(doubt_is_what_a_lie_would_have_changed),
        cmocka_unit_test(one_source_proves_nothing),
        cmocka_unit_test(nulls_are_not_promoted),
        cmocka_unit_test(without_protection_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
