/* Intervals against published values. */
#include "stats/interval.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void close_to(double value, double wanted, double tolerance)
{
    if (!(fabs(value - wanted) <= tolerance)) fail_msg("got %.15g, want %.15g", value, wanted);
}

static void normal_quantiles(void **state)
{
    (void)state;
    close_to(tl_normal_quantile(0.975), 1.9599639845400542, 1e-13);
    close_to(tl_normal_quantile(0.5), 0.0, 1e-15);
    close_to(tl_normal_quantile(0.025), -1.9599639845400542, 1e-13);
    close_to(tl_normal_quantile(0.9995), 3.2905267314918945, 1e-12);
    close_to(tl_normal_quantile(1e-12), -7.034483825301132, 1e-11);
}

static void beta_distribution(void **state)
{
    (void)state;
    close_to(tl_beta_cdf(1, 1, 0.3), 0.3, 1e-14);
    close_to(tl_beta_cdf(2, 3, 0.4), 0.5248, 1e-13);         /* 6x^2 - 8x^3 + 3x^4 */
    close_to(tl_beta_cdf(0.5, 0.5, 0.25), 1.0 / 3.0, 1e-13); /* arcsine law */
    close_to(tl_beta_cdf(5, 2, 0), 0, 0);
    close_to(tl_beta_cdf(5, 2, 1), 1, 0);
    for (double p = 0.001; p < 1; p += 0.0399) {
        close_to(tl_beta_cdf(30, 4.5, tl_beta_quantile(30, 4.5, p)), p, 1e-12);
        /* symmetry */
        close_to(tl_beta_quantile(30, 4.5, p), 1 - tl_beta_quantile(4.5, 30, 1 - p), 1e-12);
    }
    /* The middle of a huge distribution: median (a - 1/3) / (a + b - 2/3) up to O(1/n^2). */
    close_to(tl_beta_quantile(3e6, 1e6, 0.5), (3e6 - 1.0 / 3) / (4e6 - 2.0 / 3), 1e-10);
}

/* Newcombe 1998, Statistics in Medicine 17, table I: methods 3 (Wilson) and 5 (Clopper-Pearson). */
static void published_intervals(void **state)
{
    (void)state;
    static const struct {
        unsigned hits, count;
        double wilson[2], exact[2];
    } table[] = {
        { 81, 263, { .2553, .3662 }, { .2527, .3676 } },
        { 15, 148, { .0624, .1605 }, { .0578, .1617 } },
        { 0, 20, { .0000, .1611 }, { .0000, .1684 } },
        { 1, 29, { .0061, .1718 }, { .0009, .1776 } },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        tl_interval wilson = tl_interval_wilson(table[i].hits, table[i].count, 0.95);
        tl_interval exact = tl_interval_exact(table[i].hits, table[i].count, 0.95);
        close_to(wilson.low, table[i].wilson[0], 5.1e-5);
        close_to(wilson.high, table[i].wilson[1], 5.1e-5);
        close_to(exact.low, table[i].exact[0], 5.1e-5);
        close_to(exact.high, table[i].exact[1], 5.1e-5);
    }
}

static void ends_and_mirror(void **state)
{
    (void)state;
    tl_interval nothing = tl_interval_wilson(0, 0, 0.95);
    close_to(nothing.low, 0, 0);
    close_to(nothing.high, 1, 0);
    nothing = tl_interval_exact(0, 0, 0.95);
    close_to(nothing.low, 0, 0);
    close_to(nothing.high, 1, 0);
    close_to(tl_interval_wilson(7, 7, 0.95).high, 1, 0);
    close_to(tl_interval_wilson(0, 7, 0.95).low, 0, 0);
    /* All hits, exact: (alpha/2)^(1/n). */
    close_to(tl_interval_exact(994, 994, 0.95).low, pow(0.025, 1.0 / 994), 1e-12);
    for (unsigned hits = 0; hits <= 13; hits++) {
        tl_interval a = tl_interval_wilson(hits, 13, 0.9),
                    b = tl_interval_wilson(13 - hits, 13, 0.9);
        close_to(a.low, 1 - b.high, 1e-14);
        a = tl_interval_exact(hits, 13, 0.9);
        b = tl_interval_exact(13 - hits, 13, 0.9);
        close_to(a.low, 1 - b.high, 1e-12);
    }
}

/* Clopper and Pearson's promise, summed over all outcomes: at every truth at least 95 %. */
static void exact_interval_covers(void **state)
{
    (void)state;
    enum { N = 25 };
    for (double p = 0.02; p < 1; p += 0.02) {
        double chance = pow(1 - p, N), covered = 0;
        for (unsigned k = 0; k <= N; k++) {
            tl_interval in = tl_interval_exact(k, N, 0.95);
            if (in.low <= p && p <= in.high) covered += chance;
            chance *= (double)(N - k) / (k + 1) * p / (1 - p);
        }
        assert_true(covered >= 0.95 - 1e-9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_quantiles),      cmocka_unit_test(beta_distribution),
        cmocka_unit_test(published_intervals),   cmocka_unit_test(ends_and_mirror),
        cmocka_unit_test(exact_interval_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
