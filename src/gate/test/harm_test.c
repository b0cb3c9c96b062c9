/* Take-backs, alarms, sites, proven gains. */
#include "gate/test/line.h"

static const int64_t DAY = 86400 * 1000000ll;

/* The certified one in the shadow is right where they disagree: back, within tens of labels. */
static void what_harms_is_taken_back(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    line l;
    line_begin(&l, &policy, TL_GATE_HARM, 1);
    l.step_us = DAY / 2000;
    for (unsigned i = 0; i < 200; i++) { /* as good as each other for long */
        line_agreed(&l, 20);
        line_disagreement(&l, i % 2 == 0, i % 4 < 2);
    }
    line_no_verdict(&l);
    unsigned labels = 0;
    tl_gate_verdict verdict;
    while (!tl_gate_take_verdict(l.gate, &verdict)) {
        line_agreed(&l, 20);
        line_disagreement(&l, true, tl_rng_unit(&l.rng) < 0.85);
        assert_true(++labels < 150);
    }
    assert_int_equal(verdict.kind, TL_GATE_TAKE_BACK);
    assert_int_equal(verdict.version, LINE_SHADOW);
    assert_true(fabs(verdict.log_threshold - log(2000 * 90)) < 0.1); /* 90 days of units */
    assert_non_null(strstr(verdict.words, "taken back: "));
    assert_true(line_standing(&l).log_harm < 1); /* begun anew */
    line_end(&l);
}

static void a_broken_promise_is_an_alarm(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    policy.promised_error = 0.008;
    line l;
    line_begin(&l, &policy, 0, 2);
    l.step_us = DAY / 1000;
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t position = line_item(&l, false, false, true);
        tl_gate_label(l.gate, position, tl_rng_unit(&l.rng) < 0.004, 1);
    }
    line_no_verdict(&l);
    unsigned labels = 0;
    tl_gate_verdict verdict;
    while (!tl_gate_take_verdict(l.gate, &verdict)) {
        uint64_t position = line_item(&l, true, true, true);
        tl_gate_label(l.gate, position, tl_rng_unit(&l.rng) >= 0.08, 1);
        assert_true(++labels < 400);
    }
    assert_int_equal(verdict.kind, TL_GATE_ALARM);
    assert_int_equal(verdict.version, 0);
    assert_int_equal(verdict.position, l.position);
    assert_non_null(strstr(verdict.words, "alarm: "));
    tl_gate_status status;
    tl_gate_get_status(l.gate, &status);
    assert_int_equal(status.promise.items, 0); /* begun anew */
    line_end(&l);
}

/* Reviewers who do not answer break no promise; errors that come on one board are one event. */
static void silence_and_bursts_are_no_alarm(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    policy.promised_error = 0.008;
    policy.timeout_us = 5000000;
    line l;
    line_begin(&l, &policy, 0, 3);
    for (unsigned i = 0; i < 2000; i++) line_item(&l, false, false, true);
    line_no_verdict(&l);
    for (unsigned board = 0; board < 3; board++) { /* 20 errors on a board of 100 */
        l.unit = 1000 + board;
        for (unsigned i = 0; i < 100; i++) {
            uint64_t position = line_item(&l, false, false, true);
            tl_gate_label(l.gate, position, i < 20, 1);
        }
        l.unit = 0;
        for (unsigned i = 0; i < 200; i++)
            tl_gate_label(l.gate, line_item(&l, false, false, true), false, 1);
    }
    line_no_verdict(&l);
    line_end(&l);
}

static void better_overall_and_worse_somewhere_is_not_promoted(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 4);
    for (unsigned i = 0; i < 400; i++) {
        l.site = i % 4 == 0 ? 2 : 1;
        line_agreed(&l, 5);
        line_disagreement(&l, i % 2 == 0, tl_rng_unit(&l.rng) < (l.site == 1 ? 0.85 : 0.1));
    }
    line_no_verdict(&l);
    tl_gate_standing standing = line_standing(&l);
    assert_true(standing.blocked_by_site);
    assert_int_equal(standing.site_count, 2);
    assert_int_equal(standing.site[0].site, 2);
    assert_true(standing.site[0].worse);
    assert_false(standing.site[1].worse);
    assert_true(standing.site[0].gain < 0);
    assert_true(standing.site[1].gain > 0);
    for (size_t i = 0; i < 2; i++) {
        const tl_gate_site_standing *site = &standing.site[i];
        assert_true(site->gain_low <= site->gain && site->gain <= site->gain_high);
    }
    assert_true(standing.site[0].gain_high < 0); /* told apart from nothing, both */
    assert_true(standing.site[1].gain_low > 0);
    assert_non_null(strstr(standing.words, "wins overall, loses at one site"));
    line_end(&l);
}

static void an_improvement_is_certified(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    line l;
    line_begin(&l, &policy, TL_GATE_GAIN, 5);
    unsigned labels = 0;
    tl_gate_verdict verdict;
    while (!tl_gate_take_verdict(l.gate, &verdict)) {
        line_agreed(&l, 30);
        line_disagreement(&l, labels % 2 == 0, tl_rng_unit(&l.rng) < 0.15);
        assert_true(++labels < 200);
    }
    assert_int_equal(verdict.kind, TL_GATE_CERTIFY);
    assert_true(verdict.gain > 0);
    assert_true(verdict.gain_low >= policy.effect - 1e-9);
    assert_non_null(strstr(verdict.words, "improvement proven"));
    line_end(&l);
}

/* "about N more" against what it then takes. */
static void what_is_needed_is_about_right(void **state)
{
    (void)state;
    tl_gate_policy policy = tl_gate_policy_default();
    line l;
    line_begin(&l, &policy, TL_GATE_BETTER, 6);
    for (unsigned i = 0; i < 12; i++) line_disagreement(&l, i % 2 == 0, i % 6 != 0);
    double needed = line_standing(&l).needed;
    assert_non_null(strstr(line_standing(&l).words, "; needs about "));
    unsigned labels = 0;
    tl_gate_verdict verdict;
    while (!tl_gate_take_verdict(l.gate, &verdict)) {
        line_disagreement(&l, labels % 2 == 0, labels % 6 != 0);
        assert_true(++labels < 200);
    }
    assert_true(labels <= 2.5 * needed);
    assert_true(needed <= 2.5 * labels);
    assert_true(line_standing(&l).needed == 0);
    line_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_harms_is_taken_back),
        cmocka_unit_test(a_broken_promise_is_an_alarm),
        cmocka_unit_test(silence_and_bursts_are_no_alarm),
        cmocka_unit_test(better_overall_and_worse_somewhere_is_not_promoted),
        cmocka_unit_test(an_improvement_is_certified),
        cmocka_unit_test(what_is_needed_is_about_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
