/* Sampling plans against exact fractions, published plans, and what they promise. */
#include "stats/acceptance.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void close_to(double value, double wanted, double tolerance)
{
    if (!(fabs(value - wanted) <= tolerance)) fail_msg("got %.15g, want %.15g", value, wanted);
}

/* From whole-number arithmetic. */
static void acceptance_is_exact(void **state)
{
    (void)state;
    const tl_sampling_plan lot = { 50, 1, 500 }, other = { 80, 10, 1000 }, process = { 89, 2, 0 };
    close_to(tl_sampling_accepts_lot(&lot, 20), 0.3865061034605668, 1e-13);
    close_to(tl_sampling_accepts(&lot, 0.04), 0.3865061034605668, 1e-13);
    close_to(tl_sampling_accepts_lot(&other, 50), 0.9987695750630535, 1e-13);
    close_to(tl_sampling_accepts(&process, 0.06), 0.09186934717218487, 1e-13);
    close_to(tl_sampling_accepts(&process, 0.0), 1.0, 0);
    close_to(tl_sampling_accepts(&process, 1.0), 0.0, 0);
    /* All of a lot is looked at: rejected with one too many. */
    const tl_sampling_plan all = { 30, 3, 30 };
    close_to(tl_sampling_accepts_lot(&all, 3), 1.0, 0);
    close_to(tl_sampling_accepts_lot(&all, 4), 0.0, 0);
    /* Half of a lot of two, one bad: even chances. */
    close_to(tl_sampling_accepts_lot(&(tl_sampling_plan){ 1, 0, 2 }, 1), 0.5, 1e-15);
}

/* A lot without bound is a process; and both tails agree where they meet. */
static void large_lots_come_near_the_process(void **state)
{
    (void)state;
    for (uint64_t c = 0; c <= 200; c += 8) {
        const tl_sampling_plan lot = { 10000, c, TL_SAMPLING_LOT_MAX }, process = { 10000, c, 0 };
        for (double p = 0.0005; p < 0.02; p += 0.0005)
            close_to(tl_sampling_accepts(&lot, p), tl_sampling_accepts(&process, p), 2e-5);
    }
    double before = 1.0;
    for (uint64_t bad = 0; bad <= 2000; bad++) {
        double now = tl_sampling_accepts_lot(&(tl_sampling_plan){ 400, 12, 20000 }, bad);
        if (now > before + 1e-13) fail_msg("accepts more with %zu bad ones", (size_t)bad);
        before = now;
    }
}

static void plan_is(tl_sampling_risks risks, uint64_t sample, uint64_t accept)
{
    tl_sampling_plan plan;
    tl_error err;
    if (tl_sampling_find(&risks, 0, &plan, &err) != TL_OK) fail_msg("%s", err.text);
    assert_int_equal(plan.sample, sample);
    assert_int_equal(plan.accept, accept);
    assert_int_equal(plan.lot, risks.lot);
    /* It keeps the risks, and the next smaller one does not. */
    double good = (double)tl_sampling_defectives(risks.lot, risks.aql, false) / (double)risks.lot;
    double bad = (double)tl_sampling_defectives(risks.lot, risks.ltpd, true) / (double)risks.lot;
    if (risks.lot == 0) good = risks.aql, bad = risks.ltpd;
    assert_true(tl_sampling_accepts(&plan, good) >= 1.0 - risks.producer);
    assert_true(tl_sampling_accepts(&plan, bad) <= risks.consumer);
    plan.sample--;
    assert_true(tl_sampling_accepts(&plan, bad) > risks.consumer);
}

static void the_smallest_plan_is_found(void **state)
{
    (void)state;
    plan_is((tl_sampling_risks){ .01, .05, .05, .10, 0 }, 132, 3);
    plan_is((tl_sampling_risks){ .01, .06, .05, .10, 0 }, 110, 3);
    plan_is((tl_sampling_risks){ .0065, .04, .05, .10, 0 }, 166, 3);
    plan_is((tl_sampling_risks){ .02, .08, .05, .10, 0 }, 98, 4);
    plan_is((tl_sampling_risks){ .001, .01, .05, .05, 0 }, 628, 2);
    plan_is((tl_sampling_risks){ .01, .05, .05, .10, 1000 }, 128, 3);
    plan_is((tl_sampling_risks){ .01, .06, .05, .10, 500 }, 83, 2);
    plan_is((tl_sampling_risks){ .01, .10, .05, .10, 200 }, 35, 1);
    plan_is((tl_sampling_risks){ .02, .20, .05, .10, 60 }, 17, 1);
}

/* "So many audits without an escape": ln(.05) / ln(1 - p), and with one, two escapes. */
static void audits_that_a_bound_needs(void **state)
{
    (void)state;
    static const struct {
        double ltpd;
        uint64_t accept, sample;
    } known[] = {
        { .05, 0, 59 }, { .05, 1, 93 }, { .05, 2, 124 }, { .01, 0, 299 }, { .001, 0, 2995 }
    };
    for (size_t i = 0; i < TL_COUNT_OF(known); i++) {
        tl_sampling_plan plan;
        tl_sampling_risks risks = { .ltpd = known[i].ltpd, .producer = .05, .consumer = .05 };
        assert_int_equal(tl_sampling_find(&risks, known[i].accept, &plan, NULL), TL_OK);
        assert_int_equal(plan.sample, known[i].sample);
        assert_int_equal(plan.accept, known[i].accept);
    }
    /* 1 ppm takes three million. */
    tl_sampling_plan plan;
    tl_sampling_risks rare = { .ltpd = 1e-6, .producer = .05, .consumer = .05 };
    assert_int_equal(tl_sampling_find(&rare, 0, &plan, NULL), TL_OK);
    assert_in_range(plan.sample, 2995731, 2995733);
}

static void outgoing_quality_has_its_limit(void **state)
{
    (void)state;
    double at;
    const tl_sampling_plan process = { 89, 2, 0 }, lot = { 50, 1, 500 };
    close_to(tl_sampling_outgoing_limit(&process, &at), 0.01538325369598066, 1e-8);
    close_to(tl_sampling_outgoing(&process, at), 0.01538325369598066, 1e-8);
    close_to(tl_sampling_outgoing_limit(&lot, &at), 0.014765712310712902, 1e-13);
    close_to(at, 15.0 / 500, 1e-13);
    /* What is wholly looked at lets nothing through. */
    close_to(tl_sampling_outgoing_limit(&(tl_sampling_plan){ 30, 0, 30 }, NULL), 0.0, 0);
}

static void quality_at_a_probability(void **state)
{
    (void)state;
    const tl_sampling_plan process = { 132, 3, 0 }, lot = { 50, 1, 500 };
    for (double p = 0.05; p < 1.0; p += 0.15)
        close_to(tl_sampling_accepts(&process, tl_sampling_quality_at(&process, p)), p, 1e-11);
    double share = tl_sampling_quality_at(&lot, 0.10);
    assert_true(tl_sampling_accepts(&lot, share) >= 0.10);
    assert_true(tl_sampling_accepts(&lot, share + 1.0 / 500) < 0.10);
}

static void wrong_risks_are_refused(void **state)
{
    (void)state;
    static const struct {
        tl_sampling_risks risks;
        tl_status status;
    } wrong[] = {
        { { .05, .01, .05, .10, 0 }, TL_EINVAL },
        { { .01, 1.0, .05, .10, 0 }, TL_EINVAL },
        { { .01, .05, .0, .10, 0 }, TL_EINVAL },
        { { .01, .05, .5, .5, 0 }, TL_EINVAL },
        { { .02, .02000000001, .05, .10, 50 }, TL_EINVAL },
        { { .01, .0102, .05, .10, 0 }, TL_ELIMIT },
        { { NAN, .05, .05, .10, 0 }, TL_EINVAL },
        { { 0, 1e-7, .05, .10, 0 }, TL_EINVAL },
        { { .01, .05, .05, .10, 2000000000 }, TL_ELIMIT },
    };
    for (size_t i = 0; i < TL_COUNT_OF(wrong); i++) {
        tl_sampling_plan plan = { 7, 7, 7 };
        tl_error err = { 0 };
        assert_int_equal(tl_sampling_find(&wrong[i].risks, 0, &plan, &err), wrong[i].status);
        assert_true(err.text[0] != '\0');
        assert_int_equal(plan.sample, 7);
    }
}

/* Entries of the master table that quality engineers know. */
static void iso_2859_plans(void **state)
{
    (void)state;
    static const struct {
        uint64_t lot;
        double aql;
        char letter;
        uint64_t sample, accept;
    } table[] = {
        { 1000, 1.0, 'J', 80, 2 },    { 1200, 0.65, 'J', 80, 1 },   { 1201, 1.0, 'K', 125, 3 },
        { 5000, 1.0, 'L', 200, 5 },   { 5000, 0.65, 'L', 200, 3 },  { 5000, 2.5, 'L', 200, 10 },
        { 5000, 0.065, 'L', 200, 0 }, { 500, 1.0, 'H', 50, 1 },     { 500, 2.5, 'H', 50, 3 },
        { 500, 0.65, 'J', 80, 1 },    { 280, 0.65, 'F', 20, 0 },    { 150, 0.10, 'K', 125, 0 },
        { 90, 4.0, 'E', 13, 1 },      { 20000, 4.0, 'M', 315, 21 }, { 200000, 4.0, 'M', 315, 21 },
        { 20000, 6.5, 'L', 200, 21 }, { 2, 6.5, 'A', 2, 0 },        { 600000, 0.10, 'Q', 1250, 3 },
    };
    for (size_t i = 0; i < TL_COUNT_OF(table); i++) {
        tl_sampling_plan plan;
        char letter;
        assert_int_equal(tl_sampling_iso2859(table[i].lot, table[i].aql, &plan, &letter, NULL),
                         TL_OK);
        if (letter != table[i].letter || plan.sample != table[i].sample ||
            plan.accept != table[i].accept)
            fail_msg("lot %zu at %g: %c, %zu, %zu", (size_t)table[i].lot, table[i].aql, letter,
                     (size_t)plan.sample, (size_t)plan.accept);
    }
    tl_sampling_plan plan;
    char letter;
    tl_error err;
    assert_int_equal(tl_sampling_iso2859(60, 0.15, &plan, &letter, NULL), TL_OK);
    assert_int_equal(plan.sample, 60); /* J's 80 are more than there are: all of them */
    assert_int_equal(tl_sampling_iso2859(500, 0.7, &plan, &letter, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "0.65"));
    assert_int_equal(tl_sampling_iso2859(1, 1.0, &plan, &letter, &err), TL_EINVAL);
}

/* All of the master table for normal inspection that is used, and the code letters of general level
 * II, as MIL-STD-105E, ANSI/ASQ Z1.4 and ISO 2859-1:1989 have them alike, arrows followed; from the
 * tables of the R package AQLSchemes 1.7-2, the code letters also from a copy of table I. */
static const struct {
    uint64_t lot;
    uint64_t sample[11], accept[11]; /* by AQL: 0.065, 0.10, ..., 6.5 */
} MASTER[] = {
    { 8, { 200, 125, 80, 50, 32, 20, 13, 8, 5, 3, 2 }, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
    { 15, { 200, 125, 80, 50, 32, 20, 13, 8, 5, 3, 2 }, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
    { 25, { 200, 125, 80, 50, 32, 20, 13, 8, 5, 3, 8 }, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 } },
    { 50, { 200, 125, 80, 50, 32, 20, 13, 8, 5, 13, 8 }, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1 } },
    { 90, { 200, 125, 80, 50, 32, 20, 13, 8, 20, 13, 13 }, { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2 } },
    { 150, { 200, 125, 80, 50, 32, 20, 13, 32, 20, 20, 20 }, { 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3 } },
    { 280, { 200, 125, 80, 50, 32, 20, 50, 32, 32, 32, 32 }, { 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 5 } },
    { 500, { 200, 125, 80, 50, 32, 80, 50, 50, 50, 50, 50 }, { 0, 0, 0, 0, 0, 1, 1, 2, 3, 5, 7 } },
    { 1200,
      { 200, 125, 80, 50, 125, 80, 80, 80, 80, 80, 80 },
      { 0, 0, 0, 0, 1, 1, 2, 3, 5, 7, 10 } },
    { 3200,
      { 200, 125, 80, 200, 125, 125, 125, 125, 125, 125, 125 },
      { 0, 0, 0, 1, 1, 2, 3, 5, 7, 10, 14 } },
    { 10000,
      { 200, 125, 315, 200, 200, 200, 200, 200, 200, 200, 200 },
      { 0, 0, 1, 1, 2, 3, 5, 7, 10, 14, 21 } },
    { 35000,
      { 200, 500, 315, 315, 315, 315, 315, 315, 315, 315, 200 },
      { 0, 1, 1, 2, 3, 5, 7, 10, 14, 21, 21 } },
    { 150000,
      { 800, 500, 500, 500, 500, 500, 500, 500, 500, 315, 200 },
      { 1, 1, 2, 3, 5, 7, 10, 14, 21, 21, 21 } },
    { 500000,
      { 800, 800, 800, 800, 800, 800, 800, 800, 500, 315, 200 },
      { 1, 2, 3, 5, 7, 10, 14, 21, 21, 21, 21 } },
    { 500001,
      { 1250, 1250, 1250, 1250, 1250, 1250, 1250, 800, 500, 315, 200 },
      { 2, 3, 5, 7, 10, 14, 21, 21, 21, 21, 21 } },
};

static void the_master_table_is_the_published_one(void **state)
{
    static const double AQL[] = { 0.065, 0.10, 0.15, 0.25, 0.40, 0.65, 1.0, 1.5, 2.5, 4.0, 6.5 };
    (void)state;
    for (size_t i = 0; i < TL_COUNT_OF(MASTER); i++) {
        for (size_t k = 0; k < TL_COUNT_OF(AQL); k++) {
            tl_sampling_plan plan;
            char letter;
            uint64_t lot = MASTER[i].lot, sample = MASTER[i].sample[k];
            assert_int_equal(tl_sampling_iso2859(lot, AQL[k], &plan, &letter, NULL), TL_OK);
            if (plan.sample != (sample < lot ? sample : lot) || plan.accept != MASTER[i].accept[k])
                fail_msg("lot %zu at %g: %zu, %zu", (size_t)lot, AQL[k], (size_t)plan.sample,
                         (size_t)plan.accept);
        }
    }
}

/* Percent nonconforming at which lots are accepted with that probability: tables X-C-1, X-H-1 and
 * X-Q-1 of ISO 2859-1:1989, in their Russian edition GOST R 50779.71-99. For Q they are Poisson's. */
static void operating_characteristics_are_the_published_ones(void **state)
{
    static const struct {
        uint64_t sample, accept;
        double at_95, at_50, low, at_low;
    } TABLE[] = {
        { 5, 0, 1.02, 12.9, 0.10, 36.9 },        { 5, 1, 7.64, 31.4, 0.10, 58.4 },
        { 50, 0, 0.103, 1.38, 0.25, 2.73 },      { 50, 1, 0.715, 3.33, 0.25, 5.29 },
        { 50, 2, 1.66, 5.31, 0.25, 7.69 },       { 50, 3, 2.78, 7.29, 0.25, 10.0 },
        { 50, 5, 5.36, 11.3, 0.25, 14.5 },       { 50, 7, 8.22, 15.2, 0.25, 18.8 },
        { 50, 10, 12.9, 21.2, 0.25, 25.2 },      { 1250, 0, 0.00410, 0.0555, 0.10, 0.184 },
        { 1250, 1, 0.0284, 0.134, 0.10, 0.311 }, { 1250, 2, 0.0654, 0.214, 0.10, 0.426 },
        { 1250, 3, 0.109, 0.294, 0.10, 0.534 },  { 1250, 5, 0.209, 0.454, 0.10, 0.742 },
        { 1250, 7, 0.318, 0.614, 0.10, 0.942 },  { 1250, 10, 0.494, 0.853, 0.10, 1.23 },
        { 1250, 14, 0.740, 1.17, 0.10, 1.61 },   { 1250, 21, 1.19, 1.73, 0.10, 2.25 },
    };
    (void)state;
    for (size_t i = 0; i < TL_COUNT_OF(TABLE); i++) {
        tl_sampling_plan plan = { TABLE[i].sample, TABLE[i].accept, 0 };
        const double p[] = { 0.95, 0.50, TABLE[i].low };
        const double want[] = { TABLE[i].at_95, TABLE[i].at_50, TABLE[i].at_low };
        double room = plan.sample > 80 ? 0.012 : 0.006; /* three digits; and Poisson's */
        for (size_t k = 0; k < 3; k++) {
            double got = 100 * tl_sampling_quality_at(&plan, p[k]);
            if (fabs(got - want[k]) > room * want[k])
                fail_msg("%zu, %zu at %g: %g, not %g", (size_t)plan.sample, (size_t)plan.accept,
                         p[k], got, want[k]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acceptance_is_exact),
        cmocka_unit_test(large_lots_come_near_the_process),
        cmocka_unit_test(the_smallest_plan_is_found),
        cmocka_unit_test(audits_that_a_bound_needs),
        cmocka_unit_test(outgoing_quality_has_its_limit),
        cmocka_unit_test(quality_at_a_probability),
        cmocka_unit_test(the_master_table_is_the_published_one),
        cmocka_unit_test(operating_characteristics_are_the_published_ones),
        cmocka_unit_test(wrong_risks_are_refused),
        cmocka_unit_test(iso_2859_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
