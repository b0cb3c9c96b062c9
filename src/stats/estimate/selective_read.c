#include "stats/estimate/confidence.h"
#include "stats/estimate/selective_internal.h"

#include <math.h>

enum { PAYOFF_MAX = 4 * TL_SELECTIVE_LEVELS + 1 };

/* ---- Evidence against a value: truths that may move ------------------------------------------- */

/* What the sums say about a mean: the estimate of the total, of how many items, the squares of the
 * deviations, and the farthest that one of them can go down and up. */
typedef struct running {
    double total, items, squares, down_max, up_max;
} running;

static running running_group(const tl_selective_group *group, double min)
{
    return (running){ group->total, (double)group->items, group->squares,
                      tl_selective_f_weight_max(min), 1.0 / min };
}

/* `measure` is not the recall, which is no mean. */
static running running_of(const tl_selective *state, tl_selective_measure measure)
{
    running f = running_group(&state->flagged, tl_selective_propensity_min(state, true));
    running p = running_group(&state->passed, tl_selective_propensity_min(state, false));
    switch (measure) {
    case TL_SELECTIVE_PRECISION: return f;
    case TL_SELECTIVE_ESCAPE: return p;
    case TL_SELECTIVE_OVERKILL: /* what is flagged and good: what is flagged less its defects */
        return (running){ f.items - f.total, f.items + p.items, f.squares, f.up_max, f.down_max };
    default: /* TL_SELECTIVE_PREVALENCE */
        return (running){ f.total + p.total, f.items + p.items, f.squares + p.squares,
                          fmax(f.down_max, p.down_max), fmax(f.up_max, p.up_max) };
    }
}

static double running_above(const void *context, double m)
{
    const running *r = context;
    return tl_bernstein_log_e(r->total - r->items * m, r->squares, r->down_max);
}

static double running_below(const void *context, double m)
{
    const running *r = context;
    return tl_bernstein_log_e(r->items * m - r->total, r->squares, r->up_max);
}

static tl_interval running_mean(const running *r, double confidence)
{
    double bar = tl_confidence_log_bar(confidence);
    return (tl_interval){ tl_confidence_lower(running_above, r, bar),
                          tl_confidence_upper(running_below, r, bar) };
}

static bool running_covers(const running *r, double m, double confidence)
{
    double bar = tl_confidence_log_bar(confidence);
    return running_above(r, m) < bar && running_below(r, m) < bar;
}

/* Everything flagged was verified: how many of the defects were flagged is known. */
static bool caught_is_known(const tl_selective *state)
{
    return tl_selective_propensity_min(state, true) >= 1.0 &&
           state->flagged.verified == state->flagged.items;
}

/* The recall is a ratio, and evidence against one ratio at a time does not hold for one that moves.
 * So: how many defects were flagged, how many passed, each within limits; where the first is known,
 * all the doubt may go to the second. */
static tl_interval running_recall(const tl_selective *state, double confidence)
{
    running f = running_of(state, TL_SELECTIVE_PRECISION);
    running p = running_of(state, TL_SELECTIVE_ESCAPE);
    bool known = caught_is_known(state);
    double each = known ? confidence : 0.5 + 0.5 * confidence;
    tl_interval passed = running_mean(&p, each), caught = { 0.0, 0.0 };
    double defects = (double)state->flagged.defects;
    if (!known) caught = running_mean(&f, each);
    double low = known ? defects : caught.low * f.items;
    double high = known ? defects : caught.high * f.items;
    double least = passed.low * p.items, most = passed.high * p.items;
    tl_interval out = { 0.0, 1.0 };
    if (low > 0.0) out.low = low / (low + most);
    if (least > 0.0) out.high = high / (high + least);
    return out;
}

static bool running_recall_covers(const tl_selective *state, double recall, double confidence)
{
    if (!caught_is_known(state) || !(recall > 0.0)) {
        tl_interval in = running_recall(state, confidence);
        return in.low <= recall && recall <= in.high;
    }
    running p = running_of(state, TL_SELECTIVE_ESCAPE);
    double passed = (double)state->flagged.defects * (1.0 - recall) / recall;
    return p.items <= 0.0 || running_covers(&p, passed / p.items, confidence);
}

/* ---- Evidence against a value: constant truths ------------------------------------------------ */

/* What speaks for and against a share: `hits` and `rest` with their weights, and the largest ones. */
typedef struct bets {
    tl_payoff payoffs[PAYOFF_MAX];
    size_t count;
    double hit_max, rest_max;
} bets;

static void bet(bets *b, const double levels[TL_SELECTIVE_LEVELS], double min, bool hit)
{
    for (int i = 0; i < TL_SELECTIVE_LEVELS; i++) {
        double weight = tl_selective_level_weight(min, i);
        if (levels[i] > 1e-12)
            b->payoffs[b->count++] = (tl_payoff){ levels[i], hit ? weight : 0.0, weight };
    }
    double *max = hit ? &b->hit_max : &b->rest_max;
    *max = fmax(*max, 1.0 / min);
}

static void collect(const tl_selective *state, tl_selective_measure measure, bets *b)
{
    const tl_selective_group *f = &state->flagged, *p = &state->passed;
    double f_min = tl_selective_propensity_min(state, true),
           p_min = tl_selective_propensity_min(state, false);
    *b = (bets){ .count = 0 };
    switch (measure) {
    case TL_SELECTIVE_RECALL:
        bet(b, f->defect_levels, f_min, true);
        bet(b, p->defect_levels, p_min, false);
        return;
    case TL_SELECTIVE_PRECISION:
        bet(b, f->defect_levels, f_min, true);
        bet(b, f->good_levels, f_min, false);
        return;
    case TL_SELECTIVE_ESCAPE:
        bet(b, p->defect_levels, p_min, true);
        bet(b, p->good_levels, p_min, false);
        return;
    case TL_SELECTIVE_OVERKILL: /* that a passed item is no overkill needs no verification */
        bet(b, f->good_levels, f_min, true);
        bet(b, f->defect_levels, f_min, false);
        b->payoffs[b->count++] = (tl_payoff){ (double)p->items, 0.0, 1.0 };
        return;
    default: /* TL_SELECTIVE_PREVALENCE */
        bet(b, f->defect_levels, f_min, true);
        bet(b, p->defect_levels, p_min, true);
        bet(b, f->good_levels, f_min, false);
        bet(b, p->good_levels, p_min, false);
    }
}

/* ---- Evidence against a value: one rate ------------------------------------------------------- */

/* The hits among verified items that are Bernoulli trials, for the measures that have such. */
static bool trials(const tl_selective *state, tl_selective_measure measure, uint64_t *hits,
                   uint64_t *count)
{
    const tl_selective_group *f = &state->flagged, *p = &state->passed;
    *hits = measure == TL_SELECTIVE_ESCAPE ? p->defects : f->defects;
    *count = measure == TL_SELECTIVE_ESCAPE      ? p->verified
             : measure == TL_SELECTIVE_PRECISION ? f->verified
                                                 : f->defects + p->defects;
    return measure == TL_SELECTIVE_ESCAPE || measure == TL_SELECTIVE_PRECISION ||
           measure == TL_SELECTIVE_RECALL;
}

/* Of the verified defects, the share that is flagged, at recall m; and back. Flagged ones are
 * verified `ratio` times as often as passed ones. */
static double share_verified(double m, double ratio)
{
    return m * ratio / (m * ratio + 1.0 - m);
}

static double verified_ratio(const tl_selective *state, tl_selective_measure measure)
{
    if (measure != TL_SELECTIVE_RECALL) return 1.0;
    double flagged = state->flagged.propensity, passed = state->passed.propensity;
    if (flagged <= 0.0) flagged = tl_selective_propensity_min(state, true);
    if (passed <= 0.0) passed = tl_selective_propensity_min(state, false);
    return flagged / passed;
}

/* ---- Intervals ------------------------------------------------------------------------------- */

static tl_interval interval_of(const tl_selective *state, tl_selective_method method,
                               tl_selective_measure measure, double confidence)
{
    uint64_t hits, count;
    if (method == TL_SELECTIVE_RATE && trials(state, measure, &hits, &count)) {
        double back = 1.0 / verified_ratio(state, measure);
        tl_interval in = tl_beta_binomial_interval(hits, count, confidence);
        return (tl_interval){ share_verified(in.low, back), share_verified(in.high, back) };
    }
    if (method == TL_SELECTIVE_RUNNING) {
        if (measure == TL_SELECTIVE_RECALL) return running_recall(state, confidence);
        running r = running_of(state, measure);
        return running_mean(&r, confidence);
    }
    bets b;
    collect(state, measure, &b);
    return tl_betting_interval(b.payoffs, b.count, b.rest_max, b.hit_max, confidence);
}

bool tl_selective_covers(const tl_selective *state, tl_selective_method method,
                         tl_selective_measure measure, double truth, double confidence)
{
    uint64_t hits, count;
    if (method == TL_SELECTIVE_RATE && trials(state, measure, &hits, &count)) {
        double share = share_verified(truth, verified_ratio(state, measure));
        return tl_beta_binomial_log_e((double)hits, (double)count, share) < -log(1.0 - confidence);
    }
    if (method == TL_SELECTIVE_RUNNING) {
        if (measure == TL_SELECTIVE_RECALL) return running_recall_covers(state, truth, confidence);
        running r = running_of(state, measure);
        return running_covers(&r, truth, confidence);
    }
    double bar = tl_confidence_log_bar(confidence);
    bets b;
    collect(state, measure, &b);
    return tl_betting_log_e_above(b.payoffs, b.count, b.rest_max, truth) < bar &&
           tl_betting_log_e_below(b.payoffs, b.count, b.hit_max, truth) < bar;
}

/* The augmented estimate. */
static double value_of(const tl_selective *state, tl_selective_measure measure)
{
    const tl_selective_group *f = &state->flagged, *p = &state->passed;
    double items = (double)(f->items + p->items);
    double flagged = fmax(f->total, 0.0), passed = fmax(p->total, 0.0);
    switch (measure) {
    case TL_SELECTIVE_RECALL: return flagged / (flagged + passed);
    case TL_SELECTIVE_PRECISION: return flagged / (double)f->items;
    case TL_SELECTIVE_ESCAPE: return passed / (double)p->items;
    case TL_SELECTIVE_OVERKILL: return ((double)f->items - flagged) / items;
    default: return (flagged + passed) / items;
    }
}

static void count_hits(const tl_selective *state, tl_selective_measure measure, tl_figure *out)
{
    const tl_selective_group *f = &state->flagged, *p = &state->passed;
    if (trials(state, measure, &out->hits, &out->count)) return;
    out->count = f->verified + p->verified;
    out->hits =
        measure == TL_SELECTIVE_OVERKILL ? f->verified - f->defects : f->defects + p->defects;
}

static tl_figure figure_of(const tl_selective *state, tl_selective_method method,
                           tl_selective_measure measure, double confidence)
{
    tl_figure out = { .value = NAN, .low = 0.0, .high = 1.0 };
    count_hits(state, measure, &out);
    if (out.count == 0) return out;
    tl_interval in = interval_of(state, method, measure, confidence);
    out.low = in.low;
    out.high = in.high;
    /* Sums of a few large weights can leave it. */
    double value = value_of(state, measure);
    out.value = isnan(value) ? value : fmin(fmax(value, in.low), in.high);
    return out;
}

tl_status tl_selective_read(const tl_selective *state, tl_selective_method method,
                            double confidence, tl_selective_figures *out, tl_error *err)
{
    if (!(confidence > 0.0 && confidence < 1.0))
        return tl_fail(err, TL_EINVAL, "confidence %g; use a number between 0 and 1, like .95",
                       confidence);
    if (method == TL_SELECTIVE_RATE &&
        (state->flagged.propensity_varies || state->passed.propensity_varies))
        return tl_fail(err, TL_ECONFLICT,
                       "items were verified with different probabilities; read the estimates for "
                       "varying ones");
    tl_selective_figures read = { .items = state->flagged.items + state->passed.items,
                                  .flagged = state->flagged.items,
                                  .verified = state->flagged.verified + state->passed.verified,
                                  .unreachable = state->unreachable };
    tl_figure *figures[TL_SELECTIVE_MEASURE_COUNT] = {
        [TL_SELECTIVE_RECALL] = &read.recall,         [TL_SELECTIVE_PRECISION] = &read.precision,
        [TL_SELECTIVE_PREVALENCE] = &read.prevalence, [TL_SELECTIVE_ESCAPE] = &read.escape,
        [TL_SELECTIVE_OVERKILL] = &read.overkill,
    };
    for (int i = 0; i < TL_SELECTIVE_MEASURE_COUNT; i++)
        *figures[i] = figure_of(state, method, (tl_selective_measure)i, confidence);
    const tl_figure *r = &read.recall;
    read.miss =
        (tl_figure){ 1.0 - r->value, 1.0 - r->high, 1.0 - r->low, r->count - r->hits, r->count };
    *out = read;
    return TL_OK;
}
