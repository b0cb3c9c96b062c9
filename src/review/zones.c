#include "review/zones.h"

#include "review/zones_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double GRID_LOW = -12.75, GRID_STEP = 0.1; /* log odds */
static const double TRACK_STEP = 0.02, TRACK_DECAY = 0.6;

/* ---- Policy and grid ------------------------------------------------------------------------- */

tl_zones_policy tl_zones_policy_default(void)
{
    return (tl_zones_policy){
        .escapes_max = 0.01, .confidence = 0.95, .alarm_length = 1e5, .reject_at = 1.0
    };
}

const char *tl_zones_policy_check(const tl_zones_policy *policy)
{
    if (!(policy->escapes_max > 0.0 && policy->escapes_max <= 0.5))
        return "the share of defects missed at most must be above 0, up to 0.5";
    if (!(policy->confidence > 0.5 && policy->confidence < 1.0))
        return "the confidence must be above 0.5 and below 1";
    if (!(policy->alarm_length >= 100.0 && policy->alarm_length <= 1e15))
        return "the run length between alarms must be 100 to 1e15 verified defects";
    if (!(policy->reject_at >= 0.0)) return "the threshold of the reject zone must be 0 or more";
    return NULL;
}

double tl_zones_threshold(size_t index)
{
    return 1.0 / (1.0 + exp(-(GRID_LOW + GRID_STEP * (double)index)));
}

double tl_zones_logit(double score)
{
    double s = fmin(fmax(score, 1e-7), 1.0 - 1e-7);
    return log(s / (1.0 - s));
}

size_t tl_zones_bin(double score)
{
    double at = (tl_zones_logit(score) - GRID_LOW) / GRID_STEP;
    size_t bin = at < 0.0 ? 0 : (size_t)fmin(at + 1.0, TL_ZONES_GRID);
    /* By the thresholds themselves, whatever rounding did. */
    while (bin < TL_ZONES_GRID && tl_zones_threshold(bin) <= score) bin++;
    while (bin > 0 && tl_zones_threshold(bin - 1) > score) bin--;
    return bin;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static void begin_anew(tl_zones *z)
{
    tl_zones_policy policy = z->policy;
    memset(z, 0, sizeof *z);
    z->policy = policy;
    z->propensity_min = 1.0;
    tl_detector_init_mean(&z->detector);
}

tl_zones *tl_zones_create(const tl_zones_policy *policy)
{
    tl_zones *zones = malloc(sizeof *zones);
    if (zones != NULL) tl_zones_restart(zones, policy);
    return zones;
}

void tl_zones_destroy(tl_zones **zones)
{
    if (zones == NULL) return;
    free(*zones);
    *zones = NULL;
}

void tl_zones_restart(tl_zones *zones, const tl_zones_policy *policy)
{
    TL_ASSERT(tl_zones_policy_check(policy) == NULL);
    zones->policy = *policy;
    begin_anew(zones);
}

void tl_zones_set_reject(tl_zones *zones, double reject_at)
{
    TL_ASSERT(reject_at >= 0.0);
    zones->policy.reject_at = reject_at;
}

/* ---- Bets ------------------------------------------------------------------------------------ */

/* Half of the stake on the largest bet: a good version misses hardly anything, and then 378 verified
 * defects are enough for 1 % at 95 % where equal stakes take 554. */
static double stake_of(size_t index)
{
    return index + 1 == TL_BETTOR_STAKES ? 0.5 : 0.5 / (TL_BETTOR_STAKES - 1);
}

double tl_zones_total(const double log_wealth[TL_BETTOR_STAKES])
{
    double top = log_wealth[0], sum = 0.0;
    for (size_t j = 1; j < TL_BETTOR_STAKES; j++) top = fmax(top, log_wealth[j]);
    for (size_t j = 0; j < TL_BETTOR_STAKES; j++) sum += exp(log_wealth[j] - top) * stake_of(j);
    return top + log(sum);
}

/* What the unit pays at each threshold; all zero: nothing to bet on. */
static bool payoffs_of(double a, const tl_zones_item *items, size_t count, double size,
                       double payoff[TL_ZONES_GRID])
{
    double change[TL_ZONES_GRID + 1] = { 0 }; /* from the threshold before */
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        const tl_zones_item *item = &items[i];
        if (!item->drawn || (item->answered && !item->defect)) continue;
        double weight = 1.0 / (item->propensity * size);
        size_t bin = tl_zones_bin(item->score);
        double caught = item->answered ? a * weight : 0.0, missed = (a - 1.0) * weight;
        change[0] += caught;
        change[bin] += missed - caught;
        any = true;
    }
    double sum = 0.0;
    for (size_t k = 0; k < TL_ZONES_GRID; k++) payoff[k] = sum += change[k];
    return any;
}

/* Wealth after the unit's payoffs; `scale`: one over the most that a threshold can lose. */
static void bet(tl_zones *z, const double payoff[TL_ZONES_GRID], double scale)
{
    double gain[TL_BETTOR_STAKES] = { 0 };
    double bound = -log(1.0 - z->policy.confidence);
    const double *stakes = tl_bettor_stakes();
    double last = 0.0; /* for which `gain` holds */
    for (size_t k = z->certified; k < TL_ZONES_GRID; k++) {
        if (payoff[k] != last)
            for (size_t j = 0; j < TL_BETTOR_STAKES; j++)
                gain[j] = log1p(stakes[j] * scale * payoff[k]);
        last = payoff[k];
        int above = 0;
        for (size_t j = 0; j < TL_BETTOR_STAKES; j++) {
            z->wealth[k][j] += gain[j];
            above |= z->wealth[k][j] >= bound;
        }
        /* The total is at most the best of the bets: exponentials only where they matter. */
        if (!z->passed[k] && above) z->passed[k] = tl_zones_total(z->wealth[k]) >= bound;
    }
}

/* ---- Tracker and alarm ----------------------------------------------------------------------- */

static void certify(tl_zones *z)
{
    double ceiling = z->certified > 0 ? tl_zones_logit(tl_zones_threshold(z->certified - 1)) : 0.0;
    bool at_ceiling = z->certified == 0 || z->track >= ceiling;
    while (z->certified < TL_ZONES_GRID && z->passed[z->certified]) z->certified++;
    if (z->certified == 0) return;
    ceiling = tl_zones_logit(tl_zones_threshold(z->certified - 1));
    if (at_ceiling || z->track > ceiling) z->track = ceiling;
    z->alarmed = false;
}

static void track(tl_zones *z, double weight, bool missed)
{
    z->track_steps++;
    double spread = z->logit_count > 1 ? sqrt(z->logit_m2 / (double)z->logit_count) : 0.0;
    double step = TRACK_STEP * spread * pow((double)z->track_steps, -TRACK_DECAY);
    z->track += step * weight * (z->policy.escapes_max - missed);
}

/* One over the probabilities of the unit's defects that now would be accepted unseen, and of those
 * that would not; the tracker moves on the way. Returns what the alarm bets on. */
static double follow(tl_zones *z, const tl_zones_item *items, size_t count, double size)
{
    double excess = 0.0;
    for (size_t i = 0; i < count; i++) {
        const tl_zones_item *item = &items[i];
        if (!item->drawn || (item->answered && !item->defect)) continue;
        bool missed = tl_zones_logit(item->score) < z->track;
        double weight = 1.0 / item->propensity;
        if (missed || item->answered) {
            excess += (missed - z->policy.escapes_max) * weight / size;
            track(z, weight, missed);
        }
    }
    return excess;
}

/* True when the alarm goes off: more than a are missed. */
static bool watch(tl_zones *z, double excess)
{
    /* Items above the threshold are all reviewed, so a unit loses at most a; where some were not,
     * what is cut off here costs run length. */
    tl_detector_step(&z->detector, fmax(excess / z->policy.escapes_max, -1.0), 1.0);
    return tl_detector_value(&z->detector) >= z->policy.alarm_length;
}

/* ---- Learning -------------------------------------------------------------------------------- */

static bool is_probability(double p)
{
    return p > 0.0 && p <= 1.0;
}

static tl_status check_items(const tl_zones_item *items, size_t count, tl_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!(items[i].score >= 0.0 && items[i].score <= 1.0))
            return tl_fail(err, TL_EINVAL, "zones: a score of %g; it must be 0 to 1",
                           items[i].score);
        if (!is_probability(items[i].propensity_min))
            return tl_fail(err, TL_EINVAL, "zones: the least propensity is %g; it must be above 0",
                           items[i].propensity_min);
        if (items[i].unit_items != 0 && items[i].unit_items < count)
            return tl_fail(err, TL_EINVAL, "zones: %zu items of a unit that has %zu", count,
                           items[i].unit_items);
        if (!items[i].drawn) continue;
        /* Logged as float32: compare as such. */
        if (!is_probability(items[i].propensity) ||
            (float)items[i].propensity < (float)items[i].propensity_min)
            return tl_fail(err, TL_EINVAL, "zones: a propensity of %g, below the least one, %g",
                           items[i].propensity, items[i].propensity_min);
    }
    return TL_OK;
}

static void count_item(tl_zones *z, const tl_zones_item *item)
{
    if (!item->drawn) return;
    z->labels += item->answered;
    z->timeouts += !item->answered;
    if (!item->answered || !item->defect) return;
    size_t bin = tl_zones_bin(item->score);
    z->defects[bin]++;
    z->weight[bin] += 1.0 / item->propensity;
    double logit = tl_zones_logit(item->score), delta = logit - z->logit_mean;
    z->logit_count++;
    z->logit_mean += delta / (double)z->logit_count;
    z->logit_m2 += delta * (logit - z->logit_mean);
}

tl_status tl_zones_learn(tl_zones *z, const tl_zones_item *items, size_t count, tl_error *err)
{
    TL_ASSERT(count > 0);
    tl_status status = check_items(items, count, err);
    if (status != TL_OK) return status;
    double least = 1.0, size = (double)count, payoff[TL_ZONES_GRID];
    for (size_t i = 0; i < count; i++) {
        least = fmin(least, items[i].propensity_min);
        size = fmax(size, (double)items[i].unit_items);
        count_item(z, &items[i]);
    }
    z->propensity_min = least;
    if (!payoffs_of(z->policy.escapes_max, items, count, size, payoff)) return TL_OK;
    if (z->certified > 0 && watch(z, follow(z, items, count, size))) {
        begin_anew(z);
        z->alarmed = true;
        return TL_OK;
    }
    bet(z, payoff, least * (1.0 - 1e-6) / (1.0 - z->policy.escapes_max));
    certify(z);
    return TL_OK;
}

/* ---- Saving ---------------------------------------------------------------------------------- */

enum { ZONES_VERSION = 1 };

static void save_doubles(tl_blob *blob, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) tl_blob_f64(blob, values[i]);
}

/* Every double in a state is finite. */
static bool load_doubles(tl_blob_reader *reader, double *values, size_t count)
{
    bool fine = true;
    for (size_t i = 0; i < count; i++) {
        values[i] = tl_blob_read_f64(reader);
        fine = fine && isfinite(values[i]);
    }
    return fine;
}

void tl_zones_save(const tl_zones *z, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "ZONE", ZONES_VERSION);
    const tl_zones_policy *p = &z->policy;
    const double policy[] = { p->escapes_max, p->confidence, p->alarm_length, p->reject_at };
    save_doubles(blob, policy, TL_COUNT_OF(policy));
    save_doubles(blob, z->wealth[0], TL_ZONES_GRID * TL_BETTOR_STAKES);
    for (size_t k = 0; k < TL_ZONES_GRID; k++) tl_blob_u8(blob, z->passed[k]);
    tl_blob_u64s(blob, z->defects, TL_ZONES_GRID + 1);
    save_doubles(blob, z->weight, TL_ZONES_GRID + 1);
    const uint64_t counts[] = { z->certified, z->labels,      z->timeouts,
                                z->alarmed,   z->track_steps, z->logit_count };
    tl_blob_u64s(blob, counts, TL_COUNT_OF(counts));
    const double rest[] = { z->propensity_min, z->track, z->logit_mean, z->logit_m2 };
    save_doubles(blob, rest, TL_COUNT_OF(rest));
    tl_detector_save(&z->detector, blob);
    tl_blob_section_end(blob, section);
}

static bool read_state(tl_blob_reader *body, tl_zones *z)
{
    double policy[4], rest[4];
    uint64_t counts[6];
    bool fine = load_doubles(body, policy, TL_COUNT_OF(policy)) &&
                load_doubles(body, z->wealth[0], TL_ZONES_GRID * TL_BETTOR_STAKES);
    for (size_t k = 0; k < TL_ZONES_GRID; k++) z->passed[k] = tl_blob_read_u8(body) != 0;
    fine = tl_blob_read_u64s(body, z->defects, TL_ZONES_GRID + 1) && fine;
    fine = load_doubles(body, z->weight, TL_ZONES_GRID + 1) && fine;
    if (!tl_blob_read_u64s(body, counts, TL_COUNT_OF(counts)) || counts[0] > TL_ZONES_GRID)
        return false;
    fine = load_doubles(body, rest, TL_COUNT_OF(rest)) && fine;
    if (tl_detector_load(&z->detector, body, NULL) != TL_OK) return false;
    z->policy = (tl_zones_policy){ policy[0], policy[1], policy[2], policy[3] };
    z->certified = (uint32_t)counts[0];
    z->labels = counts[1];
    z->timeouts = counts[2];
    z->alarmed = counts[3] != 0;
    z->track_steps = counts[4];
    z->logit_count = counts[5];
    z->propensity_min = rest[0];
    z->track = rest[1];
    z->logit_mean = rest[2];
    z->logit_m2 = rest[3];
    return fine && is_probability(z->propensity_min) && z->logit_m2 >= 0.0 &&
           tl_zones_policy_check(&z->policy) == NULL;
}

tl_status tl_zones_load(tl_blob_reader *reader, tl_zones **out, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "ZONE", ZONES_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_zones *zones = calloc(1, sizeof *zones);
    if (zones == NULL) return tl_fail(err, TL_ENOMEM, "zones");
    bool fine = read_state(&body, zones);
    status = tl_blob_read_end(&body, "zones", err);
    if (status == TL_OK && !fine)
        status = tl_fail(err, TL_ECORRUPT, "the state of the three zones is damaged");
    if (status != TL_OK) {
        tl_zones_destroy(&zones);
        return status;
    }
    *out = zones;
    return TL_OK;
}
