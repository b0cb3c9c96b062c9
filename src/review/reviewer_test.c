/* The reviewer: rules, budget, lots, and estimates that stay unbiased under them. */
#include "review/reviewer.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static tl_id make_id(tl_rng *rng)
{
    tl_id id;
    uint64_t words[2] = { tl_rng_u64(rng), tl_rng_u64(rng) };
    memcpy(id.bytes, words, sizeof id.bytes);
    return id;
}

static tl_review_signals passed(tl_id id)
{
    return (tl_review_signals){ .id = id, .p = 0.01f, .novelty = NAN, .alarm = 1.0f };
}

static tl_reviewer *make(tl_reviewer_policy policy)
{
    policy.key[3] = 7;
    assert_null(tl_reviewer_policy_check(&policy));
    tl_reviewer *reviewer = tl_reviewer_create(&policy);
    assert_non_null(reviewer);
    return reviewer;
}

static void strong_rules_are_certain(void **state)
{
    (void)state;
    tl_reviewer *r = make((tl_reviewer_policy){ .disagreements = 1.0 });
    tl_review_signals s = passed((tl_id){ .bytes = { 1 } });
    assert_false(tl_reviewer_choose(r, &s).review);
    assert_true(tl_reviewer_choose(r, &s).propensity == 0.0f);
    static const tl_review_reason wanted[] = { TL_REVIEW_DISAGREEMENT, TL_REVIEW_FLAGGED,
                                               TL_REVIEW_COLD };
    for (int i = 0; i < 3; i++) { /* each is stronger than those before it */
        s.rivals.disagrees[TL_RIVAL_SNAPSHOT] = true;
        s.flagged = i >= 1;
        s.cold = i >= 2;
        tl_review_choice choice = tl_reviewer_choose(r, &s);
        assert_true(choice.review && choice.propensity == 1.0f && !choice.blind);
        assert_int_equal(choice.reason, wanted[i]);
        assert_int_equal(choice.rule, wanted[i]);
    }
    assert_string_equal(tl_review_reason_text(TL_REVIEW_DISAGREEMENT), "disagreement");
    tl_reviewer_destroy(&r);
    assert_null(r);
}

/* Without a budget: flagged items and audits at one rate, whatever the other signals say. */
static void without_a_budget_only_audits(void **state)
{
    (void)state;
    tl_reviewer *r = make(tl_reviewer_policy_default());
    tl_reviewer_policy other = tl_reviewer_policy_default();
    other.key[0] = 1;
    tl_reviewer *r2 = make(other);
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    int drawn = 0, both = 0;
    for (int i = 0; i < 100000; i++) {
        tl_review_signals s = passed(make_id(&rng));
        s.p = (float)tl_rng_unit(&rng);
        s.novelty = s.value = s.p;
        tl_review_choice choice = tl_reviewer_choose(r, &s);
        assert_true(choice.propensity == 0.02f && choice.rule == TL_REVIEW_AUDIT);
        assert_int_equal(choice.review, tl_reviewer_choose(r, &s).review);
        assert_int_equal(choice.blind, choice.review);
        drawn += choice.review;
        both += choice.review && tl_reviewer_choose(r2, &s).review;
    }
    assert_in_range(drawn, 1780, 2220); /* 5 standard deviations around 2,000 */
    assert_in_range(both, 8, 80);       /* independent keys: around 40 */
    tl_reviewer_destroy(&r);
    tl_reviewer_destroy(&r2);
}

static void rates_follow_their_rule(void **state)
{
    (void)state;
    tl_reviewer_policy policy = tl_reviewer_policy_default();
    policy.disagreements = 0.07; /* a quarter of a quarter of all items, and a bit */
    policy.band_rate = 0.125;
    policy.blind_rate = 0.5;
    tl_reviewer *r = make(policy);
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    enum { N = 40000, SETTLED = 400 };
    for (int i = 0; i < SETTLED; i++) {
        tl_review_signals s = passed(make_id(&rng));
        s.rivals.disagrees[TL_RIVAL_CHALLENGER] = i % 4 == 0;
        tl_reviewer_choose(r, &s);
    }
    int count[4] = { 0 }, blind[4] = { 0 }, plain = 0;
    for (int i = 0; i < N; i++) {
        tl_review_signals s = passed(make_id(&rng));
        s.rivals.disagrees[TL_RIVAL_CHALLENGER] = i % 4 == 0;
        s.band = i % 4 == 1;
        s.alarm = i % 4 == 2 ? TL_REVIEW_ALARM_FACTOR : 1.0f;
        s.flagged = i % 4 == 3;
        static const float rate[] = { 0.25f, 0.125f, 0.08f, 1.0f };
        tl_review_choice choice = tl_reviewer_choose(r, &s);
        assert_true(choice.propensity == rate[i % 4]);
        count[i % 4] += choice.review;
        blind[i % 4] += choice.blind;
        plain += i % 4 == 1 && choice.reason == TL_REVIEW_AUDIT;
    }
    assert_in_range(count[0], 2280, 2720);
    assert_in_range(count[1], 1085, 1415);
    assert_in_range(count[2], 665, 935);
    assert_int_equal(count[3], N / 4);
    assert_int_equal(blind[0], 0);
    assert_int_equal(blind[1], count[1]);
    assert_int_equal(blind[2], count[2]);
    assert_in_range(blind[3], 4750, 5250);
    assert_in_range(plain, 130, 270); /* of the band's draws, those that audits take anyway */
    tl_reviewer_destroy(&r);
}

/* A stream: 1 % defects, calibrated scores, some flagged. Returns the share put up for review. */
typedef struct stream {
    tl_rng rng;
    double defects, estimate, variance; /* of what passed: true count, Horvitz-Thompson */
} stream;

static double run(tl_reviewer *r, stream *s, int items)
{
    int asked = 0;
    for (int i = 0; i < items; i++) {
        double p = tl_rng_unit(&s->rng);
        p = p < 0.9 ? 0.001 : 0.2 * (p - 0.9) / 0.1; /* a tenth is uncertain */
        bool defect = tl_rng_unit(&s->rng) < p;
        tl_review_signals signals = passed(make_id(&s->rng));
        signals.p = (float)p;
        signals.flagged = p > 0.19;
        signals.novelty = (float)tl_rng_normal(&s->rng);
        tl_review_choice choice = tl_reviewer_choose(r, &signals);
        asked += choice.review;
        if (signals.flagged || !defect) continue;
        double pi = (double)choice.propensity;
        s->defects++;
        s->estimate += choice.review / pi;
        s->variance += (1.0 - pi) / pi;
    }
    return (double)asked / items;
}

static void the_budget_is_held_and_estimates_are_unbiased(void **state)
{
    (void)state;
    static const double budgets[] = { 0.05, 0.1, 0.3 };
    double variance[4] = { 0 };
    for (int b = 0; b < 3; b++) {
        tl_reviewer_policy policy = tl_reviewer_policy_default();
        policy.budget = budgets[b];
        policy.audit_rate = 0.2 * budgets[b];
        tl_reviewer *r = make(policy);
        stream s = { 0 };
        tl_rng_seed(&s.rng, 3, (uint64_t)b);
        run(r, &s, 50000); /* settle */
        stream kept = { .rng = s.rng };
        double rate = run(r, &kept, 200000);
        assert_true(fabs(rate - budgets[b]) < 0.05 * budgets[b] + 0.002);
        assert_true(fabs(tl_reviewer_rate(r) - budgets[b]) < 0.15 * budgets[b]);
        assert_true(fabs(kept.estimate - kept.defects) < 4.0 * sqrt(kept.variance));
        variance[b] = kept.variance;
        tl_reviewer_destroy(&r);
    }
    /* The same share of items by plain audits alone tells less: 1 % are flagged, 9 % are left. */
    tl_reviewer_policy plain = tl_reviewer_policy_default();
    plain.audit_rate = 0.09 / 0.99;
    tl_reviewer *r = make(plain);
    stream s = { 0 };
    tl_rng_seed(&s.rng, 3, 1);
    run(r, &s, 50000);
    stream kept = { .rng = s.rng };
    run(r, &kept, 200000);
    assert_true(variance[1] < 0.6 * kept.variance);
    tl_reviewer_destroy(&r);
}

/* A thousand flagged items in a row do not end all questions afterwards. */
static void a_burst_is_forgotten(void **state)
{
    (void)state;
    tl_reviewer_policy policy = tl_reviewer_policy_default();
    policy.budget = 0.1;
    tl_reviewer *r = make(policy);
    stream s = { 0 };
    tl_rng_seed(&s.rng, 4, 0);
    run(r, &s, 50000);
    for (int i = 0; i < 1000; i++) {
        tl_review_signals flagged = passed(make_id(&s.rng));
        flagged.flagged = true;
        tl_reviewer_choose(r, &flagged);
    }
    run(r, &s, 6000);
    assert_true(fabs(run(r, &s, 20000) - 0.1) < 0.02);
    tl_reviewer_destroy(&r);
}

/* An item that is looked at when either of two draws takes it. */
static void two_draws_have_a_marginal_probability(void **state)
{
    (void)state;
    uint8_t key[TL_DRAW_KEY_BYTES] = { 9 };
    tl_rng rng;
    tl_rng_seed(&rng, 5, 0);
    int drawn = 0;
    for (int i = 0; i < 100000; i++) {
        tl_id id = make_id(&rng);
        drawn += tl_draw_unit(key, id, TL_DRAW_REVIEW, 0) < 0.1 ||
                 tl_draw_unit(key, id, TL_DRAW_AGAIN, 0) < 0.3;
    }
    double want = 1e5 * tl_draw_marginal(0.1, 0.3);
    assert_true(fabs(want - 37000) < 1e-6);
    assert_true(fabs(drawn - want) < 5 * sqrt(want * 0.63));
}

static void policies_are_checked(void **state)
{
    (void)state;
    tl_reviewer_policy good = tl_reviewer_policy_default();
    assert_null(tl_reviewer_policy_check(&good));
    tl_reviewer_policy bad[5];
    for (int i = 0; i < 5; i++) bad[i] = good;
    bad[0].audit_rate = 1.1;
    bad[1].budget = NAN;
    bad[2].band_rate = -0.1;
    bad[3].blind_rate = 2;
    bad[4].disagreements = 0;
    for (int i = 0; i < 5; i++) assert_non_null(tl_reviewer_policy_check(&bad[i]));
}

/* Signals that are missing or senseless teach nothing and break nothing. */
static void missing_signals_count_nothing(void **state)
{
    (void)state;
    tl_reviewer_policy policy = tl_reviewer_policy_default();
    policy.budget = 0.5;
    tl_reviewer *r = make(policy);
    tl_review_signals s = passed((tl_id){ .bytes = { 2 } });
    s.p = s.value = s.alarm = NAN;
    assert_true(tl_reviewer_choose(r, &s).propensity == 0.02f);
    s.p = -3;
    s.novelty = INFINITY;
    s.value = -1;
    assert_true(tl_reviewer_choose(r, &s).propensity == 0.02f);
    tl_reviewer_destroy(&r);
}

/* What is a little newer than the middle is hardly asked about, what is newest is. */
static void the_newest_is_asked_about(void **state)
{
    (void)state;
    tl_reviewer_policy policy = tl_reviewer_policy_default();
    policy.budget = 0.1;
    tl_reviewer *r = make(policy);
    tl_review_signals s = passed((tl_id){ .bytes = { 3 } });
    s.p = 0.0f;
    for (int i = 1; i <= 256; i++) {
        s.novelty = (float)i;
        tl_reviewer_choose(r, &s);
    }
    s.novelty = 180.5f;
    float common = tl_reviewer_choose(r, &s).propensity;
    s.novelty = 300.0f;
    float newest = tl_reviewer_choose(r, &s).propensity;
    assert_true(common < 0.02f + 1e-4f && newest > 0.04f);
    tl_reviewer_destroy(&r);
}

/* Also where everything seems certain, what may be asked is asked. */
static void the_budget_is_used_where_little_is_uncertain(void **state)
{
    (void)state;
    tl_reviewer_policy policy = tl_reviewer_policy_default();
    policy.budget = 0.2;
    tl_reviewer *r = make(policy);
    tl_review_signals s = passed((tl_id){ .bytes = { 4 } });
    s.p = 1e-4f;
    for (int i = 0; i < 20000; i++) tl_reviewer_choose(r, &s);
    float propensity = tl_reviewer_choose(r, &s).propensity;
    assert_true(propensity > 0.18f && propensity < 0.22f);
    tl_reviewer_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strong_rules_are_certain),
        cmocka_unit_test(without_a_budget_only_audits),
        cmocka_unit_test(rates_follow_their_rule),
        cmocka_unit_test(the_budget_is_held_and_estimates_are_unbiased),
        cmocka_unit_test(a_burst_is_forgotten),
        cmocka_unit_test(two_draws_have_a_marginal_probability),
        cmocka_unit_test(policies_are_checked),
        cmocka_unit_test(missing_signals_count_nothing),
        cmocka_unit_test(the_newest_is_asked_about),
        cmocka_unit_test(the_budget_is_used_where_little_is_uncertain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
