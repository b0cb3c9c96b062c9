/* The limits of a gain: against the bets themselves, and their coverage. */
#include "gate/claim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"

enum { UNITS = 600 };
static const double N = 0.05; /* items of a unit, over the bound */

/* The limit from the sums is below that from the bets placed at every gain, and not far. */
static void the_limit_is_safe_and_tight(void **state)
{
    (void)state;
    tl_rng rng;
    tl_rng_seed(&rng, 1, 0);
    double z[UNITS];
    tl_claim *claim = malloc(sizeof *claim);
    assert_non_null(claim);
    tl_claim_init(claim);
    for (unsigned i = 0; i < UNITS; i++) {
        double u = tl_rng_unit(&rng);
        z[i] = u < 0.12 ? 0.9 : u < 0.15 ? -0.9 : 0;
        tl_claim_bet(claim, z[i], z[i], N);
    }
    double limit = tl_limit_low(&claim->limit, log(40), 1), exact = -1;
    for (double gain = -1; gain < 1; gain += 0.001) { /* the largest that the bets reject */
        tl_bettor bettor;
        tl_bettor_init(&bettor);
        bool possible = true;
        for (unsigned i = 0; i < UNITS; i++) {
            possible = possible && z[i] - gain * N >= -1;
            if (possible) tl_bettor_bet(&bettor, z[i] - gain * N);
        }
        if (possible && tl_bettor_log_e(&bettor) >= log(40)) exact = gain;
    }
    assert_true(exact > 0.5);
    assert_true(limit <= exact + 0.001);
    assert_true(limit >= exact - 0.1 * fabs(exact));
    free(claim);
}

/* Both limits, looked at after every unit: the truth is ever missed in at most 5 % of the series. */
static void the_truth_is_covered_at_all_times(void **state)
{
    (void)state;
    enum { SERIES = 200 };
    tl_rng rng;
    tl_rng_seed(&rng, 2, 0);
    tl_claim *better = malloc(sizeof *better), *worse = malloc(sizeof *worse);
    assert_non_null(better);
    assert_non_null(worse);
    unsigned missed = 0;
    for (unsigned s = 0; s < SERIES; s++) {
        tl_claim_init(better);
        tl_claim_init(worse);
        bool miss = false;
        for (unsigned i = 0; i < 200; i++) {
            double u = tl_rng_unit(&rng), z = u < 0.2 ? 0.8 : u < 0.3 ? -0.8 : 0;
            tl_claim_bet(better, z, z, N);
            tl_claim_bet(worse, -z, -z, N);
            if (i % 10 != 9) continue;
            double truth = 0.08 / N;
            miss = miss || tl_limit_low(&better->limit, log(40), 4) > truth ||
                   -tl_limit_low(&worse->limit, log(40), 4) < truth;
        }
        missed += miss;
    }
    assert_true(missed <= SERIES * (0.05 + 2 * sqrt(0.05 * 0.95 / SERIES)));
    free(better);
    free(worse);
}

static void without_evidence_everything_is_possible(void **state)
{
    (void)state;
    tl_claim *claim = malloc(sizeof *claim);
    assert_non_null(claim);
    tl_claim_init(claim);
    assert_true(tl_limit_low(&claim->limit, log(40), 1) == -1);
    assert_true(tl_claim_growth(claim, 0) == 0);
    free(claim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_is_safe_and_tight),
        cmocka_unit_test(the_truth_is_covered_at_all_times),
        cmocka_unit_test(without_evidence_everything_is_possible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
