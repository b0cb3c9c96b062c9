/* What a promise takes: known numbers, and that intervals are then reached. */
#include "stats/estimate/needed.h"

#include "stats/bettor.h"
#include "stats/estimate/confidence.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void close_to(double value, double wanted, double tolerance)
{
    if (!(fabs(value - wanted) <= tolerance)) fail_msg("got %.12g, want %.12g", value, wanted);
}

static void audits_reach_their_interval(void **state)
{
    (void)state;
    close_to(tl_needed_audits(0, 1e-3, 0.95, false), 2995, 0); /* ln .05 / ln .999 */
    for (double bound = 1e-3; bound < 0.2; bound *= 3) {
        double n = tl_needed_audits(0, bound, 0.95, true);
        assert_true(tl_beta_binomial_interval(0, (uint64_t)n, 0.95).high <= bound * (1 + 1e-9));
        assert_true(tl_beta_binomial_interval(0, (uint64_t)n - 1, 0.95).high > bound);
        assert_true(n > 1.5 * tl_needed_audits(0, bound, 0.95, false));
        double some = tl_needed_audits(bound / 2, bound, 0.95, true);
        assert_true(some > n);
    }
    close_to(tl_needed_audits(0, 1e-3, 0.95, true), 8062, 0);
    assert_true(isinf(tl_needed_audits(0.01, 0.01, 0.95, true)));
    assert_true(isinf(tl_needed_audits(0.02, 0.01, 0.95, false)));
}

static void audits_that_were_made_count(void **state)
{
    (void)state;
    close_to(tl_needed_more_audits(0, 3000, 0, 1e-3, 0.95, false), 0, 0);
    close_to(tl_needed_more_audits(0, 1000, 0, 1e-3, 0.95, true), 7062, 0);
    double clean = tl_needed_more_audits(0, 1000, 0, 0.01, 0.95, true);
    double marred = tl_needed_more_audits(12, 1000, 0, 0.01, 0.95, true);
    assert_true(marred > clean + 500);
    uint64_t all = 1000 + (uint64_t)marred;
    close_to(tl_beta_binomial_interval(12, all, 0.95).high, 0.01, 1e-5);
}

static void defects_as_the_bettor_needs_them(void **state)
{
    (void)state;
    double n = tl_needed_defects(0, 0.01, 0.95, 1.0);
    close_to(n, 554, 1);
    tl_bettor bettor;
    tl_bettor_init(&bettor);
    unsigned bets = 0;
    while (tl_bettor_log_e(&bettor) < log(20.0)) {
        tl_bettor_bet(&bettor, 0.01 / 0.99);
        bets++;
    }
    close_to(n, bets, 0);
    close_to(tl_needed_defects(0.003, 0.01, 0.95, 1.0), 1209, 30); /* simulated otherwise */
    close_to(tl_needed_defects(0.01, 0.05, 0.95, 1.0), 159, 10);
    assert_true(tl_needed_defects(0.003, 0.01, 0.95, 0.02) > 27600);
    assert_true(isinf(tl_needed_defects(0.00999, 0.01, 0.95, 1.0)));
    close_to(tl_needed_defects(0, 0.01, 0.95, 0.02), 27600, 200);
    close_to(tl_needed_defects(0, 0.01, 0.95, 0.1), 5500, 50);
    assert_true(isinf(tl_needed_defects(0.01, 0.01, 0.95, 1.0)));
}

static void audit_rates(void **state)
{
    (void)state;
    close_to(tl_needed_audit_rate(1e-3, 5e-4, 5e5, 0.95, true), 0.135, 1e-3);
    close_to(tl_needed_audit_rate(1e-3, 5e-4, 5e5, 0.95, false), 0.0307, 1e-4);
    close_to(tl_needed_audit_rate(0.5, 1e-4, 1000, 0.95, false), 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(audits_reach_their_interval),
        cmocka_unit_test(audits_that_were_made_count),
        cmocka_unit_test(defects_as_the_bettor_needs_them),
        cmocka_unit_test(audit_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
