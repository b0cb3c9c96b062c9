/* What people's answers say of what serves: estimates from drawn items, a certified threshold while
 * the line is frozen, whether the rules of review are kept, suspicious labels; and, without any label,
 * whether items have changed. Nothing here changes what is served. */
#include "loop/core/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRIFT_ITEMS = 5000 }; /* audits are denser for so many items after an alarm */

/* ---- Beginning ------------------------------------------------------------------------------- */

static tl_zones_policy zones_policy(const tl_core *core)
{
    tl_zones_policy policy = tl_zones_policy_default();
    if (core->config.review.escapes > 0.0) policy.escapes_max = core->config.review.escapes;
    policy.confidence = core->config.review.confidence;
    policy.reject_at = tl_core_threshold((tl_core *)core);
    return policy;
}

/* What serves is another one from here on: nothing that was seen of the one before speaks of it. */
void tl_core_review_restart(tl_core *core)
{
    tl_core_review *review = &core->review;
    tl_selective_options options = tl_selective_options_default();
    if (core->config.audit_rate > 0.0) options.passed_propensity_min = core->config.audit_rate;
    (void)tl_selective_init(&review->estimates, &options, NULL); /* the rate was checked */
    tl_conformal_reset(&review->drift);
    tl_calibrator_halve(&review->calibrator); /* another score, but not a wholly other one */
    review->since = core->now_position;
    tl_keymap_clear(&review->counted);
    review->unit_count = 0;
    memset(review->sizes, 0, sizeof review->sizes);
    review->largest = 1;
    tl_zones_policy policy = zones_policy(core);
    tl_zones_restart(review->zones, &policy);
}

void tl_core_review_classes(tl_core *core)
{
    tl_suspects_init(&core->review.suspects, (uint32_t)core->config.info.class_count);
}

tl_status tl_core_review_create(tl_core *core, tl_error *err)
{
    tl_core_review *review = &core->review;
    tl_zones_policy zones = tl_zones_policy_default();
    tl_review_check_policy check = tl_review_check_policy_default();
    review->zones = tl_zones_create(&zones);
    review->check = tl_review_check_create(&check);
    review->drawn = malloc(TL_DRAWN_MAX * sizeof *review->drawn);
    core->again = calloc(1, sizeof *core->again);
    if (core->again == NULL || review->zones == NULL || review->check == NULL ||
        review->drawn == NULL)
        return tl_fail(err, TL_ENOMEM, "state of the review");
    tl_suspects_init(&review->suspects, (uint32_t)core->config.info.class_count);
    tl_conformal_init(&review->drift, 0.0, 1.0, core->config.seed);
    tl_calibrator_init(&review->calibrator);
    review->warm = core->config.cold_labels == 0;
    tl_core_review_restart(core);
    return TL_OK;
}

void tl_core_review_destroy(tl_core *core)
{
    tl_zones_destroy(&core->review.zones);
    tl_review_check_destroy(&core->review.check);
    tl_keymap_destroy(&core->review.counted);
    free(core->review.drawn);
    free(core->again);
}

/* ---- A certified threshold ------------------------------------------------------------------- */

static tl_unit_size *size_of(tl_core_review *review, uint64_t key)
{
    for (size_t i = 0; i < TL_ZONE_UNIT_MAX; i++)
        if (review->sizes[i].key == key) return &review->sizes[i];
    return NULL;
}

/* An item of that unit, whether anybody looks or not. */
static void count_in_unit(tl_core_review *review, uint64_t key)
{
    if (key == 0) return;
    tl_unit_size *size = size_of(review, key);
    if (size == NULL) {
        size = &review->sizes[review->size_at];
        review->size_at = (review->size_at + 1) % TL_ZONE_UNIT_MAX;
        *size = (tl_unit_size){ .key = key };
    }
    size->items++;
    if (size->items > review->largest) review->largest = size->items;
}

/* The items of a unit, or a bound above that: those that nobody drew count as much as the others. */
static uint32_t items_of(tl_core_review *review, const tl_zone_unit *unit)
{
    if (unit->key == 0) return 1;
    const tl_unit_size *size = size_of(review, unit->key);
    uint32_t items = size != NULL ? size->items : review->largest;
    return items > unit->count ? items : (uint32_t)unit->count;
}

static void learn_unit(tl_core *core, size_t index)
{
    tl_core_review *review = &core->review;
    tl_zone_unit *unit = &review->units[index];
    uint32_t items = items_of(review, unit);
    for (size_t i = 0; i < unit->count; i++) unit->items[i].unit_items = items;
    (void)tl_zones_learn(review->zones, unit->items, unit->count, NULL); /* items are well formed */
    review->unit_count--;
    memmove(unit, unit + 1, (review->unit_count - index) * sizeof *unit);
}

static tl_zone_unit *find_unit(tl_core *core, uint64_t key)
{
    tl_core_review *review = &core->review;
    for (size_t i = 0; i < review->unit_count && key != 0; i++)
        if (review->units[i].key == key) return &review->units[i];
    if (review->unit_count == TL_ZONE_UNIT_MAX) learn_unit(core, 0);
    tl_zone_unit *unit = &review->units[review->unit_count++];
    *unit = (tl_zone_unit){ .key = key };
    return unit;
}

/* A certificate is one of a policy that does not move: only a frozen one is followed. */
static void learn_zone(tl_core *core, const tl_drawn *drawn, bool answered, bool defect)
{
    double least = core->config.audit_rate; /* without audits nothing can be certified */
    if (!core->head_frozen || least <= 0.0 || drawn->key <= core->review.since) return;
    tl_zone_unit *unit = find_unit(core, drawn->unit);
    unit->items[unit->count++] =
        (tl_zones_item){ .score = drawn->score,
                         .drawn = true,
                         .answered = answered,
                         .defect = defect,
                         .propensity = drawn->propensity,
                         .propensity_min = fmin(least, drawn->propensity) };
    size_t index = (size_t)(unit - core->review.units);
    if (unit->key == 0 || unit->count == TL_ZONE_ITEM_MAX) learn_unit(core, index);
}

/* ---- Drawn items ----------------------------------------------------------------------------- */

static bool is_disputed(const tl_prediction_record *p)
{
    for (uint32_t i = 0; i < p->shadow_count; i++)
        if ((p->shadows[i].flagged != 0) != p->flagged) return true;
    return false;
}

static tl_drawn drawn_of(const tl_core *core, uint64_t key, const tl_prediction_record *p)
{
    uint64_t unit = tl_shadow_unit(p, core->config.gate.unit);
    return (tl_drawn){ .key = key,
                       .time_us = p->time_us,
                       .unit = unit,
                       .subject = tl_people_subject(unit, p->id),
                       .score = p->score_count > 0 ? 1.0f - p->scores[0] : 0.0f,
                       .propensity = p->propensity,
                       .reason = (uint8_t)tl_review_logged_rule(p->reason),
                       .call = tl_core_automatic_call(core, p),
                       .flagged = p->flagged,
                       .blind = tl_review_logged_blind(p->reason),
                       .disputed = is_disputed(p) };
}

/* An item that nobody answered counts as the model's error: a bound, not an estimate. */
static void time_out(tl_core *core)
{
    tl_core_review *review = &core->review;
    const tl_drawn *drawn = tl_drawn_at(review, 0);
    if (!drawn->answered) {
        tl_review_check_outcome(review->check, drawn->reason, TL_REVIEW_TIMED_OUT, drawn->person);
        if (drawn->key > review->since)
            tl_selective_add(&review->estimates, drawn->flagged, true, !drawn->flagged,
                             drawn->propensity, drawn->score);
        learn_zone(core, drawn, false, false);
        tl_core_automatic_time_out(core, drawn);
    }
    review->drawn_count--;
    review->drawn_begin = (review->drawn_begin + 1) % TL_DRAWN_MAX;
}

static void time_out_old(tl_core *core)
{
    tl_core_review *review = &core->review;
    int64_t timeout_us = 1000000 * (int64_t)core->config.gate.timeout_s;
    while (review->drawn_count > 0 &&
           (tl_drawn_at(review, 0)->answered || review->drawn_count == TL_DRAWN_MAX ||
            core->now_us - tl_drawn_at(review, 0)->time_us > timeout_us))
        time_out(core);
}

tl_drawn *tl_core_find_drawn(const tl_core *core, uint64_t key)
{
    const tl_core_review *review = &core->review;
    size_t low = 0, high = review->drawn_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (tl_drawn_at(review, middle)->key < key)
            low = middle + 1;
        else
            high = middle;
    }
    tl_drawn *found = low < review->drawn_count ? tl_drawn_at(review, low) : NULL;
    return found != NULL && found->key == key ? found : NULL;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* The margin: how near the score is to saying nothing. */
static void watch_drift(tl_core *core, double score)
{
    tl_core_review *review = &core->review;
    if (core->config.gate.drift == TL_RESPONSE_OFF || tl_core_is_cold(core)) return;
    tl_conformal_step(&review->drift, 2.0 * fmin(score, 1.0 - score));
    if (tl_conformal_value(&review->drift) < core->config.gate.drift_items) return;
    bool acts = core->config.gate.drift == TL_RESPONSE_ACT;
    tl_core_note(core, TL_NOTE_DRIFT, core->champion,
                 acts ? "items look different: audits are four times as dense for a while"
                      : "items look different: audits would be four times as dense for a while");
    review->drift_alarms++;
    if (acts) review->drift_left = DRIFT_ITEMS;
    tl_conformal_reset(&review->drift);
}

void tl_core_review_prediction(tl_core *core, const tl_record *record)
{
    tl_core_review *review = &core->review;
    const tl_prediction_record *p = &record->as.prediction;
    tl_drawn drawn = drawn_of(core, record->position, p);
    time_out_old(core);
    count_in_unit(review, drawn.unit);
    tl_review_check_item(review->check, p->review, (double)p->propensity);
    drawn.person = p->review ? tl_people_assign(&core->config, drawn.subject, 0, 0) : 0;
    if (p->review)
        *tl_drawn_at(review, review->drawn_count++) = drawn;
    else
        tl_selective_add(&review->estimates, p->flagged, false, false, p->propensity, drawn.score);
    watch_drift(core, drawn.score);
    if (review->drift_left > 0) review->drift_left--;
}

/* The answer that stands on a drawn item, or none (-1), in place of the one that was counted. */
static tl_status recount(tl_core_review *review, const tl_drawn *drawn, int32_t label,
                         tl_error *err)
{
    uint32_t counted = 0;
    bool was = tl_keymap_get(&review->counted, drawn->key, &counted);
    if (label >= 0 && tl_keymap_set(&review->counted, drawn->key, (uint32_t)label) != TL_OK)
        return tl_fail(err, TL_ENOMEM, "answers that are counted");
    if (was)
        tl_selective_remove(&review->estimates, drawn->flagged, true, counted != 0,
                            drawn->propensity, drawn->score);
    if (label >= 0)
        tl_selective_add(&review->estimates, drawn->flagged, true, label != 0, drawn->propensity,
                         drawn->score);
    else if (was)
        tl_keymap_remove(&review->counted, drawn->key);
    return TL_OK;
}

tl_status tl_core_review_label(tl_core *core, const tl_record *prediction, int32_t label,
                               uint64_t source, tl_error *err)
{
    tl_core_review *review = &core->review;
    const tl_prediction_record *p = &prediction->as.prediction;
    if (!p->review) {
        if (label >= 0) tl_review_check_outcome(review->check, 0, TL_REVIEW_VOLUNTEERED, source);
        return TL_OK;
    }
    tl_drawn drawn = drawn_of(core, prediction->position, p);
    tl_drawn *open = tl_core_find_drawn(core, prediction->position);
    bool first = open != NULL && !open->answered && label >= 0;
    /* What was timed out before, or is of what served before, stays as it was counted. */
    uint32_t before = 0;
    bool again = tl_keymap_get(&review->counted, drawn.key, &before), counts = first || again;
    if (counts)
        tl_core_automatic_answer(core, first ? open : &drawn, p, first ? -1 : (int32_t)before,
                                 label);
    tl_status status =
        counts && drawn.key > review->since ? recount(review, &drawn, label, err) : TL_OK;
    if (!first) return status;
    open->answered = true;
    tl_review_check_outcome(review->check, drawn.reason, TL_REVIEW_ANSWERED, source);
    learn_zone(core, &drawn, true, label != 0);
    tl_core_again_repeat(core, prediction, (uint32_t)label, source);
    if (core->config.review.budget > 0.0)
        tl_calibrator_add(&review->calibrator, drawn.score, label != 0, drawn.propensity);
    return status;
}

/* ---- Looking --------------------------------------------------------------------------------- */

tl_core_zones tl_core_zones_of(const tl_core *core)
{
    tl_core_zones out = { .accept_below = INFINITY, .band_low = INFINITY, .band_high = INFINITY };
    if (!core->head_frozen) return out;
    tl_zones_reading zones;
    tl_zones_read(core->review.zones, core->frozen_threshold, &zones);
    if (zones.certified) {
        out.accept_below = zones.accept_below;
    } else {
        out.band_low = zones.band_low;
        out.band_high = zones.band_high;
    }
    return out;
}

const tl_calibrator *tl_core_calibrator(const tl_core *core)
{
    return core->config.review.budget > 0.0 ? &core->review.calibrator : NULL;
}

double tl_core_audit_factor(const tl_core *core)
{
    return core->review.drift_left > 0 ? TL_REVIEW_ALARM_FACTOR : 1.0;
}

static tl_share share_of(const tl_figure *figure)
{
    return (tl_share){ .value = figure->value,
                       .low = figure->low,
                       .high = figure->high,
                       .hits = figure->hits,
                       .count = figure->count };
}

tl_status tl_core_estimates(tl_core *core, tl_estimates *out, tl_error *err)
{
    const tl_core_review *review = &core->review;
    tl_selective_figures figures;
    tl_status status =
        tl_selective_read(&review->estimates, TL_SELECTIVE_RUNNING, 0.95, &figures, err);
    if (status != TL_OK) return status;
    tl_zones_reading zones;
    tl_review_check_reading check;
    tl_zones_read(review->zones, tl_core_threshold(core), &zones);
    tl_review_check_read(review->check, &check);
    *out = (tl_estimates){ .since_position = review->since,
                           .items = figures.items,
                           .verified = figures.verified,
                           .recall = share_of(&figures.recall),
                           .precision = share_of(&figures.precision),
                           .prevalence = share_of(&figures.prevalence),
                           .escapes = share_of(&figures.escape),
                           .overkill = share_of(&figures.overkill),
                           .certified = zones.certified && core->head_frozen,
                           .accept_below = zones.accept_below,
                           .needed_defects = zones.needed_defects,
                           .needed_labels = zones.needed_labels,
                           .rules_kept = check.kept,
                           .open_reviews = review->drawn_count,
                           .by_another = check.by_another,
                           .drift_alarms = review->drift_alarms };
    snprintf(out->threshold_words, sizeof out->threshold_words, "%s%s",
             core->head_frozen ? "" : "a certificate is one of a frozen line; as it stands: ",
             zones.words);
    snprintf(out->rules_words, sizeof out->rules_words, "%s",
             check.finding_count > 0 ? check.finding[0] : "the rules of review are kept");
    tl_suspects_words(&review->suspects, out->suspects_words);
    tl_core_automatic_estimates(core, out);
    tl_again_words(&core->again->repeats, out->people_words);
    return TL_OK;
}
