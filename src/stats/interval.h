/* interval.h - intervals for shares: so many hits in so many trials. Layer: stats. Any thread.
 *
 * For numbers that are read once, at a fixed count. Numbers that are watched continuously and acted
 * upon need confidence sequences. Plain double arithmetic, no tables. */
#ifndef TL_STATS_INTERVAL_H
#define TL_STATS_INTERVAL_H

#include <stdint.h>

/* 0 <= low <= high <= 1. Without trials: 0..1. */
typedef struct tl_interval {
    double low, high;
} tl_interval;

/* Wilson's score interval (Wilson 1927): close to the nominal coverage on average, never outside
 * 0..1, sensible at 0 and at all hits. hits <= count; confidence in (0, 1), e.g. 0.95. */
tl_interval tl_interval_wilson(uint64_t hits, uint64_t count, double confidence);

/* Clopper and Pearson's interval (1934), from quantiles of the beta distribution: covers at least
 * the nominal share of times, whatever the truth. For promises. Arguments as above. */
tl_interval tl_interval_exact(uint64_t hits, uint64_t count, double confidence);

/* Inverse of the standard normal distribution function; p in (0, 1). Error below 1e-13 relative
 * (rational start, then Halley steps on erfc). */
double tl_normal_quantile(double p);

/* Regularised incomplete beta function I_x(a, b), a, b > 0, x in 0..1: the distribution function of
 * Beta(a, b). Continued fraction by Lentz's method. Error below 1e-12 for a + b up to 1e7. */
double tl_beta_cdf(double a, double b, double x);
/* Inverse of it by bisection and Newton steps; p in 0..1. */
double tl_beta_quantile(double a, double b, double p);

#endif
