/* compare.c - the bets of one unit. */
#include <math.h>

#include "gate/internal.h"
#include "stats/spending.h"

static const double LEVEL_MIN = 1000; /* units: the least run length that is worked with */
static const double SITE_ALPHA = 0.05;

double tl_gate_interval_threshold(void)
{
    return log(2 / 0.05);
}

/* ---- Losses and margins ---------------------------------------------------------------------- */

static double cost_wrong(const tl_gate_policy *policy, bool flagged)
{
    return flagged ? policy->cost_false_alarm : policy->cost_miss;
}

/* Symmetric noise eta makes of E[D] = p miss - (1-p) alarm, for the side that flags alone,
 * (1 - 2 eta) E[D] + eta (miss - alarm): it gains what the other side loses. Only the gain is taken
 * off, since eta is at most `noise`. */
static double margin(const tl_gate_policy *policy, bool flagged)
{
    double tilt = policy->cost_miss - policy->cost_false_alarm;
    if (!flagged) tilt = -tilt;
    return policy->noise * (tilt > 0 ? tilt : 0);
}

/* What one lie can bring, as a mean of all labels: for what is estimated, and for take-backs.
 * Proofs do without (sources.h). */
static double hostile_margin(const tl_gate_policy *policy)
{
    return policy->hostile * (policy->cost_miss + policy->cost_false_alarm);
}

double tl_gate_worst_loss(const tl_gate_policy *policy)
{
    double flags = cost_wrong(policy, true) + margin(policy, true);
    double passes = cost_wrong(policy, false) + margin(policy, false);
    return flags > passes ? flags : passes;
}

/* What rests on each source, in one unit. */
typedef struct suspicion {
    uint32_t count;
    uint64_t source[TL_SOURCES_MAX];
    double better[TL_SOURCES_MAX], gain[TL_SOURCES_MAX];
} suspicion;

/* What a unit brings to the two claims, noise margins included; and without them. */
typedef struct tally {
    double better, gain;
    double answered, weight, against, other_against;
    tl_gate_counts counts;
    suspicion *suspicion; /* NULL: sources are trusted */
} tally;

static void suspect(suspicion *s, uint64_t source, double better, double gain)
{
    uint32_t at = 0;
    while (at < s->count && s->source[at] != source) at++;
    if (at == s->count) {
        s->source[s->count++] = source;
        s->better[at] = s->gain[at] = 0;
    }
    if (better > 0) s->better[at] += better;
    if (gain > 0) s->gain[at] += gain;
}

static void count_unanswered(const tl_gate_policy *policy, bool flagged, double weight, tally *sums)
{
    sums->against += weight * cost_wrong(policy, flagged);
    sums->other_against += weight * cost_wrong(policy, !flagged);
}

static void count_answer(const tl_gate_policy *policy, const tl_open_item *item, bool flagged,
                         tally *sums)
{
    bool right = (item->answer == TL_ANSWER_DEFECT) == flagged;
    double lost = cost_wrong(policy, flagged), other_lost = cost_wrong(policy, !flagged);
    double difference = right ? other_lost : -lost;
    double better = difference - margin(policy, flagged);
    double gain = -difference - margin(policy, !flagged);
    sums->counts.disagreements++;
    sums->counts.wins += right;
    sums->counts.losses += !right;
    sums->weight += item->weight;
    sums->answered += item->weight * difference;
    sums->better += item->weight * better;
    sums->gain += item->weight * gain;
    if (sums->suspicion != NULL)
        suspect(sums->suspicion, item->source, item->weight * (better + lost),
                item->weight * (gain + other_lost));
}

static void count_item(const tl_gate_policy *policy, tl_shadow *shadow, const tl_open_item *item,
                       tally *sums)
{
    bool flagged = !item->flagged;
    bool counts = item->answer != TL_ANSWER_NONE &&
                  (policy->hostile == 0 ||
                   tl_sources_take(&shadow->bet, item->source, item->weight, policy->hostile));
    if (counts) {
        count_answer(policy, item, flagged, sums);
        return;
    }
    sums->counts.timeouts++;
    count_unanswered(policy, flagged, item->weight, sums);
}

static void tally_unit(tl_gate *gate, const tl_open_unit *unit, unsigned slot, tally *sums)
{
    const tl_gate_policy *policy = &gate->policy;
    const tl_open_share *share = &unit->share[slot];
    sums->counts = (tl_gate_counts){ .units = 1, .items = share->items };
    for (uint64_t n = unit->item_first; n != 0;) {
        const tl_open_item *item = tl_open_item_at(&gate->open, n);
        if (tl_open_disagrees(item, slot)) count_item(policy, &gate->shadow[slot], item, sums);
        n = item->next;
    }
    count_unanswered(policy, true, share->hidden_flagged, sums);
    count_unanswered(policy, false, share->hidden_passed, sums);
    sums->better -= sums->against;
    sums->gain -= sums->other_against;
}

static void add_counts(tl_gate_counts *to, const tl_gate_counts *more)
{
    to->units += more->units;
    to->items += more->items;
    to->disagreements += more->disagreements;
    to->wins += more->wins;
    to->losses += more->losses;
    to->timeouts += more->timeouts;
}

/* ---- Sites ----------------------------------------------------------------------------------- */

/* One more than can be kept apart is not kept apart: it counts overall only. */
static tl_gate_place *place_of(tl_shadow *shadow, uint64_t site)
{
    for (size_t i = 0; i < shadow->place_count; i++)
        if (shadow->place[i].site == site) return &shadow->place[i];
    if (shadow->place_count == TL_GATE_SITE_MAX) return NULL;
    tl_gate_place *place = &shadow->place[shadow->place_count++];
    *place = (tl_gate_place){ .site = site };
    tl_bettor_init(&place->worse);
    tl_limit_init(&place->better);
    tl_limit_init(&place->gain);
    return place;
}

/* Whether it is worse there is asked of the labels as they are; only the interval allows for lies. */
static void bet_at_site(const tl_gate *gate, tl_shadow *shadow, uint64_t site, const tally *sums)
{
    tl_gate_place *place = place_of(shadow, site);
    if (place == NULL) return;
    double lies = hostile_margin(&gate->policy);
    double wide = shadow->bound * (1 + lies / tl_gate_worst_loss(&gate->policy));
    double items = (double)sums->counts.items / wide, doubt = lies * sums->weight;
    tl_limit_bet(&place->better, (sums->better - doubt) / wide, items);
    tl_limit_bet(&place->gain, (sums->gain - doubt) / wide, items);
    add_counts(&place->counts, &sums->counts);
    place->saved += sums->answered - sums->against;
    tl_bettor_bet(&place->worse, sums->gain / shadow->bound);
    uint64_t number = (uint64_t)(place - shadow->place) + 1;
    if (!place->proven &&
        tl_bettor_log_e(&place->worse) >= tl_spending_log_threshold(SITE_ALPHA, number))
        place->proven = true;
}

static bool worse_somewhere(const tl_shadow *shadow)
{
    bool worse = false;
    for (size_t i = 0; i < shadow->place_count; i++) worse = worse || shadow->place[i].proven;
    return worse;
}

/* ---- Levels ---------------------------------------------------------------------------------- */

/* So many units come in so many days, as far as it is known before the next one. */
static double units_in(const tl_gate *gate, double days)
{
    double elapsed_us = fmax(1e6, (double)(gate->open.now_us - gate->open.start_us));
    return fmax(LEVEL_MIN, days * (double)gate->units / (elapsed_us / 86400e6));
}

double tl_gate_take_back_level(const tl_gate *gate)
{
    return units_in(gate, gate->policy.take_back_days);
}

double tl_gate_alarm_level(const tl_gate *gate)
{
    return units_in(gate, gate->policy.alarm_days);
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

static void tell(tl_gate *gate, const tl_shadow *shadow, tl_gate_kind kind, double log_e,
                 double log_threshold)
{
    double items = (double)shadow->counts.items, limit = tl_gate_worst_loss(&gate->policy);
    double low = tl_limit_low(&shadow->better.limit, tl_gate_interval_threshold(), limit);
    double high = -tl_limit_low(&shadow->gain.limit, tl_gate_interval_threshold(), limit);
    bool certify = kind == TL_GATE_CERTIFY;
    double saved =
        certify ? -shadow->answered - shadow->other_against : shadow->answered - shadow->against;
    tl_gate_verdict verdict = { .kind = kind,
                                .version = shadow->version,
                                .number = kind == TL_GATE_TAKE_BACK ? 0 : shadow->number,
                                .position = shadow->last,
                                .log_e = log_e,
                                .log_threshold = log_threshold,
                                .counts = shadow->counts,
                                .gain = saved / items,
                                .gain_low = certify ? -high : low,
                                .gain_high = certify ? -low : high };
    tl_gate_verdict_add(gate, &verdict);
}

static void judge_better(tl_gate *gate, tl_shadow *shadow)
{
    double saved = shadow->answered - shadow->against;
    if (!tl_claim_reaches(&shadow->better, shadow->log_threshold) ||
        saved < gate->policy.effect * (double)shadow->counts.items)
        return;
    shadow->blocked = worse_somewhere(shadow);
    if (shadow->blocked) return;
    shadow->promoted = true;
    tell(gate, shadow, TL_GATE_PROMOTE, tl_claim_log_e(&shadow->better), shadow->log_threshold);
}

static void judge_gain(tl_gate *gate, tl_shadow *shadow)
{
    if (!tl_claim_reaches(&shadow->gain, shadow->log_threshold)) return;
    shadow->certified = true;
    tell(gate, shadow, TL_GATE_CERTIFY, tl_claim_log_e(&shadow->gain), shadow->log_threshold);
}

static void judge_harm(tl_gate *gate, tl_shadow *shadow)
{
    double value = tl_detector_value(&shadow->harm), level = tl_gate_take_back_level(gate);
    if (value < level) return;
    tl_detector_restart(&shadow->harm);
    tell(gate, shadow, TL_GATE_TAKE_BACK, log(value), log(level));
}

/* ---- A unit ---------------------------------------------------------------------------------- */

/* The largest loss that a unit could bring so far, this one included. */
static double bound_of(tl_gate *gate, tl_shadow *shadow, const tl_open_share *share)
{
    double stakes = share->weight + share->hidden_flagged + share->hidden_passed;
    double worst =
        tl_gate_worst_loss(&gate->policy) * fmax(1, stakes) + gate->policy.effect * share->items;
    if (worst > shadow->bound) shadow->bound = worst;
    return shadow->bound;
}

static void place_bets(tl_gate *gate, tl_shadow *shadow, const tally *sums, double bound)
{
    double items = (double)sums->counts.items, effect = gate->policy.effect * items;
    double lies = hostile_margin(&gate->policy);
    double wide = bound * (1 + lies / tl_gate_worst_loss(&gate->policy));
    double better = (sums->better - effect) / bound, gain = (sums->gain - effect) / bound;
    tl_claim_bet(&shadow->better, better, (sums->better - lies * sums->weight) / wide,
                 items / wide);
    tl_claim_bet(&shadow->gain, gain, (sums->gain - lies * sums->weight) / wide, items / wide);
    if (shadow->watch & TL_GATE_HARM)
        tl_detector_step(&shadow->harm, (sums->better - lies * sums->weight) / wide, 1);
    const suspicion *s = sums->suspicion;
    for (uint32_t i = 0; s != NULL && i < s->count; i++) {
        if (shadow->watch & TL_GATE_BETTER)
            tl_doubt_add(&shadow->better.doubt, s->source[i], better,
                         better - s->better[i] / bound);
        if (shadow->watch & TL_GATE_GAIN)
            tl_doubt_add(&shadow->gain.doubt, s->source[i], gain, gain - s->gain[i] / bound);
    }
}

static void judge(tl_gate *gate, tl_shadow *shadow, const tally *sums)
{
    /* Evidence is not reached by what lowers it. */
    if (sums->better > 0 && (shadow->watch & TL_GATE_BETTER) && !shadow->promoted)
        judge_better(gate, shadow);
    if (sums->gain > 0 && (shadow->watch & TL_GATE_GAIN) && !shadow->certified)
        judge_gain(gate, shadow);
    if (shadow->watch & TL_GATE_HARM) judge_harm(gate, shadow);
}

static void bet_shadow(tl_gate *gate, const tl_open_unit *unit, unsigned slot)
{
    tl_shadow *shadow = &gate->shadow[slot];
    const tl_open_share *share = &unit->share[slot];
    if (!tl_shadow_used(shadow) || share->items == 0) return;
    suspicion doubts;
    doubts.count = 0;
    tally sums = { .suspicion = gate->policy.hostile > 0 ? &doubts : NULL };
    tally_unit(gate, unit, slot, &sums);
    double bound = bound_of(gate, shadow, share);
    place_bets(gate, shadow, &sums, bound);
    add_counts(&shadow->counts, &sums.counts);
    shadow->answered += sums.answered;
    shadow->against += sums.against;
    shadow->other_against += sums.other_against;
    shadow->last = unit->last;
    if (unit->site != 0) bet_at_site(gate, shadow, unit->site, &sums);
    judge(gate, shadow, &sums);
}

static void tell_alarm(tl_gate *gate, uint64_t position, double value, double level)
{
    tl_gate_verdict verdict = { .kind = TL_GATE_ALARM,
                                .position = position,
                                .log_e = log(value),
                                .log_threshold = log(level),
                                .counts = gate->promise_counts,
                                .gain = gate->promise_errors / (double)gate->promise_counts.items,
                                .gain_low = NAN,
                                .gain_high = NAN };
    tl_gate_verdict_add(gate, &verdict);
}

/* Errors of what answers. What nobody looked at, though it was drawn, is no error: an alarm is
 * about calls, not about reviewers. */
static void bet_promise(tl_gate *gate, const tl_open_unit *unit)
{
    tl_gate_counts *counts = &gate->promise_counts;
    double errors = 0;
    for (uint64_t n = unit->item_first; n != 0;) {
        const tl_open_item *item = tl_open_item_at(&gate->open, n);
        bool answered = item->answer != TL_ANSWER_NONE;
        bool wrong = answered && (item->answer == TL_ANSWER_DEFECT) != item->flagged;
        if (wrong) errors += item->weight;
        counts->disagreements += answered;
        counts->wins += answered && !wrong;
        counts->losses += wrong;
        counts->timeouts += !answered;
        n = item->next;
    }
    counts->units++;
    counts->items += unit->items;
    gate->promise_errors += errors;
    gate->propensity = fmin(gate->propensity, unit->propensity);
    tl_detector_step(&gate->promise, errors / unit->items, gate->propensity);
    double value = tl_detector_value(&gate->promise), level = tl_gate_alarm_level(gate);
    if (value < level) return;
    tell_alarm(gate, unit->last, value, level);
    tl_gate_promise_begin(gate);
}

void tl_gate_bet(tl_gate *gate, const tl_open_unit *unit)
{
    gate->units++;
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++) bet_shadow(gate, unit, k);
    if (gate->policy.promised_error > 0) bet_promise(gate, unit);
}
