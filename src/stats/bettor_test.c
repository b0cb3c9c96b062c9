/* The bettor: against its formula, what it promises by simulation, and saving. */
#include "stats/bettor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"

static void stakes_are_spaced_evenly(void **state)
{
    (void)state;
    const double *stakes = tl_bettor_stakes();
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++)
        assert_true(fabs(stakes[j] - 0.02 * pow(47.5, j / 15.0)) < 1e-12);
}

/* Long enough that single wealths leave the range of doubles. */
static void it_is_the_mean_of_products(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    tl_bettor bettor;
    tl_bettor_init(&bettor);
    double logs[TL_BETTOR_STAKES] = { 0 };
    for (int t = 0; t < 3000; t++) {
        double x = 2 * tl_rng_unit(&rng) - 1.1;
        if (x < -1) x = -1;
        tl_bettor_bet(&bettor, x);
        for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) logs[j] += log1p(tl_bettor_stakes()[j] * x);
        if (t % 137 != 0) continue;
        double top = logs[0], sum = 0;
        for (unsigned j = 1; j < TL_BETTOR_STAKES; j++) top = fmax(top, logs[j]);
        for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
            sum += exp(logs[j] - top);
            assert_true(fabs(tl_bettor_log_wealth(&bettor, j) - logs[j]) < 1e-8);
        }
        assert_true(fabs(tl_bettor_log_e(&bettor) - top - log(sum / TL_BETTOR_STAKES)) < 1e-8);
    }
}

static bool ever_reaches(tl_rng *rng, double wins, double threshold, int count, int *when)
{
    tl_bettor bettor;
    tl_bettor_init(&bettor);
    for (int t = 1; t <= count; t++) {
        tl_bettor_bet(&bettor, tl_rng_unit(rng) < wins ? 1 : -1);
        if (tl_bettor_log_e(&bettor) < threshold) continue;
        *when = t;
        return true;
    }
    return false;
}

/* Fair coins, looked at after each: at most .05 of the series, and not much less. */
static void continuous_looking_is_paid_for(void **state)
{
    (void)state;
    enum { SERIES = 4000 };
    tl_rng rng;
    tl_rng_seed(&rng, 11, 1);
    int rejected = 0, when;
    for (int i = 0; i < SERIES; i++) rejected += ever_reaches(&rng, 0.5, log(20), 1000, &when);
    double share = (double)rejected / SERIES;
    assert_true(share <= 0.05 + 2 * sqrt(0.05 * 0.95 / SERIES));
    assert_true(share >= 0.01);
}

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* The median number of observations for wins of .85, at two thresholds. */
static void power(void **state)
{
    (void)state;
    enum { SERIES = 1001 };
    static const struct {
        double threshold;
        int median;
    } table[] = { { 41, 20 }, { 2e6, 64 } };
    for (unsigned k = 0; k < 2; k++) {
        tl_rng rng;
        tl_rng_seed(&rng, 12, k);
        int when[SERIES];
        for (int i = 0; i < SERIES; i++)
            assert_true(ever_reaches(&rng, 0.85, log(table[k].threshold), 100000, &when[i]));
        qsort(when, SERIES, sizeof when[0], compare_ints);
        assert_true(when[SERIES / 2] <= table[k].median);
    }
}

static void a_saved_one_goes_on_bit_by_bit(void **state)
{
    (void)state;
    tl_bettor bettor, loaded;
    tl_bettor_init(&bettor);
    for (int t = 0; t < 77; t++) tl_bettor_bet(&bettor, t % 5 == 0 ? -1 : 0.3);
    tl_blob blob;
    tl_blob_init(&blob);
    tl_bettor_save(&bettor, &blob);
    tl_blob_reader reader;
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_bettor_load(&loaded, &reader, NULL), TL_OK);
    for (int t = 0; t < 50; t++) {
        tl_bettor_bet(&bettor, 0.1);
        tl_bettor_bet(&loaded, 0.1);
    }
    assert_memory_equal(&bettor.log_wealth, &loaded.log_wealth, sizeof bettor.log_wealth);
    assert_true(tl_bettor_log_e(&bettor) == tl_bettor_log_e(&loaded));
    bettor.log_wealth[3] = NAN;
    blob.bytes = 0;
    tl_bettor_save(&bettor, &blob);
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_bettor_load(&loaded, &reader, NULL), TL_ECORRUPT);
    tl_blob_destroy(&blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stakes_are_spaced_evenly),
        cmocka_unit_test(it_is_the_mean_of_products),
        cmocka_unit_test(continuous_looking_is_paid_for),
        cmocka_unit_test(power),
        cmocka_unit_test(a_saved_one_goes_on_bit_by_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
