#include "gate/gate.h"

#include <math.h>
#include <stdlib.h>

#include "gate/internal.h"
#include "stats/interval.h"
#include "stats/spending.h"

/* ---- Policy ---------------------------------------------------------------------------------- */

tl_gate_policy tl_gate_policy_default(void)
{
    return (tl_gate_policy){ .alpha = 0.05,
                             .effect = 0.0005,
                             .cost_miss = 1,
                             .cost_false_alarm = 1,
                             .alarm_days = 90,
                             .take_back_days = 90,
                             .timeout_us = 86400 * 1000000ll };
}

static bool between(double value, double low, double high)
{
    return value >= low && value <= high;
}

const char *tl_gate_policy_check(const tl_gate_policy *policy)
{
    if (!between(policy->alpha, 1e-9, 0.5)) return "alpha must be in (0, 0.5]";
    if (!between(policy->effect, 0, 0.5)) return "effect must be in 0..0.5";
    if (!between(policy->cost_miss, 1e-6, 1)) return "cost of a miss must be in (0, 1]";
    if (!between(policy->cost_false_alarm, 1e-6, 1))
        return "cost of a false alarm must be in (0, 1]";
    if (!between(policy->noise, 0, 0.4)) return "noise must be in 0..0.4";
    if (!between(policy->hostile, 0, 0.4)) return "hostile must be in 0..0.4";
    if (policy->hostile > 0 && policy->hostile < 0.01)
        return "hostile must be 0 or at least 0.01: its inverse is the number of sources needed";
    if (!between(policy->promised_error, 0, 0.3)) return "promised error must be in 0..0.3";
    if (!between(policy->alarm_days, 1e-3, 1e5)) return "alarm days must be in 0.001..100000";
    if (!between(policy->take_back_days, 1e-3, 1e5))
        return "take-back days must be in 0.001..100000";
    if (policy->timeout_us < 1) return "time-out must be positive";
    if (policy->unit > TL_GATE_UNIT_ITEM) return "unit must be board, lot or item";
    return NULL;
}

/* ---- Life ------------------------------------------------------------------------------------ */

/* An error is also seen where the label is wrong: by noise, or by a hostile source. */
void tl_gate_promise_begin(tl_gate *gate)
{
    const tl_gate_policy *policy = &gate->policy;
    double promised = policy->promised_error;
    gate->promise_counts = (tl_gate_counts){ 0 };
    gate->promise_errors = 0;
    gate->propensity = 1;
    if (promised == 0) {
        tl_detector_init_mean(&gate->promise);
        return;
    }
    double seen = promised * (1 - 2 * policy->noise) + policy->noise + policy->hostile;
    tl_detector_init_rate(&gate->promise, fmin(0.5, seen));
}

tl_status tl_gate_create(const tl_gate_policy *policy, tl_gate **out, tl_error *err)
{
    TL_ASSERT(tl_gate_policy_check(policy) == NULL);
    tl_gate *gate = calloc(1, sizeof *gate);
    if (gate == NULL) return tl_fail(err, TL_ENOMEM, "gate");
    gate->policy = *policy;
    tl_open_init(&gate->open);
    tl_gate_promise_begin(gate);
    *out = gate;
    return TL_OK;
}

void tl_gate_destroy(tl_gate **gate)
{
    if (*gate == NULL) return;
    tl_open_destroy(&(*gate)->open);
    free(*gate);
    *gate = NULL;
}

void tl_gate_set_policy(tl_gate *gate, const tl_gate_policy *policy)
{
    TL_ASSERT(tl_gate_policy_check(policy) == NULL);
    gate->policy = *policy;
    tl_gate_restart(gate, gate->open.position);
}

const tl_gate_policy *tl_gate_get_policy(const tl_gate *gate)
{
    return &gate->policy;
}

/* ---- What is watched ------------------------------------------------------------------------- */

/* Both claims on one number: each gets half of its level. */
static double threshold(const tl_gate *gate, const tl_shadow *shadow)
{
    bool both = (shadow->watch & TL_GATE_BETTER) && (shadow->watch & TL_GATE_GAIN);
    return tl_spending_log_threshold(gate->policy.alpha, shadow->number) + (both ? log(2) : 0);
}

void tl_gate_shadow_begin(tl_gate *gate, tl_shadow *shadow)
{
    bool spends = shadow->watch & (TL_GATE_BETTER | TL_GATE_GAIN);
    shadow->number = spends ? ++gate->spent : 0;
    shadow->log_threshold = spends ? threshold(gate, shadow) : 0;
    shadow->bound = tl_gate_worst_loss(&gate->policy);
    tl_claim_init(&shadow->better);
    tl_claim_init(&shadow->gain);
    tl_detector_init_mean(&shadow->harm);
    shadow->counts = (tl_gate_counts){ 0 };
    shadow->answered = shadow->against = shadow->other_against = 0;
    shadow->last = shadow->over_cap = 0;
    tl_sources_init(&shadow->bet);
    tl_sources_init(&shadow->arrived);
    shadow->promoted = shadow->certified = shadow->blocked = false;
    shadow->place_count = 0;
}

static tl_shadow *find(tl_gate *gate, uint64_t version)
{
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++)
        if (tl_shadow_used(&gate->shadow[k]) && gate->shadow[k].version == version)
            return &gate->shadow[k];
    return NULL;
}

tl_status tl_gate_watch(tl_gate *gate, uint64_t version, unsigned watch, uint64_t position,
                        tl_error *err)
{
    if (watch == 0 || watch > (TL_GATE_BETTER | TL_GATE_HARM | TL_GATE_GAIN))
        return tl_fail(err, TL_EINVAL, "nothing to watch version %llu for",
                       (unsigned long long)version);
    if (find(gate, version) != NULL)
        return tl_fail(err, TL_ECONFLICT, "version %llu is watched already",
                       (unsigned long long)version);
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++) {
        tl_shadow *shadow = &gate->shadow[k];
        if (tl_shadow_used(shadow)) continue;
        shadow->version = version;
        shadow->watch = watch;
        shadow->position = position;
        tl_gate_shadow_begin(gate, shadow);
        return TL_OK;
    }
    return tl_fail(err, TL_ELIMIT, "%d versions are watched already; drop one first",
                   TL_GATE_SHADOW_MAX);
}

void tl_gate_drop(tl_gate *gate, uint64_t version)
{
    tl_shadow *shadow = find(gate, version);
    if (shadow == NULL) return;
    shadow->watch = 0;
    tl_open_forget(&gate->open, (unsigned)(shadow - gate->shadow));
}

void tl_gate_restart(tl_gate *gate, uint64_t position)
{
    tl_open_clear(&gate->open);
    tl_gate_promise_begin(gate);
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++) {
        tl_shadow *shadow = &gate->shadow[k];
        if (!tl_shadow_used(shadow)) continue;
        if (position > shadow->position) shadow->position = position;
        tl_gate_shadow_begin(gate, shadow);
    }
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

void tl_gate_verdict_add(tl_gate *gate, const tl_gate_verdict *verdict)
{
    if (gate->verdict_count == TL_GATE_VERDICT_MAX) {
        gate->verdict_begin = (gate->verdict_begin + 1) % TL_GATE_VERDICT_MAX;
        gate->verdict_count--;
    }
    size_t at = (gate->verdict_begin + gate->verdict_count++) % TL_GATE_VERDICT_MAX;
    gate->verdict[at] = *verdict;
    tl_gate_verdict_words(gate, &gate->verdict[at]);
}

bool tl_gate_take_verdict(tl_gate *gate, tl_gate_verdict *out)
{
    if (gate->verdict_count == 0) return false;
    *out = gate->verdict[gate->verdict_begin];
    gate->verdict_begin = (gate->verdict_begin + 1) % TL_GATE_VERDICT_MAX;
    gate->verdict_count--;
    return true;
}

/* ---- How things stand ------------------------------------------------------------------------ */

static double mean(double sum, uint64_t count)
{
    return count == 0 ? 0 : sum / (double)count;
}

static double needed(const tl_shadow *shadow)
{
    bool better = shadow->watch & TL_GATE_BETTER, gain = shadow->watch & TL_GATE_GAIN;
    if (!better && !gain) return NAN;
    if (better ? shadow->promoted : shadow->certified) return 0;
    const tl_claim *claim = better ? &shadow->better : &shadow->gain;
    double growth = tl_claim_growth(claim, shadow->counts.disagreements);
    double missing = shadow->log_threshold - tl_claim_log_e(claim);
    return growth > 0 ? fmax(1, ceil(missing / growth)) : NAN;
}

static void describe_sites(const tl_gate *gate, const tl_shadow *shadow, tl_gate_standing *out)
{
    double widest = tl_gate_worst_loss(&gate->policy), level = tl_gate_interval_threshold();
    out->site_count = shadow->place_count;
    for (size_t i = 0; i < shadow->place_count; i++) {
        const tl_gate_place *place = &shadow->place[i];
        out->site[i] =
            (tl_gate_site_standing){ .site = place->site,
                                     .counts = place->counts,
                                     .gain = mean(place->saved, place->counts.items),
                                     .gain_low = tl_limit_low(&place->better, level, widest),
                                     .gain_high = -tl_limit_low(&place->gain, level, widest),
                                     .log_e = tl_bettor_log_e(&place->worse),
                                     .worse = place->proven };
    }
}

bool tl_gate_describe(const tl_gate *gate, uint64_t version, tl_gate_standing *out)
{
    const tl_shadow *shadow = find((tl_gate *)gate, version);
    if (shadow == NULL) return false;
    double limit = tl_gate_worst_loss(&gate->policy), level = tl_gate_interval_threshold();
    tl_gate_standing standing = {
        .version = version,
        .watch = shadow->watch,
        .number = shadow->number,
        .alpha = shadow->number == 0 ? 0 : exp(-shadow->log_threshold),
        .log_threshold = shadow->log_threshold,
        .log_e_better = tl_claim_log_e(&shadow->better),
        .log_e_gain = tl_claim_log_e(&shadow->gain),
        .log_harm = log(tl_detector_value(&shadow->harm)),
        .log_harm_threshold = log(tl_gate_take_back_level(gate)),
        .counts = shadow->counts,
        .over_cap = shadow->over_cap,
        .gain = mean(shadow->answered - shadow->against, shadow->counts.items),
        .gain_low = tl_limit_low(&shadow->better.limit, level, limit),
        .gain_high = -tl_limit_low(&shadow->gain.limit, level, limit),
        .needed = needed(shadow),
        .promoted = shadow->promoted,
        .certified = shadow->certified,
        .blocked_by_site = shadow->blocked,
    };
    describe_sites(gate, shadow, &standing);
    tl_gate_standing_words(gate, &standing);
    *out = standing;
    return true;
}

void tl_gate_get_status(const tl_gate *gate, tl_gate_status *out)
{
    bool promised = gate->policy.promised_error > 0;
    *out = (tl_gate_status){
        .spent = gate->spent,
        .newest = gate->open.position,
        .open_items = (size_t)(gate->open.item_end - gate->open.item_begin),
        .open_units = gate->open.unit_count,
        .late_items = gate->late_items,
        .unused_labels = gate->unused_labels,
        .forced_units = gate->forced_units,
        .log_alarm = promised ? log(tl_detector_value(&gate->promise)) : -INFINITY,
        .log_alarm_threshold = log(tl_gate_alarm_level(gate)),
        .promise = gate->promise_counts,
    };
}

bool tl_gate_golden(uint64_t new_errors, uint64_t fixed_errors)
{
    if (new_errors == 0) return true;
    /* P(at least new_errors heads in as many fair tosses as items changed) */
    double chance = tl_beta_cdf((double)new_errors, (double)fixed_errors + 1, 0.5);
    return chance > 0.05;
}
