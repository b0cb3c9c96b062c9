/* What the zones say, and what a certificate will still cost. */
#include "review/zones.h"
#include "review/zones_internal.h"

#include <math.h>
#include <stdio.h>

/* ---- Forecast -------------------------------------------------------------------------------- */

/* Mean growth of the logarithm of each bet's wealth, per defect that occurs. */
static void growth_of(const tl_zones_plan *p, double growth[TL_BETTOR_STAKES])
{
    double a = p->escapes_max, scale = p->propensity_min / (1.0 - a);
    for (size_t j = 0; j < TL_BETTOR_STAKES; j++) {
        double size = tl_bettor_stakes()[j] * scale;
        growth[j] = (1.0 - p->escapes) * log1p(size * a);
        if (p->escapes > 0.0)
            growth[j] +=
                p->escapes * p->propensity_missed * log1p(size * (a - 1.0) / p->propensity_missed);
    }
}

static double wealth_after(const double start[TL_BETTOR_STAKES],
                           const double growth[TL_BETTOR_STAKES], double defects)
{
    double wealth[TL_BETTOR_STAKES];
    for (size_t j = 0; j < TL_BETTOR_STAKES; j++) wealth[j] = start[j] + defects * growth[j];
    return tl_zones_total(wealth);
}

double tl_zones_defects_until(const double log_wealth[TL_BETTOR_STAKES], const tl_zones_plan *plan)
{
    double growth[TL_BETTOR_STAKES], bound = -log(1.0 - plan->confidence), high = 1.0, low = 0.0;
    growth_of(plan, growth);
    if (tl_zones_total(log_wealth) >= bound) return 0.0;
    while (wealth_after(log_wealth, growth, high) < bound) {
        low = high;
        high *= 2.0;
        if (high > 1e12) return INFINITY;
    }
    while (high - low > 0.5) {
        double middle = 0.5 * (low + high);
        *(wealth_after(log_wealth, growth, middle) < bound ? &low : &high) = middle;
    }
    return high;
}

static tl_status check_plan(const tl_zones_plan *p, tl_error *err)
{
    const struct {
        const char *name;
        bool fine;
    } fields[] = {
        { "escapes_max", p->escapes_max > 0.0 && p->escapes_max <= 0.5 },
        { "confidence", p->confidence > 0.5 && p->confidence < 1.0 },
        { "escapes", p->escapes >= 0.0 && p->escapes <= 1.0 },
        { "propensity_min", p->propensity_min > 0.0 && p->propensity_min <= 1.0 },
        { "propensity_missed",
          p->propensity_missed >= p->propensity_min && p->propensity_missed <= 1.0 },
        { "prevalence", p->prevalence > 0.0 && p->prevalence <= 1.0 },
        { "flagged", p->flagged >= 0.0 && p->flagged <= 1.0 },
        { "audits", p->audits >= 0.0 && p->audits <= 1.0 },
    };
    for (size_t i = 0; i < TL_COUNT_OF(fields); i++)
        if (!fields[i].fine)
            return tl_fail(err, TL_EINVAL, "forecast of a certificate: %s is out of range",
                           fields[i].name);
    return TL_OK;
}

/* Of the defects that occur, the share that is verified. */
static double verified_share(const tl_zones_plan *p)
{
    return 1.0 - p->escapes + p->escapes * p->propensity_missed;
}

tl_status tl_zones_forecast(const tl_zones_plan *plan, tl_zones_need *out, tl_error *err)
{
    tl_status status = check_plan(plan, err);
    if (status != TL_OK) return status;
    static const double nothing[TL_BETTOR_STAKES];
    double defects = tl_zones_defects_until(nothing, plan);
    out->defects = defects * verified_share(plan);
    out->items = defects / plan->prevalence;
    out->labels = out->items * (plan->flagged + (1.0 - plan->flagged) * plan->audits);
    return TL_OK;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Defects that score below a threshold of the grid. */
typedef struct missed {
    uint64_t count, all_count;
    double weight, all_weight;
} missed;

static missed missed_below(const tl_zones *z, size_t threshold)
{
    missed m = { 0 };
    for (size_t bin = 0; bin <= TL_ZONES_GRID; bin++) {
        if (bin <= threshold) {
            m.count += z->defects[bin];
            m.weight += z->weight[bin];
        }
        m.all_count += z->defects[bin];
        m.all_weight += z->weight[bin];
    }
    return m;
}

/* The highest threshold of the grid at or below the wanted one. */
static size_t grid_index(double wanted)
{
    size_t bin = tl_zones_bin(wanted);
    return bin > 0 ? bin - 1 : 0;
}

static void read_need(const tl_zones *z, size_t index, const missed *m, tl_zones_reading *out)
{
    if (index < z->certified) return; /* zero, both */
    double missed_propensity = m->count > 0 ? (double)m->count / m->weight : z->propensity_min;
    tl_zones_plan plan = { .escapes_max = z->policy.escapes_max,
                           .confidence = z->policy.confidence,
                           .escapes = m->count > 0 ? m->weight / m->all_weight : 0.0,
                           .propensity_min = z->propensity_min,
                           .propensity_missed = fmax(missed_propensity, z->propensity_min) };
    double defects = tl_zones_defects_until(z->wealth[index], &plan);
    /* It has passed itself, or would at once: a lower one lags behind by some bets. */
    out->needed_defects = fmax(ceil(defects * verified_share(&plan)), 1.0);
    out->needed_labels = m->all_count > 0
                             ? ceil(out->needed_defects * (double)z->labels / (double)m->all_count)
                             : NAN;
}

/* Nine tenths of the escapes seen are in the band, or, before there are some, odds down to a tenth
 * of the threshold's. */
static void read_band(const tl_zones *z, size_t index, const missed *m, tl_zones_reading *out)
{
    enum { ESCAPES_ENOUGH = 5, TENTH_OF_ODDS = 23 };
    size_t low = index > TENTH_OF_ODDS ? index - TENTH_OF_ODDS : 0;
    if (m->count >= ESCAPES_ENOUGH) {
        double sum = 0.0;
        for (low = 0; low < index; low++) {
            sum += z->weight[low];
            if (sum > 0.1 * m->weight) break;
        }
        low = low > 0 ? low - 1 : 0;
    }
    out->band_low = tl_zones_threshold(low);
    out->band_high = tl_zones_threshold(index);
}

static void write_words(const tl_zones *z, size_t index, tl_zones_reading *out)
{
    double percent = 100.0 * out->escapes_max;
    char seen[96];
    snprintf(seen, sizeof seen, "%llu defects verified, %llu of them below %.3g",
             (unsigned long long)out->defects_verified, (unsigned long long)out->escapes_verified,
             tl_zones_threshold(index));
    const char *alarm = out->alarmed ? "Too many were missed: the certificate has ended. " : "";
    if (out->needed_defects == 0.0)
        snprintf(out->words, sizeof out->words,
                 "Certified at %.4g %% confidence: below %.3g at most %.3g %% of the defects are "
                 "missed (%s).",
                 100.0 * out->confidence, tl_zones_threshold(index), percent, seen);
    else if (isinf(out->needed_defects))
        snprintf(out->words, sizeof out->words,
                 "%sNot to be certified below %.3g: about %.2g %% of the defects are missed there, "
                 "at most %.3g %% were wanted (%s). Lower the threshold.",
                 alarm, tl_zones_threshold(index), 100.0 * out->escapes, percent, seen);
    else if (isnan(out->needed_labels))
        snprintf(out->words, sizeof out->words,
                 "%sNot certified yet: needs at least %.0f verified defects with audits of %.3g %% "
                 "(%.0f if everything is looked at).",
                 alarm, out->needed_defects, 100.0 * z->propensity_min,
                 ceil(out->needed_defects * z->propensity_min));
    else
        snprintf(out->words, sizeof out->words,
                 "%sNot certified yet below %.3g: needs about %.0f more verified defects, about "
                 "%.0f more labels (%s).",
                 alarm, tl_zones_threshold(index), out->needed_defects, out->needed_labels, seen);
}

void tl_zones_read(const tl_zones *z, double wanted, tl_zones_reading *out)
{
    size_t index = grid_index(wanted);
    missed m = missed_below(z, index);
    *out = (tl_zones_reading){ .reject_at = z->policy.reject_at,
                               .certified = z->certified > 0,
                               .alarmed = z->alarmed,
                               .escapes_max = z->policy.escapes_max,
                               .confidence = z->policy.confidence,
                               .labels = z->labels,
                               .timeouts = z->timeouts,
                               .defects_verified = m.all_count,
                               .escapes_verified = m.count,
                               .escapes = m.all_count > 0 ? m.weight / m.all_weight : NAN };
    if (z->certified > 0) {
        out->ceiling = tl_zones_threshold(z->certified - 1);
        out->accept_below = fmin(out->ceiling, 1.0 / (1.0 + exp(-z->track)));
    }
    read_need(z, index, &m, out);
    read_band(z, index, &m, out);
    write_words(z, index, out);
}
