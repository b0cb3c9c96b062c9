/* Medians of times that are partly censored. */
#include "stats/survival.h"

#include "base/rng.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

static void without_data_nothing_is_told(void **state)
{
    (void)state;
    tl_median median = tl_survival_median(NULL, 0, 0.95);
    assert_true(isnan(median.value) && isnan(median.low) && isnan(median.high));
}

static void without_censoring_it_is_the_median(void **state)
{
    (void)state;
    tl_duration d[] = { { 5, true }, { 1, true }, { 3, true }, { 2, true }, { 4, true } };
    tl_median median = tl_survival_median(d, TL_COUNT_OF(d), 0.95);
    assert_true(median.value == 3.0);
    assert_int_equal(median.ended, 5);
}

/* Freireich's remission times under 6-MP (1963), the textbook's example: median 23, and a lower
 * limit of 13 with no upper one (R's survival package, conf.type = "log-log"). */
static void known_data(void **state)
{
    (void)state;
    tl_duration d[] = { { 6, true },  { 6, true },   { 6, true },   { 6, false },  { 7, true },
                        { 9, false }, { 10, true },  { 10, false }, { 11, false }, { 13, true },
                        { 16, true }, { 17, false }, { 19, false }, { 20, false }, { 22, true },
                        { 23, true }, { 25, false }, { 32, false }, { 32, false }, { 34, false },
                        { 35, false } };
    tl_median median = tl_survival_median(d, TL_COUNT_OF(d), 0.95);
    assert_true(median.value == 23.0);
    assert_true(median.low == 13.0);
    assert_true(isnan(median.high));
    assert_int_equal(median.ended, 9);
    assert_int_equal(median.censored, 12);
}

static void half_censored_early_tells_no_median(void **state)
{
    (void)state;
    tl_duration d[] = { { 1, true }, { 2, false }, { 3, false }, { 4, false } };
    assert_true(isnan(tl_survival_median(d, TL_COUNT_OF(d), 0.95).value));
}

/* Exponential times, exponential censoring: the interval holds the true median about as often as it
 * says. */
static void coverage(void **state)
{
    (void)state;
    enum { RUNS = 1000, COUNT = 60 };
    tl_rng rng;
    tl_rng_seed(&rng, 12, 0);
    int covered = 0;
    for (int run = 0; run < RUNS; run++) {
        tl_duration d[COUNT];
        for (int i = 0; i < COUNT; i++) {
            double end = -log(1.0 - tl_rng_unit(&rng)),
                   censored = -2.0 * log(1.0 - tl_rng_unit(&rng));
            d[i] = (tl_duration){ fmin(end, censored), end <= censored };
        }
        tl_median median = tl_survival_median(d, COUNT, 0.95);
        double truth = log(2.0);
        covered += !(median.low > truth) && !(median.high < truth);
    }
    assert_in_range(covered, 925, 985);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_data_nothing_is_told),
        cmocka_unit_test(without_censoring_it_is_the_median),
        cmocka_unit_test(known_data),
        cmocka_unit_test(half_censored_early_tells_no_median),
        cmocka_unit_test(coverage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
