/* Conformal p-values: ranks, uniformity, run length without a change, delay after one, saving. */
#include "stats/score/conformal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void close_to(double value, double wanted, double tolerance)
{
    if (!(fabs(value - wanted) <= tolerance)) fail_msg("got %.12g, want %.12g", value, wanted);
}

/* 33 KB: one for all tests. */
static tl_conformal c;

static void p_values_are_ranks(void **state)
{
    (void)state;
    tl_conformal_init(&c, 0, 1, 1);
    double scores[500];
    for (int i = 0; i < 500; i++) {
        scores[i] = fmod(i * 0.6180339887, 1.0);
        double p = tl_conformal_step(&c, scores[i]);
        double above = 0;
        for (int k = 0; k < i; k++) above += scores[k] > scores[i];
        /* Its own place, and ties of a bin, by lot. */
        assert_true(p > above / (i + 1) - 2e-12 - 2.0 / (i + 1) && p <= (above + 3) / (i + 1));
        assert_true(p > 0 && p <= 1);
    }
    assert_int_equal(c.count, 500);
    double strange = tl_conformal_step(&c, INFINITY), usual = tl_conformal_step(&c, -5);
    assert_true(strange < 0.005 && usual > 0.99);
    assert_true(tl_conformal_step(&c, NAN) < 0.01);
}

/* Many ties, a skewed distribution: uniform all the same, and no memory of the last one. */
static void p_values_are_uniform_and_independent(void **state)
{
    (void)state;
    enum { N = 40000, CELLS = 10 };
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    tl_conformal_init(&c, 0, 10, 3);
    double cells[CELLS] = { 0 }, product = 0, last = 0.5;
    for (int i = 0; i < N; i++) {
        double score = tl_rng_unit(&rng) < 0.4 ? 0 : -2 * log(1 - tl_rng_unit(&rng));
        double p = tl_conformal_step(&c, score);
        cells[(int)fmin(p * CELLS, CELLS - 1)]++;
        product += (p - 0.5) * (last - 0.5);
        last = p;
    }
    double chi = 0;
    for (int i = 0; i < CELLS; i++) chi += pow(cells[i] - N / CELLS, 2) / (N / CELLS);
    assert_true(chi < 21.7); /* 1 % of chi squared with 9 degrees of freedom */
    close_to(product / N * 12, 0, 3 / sqrt(N));
}

/* Items until the detector passes a, at most `most`; scores move by `shift` after `change`. */
static unsigned run_until(double a, unsigned most, unsigned change, double shift, uint64_t seed)
{
    tl_rng rng;
    tl_rng_seed(&rng, seed, 7);
    tl_conformal_init(&c, -6, 10, seed);
    for (unsigned i = 1; i <= most; i++) {
        tl_conformal_step(&c, tl_rng_normal(&rng) + (i > change ? shift : 0));
        if (tl_conformal_value(&c) >= a) return i;
    }
    return most;
}

static void run_length_is_as_promised(void **state)
{
    (void)state;
    enum { RUNS = 200, A = 500 };
    double sum = 0, square = 0;
    for (uint64_t run = 0; run < RUNS; run++) {
        double length = run_until(A, 20 * A, UINT32_MAX, 0, 100 + run);
        sum += length;
        square += length * length;
    }
    double mean = sum / RUNS, error = sqrt((square / RUNS - mean * mean) / RUNS);
    assert_true(mean + 2 * error >= A);
    assert_true(mean < 12 * A); /* and not for nothing */
}

static int ascending(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

static void a_change_is_found(void **state)
{
    (void)state;
    enum { RUNS = 51, CHANGE = 2000 };
    static const struct {
        double shift;
        unsigned median, last;
    } table[] = { { 0.5, 150, 1000 }, { 1.0, 40, 150 }, { 2.0, 12, 40 } };
    for (int k = 0; k < 3; k++) {
        unsigned delays[RUNS];
        for (uint64_t run = 0; run < RUNS; run++)
            delays[run] = run_until(1e5, CHANGE + 5000, CHANGE, table[k].shift, 400 + run) - CHANGE;
        qsort(delays, RUNS, sizeof delays[0], ascending);
        if (delays[RUNS / 2] > table[k].median || delays[RUNS - 1] > table[k].last)
            fail_msg("shift %g: found after %u in the median, %u at last", table[k].shift,
                     delays[RUNS / 2], delays[RUNS - 1]);
    }
}

static void a_reset_forgets(void **state)
{
    (void)state;
    run_until(1e5, 3000, 2000, 2.0, 9);
    assert_true(tl_conformal_value(&c) >= 1e5);
    tl_conformal_reset(&c);
    assert_int_equal(c.count, 0);
    tl_conformal_step(&c, 3);
    assert_int_equal(c.count, 1);
    assert_true(tl_conformal_value(&c) < 100);
}

static void states_come_back(void **state)
{
    (void)state;
    static tl_conformal back;
    run_until(1e9, 1000, 2000, 0, 11);
    for (int damage = 3; damage >= 0; damage--) {
        tl_conformal good = c;
        if (damage == 1) c.m[2] = NAN;
        if (damage == 2) c.high = c.low;
        if (damage == 3) c.tree[1] += UINT64_C(1) << 60;
        tl_blob blob;
        tl_blob_init(&blob);
        tl_conformal_save(&c, &blob);
        tl_blob_reader reader;
        tl_blob_reader_init(&reader, blob.data, blob.bytes);
        assert_int_equal(tl_conformal_load(&reader, &back, NULL),
                         damage == 0 ? TL_OK : TL_ECORRUPT);
        tl_blob_destroy(&blob);
        c = good;
    }
    assert_int_equal(back.count, c.count);
    for (int i = 0; i < 100; i++)
        close_to(tl_conformal_step(&back, i * 0.03), tl_conformal_step(&c, i * 0.03), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p_values_are_ranks),
        cmocka_unit_test(p_values_are_uniform_and_independent),
        cmocka_unit_test(run_length_is_as_promised),
        cmocka_unit_test(a_change_is_found),
        cmocka_unit_test(a_reset_forgets),
        cmocka_unit_test(states_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
