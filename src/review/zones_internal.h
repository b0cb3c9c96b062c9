/* zones_internal.h - the state of zones.h, shared by its files only. */
#ifndef TL_REVIEW_ZONES_INTERNAL_H
#define TL_REVIEW_ZONES_INTERNAL_H

#include "review/zones.h"
#include "stats/bettor.h"
#include "stats/detector.h"

struct tl_zones {
    tl_zones_policy policy;
    double wealth[TL_ZONES_GRID][TL_BETTOR_STAKES]; /* natural logarithms */
    bool passed[TL_ZONES_GRID];                     /* has ever reached its bound */
    uint32_t certified;                             /* thresholds from the lowest on */
    /* Verified defects by where they score: bin k holds those at or above k thresholds. */
    uint64_t defects[TL_ZONES_GRID + 1];
    double weight[TL_ZONES_GRID + 1]; /* the same, each 1 / propensity */
    uint64_t labels, timeouts;
    double propensity_min; /* of the last unit */
    /* Tracker, in log odds; void while nothing is certified. */
    double track;
    uint64_t track_steps;
    double logit_mean, logit_m2; /* of verified defects' scores */
    uint64_t logit_count;
    tl_detector detector;
    bool alarmed;
};

/* The grid: tenths of log odds around one half. */
double tl_zones_threshold(size_t index);
double tl_zones_logit(double score);
/* How many thresholds are at or below the score: 0..TL_ZONES_GRID. */
size_t tl_zones_bin(double score);

/* ln of the wealth of all bets together. */
double tl_zones_total(const double log_wealth[TL_BETTOR_STAKES]);

/* Defects (occurring, not verified) until wealth that starts at `log_wealth` reaches ln `bound`
 * in the expected case; INFINITY: never. */
double tl_zones_defects_until(const double log_wealth[TL_BETTOR_STAKES], const tl_zones_plan *plan);

#endif
