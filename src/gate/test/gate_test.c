/* What the gate proves, from whole runs. */
#include "gate/test/line.h"

static void a_better_one_is_promoted_once(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 1);
    unsigned count = 0;
    tl_gate_verdict verdict;
    while (!tl_gate_take_verdict(l.gate, &verdict)) {
        line_agreed(&l, 50);
        line_disagreement(&l, count % 2 == 0, tl_rng_unit(&l.rng) < 0.85);
        assert_true(++count < 200);
    }
    assert_int_equal(verdict.kind, TL_GATE_PROMOTE);
    assert_int_equal(verdict.version, LINE_SHADOW);
    assert_int_equal(verdict.counts.disagreements, count);
    assert_true(verdict.log_e >= verdict.log_threshold);
    assert_true(verdict.gain_low >= policy.effect - 1e-9);
    assert_true(verdict.gain_low <= verdict.gain);
    assert_true(verdict.gain <= verdict.gain_high);
    assert_non_null(strstr(verdict.words, "promoted: over "));
    for (int i = 0; i < 50; i++) line_disagreement(&l, true, true);
    line_no_verdict(&l);
    assert_true(line_standing(&l).promoted);
    line_end(&l);
}

static void one_as_good_waits(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 2);
    for (unsigned i = 0; i < 400; i++) {
        line_agreed(&l, 20);
        line_disagreement(&l, i % 2 == 0, i % 4 < 2);
    }
    line_no_verdict(&l);
    tl_gate_standing standing = line_standing(&l);
    assert_int_equal(standing.counts.wins, standing.counts.losses);
    assert_true(isnan(standing.needed));
    assert_non_null(strstr(standing.words, "waiting: "));
    assert_true(standing.gain_low < 0);
    assert_true(standing.gain_high > 0);
    line_end(&l);
}

static void later_ones_need_more(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 3);
    double before = line_standing(&l).log_threshold;
    for (uint64_t version = 100; version < 110; version++) {
        tl_gate_drop(l.gate, version == 100 ? LINE_SHADOW : version - 1);
        assert_int_equal(tl_gate_watch(l.gate, version, TL_GATE_BETTER, 0, NULL), TL_OK);
        tl_gate_standing standing;
        assert_true(tl_gate_describe(l.gate, version, &standing));
        assert_true(standing.log_threshold > before);
        assert_int_equal(standing.number, version - 98);
        before = standing.log_threshold;
    }
    line_end(&l);
}

static void watching_has_limits(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    tl_error error;
    line l;
    line_begin(&l, &policy, TL_GATE_HARM, 4);
    assert_int_equal(tl_gate_watch(l.gate, LINE_SHADOW, TL_GATE_HARM, 0, &error), TL_ECONFLICT);
    assert_int_equal(tl_gate_watch(l.gate, 1, 0, 0, &error), TL_EINVAL);
    for (uint64_t version = 1; version < TL_GATE_SHADOW_MAX; version++)
        assert_int_equal(tl_gate_watch(l.gate, version, TL_GATE_HARM, 0, &error), TL_OK);
    assert_int_equal(tl_gate_watch(l.gate, 99, TL_GATE_HARM, 0, &error), TL_ELIMIT);
    tl_gate_status status;
    tl_gate_get_status(l.gate, &status);
    assert_int_equal(status.spent, 0); /* a return costs no level */
    line_end(&l);
}

static void bad_policies_are_named(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    assert_null(tl_gate_policy_check(&policy));
    policy.alpha = NAN;
    assert_non_null(strstr(tl_gate_policy_check(&policy), "alpha"));
    policy = tl_gate_policy_default();
    policy.cost_miss = 0;
    assert_non_null(strstr(tl_gate_policy_check(&policy), "miss"));
}

/* Fair coin tosses: 4 new errors without any fixed have chance 1/16, 5 have 1/32. */
static void golden_errors_are_compared_exactly(void **state)
{
    (void)state;
    assert_true(tl_gate_golden(0, 0));
    assert_true(tl_gate_golden(4, 0));
    assert_false(tl_gate_golden(5, 0));
    assert_true(tl_gate_golden(7, 2));  /* P(>= 7 of 9) = 46/512 */
    assert_false(tl_gate_golden(8, 1)); /* P(>= 8 of 9) = 10/512 */
    assert_true(tl_gate_golden(100, 100));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_better_one_is_promoted_once),
        cmocka_unit_test(one_as_good_waits),
        cmocka_unit_test(later_ones_need_more),
        cmocka_unit_test(watching_has_limits),
        cmocka_unit_test(bad_policies_are_named),
        cmocka_unit_test(golden_errors_are_compared_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
