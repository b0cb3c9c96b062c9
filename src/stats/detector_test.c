/* Detectors: run length without a cause, delay with one, weights, saving. */
#include "stats/detector.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"

enum { RUNS = 1000, LIMIT = 100000 };

static double error_of(tl_rng *rng, double rate, double propensity)
{
    if (tl_rng_unit(rng) >= propensity) return 0;
    return tl_rng_unit(rng) < rate ? 1 / propensity : 0;
}

static int run_rate(tl_rng *rng, double promised, double rate, double propensity, double a)
{
    tl_detector detector;
    tl_detector_init_rate(&detector, promised);
    for (int t = 1; t < LIMIT; t++) {
        tl_detector_step(&detector, error_of(rng, rate, propensity), propensity);
        if (tl_detector_value(&detector) >= a) return t;
    }
    return LIMIT;
}

static int run_mean(tl_rng *rng, double wins, double a)
{
    tl_detector detector;
    tl_detector_init_mean(&detector);
    for (int t = 1; t < LIMIT; t++) {
        tl_detector_step(&detector, tl_rng_unit(rng) < wins ? 1 : -1, 1);
        if (tl_detector_value(&detector) >= a) return t;
    }
    return LIMIT;
}

static void expect_mean_at_least(const int *runs, double wanted)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < RUNS; i++) sum += runs[i];
    double mean = sum / RUNS;
    for (int i = 0; i < RUNS; i++) squares += (runs[i] - mean) * (runs[i] - mean);
    double error = sqrt(squares / RUNS / RUNS);
    if (!(mean + 2 * error >= wanted))
        fail_msg("mean run %.1f +- %.1f below %g", mean, error, wanted);
    if (!(mean <= 20 * wanted)) fail_msg("mean run %.1f needlessly long", mean);
}

static void run_length_is_at_least_what_was_asked(void **state)
{
    (void)state;
    static int runs[RUNS];
    static const double propensity[] = { 1, 0.1 };
    tl_rng rng;
    tl_rng_seed(&rng, 21, 0);
    for (unsigned k = 0; k < 2; k++) {
        for (int i = 0; i < RUNS; i++) runs[i] = run_rate(&rng, 0.05, 0.05, propensity[k], 500);
        expect_mean_at_least(runs, 500);
    }
    for (int i = 0; i < RUNS; i++) runs[i] = run_mean(&rng, 0.5, 500);
    expect_mean_at_least(runs, 500);
}

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int median(int *runs)
{
    qsort(runs, RUNS, sizeof runs[0], compare_ints);
    return runs[RUNS / 2];
}

/* Promised .8 %, A = 1e5: labels until the alarm at 10, 4 and 2 times the rate. */
static void delay_with_a_cause(void **state)
{
    (void)state;
    static int runs[RUNS];
    static const struct {
        double times;
        int labels;
    } table[] = { { 10, 100 }, { 4, 400 }, { 2, 2000 } };
    tl_rng rng;
    tl_rng_seed(&rng, 22, 0);
    for (unsigned k = 0; k < 3; k++) {
        for (int i = 0; i < RUNS; i++)
            runs[i] = run_rate(&rng, 0.008, 0.008 * table[k].times, 1, 1e5);
        assert_true(median(runs) <= table[k].labels);
    }
    for (int i = 0; i < RUNS; i++) runs[i] = run_mean(&rng, 0.85, 1e5);
    assert_true(median(runs) <= 50);
}

/* The linear form is the likelihood ratio. */
static void stakes_are_likelihood_ratios(void **state)
{
    (void)state;
    tl_detector detector;
    tl_detector_init_rate(&detector, 0.01);
    tl_detector_step(&detector, 1, 1);
    assert_true(fabs(detector.m[0] - 1.5) < 1e-12);
    assert_true(fabs(detector.m[4] - 10) < 1e-12);
    tl_detector_restart(&detector);
    tl_detector_step(&detector, 0, 1);
    assert_true(fabs(detector.m[2] - 0.97 / 0.99) < 1e-12);
    tl_detector_init_rate(&detector, 0.5); /* ten times the rate is no rate */
    tl_detector_step(&detector, 0, 1);
    assert_true(detector.m[4] > 0);
}

static void a_saved_one_goes_on_bit_by_bit(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        tl_detector detector, loaded;
        if (which == 0) tl_detector_init_rate(&detector, 0.03);
        if (which == 1) tl_detector_init_mean(&detector);
        for (int t = 0; t < 50; t++) tl_detector_step(&detector, t % 7 == 0, 1);
        tl_blob blob;
        tl_blob_init(&blob);
        tl_detector_save(&detector, &blob);
        tl_blob_reader reader;
        tl_blob_reader_init(&reader, blob.data, blob.bytes);
        assert_int_equal(tl_detector_load(&loaded, &reader, NULL), TL_OK);
        tl_detector_step(&detector, 1, 1);
        tl_detector_step(&loaded, 1, 1);
        assert_true(tl_detector_value(&detector) == tl_detector_value(&loaded));
        assert_int_equal(loaded.steps, 51);
        detector.m[2] = -1;
        blob.bytes = 0;
        tl_detector_save(&detector, &blob);
        tl_blob_reader_init(&reader, blob.data, blob.bytes);
        assert_int_equal(tl_detector_load(&loaded, &reader, NULL), TL_ECORRUPT);
        tl_blob_destroy(&blob);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_length_is_at_least_what_was_asked),
        cmocka_unit_test(delay_with_a_cause),
        cmocka_unit_test(stakes_are_likelihood_ratios),
        cmocka_unit_test(a_saved_one_goes_on_bit_by_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
