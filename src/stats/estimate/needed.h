/* needed.h - how many labels a wanted promise takes, before it is asked for. Layer: stats. Pure.
 *
 * Two kinds of promise: read once, at a count that was fixed before (exact binomial), or watched all
 * the time and stopped when it is reached (anytime, as all figures of a running loop are). INFINITY:
 * never, because the share is not below the bound, or too close to it to say. */
#ifndef TL_STATS_NEEDED_H
#define TL_STATS_NEEDED_H

#include <stdbool.h>
#include <stdint.h>

/* Independent audits, all told, until "at most `bound`" holds at `confidence`, when exactly
 * `share` of them are hits. 0 <= share < 1, bound in (0, 1), confidence in (0, 1). Anytime: the
 * beta-binomial mixture (confidence.h). Without a hit, bound 1e-3: 8,062 anytime, 2,995 once. */
double tl_needed_audits(double share, double bound, double confidence, bool anytime);
/* How many more, after `hits` in `count` were seen, if `share` of the others will be. 0: it holds. */
double tl_needed_more_audits(uint64_t hits, uint64_t count, double share, double bound,
                             double confidence, bool anytime);

/* Defects (in the stream, if all that is flagged is verified) until "at most `bound` of the defects
 * are missed" holds at any time, when `share` of them is; those that are missed are verified with
 * probability `propensity`, in (0, 1]. By the sixteen stakes of bettor.h, each bet bounded by the
 * smallest propensity; the median of 401 simulated streams, always the same ones (up to .3 s).
 * bound .01, propensity 1: 554 verified defects if none is missed, about 1,209 if .3 %; propensity
 * .02: 27,550. What a certificate of three zones takes follows from this and more: review/zones.h,
 * tl_zones_forecast. */
double tl_needed_defects(double share, double bound, double confidence, double propensity);

/* Share of `items` to audit so that a share of about `share` is known to +-half_width: z^2 share /
 * (items half_width^2), 4.4 times that anytime. At most 1. All > 0; confidence in (0, 1). */
double tl_needed_audit_rate(double share, double half_width, double items, double confidence,
                            bool anytime);

#endif
