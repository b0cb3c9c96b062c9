/* head_stats.h - what the statistics of a head look like inside. For head.c and head_stats.c only.
 */
#ifndef TL_LEARN_HEAD_STATS_H
#define TL_LEARN_HEAD_STATS_H

#include "learn/fast/head.h"

struct tl_head_stats {
    tl_head_stats_options options;
    uint64_t total, clamped;
    uint64_t count[TL_CLASS_COUNT_MAX];
    int64_t *sum;       /* [class_count, d], multiples of 2^-18 */
    int64_t *gram;      /* upper triangle, row i has d - i numbers; multiples of 2^-36 */
    int64_t *quantised; /* [d], the item at hand */
    float *sketch;      /* [d], likewise */
};

/* `to` features from `from` >= `to` numbers; as they are when there are as many. Returns `x` or
 * `out` [to]. */
const float *tl_head_sketch(const float *x, size_t from, size_t to, float *out);
/* What features are multiplied by before they are clamped to [-1, 1]. */
double tl_head_scale(tl_head_form form, float range, const float *x, size_t d);
double tl_head_clamp(double value, bool *clamped);

#endif
