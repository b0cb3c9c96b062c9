#include "stats/survival.h"

#include "stats/interval.h"

#include <math.h>
#include <stdlib.h>

/* At equal times what ended comes first: what is censored then was still at risk. */
static int by_time(const void *a, const void *b)
{
    const tl_duration *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    return (int)y->ended - (int)x->ended;
}

/* Whether survival of one half is within the limits, from the estimate and Greenwood's sum. */
static bool half_is_possible(double survival, double greenwood, double z)
{
    if (survival >= 1.0 || survival <= 0.0) return false;
    double scale = log(-log(survival)), error = sqrt(greenwood) / fabs(log(survival));
    double half = log(log(2.0));
    return fabs(scale - half) <= z * error;
}

tl_median tl_survival_median(tl_duration *durations, size_t count, double confidence)
{
    tl_median out = { .value = NAN, .low = NAN, .high = NAN };
    double survival = 1.0, greenwood = 0.0, z = tl_normal_quantile(0.5 + confidence / 2.0);
    if (count > 1) qsort(durations, count, sizeof *durations, by_time);
    bool was_possible = false;
    for (size_t i = 0; i < count; i++) {
        double at_risk = (double)(count - i);
        out.ended += durations[i].ended;
        out.censored += !durations[i].ended;
        if (!durations[i].ended) continue;
        survival *= 1.0 - 1.0 / at_risk;
        if (at_risk > 1.0) greenwood += 1.0 / (at_risk * (at_risk - 1.0));
        if (isnan(out.value) && survival <= 0.5) out.value = durations[i].time;
        bool possible = half_is_possible(survival, greenwood, z);
        if (possible && isnan(out.low)) out.low = durations[i].time;
        if (was_possible && !possible && isnan(out.high)) out.high = durations[i].time;
        was_possible = possible;
    }
    return out;
}
