/* Confidence sequences: published and closed-form values, coverage at every look, damage. */
#include "stats/estimate/confidence.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { RUNS = 400, LENGTH = 1000 };

static void close_to(double value, double wanted, double tolerance)
{
    if (!(fabs(value - wanted) <= tolerance)) fail_msg("got %.12g, want %.12g", value, wanted);
}

/* More than the nominal share and two Monte Carlo errors. */
static void assert_mostly(unsigned missed, unsigned runs)
{
    double limit = 0.05 * runs + 2.0 * sqrt(0.05 * 0.95 * runs);
    if (missed > limit)
        fail_msg("%u of %u runs missed the truth, at most %.0f", missed, runs, limit);
}

static void beta_binomial_agrees_with_its_formula(void **state)
{
    (void)state;
    /* B(1/2, 3/2) / B(1/2, 1/2) = 1/2: one failure. */
    close_to(tl_beta_binomial_log_e(0, 1, 0.25), log(0.5 / 0.75), 1e-12);
    close_to(tl_beta_binomial_log_e(3, 7, 0.3), tl_beta_binomial_log_e(4, 7, 0.7), 1e-12);
    assert_true(isinf(tl_beta_binomial_log_e(1, 2, 0.0)));
    tl_interval in = tl_beta_binomial_interval(40, 1000, 0.95);
    close_to(tl_beta_binomial_log_e(40, 1000, in.low), log(20.0), 1e-6);
    close_to(tl_beta_binomial_log_e(40, 1000, in.high), log(20.0), 1e-6);
    assert_true(in.low > 0.02 && in.low < 0.04 && in.high > 0.04 && in.high < 0.07);
    in = tl_beta_binomial_interval(0, 8071, 0.95); /* that many audits without a miss: 1 in 1,000 */
    close_to(in.high, 0.001, 2e-6);
    close_to(in.low, 0.0, 0.0);
    in = tl_beta_binomial_interval(0, 0, 0.95);
    close_to(in.high - in.low, 1.0, 0.0);
}

/* Any stake's wealth against the truth has mean 1: summed over all outcomes of a few trials. */
static void bets_are_fair(void **state)
{
    (void)state;
    enum { N = 12 };
    double p = 0.2, chance = pow(1 - p, N), above = 0, below = 0;
    for (unsigned k = 0; k <= N; k++) {
        tl_payoff payoffs[] = { { k, 1, 1 }, { N - k, 0, 1 } };
        above += chance * exp(tl_betting_log_e_above(payoffs, 2, 1.0, p));
        below += chance * exp(tl_betting_log_e_below(payoffs, 2, 1.0, p));
        chance *= (double)(N - k) / (k + 1) * p / (1 - p);
    }
    close_to(above, 1.0, 1e-12);
    close_to(below, 1.0, 1e-12);
}

static void splitting_a_value_costs_next_to_nothing(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    static tl_payoff exact[LENGTH];
    static tl_mean mean;
    mean = (tl_mean){ 0 };
    for (int i = 0; i < LENGTH; i++) {
        double u = tl_rng_unit(&rng), x = 0.3 + 0.4 * u * u;
        exact[i] = (tl_payoff){ 1, x, 1 };
        tl_mean_add(&mean, x);
    }
    tl_interval a = tl_mean_interval(&mean, 0.95);
    tl_interval b = tl_betting_interval(exact, LENGTH, 1, 1, 0.95);
    assert_true(a.low <= b.low + 1e-9 && a.high >= b.high - 1e-9); /* never narrower */
    close_to(a.low, b.low, 5e-4);
    close_to(a.high, b.high, 5e-4);
    tl_mean doubled = mean;
    tl_mean_merge(&doubled, &mean);
    tl_interval c = tl_mean_interval(&doubled, 0.95);
    assert_true(c.high - c.low < 0.8 * (a.high - a.low));
    assert_true(tl_mean_covers(&mean, 0.5 * (a.low + a.high), 0.95));
    assert_false(tl_mean_covers(&mean, a.low, 0.95));
    assert_false(tl_mean_covers(&mean, a.high, 0.95));
}

/* Few losses of any size, as costs are: looked at after every value. */
static double rare_loss(tl_rng *rng)
{
    return tl_rng_unit(rng) < 0.1 ? tl_rng_unit(rng) : 0.0;
}

static void intervals_hold_at_every_look(void **state)
{
    (void)state;
    unsigned missed_mean = 0, missed_share = 0, missed_running = 0;
    double width = 0;
    for (unsigned run = 0; run < RUNS; run++) {
        tl_rng rng;
        tl_rng_seed(&rng, 2, run);
        tl_mean mean = { 0 };
        tl_running_mean running = { 0 };
        uint64_t hits = 0;
        double truths = 0;
        bool out[3] = { false };
        for (unsigned i = 1; i <= LENGTH; i++) {
            double p = 0.3 + 0.25 * sin(i / 80.0); /* moves */
            truths += p;
            tl_running_mean_add(&running, tl_rng_unit(&rng) < p);
            out[0] |= !tl_running_mean_covers(&running, truths / i, 0.95);
            hits += tl_rng_unit(&rng) < 0.02;
            out[1] |= tl_beta_binomial_log_e((double)hits, i, 0.02) >= log(20.0);
            tl_mean_add(&mean, rare_loss(&rng));
            if (i % 10 == 0) out[2] |= !tl_mean_covers(&mean, 0.05, 0.95);
        }
        missed_running += out[0];
        missed_share += out[1];
        missed_mean += out[2];
        if (run == 0) width = tl_running_mean_interval(&running, 0.95).high;
    }
    assert_mostly(missed_running, RUNS);
    assert_mostly(missed_share, RUNS);
    assert_mostly(missed_mean, RUNS);
    assert_true(width < 0.4);
}

/* A promise that costs everything is no use: within 2.5 times of an interval for one look. */
static void intervals_are_narrow(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 3, 0);
    tl_mean mean = { 0 };
    tl_running_mean running = { 0 };
    double sum = 0, squares = 0;
    enum { N = 20000 };
    for (unsigned i = 0; i < N; i++) {
        double x = rare_loss(&rng);
        tl_mean_add(&mean, x);
        tl_running_mean_add(&running, x);
        sum += x;
        squares += x * x;
    }
    double variance = squares / N - sum / N * (sum / N), wald = 2 * 1.96 * sqrt(variance / N);
    tl_interval a = tl_mean_interval(&mean, 0.95), b = tl_running_mean_interval(&running, 0.95);
    assert_true(a.high - a.low < 2.5 * wald && a.low < 0.05 && a.high > 0.05);
    assert_true(b.high - b.low < 2.5 * wald && b.low < 0.05 && b.high > 0.05);
}

static void nothing_seen_says_nothing(void **state)
{
    (void)state;
    tl_mean mean = { 0 };
    tl_running_mean running = { 0 };
    close_to(tl_mean_interval(&mean, 0.95).low, 0, 0);
    close_to(tl_mean_interval(&mean, 0.95).high, 1, 0);
    close_to(tl_running_mean_interval(&running, 0.95).low, 0, 0);
    close_to(tl_running_mean_interval(&running, 0.95).high, 1, 0);
    tl_mean_add(&mean, NAN);
    tl_mean_add(&mean, 7.0);
    close_to(mean.sum, 1.0, 0);
}

static void states_come_back(void **state)
{
    (void)state;
    tl_mean mean = { 0 }, mean_read;
    tl_running_mean running = { 0 }, running_read;
    for (int i = 0; i < 50; i++) {
        tl_mean_add(&mean, i / 49.0);
        tl_running_mean_add(&running, i / 49.0);
    }
    tl_blob blob;
    tl_blob_init(&blob);
    tl_mean_save(&mean, &blob);
    tl_running_mean_save(&running, &blob);
    running.squares = -1.0;
    tl_running_mean_save(&running, &blob);
    mean.cells[3] = NAN;
    tl_mean_save(&mean, &blob);
    assert_true(tl_blob_ok(&blob));
    tl_blob_reader reader;
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    assert_int_equal(tl_mean_load(&reader, &mean_read, NULL), TL_OK);
    close_to(mean_read.sum, 25.0, 1e-9);
    close_to(mean_read.cells[TL_MEAN_CELLS], 1.0, 1e-9);
    assert_int_equal(tl_running_mean_load(&reader, &running_read, NULL), TL_OK);
    assert_int_equal(running_read.count, 50);
    assert_int_equal(tl_running_mean_load(&reader, &running_read, NULL), TL_ECORRUPT);
    assert_int_equal(tl_mean_load(&reader, &mean_read, NULL), TL_ECORRUPT);
    assert_int_equal(tl_mean_load(&reader, &mean_read, NULL), TL_ECORRUPT); /* nothing left */
    tl_blob_destroy(&blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beta_binomial_agrees_with_its_formula),
        cmocka_unit_test(bets_are_fair),
        cmocka_unit_test(splitting_a_value_costs_next_to_nothing),
        cmocka_unit_test(intervals_hold_at_every_look),
        cmocka_unit_test(intervals_are_narrow),
        cmocka_unit_test(nothing_seen_says_nothing),
        cmocka_unit_test(states_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
