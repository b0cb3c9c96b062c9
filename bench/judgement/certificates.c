/* certificates - how many verified defects it takes to certify the share that is missed.
 *
 * Defects arrive one by one; a share of them scores below the threshold, where audits find them with a
 * stated probability; the threshold is certified by src/review/zones.h at 95 % confidence. Median and
 * 90th percentile of verified defects until then, beside the forecast that tl_zones_forecast makes
 * before anything is learned; and the share of series whose truth just misses the promise and that
 * are certified all the same, ever. Peer: equal stakes (tl_needed_defects).
 *
 * usage: certificates [SERIES], default 201
 * quick: 31
 */
#include "base/rng.h"
#include "review/zones.h"
#include "stats/estimate/needed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double WRONG_MAX = 0.05;

typedef struct kind {
    double escapes_max, escapes;
    double floor, band; /* propensities: the least one; that of the defects that are missed */
} kind;

static const kind KINDS[] = {
    { 0.01, 0.000, 1.00, 1.00 }, { 0.01, 0.001, 1.00, 1.00 }, { 0.01, 0.003, 1.00, 1.00 },
    { 0.05, 0.010, 1.00, 1.00 }, { 0.01, 0.000, 0.10, 0.10 }, { 0.01, 0.003, 0.10, 0.10 },
    { 0.01, 0.003, 0.10, 0.50 }, { 0.01, 0.000, 0.02, 0.02 }, { 0.01, 0.003, 0.02, 0.02 },
    { 0.01, 0.003, 0.02, 0.20 },
};

/* Verified defects until 0.1 is certified; `stop` when it is not until then. */
static double run(const kind *k, uint64_t seed, uint64_t stop)
{
    tl_zones_policy policy = tl_zones_policy_default();
    policy.escapes_max = k->escapes_max;
    tl_zones *zones = tl_zones_create(&policy);
    tl_zones_reading reading = { .needed_defects = 1.0 };
    tl_rng rng;
    tl_rng_seed(&rng, 1, seed);
    uint64_t verified = 0;
    while (zones != NULL && reading.needed_defects > 0.0 && verified < stop) {
        bool missed = tl_rng_unit(&rng) < k->escapes;
        double propensity = missed ? k->band : 1.0;
        if (propensity < 1.0 && tl_rng_unit(&rng) >= propensity) continue;
        tl_zones_item item = { missed ? 0.09 : 0.9, true, true, true, propensity, k->floor, 1 };
        if (tl_zones_learn(zones, &item, 1, NULL) != TL_OK) break;
        if (++verified % 8 == 0) tl_zones_read(zones, 0.1, &reading);
    }
    tl_zones_destroy(&zones);
    return (double)verified;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static tl_zones_need forecast(const kind *k)
{
    /* Of a thousand items eight are defects and ten are flagged. */
    tl_zones_plan plan = { .escapes_max = k->escapes_max,
                           .confidence = 0.95,
                           .escapes = k->escapes,
                           .propensity_min = k->floor,
                           .propensity_missed = k->band,
                           .prevalence = 0.008,
                           .flagged = 0.01,
                           .audits = k->floor };
    tl_zones_need need = { NAN, NAN, NAN };
    tl_zones_forecast(&plan, &need, NULL);
    return need;
}

static double measure(const kind *k, double *verified, size_t series)
{
    for (size_t i = 0; i < series; i++) verified[i] = run(k, i, 400000);
    qsort(verified, series, sizeof *verified, ascending);
    tl_zones_need need = forecast(k);
    double median = verified[series / 2],
           peer = tl_needed_defects(k->escapes, k->escapes_max, 0.95, fmin(k->band, k->floor));
    printf("%5.1f %% %6.1f %% %6.0f %% %6.0f %% %9.0f %9.0f %9.0f %9.0f %10.0f %10.0f\n",
           100.0 * k->escapes_max, 100.0 * k->escapes, 100.0 * k->floor, 100.0 * k->band, median,
           verified[series * 9 / 10], need.defects, peer, need.labels, need.items);
    return median / peer;
}

/* The share of series that certify at most 5 % though 5.001 % are missed. */
static double wrong_share(size_t series)
{
    const kind just_not = { 0.05, 0.05001, 0.1, 0.5 };
    const uint64_t stop = 20000;
    size_t wrong = 0;
    for (size_t i = 0; i < series; i++) wrong += run(&just_not, i, stop) < (double)stop;
    return (double)wrong / (double)series;
}

int main(int argc, char **argv)
{
    size_t series = argc > 1 ? strtoul(argv[1], NULL, 10) : 201;
    double *verified = series > 0 ? malloc(series * sizeof *verified) : NULL;
    if (verified == NULL) {
        fprintf(stderr, "usage: certificates [SERIES], at least 1\n");
        return 2;
    }
    printf("promise missed  least    band    median  90 %% of  forecast     equal     labels"
           "      items\n"
           "                audits  audits   defects    series              stakes   (0.8 %% are "
           "defects)\n");
    double ratio = 0.0;
    for (size_t i = 0; i < TL_COUNT_OF(KINDS); i++) {
        double one = measure(&KINDS[i], verified, series);
        if (i == 0) ratio = one;
    }
    double wrong = wrong_share(series);
    double most = WRONG_MAX + 2.0 * sqrt(WRONG_MAX * (1.0 - WRONG_MAX) / (double)series);
    printf("{\"bench\": \"certificates\", \"figures\": {\"series\": %zu, \"wrong_share\": %.4f, "
           "\"wrong_share_max\": %.4f, \"defects_over_equal_stakes\": %.3f}, \"ratio\": %.4f, "
           "\"bar\": %.3f, \"met\": %s}\n",
           series, wrong, most, ratio, wrong, WRONG_MAX, wrong <= most ? "true" : "false");
    free(verified);
    return 0;
}
