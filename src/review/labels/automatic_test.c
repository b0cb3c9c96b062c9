/* Automatic labels: only where they are proven right, and no longer than that. */
#include "review/labels/automatic.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void make(tl_automatic *automatic, double precision)
{
    tl_automatic_policy policy = tl_automatic_policy_default();
    policy.precision = precision;
    tl_automatic_init(automatic, &policy);
}

static void audit(tl_automatic *a, tl_rng *rng, int count, double probability, double precision)
{
    for (int i = 0; i < count; i++)
        tl_automatic_audit(a, false, probability, tl_rng_unit(rng) < precision);
}

/* Bins whose precision is just below the bound: at most 5 % of the series certify any, ever. */
static void nothing_false_is_certified(void **state)
{
    (void)state;
    enum { SERIES = 100, BINS = 16, AUDITS = 1500 };
    static tl_automatic a;
    int wrong = 0;
    for (uint64_t s = 0; s < SERIES; s++) {
        tl_rng rng;
        tl_rng_seed(&rng, 51, s);
        make(&a, 0.98);
        bool any = false;
        for (int b = 0; b < BINS && !any; b++) {
            double probability = 1.0 / (1.0 + exp(-0.25 * b - 0.1));
            for (int i = 0; i < AUDITS && !any; i++) {
                audit(&a, &rng, 1, probability, 0.9799);
                any = tl_automatic_weight(&a, false, probability) > 0.0;
            }
        }
        wrong += any;
    }
    assert_true(wrong <= 5 + 2 * sqrt(SERIES * 0.05 * 0.95));
}

static void a_certificate_is_earned_and_lost(void **state)
{
    (void)state;
    static tl_automatic a;
    tl_rng rng;
    tl_rng_seed(&rng, 52, 0);
    make(&a, 0.995);
    tl_automatic_reading reading;
    tl_automatic_read(&a, &reading);
    assert_true(isinf(reading.needed_audits) && isnan(reading.good_above));
    audit(&a, &rng, 500, 0.999, 1.0);
    tl_automatic_read(&a, &reading);
    assert_non_null(strstr(reading.words, "No automatic labels: the nearest bin needs about"));
    double forecast = 500 + reading.needed_audits;
    int count = 500;
    for (; tl_automatic_weight(&a, false, 0.999) == 0.0; count++) audit(&a, &rng, 1, 0.999, 1.0);
    assert_true(fabs(count - forecast) <= 1.0);
    assert_true(count > 1500 && count < 3000);
    assert_true(tl_automatic_weight(&a, false, 0.999) == 0.3);
    assert_true(tl_automatic_weight(&a, true, 0.999) == 0.0); /* the other call */
    assert_true(tl_automatic_weight(&a, false, 0.99) == 0.0); /* another bin */
    assert_true(tl_automatic_weight(&a, false, NAN) == 0.0);
    tl_automatic_read(&a, &reading);
    assert_int_equal(reading.certified, 1);
    assert_true(reading.good_above < 0.999 && reading.good_above > 0.998);
    assert_non_null(strstr(reading.words, "Automatic labels in 1 of 64 bins"));
    audit(&a, &rng, 5000, 0.999, 0.998); /* as it should be: nothing happens */
    assert_true(tl_automatic_weight(&a, false, 0.999) == 0.3);
    for (count = 0; tl_automatic_weight(&a, false, 0.999) > 0.0; count++)
        audit(&a, &rng, 1, 0.999, 0.95);
    assert_true(count < 500);
}

static void calls_below_even_odds_are_ignored(void **state)
{
    (void)state;
    static tl_automatic a;
    make(&a, 0.9);
    for (int i = 0; i < 1000; i++) {
        tl_automatic_audit(&a, true, 0.4, true);
        tl_automatic_audit(&a, true, 1.5, true);
        tl_automatic_audit(&a, true, NAN, true);
    }
    tl_automatic_reading reading;
    tl_automatic_read(&a, &reading);
    assert_int_equal(reading.audits, 0);
    assert_non_null(strstr(reading.words, "nothing is audited yet"));
    for (int i = 0; i < 1000; i++) tl_automatic_audit(&a, true, 1.0, true);
    assert_true(tl_automatic_weight(&a, true, 1.0) == 0.3);
}

static void policies_are_checked(void **state)
{
    (void)state;
    const tl_automatic_policy good = tl_automatic_policy_default();
    assert_null(tl_automatic_policy_check(&good));
    tl_automatic_policy bad[4] = { good, good, good, good };
    bad[0].precision = 1;
    bad[1].confidence = NAN;
    bad[2].weight = 1.5;
    bad[3].alarm_length = 1;
    for (int i = 0; i < 4; i++) assert_non_null(tl_automatic_policy_check(&bad[i]));
}

static void a_saved_state_comes_back(void **state)
{
    (void)state;
    static tl_automatic a, copy;
    tl_rng rng;
    tl_rng_seed(&rng, 53, 0);
    make(&a, 0.95);
    audit(&a, &rng, 800, 0.99, 0.995);
    audit(&a, &rng, 100, 0.6, 0.7);
    tl_blob blob;
    tl_blob_init(&blob);
    tl_automatic_save(&a, &blob);
    tl_blob_reader reader;
    for (size_t cut = 0; cut < blob.bytes; cut += 101) {
        tl_blob_reader_init(&reader, blob.data, cut);
        assert_int_not_equal(tl_automatic_load(&reader, &copy, NULL), TL_OK);
    }
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_automatic_load(&reader, &copy, NULL), TL_OK);
    assert_true(tl_automatic_weight(&copy, false, 0.99) == 0.3);
    tl_rng same = rng;
    audit(&a, &rng, 300, 0.99, 0.9);
    audit(&copy, &same, 300, 0.99, 0.9);
    tl_automatic_reading one, two;
    tl_automatic_read(&a, &one);
    tl_automatic_read(&copy, &two);
    assert_string_equal(one.words, two.words);
    tl_blob_destroy(&blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_false_is_certified),
        cmocka_unit_test(a_certificate_is_earned_and_lost),
        cmocka_unit_test(calls_below_even_odds_are_ignored),
        cmocka_unit_test(policies_are_checked),
        cmocka_unit_test(a_saved_state_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
