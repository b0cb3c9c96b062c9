/* selective_internal.h - what adding items and reading figures share. For selective.c and
 * selective_read.c only. */
#ifndef TL_STATS_SELECTIVE_INTERNAL_H
#define TL_STATS_SELECTIVE_INTERNAL_H

#include "stats/estimate/selective.h"

double tl_selective_propensity_min(const tl_selective *state, bool flagged);
/* How far f / pi may go. A larger f is brought down: f may be anything fixed before the label, and a
 * bound on it lets the intervals bet more against too low an estimate. */
double tl_selective_f_weight_max(double min);
/* The weight of a level, from 1 to 1 / min. */
double tl_selective_level_weight(double min, int level);

#endif
