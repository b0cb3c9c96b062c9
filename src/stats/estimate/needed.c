#include "stats/estimate/needed.h"

#include "base/rng.h"
#include "base/status.h"
#include "stats/bettor.h"
#include "stats/estimate/confidence.h"
#include "stats/interval.h"

#include <math.h>
#include <stdlib.h>

/* Where a simulated stream is given up: some .3 s of work for all of them. */
static const double MISSES_MOST = 2000.0;

typedef struct promise {
    double hits, count; /* seen already */
    double share, bound, bar, propensity;
    double (*evidence)(const struct promise *promise, double more);
} promise;

/* The smallest whole number at which the evidence, which grows from some number on, passes. */
static double first(const promise *p)
{
    const double MOST = 1e13;
    double low = 0.0, high = 1.0;
    if (p->evidence(p, 0.0) >= p->bar) return 0.0;
    while (high < MOST && p->evidence(p, high) < p->bar) {
        low = high;
        high *= 2.0;
    }
    if (high >= MOST) return INFINITY;
    while (high - low > 0.5) {
        double middle = 0.5 * (low + high);
        if (p->evidence(p, middle) >= p->bar)
            high = middle;
        else
            low = middle;
    }
    low = floor(high);
    return p->evidence(p, low) >= p->bar ? low : low + 1.0;
}

static double anytime_audits(const promise *p, double more)
{
    double hits = p->hits + more * p->share, count = p->count + more;
    if (count <= 0.0 || hits / count >= p->bound) return -INFINITY;
    return tl_beta_binomial_log_e(hits, count, p->bound);
}

/* -ln of the chance of so few hits, were the share the bound. */
static double fixed_audits(const promise *p, double more)
{
    double hits = p->hits + more * p->share, count = p->count + more;
    if (count <= hits) return -INFINITY;
    return -log(fmax(tl_beta_cdf(count - hits, hits + 1.0, 1.0 - p->bound), 1e-300));
}

static void check(double share, double bound, double confidence)
{
    TL_ASSERT(share >= 0.0 && share < 1.0);
    TL_ASSERT(bound > 0.0 && bound < 1.0);
    TL_ASSERT(confidence > 0.0 && confidence < 1.0);
}

double tl_needed_more_audits(uint64_t hits, uint64_t count, double share, double bound,
                             double confidence, bool anytime)
{
    check(share, bound, confidence);
    TL_ASSERT(hits <= count);
    promise p = { .hits = (double)hits,
                  .count = (double)count,
                  .share = share,
                  .bound = bound,
                  .bar = -log(1.0 - confidence),
                  .evidence = anytime ? anytime_audits : fixed_audits };
    if (p.evidence(&p, 0.0) >= p.bar) return 0.0;
    return share >= bound ? INFINITY : first(&p);
}

double tl_needed_audits(double share, double bound, double confidence, bool anytime)
{
    return tl_needed_more_audits(0, 0, share, bound, confidence, anytime);
}

/* Every defect that is caught pays bound, every missed one that is drawn takes (1 - bound) /
 * propensity, in units of the latter. */
typedef struct record {
    double log_caught[TL_BETTOR_STAKES], log_missed[TL_BETTOR_STAKES]; /* for each stake */
} record;

static double log_wealth(const record *r, double caught, double missed)
{
    double logs[TL_BETTOR_STAKES], max = -INFINITY, sum = 0.0;
    for (int j = 0; j < TL_BETTOR_STAKES; j++) {
        logs[j] = caught * r->log_caught[j] + missed * r->log_missed[j];
        max = fmax(max, logs[j]);
    }
    for (int j = 0; j < TL_BETTOR_STAKES; j++) sum += exp(logs[j] - max);
    return max + log(sum / TL_BETTOR_STAKES);
}

/* How many more must be caught, `missed` drawn ones behind, until the bar is reached. */
static double caught_needed(const record *r, double missed, double bar)
{
    double low = 0.0, high = 1.0;
    while (log_wealth(r, high, missed) < bar) high *= 2.0;
    for (int i = 0; i < 60; i++) {
        double middle = 0.5 * (low + high);
        if (log_wealth(r, middle, missed) < bar)
            low = middle;
        else
            high = middle;
    }
    return ceil(high - 1e-6);
}

/* One stream of defects, up to the one with which the bar is reached: from one missed and drawn
 * defect to the next. Wealth only grows in between. */
static double first_passage(const record *r, const promise *p, double most, tl_rng *rng)
{
    double drawn = p->share * p->propensity, caught_share = (1.0 - p->share) / (1.0 - drawn);
    double defects = 0.0, missed = 0.0;
    while (defects < most) {
        double gap = floor(log1p(-tl_rng_unit(rng)) / log1p(-drawn));
        double caught = (defects - missed + gap) * caught_share;
        if (log_wealth(r, caught, missed) >= p->bar)
            return missed + ceil(caught_needed(r, missed, p->bar) / caught_share);
        defects += gap + 1.0;
        missed += 1.0;
    }
    return most;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double tl_needed_defects(double share, double bound, double confidence, double propensity)
{
    enum { RUNS = 401, SEED = 1 };
    check(share, bound, confidence);
    TL_ASSERT(propensity > 0.0 && propensity <= 1.0);
    if (share >= bound) return INFINITY;
    record r;
    for (int j = 0; j < TL_BETTOR_STAKES; j++) {
        double stake = tl_bettor_stakes()[j];
        r.log_caught[j] = log1p(stake * bound * propensity / (1.0 - bound));
        r.log_missed[j] = log1p(-stake);
    }
    promise p = { .share = share, .bar = -log(1.0 - confidence), .propensity = propensity };
    if (share <= 0.0) return caught_needed(&r, 0.0, p.bar);
    double passages[RUNS];
    tl_rng rng;
    tl_rng_seed(&rng, SEED, 0);
    double most = MISSES_MOST / (share * propensity);
    for (int i = 0; i < RUNS; i++) passages[i] = first_passage(&r, &p, most, &rng);
    qsort(passages, RUNS, sizeof passages[0], ascending);
    return passages[RUNS / 2] < most ? passages[RUNS / 2] : INFINITY;
}

double tl_needed_audit_rate(double share, double half_width, double items, double confidence,
                            bool anytime)
{
    TL_ASSERT(share > 0.0 && half_width > 0.0 && items > 0.0);
    TL_ASSERT(confidence > 0.0 && confidence < 1.0);
    double z = tl_normal_quantile(0.5 + 0.5 * confidence);
    return fmin((anytime ? 4.4 : 1.0) * z * z * share / (items * half_width * half_width), 1.0);
}
