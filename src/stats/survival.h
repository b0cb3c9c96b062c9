/* survival.h - how long something takes, when some of it has not happened yet.
 * Layer: stats. Pure; any thread. */
#ifndef TL_STATS_SURVIVAL_H
#define TL_STATS_SURVIVAL_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tl_duration {
    double time; /* >= 0, finite; of any unit */
    bool ended;  /* false: censored, it was still going on after `time` */
} tl_duration;

/* The median of a time; NaN where so many are censored that it cannot be told, and for a limit that
 * the data do not reach. */
typedef struct tl_median {
    double value, low, high;
    size_t ended, censored;
} tl_median;

/* Kaplan and Meier's estimate (1958) of the median, with the interval of Brookmeyer and Crowley
 * (1982) on the log(-log) scale: the times at which survival of one half is not ruled out at
 * `confidence` (fixed sample: for reading, not for acting upon at every look). Condition: what is
 * censored is censored for reasons that do not depend on how long it would still have taken.
 * Sorts `durations` in place. */
tl_median tl_survival_median(tl_duration *durations, size_t count, double confidence);

#endif
