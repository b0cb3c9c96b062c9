#include "stats/estimate/selective.h"

#include "stats/estimate/selective_internal.h"

#include <math.h>

enum { SELECTIVE_VERSION = 1 };

/* ---- State ----------------------------------------------------------------------------------- */

tl_selective_options tl_selective_options_default(void)
{
    return (tl_selective_options){ .flagged_propensity_min = 1.0, .passed_propensity_min = 0.02 };
}

static bool is_propensity(double p)
{
    return p > 0.0 && p <= 1.0;
}

tl_status tl_selective_init(tl_selective *state, const tl_selective_options *options, tl_error *err)
{
    if (!is_propensity(options->flagged_propensity_min) ||
        !is_propensity(options->passed_propensity_min))
        return tl_fail(
            err, TL_EINVAL,
            "smallest propensities %g (flagged) and %g (passed); use numbers above 0, at "
            "most 1",
            options->flagged_propensity_min, options->passed_propensity_min);
    *state = (tl_selective){ .options = *options };
    return TL_OK;
}

double tl_selective_propensity_min(const tl_selective *state, bool flagged)
{
    return flagged ? state->options.flagged_propensity_min : state->options.passed_propensity_min;
}

double tl_selective_f_weight_max(double min)
{
    return fmax(1.0, 0.1 / min);
}

static double bring_down(double f, double propensity, double min)
{
    if (!(f > 0.0)) return 0.0;
    return fmin(f, fmin(1.0, tl_selective_f_weight_max(min) * propensity));
}

/* A propensity may have been kept as a float. */
static bool can_be_drawn(double propensity, double min)
{
    return propensity >= min * (1.0 - 1e-6) && propensity <= 1.0;
}

double tl_selective_level_weight(double min, int level)
{
    if (level == 0) return 1.0;
    if (level == TL_SELECTIVE_LEVELS - 1) return 1.0 / min;
    return exp(-log(min) * level / (TL_SELECTIVE_LEVELS - 1));
}

/* Split `weight` between the levels next to it. */
static void add_to_levels(double *levels, double weight, double min, double sign)
{
    int level = 0;
    if (min < 1.0) level = (int)(-log(weight) / log(min) * (TL_SELECTIVE_LEVELS - 1));
    if (level > TL_SELECTIVE_LEVELS - 2) level = TL_SELECTIVE_LEVELS - 2;
    double low = tl_selective_level_weight(min, level),
           high = tl_selective_level_weight(min, level + 1);
    double share = high > low ? (weight - low) / (high - low) : 0.0;
    share = fmin(fmax(share, 0.0), 1.0);
    levels[level] += sign * (1.0 - share);
    levels[level + 1] += sign * share;
}

static void verify(tl_selective_group *group, bool defect, double propensity, double f, double min,
                   int sign)
{
    double change = ((defect ? 1.0 : 0.0) - f) / propensity;
    TL_ASSERT(sign > 0 || (defect ? group->defects : group->verified - group->defects) > 0);
    group->verified += (uint64_t)sign;
    group->defects += defect ? (uint64_t)sign : 0;
    group->total += sign * change;
    group->squares = fmax(group->squares + sign * change * change, 0.0);
    if (group->propensity <= 0.0) group->propensity = propensity;
    if (fabs(group->propensity - propensity) > 1e-9) group->propensity_varies = true;
    add_to_levels(defect ? group->defect_levels : group->good_levels, 1.0 / propensity, min, sign);
}

static void change(tl_selective *state, bool flagged, bool verified, bool defect, double propensity,
                   double f, int sign)
{
    double min = tl_selective_propensity_min(state, flagged);
    if (!can_be_drawn(propensity, min)) {
        TL_ASSERT(sign > 0 || state->unreachable > 0);
        state->unreachable += (uint64_t)sign;
        return;
    }
    propensity = fmax(propensity, min);
    tl_selective_group *group = flagged ? &state->flagged : &state->passed;
    TL_ASSERT(sign > 0 || group->items > 0); /* only what was added is taken back */
    f = bring_down(f, propensity, min);
    group->items += (uint64_t)sign;
    group->total += sign * f;
    if (verified) verify(group, defect, propensity, f, min, sign);
}

void tl_selective_add(tl_selective *state, bool flagged, bool verified, bool defect,
                      double propensity, double f)
{
    change(state, flagged, verified, defect, propensity, f, 1);
}

void tl_selective_remove(tl_selective *state, bool flagged, bool verified, bool defect,
                         double propensity, double f)
{
    change(state, flagged, verified, defect, propensity, f, -1);
}

void tl_selective_skip(tl_selective *state, bool flagged, uint64_t count, double propensity,
                       double f)
{
    double min = tl_selective_propensity_min(state, flagged);
    if (!can_be_drawn(propensity, min)) {
        state->unreachable += count;
        return;
    }
    tl_selective_group *group = flagged ? &state->flagged : &state->passed;
    group->items += count;
    group->total += (double)count * bring_down(f, fmax(propensity, min), min);
}

double tl_selective_rate(const tl_selective *state, bool flagged)
{
    const tl_selective_group *group = flagged ? &state->flagged : &state->passed;
    return ((double)group->defects + 0.5) / ((double)group->verified + 1.0);
}

static void merge_group(tl_selective_group *group, const tl_selective_group *other)
{
    group->items += other->items;
    group->verified += other->verified;
    group->defects += other->defects;
    group->total += other->total;
    group->squares += other->squares;
    bool both = group->propensity > 0.0 && other->propensity > 0.0;
    group->propensity_varies |= other->propensity_varies;
    if (both && fabs(group->propensity - other->propensity) > 1e-9) group->propensity_varies = true;
    if (group->propensity <= 0.0) group->propensity = other->propensity;
    for (int i = 0; i < TL_SELECTIVE_LEVELS; i++) {
        group->defect_levels[i] += other->defect_levels[i];
        group->good_levels[i] += other->good_levels[i];
    }
}

static bool same(double a, double b)
{
    return !(a < b) && !(a > b);
}

tl_status tl_selective_merge(tl_selective *state, const tl_selective *other, tl_error *err)
{
    for (int flagged = 0; flagged < 2; flagged++)
        if (!same(tl_selective_propensity_min(state, flagged),
                  tl_selective_propensity_min(other, flagged)))
            return tl_fail(err, TL_ECONFLICT,
                           "estimates with smallest propensities %g and %g do not add up; use the "
                           "same review policy",
                           tl_selective_propensity_min(state, flagged),
                           tl_selective_propensity_min(other, flagged));
    merge_group(&state->flagged, &other->flagged);
    merge_group(&state->passed, &other->passed);
    state->unreachable += other->unreachable;
    return TL_OK;
}

/* ---- Saved ----------------------------------------------------------------------------------- */

static void save_group(const tl_selective_group *group, tl_blob *blob)
{
    tl_blob_u64(blob, group->items);
    tl_blob_u64(blob, group->verified);
    tl_blob_u64(blob, group->defects);
    tl_blob_f64(blob, group->total);
    tl_blob_f64(blob, group->squares);
    tl_blob_f64(blob, group->propensity);
    tl_blob_u8(blob, group->propensity_varies);
    for (int i = 0; i < TL_SELECTIVE_LEVELS; i++) tl_blob_f64(blob, group->defect_levels[i]);
    for (int i = 0; i < TL_SELECTIVE_LEVELS; i++) tl_blob_f64(blob, group->good_levels[i]);
}

void tl_selective_save(const tl_selective *state, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "SELE", SELECTIVE_VERSION);
    tl_blob_f64(blob, state->options.flagged_propensity_min);
    tl_blob_f64(blob, state->options.passed_propensity_min);
    save_group(&state->flagged, blob);
    save_group(&state->passed, blob);
    tl_blob_u64(blob, state->unreachable);
    tl_blob_section_end(blob, section);
}

static bool levels_sane(const double levels[TL_SELECTIVE_LEVELS], uint64_t count)
{
    double sum = 0.0;
    for (int i = 0; i < TL_SELECTIVE_LEVELS; i++) {
        if (!(levels[i] > -1e-6)) return false; /* taken back, up to rounding */
        sum += levels[i];
    }
    return fabs(sum - (double)count) <= 1e-6 + 1e-9 * (double)count;
}

/* False: no items give these numbers. */
static bool load_group(tl_blob_reader *body, double min, tl_selective_group *group)
{
    *group = (tl_selective_group){ .items = tl_blob_read_u64(body) };
    group->verified = tl_blob_read_u64(body);
    group->defects = tl_blob_read_u64(body);
    group->total = tl_blob_read_f64(body);
    group->squares = tl_blob_read_f64(body);
    group->propensity = tl_blob_read_f64(body);
    group->propensity_varies = tl_blob_read_u8(body) != 0;
    for (int i = 0; i < TL_SELECTIVE_LEVELS; i++) group->defect_levels[i] = tl_blob_read_f64(body);
    for (int i = 0; i < TL_SELECTIVE_LEVELS; i++) group->good_levels[i] = tl_blob_read_f64(body);
    if (group->verified > group->items || group->defects > group->verified) return false;
    if (!isfinite(group->total) || !isfinite(group->squares) || group->squares < 0.0) return false;
    bool seen = group->verified > 0 || group->propensity > 0.0; /* what was taken back leaves it */
    if (seen && !can_be_drawn(group->propensity, min)) return false;
    return is_propensity(min) && !signbit(group->propensity) &&
           levels_sane(group->defect_levels, group->defects) &&
           levels_sane(group->good_levels, group->verified - group->defects);
}

tl_status tl_selective_load(tl_blob_reader *reader, tl_selective *out, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "SELE", SELECTIVE_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_selective read = { .options.flagged_propensity_min = tl_blob_read_f64(&body) };
    read.options.passed_propensity_min = tl_blob_read_f64(&body);
    bool sane = load_group(&body, read.options.flagged_propensity_min, &read.flagged);
    sane = load_group(&body, read.options.passed_propensity_min, &read.passed) && sane;
    read.unreachable = tl_blob_read_u64(&body);
    status = tl_blob_read_end(&body, "estimates", err);
    if (status != TL_OK) return status;
    if (!sane) return tl_fail(err, TL_ECORRUPT, "saved estimates hold numbers that no items give");
    *out = read;
    return TL_OK;
}
