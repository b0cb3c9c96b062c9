/* save.c - the gate's state as bytes. Whatever is loaded is checked before it is used. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gate/internal.h"

enum { VERSION = 1 };

/* ---- Small parts ----------------------------------------------------------------------------- */

static bool read_flag(tl_blob_reader *reader)
{
    uint8_t value = tl_blob_read_u8(reader);
    if (value > 1) reader->failed = true;
    return value == 1;
}

static double read_finite(tl_blob_reader *reader)
{
    double value = tl_blob_read_f64(reader);
    if (!isfinite(value)) reader->failed = true;
    return value;
}

static double read_in(tl_blob_reader *reader, double low, double high)
{
    double value = tl_blob_read_f64(reader);
    if (!(value >= low && value <= high)) {
        reader->failed = true;
        return low;
    }
    return value;
}

static int64_t read_time(tl_blob_reader *reader)
{
    uint64_t value = tl_blob_read_u64(reader);
    if (value > (uint64_t)TL_GATE_TIME_MAX_US) {
        reader->failed = true;
        return 0;
    }
    return (int64_t)value;
}

static void save_policy(const tl_gate_policy *policy, tl_blob *blob)
{
    const double values[] = { policy->alpha,          policy->effect,
                              policy->cost_miss,      policy->cost_false_alarm,
                              policy->noise,          policy->hostile,
                              policy->promised_error, policy->alarm_days,
                              policy->take_back_days };
    for (size_t i = 0; i < TL_COUNT_OF(values); i++) tl_blob_f64(blob, values[i]);
    tl_blob_u64(blob, (uint64_t)policy->timeout_us);
    tl_blob_u8(blob, (uint8_t)policy->unit);
}

static void load_policy(tl_gate_policy *policy, tl_blob_reader *reader)
{
    double *const values[] = { &policy->alpha,          &policy->effect,
                               &policy->cost_miss,      &policy->cost_false_alarm,
                               &policy->noise,          &policy->hostile,
                               &policy->promised_error, &policy->alarm_days,
                               &policy->take_back_days };
    for (size_t i = 0; i < TL_COUNT_OF(values); i++) *values[i] = tl_blob_read_f64(reader);
    policy->timeout_us = (int64_t)tl_blob_read_u64(reader);
    policy->unit = (tl_gate_unit)tl_blob_read_u8(reader);
    if (tl_gate_policy_check(policy) != NULL) reader->failed = true;
}

static void save_counts(const tl_gate_counts *counts, tl_blob *blob)
{
    tl_blob_u64(blob, counts->units);
    tl_blob_u64(blob, counts->items);
    tl_blob_u64(blob, counts->disagreements);
    tl_blob_u64(blob, counts->wins);
    tl_blob_u64(blob, counts->losses);
    tl_blob_u64(blob, counts->timeouts);
}

static void load_counts(tl_gate_counts *counts, tl_blob_reader *reader)
{
    counts->units = tl_blob_read_u64(reader);
    counts->items = tl_blob_read_u64(reader);
    counts->disagreements = tl_blob_read_u64(reader);
    counts->wins = tl_blob_read_u64(reader);
    counts->losses = tl_blob_read_u64(reader);
    counts->timeouts = tl_blob_read_u64(reader);
}

/* ---- Shadows --------------------------------------------------------------------------------- */

static void save_places(const tl_shadow *shadow, tl_blob *blob)
{
    tl_blob_u8(blob, (uint8_t)shadow->place_count);
    for (size_t i = 0; i < shadow->place_count; i++) {
        const tl_gate_place *place = &shadow->place[i];
        tl_blob_u64(blob, place->site);
        save_counts(&place->counts, blob);
        tl_blob_f64(blob, place->saved);
        tl_blob_u8(blob, place->proven);
        tl_bettor_save(&place->worse, blob);
    }
}

static tl_status load_places(tl_shadow *shadow, tl_blob_reader *reader, tl_error *err)
{
    shadow->place_count = tl_blob_read_u8(reader);
    if (shadow->place_count > TL_GATE_SITE_MAX)
        return tl_fail(err, TL_ECORRUPT, "saved gate has too many sites");
    tl_status status = TL_OK;
    for (size_t i = 0; status == TL_OK && i < shadow->place_count; i++) {
        tl_gate_place *place = &shadow->place[i];
        place->site = tl_blob_read_u64(reader);
        load_counts(&place->counts, reader);
        place->saved = read_finite(reader);
        place->proven = read_flag(reader);
        status = tl_bettor_load(&place->worse, reader, err);
    }
    return status;
}

static void save_shadow(const tl_shadow *shadow, tl_blob *blob)
{
    tl_blob_u8(blob, (uint8_t)shadow->watch);
    if (!tl_shadow_used(shadow)) return;
    tl_blob_u64(blob, shadow->version);
    tl_blob_u64(blob, shadow->position);
    tl_blob_u64(blob, shadow->number);
    tl_blob_f64(blob, shadow->log_threshold);
    tl_blob_f64(blob, shadow->bound);
    save_counts(&shadow->counts, blob);
    tl_blob_f64(blob, shadow->answered);
    tl_blob_f64(blob, shadow->against);
    tl_blob_f64(blob, shadow->other_against);
    tl_blob_u64(blob, shadow->last);
    tl_blob_u64(blob, shadow->over_cap);
    tl_blob_u8(blob, shadow->promoted);
    tl_blob_u8(blob, shadow->certified);
    tl_blob_u8(blob, shadow->blocked);
    tl_claim_save(&shadow->better, blob);
    tl_claim_save(&shadow->gain, blob);
    tl_detector_save(&shadow->harm, blob);
    tl_sources_save(&shadow->bet, blob);
    tl_sources_save(&shadow->arrived, blob);
    save_places(shadow, blob);
}

static tl_status load_shadow(tl_shadow *shadow, tl_blob_reader *reader, tl_error *err)
{
    shadow->watch = tl_blob_read_u8(reader);
    if (!tl_shadow_used(shadow)) return TL_OK;
    if (shadow->watch > (TL_GATE_BETTER | TL_GATE_HARM | TL_GATE_GAIN)) reader->failed = true;
    shadow->version = tl_blob_read_u64(reader);
    shadow->position = tl_blob_read_u64(reader);
    shadow->number = tl_blob_read_u64(reader);
    shadow->log_threshold = read_in(reader, 0, 1e3);
    shadow->bound = read_in(reader, 1e-9, 1e12);
    load_counts(&shadow->counts, reader);
    shadow->answered = read_finite(reader);
    shadow->against = read_finite(reader);
    shadow->other_against = read_finite(reader);
    shadow->last = tl_blob_read_u64(reader);
    shadow->over_cap = tl_blob_read_u64(reader);
    shadow->promoted = read_flag(reader);
    shadow->certified = read_flag(reader);
    shadow->blocked = read_flag(reader);
    tl_status status = tl_claim_load(&shadow->better, reader, err);
    if (status == TL_OK) status = tl_claim_load(&shadow->gain, reader, err);
    if (status == TL_OK) status = tl_detector_load(&shadow->harm, reader, err);
    if (status == TL_OK && shadow->harm.centre != 0)
        status = tl_fail(err, TL_ECORRUPT, "saved gate has an alarm where a comparison belongs");
    if (status == TL_OK) status = tl_sources_load(&shadow->bet, reader, err);
    if (status == TL_OK) status = tl_sources_load(&shadow->arrived, reader, err);
    if (status == TL_OK) status = load_places(shadow, reader, err);
    return status;
}

/* ---- What is open ---------------------------------------------------------------------------- */

static void save_unit(const tl_open_unit *unit, tl_blob *blob)
{
    tl_blob_u64(blob, unit->key);
    tl_blob_u64(blob, unit->site);
    tl_blob_u64(blob, unit->first);
    tl_blob_u64(blob, unit->last);
    tl_blob_u64(blob, unit->last_number);
    tl_blob_u64(blob, (uint64_t)unit->last_us);
    tl_blob_u32(blob, unit->items);
    tl_blob_f64(blob, unit->propensity);
    tl_blob_u8(blob, unit->over);
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++) {
        tl_blob_u32(blob, unit->share[k].items);
        tl_blob_u32(blob, unit->share[k].hidden_flagged);
        tl_blob_u32(blob, unit->share[k].hidden_passed);
        tl_blob_f64(blob, unit->share[k].weight);
    }
}

static void load_unit(tl_open_unit *unit, tl_blob_reader *reader)
{
    unit->key = tl_blob_read_u64(reader);
    unit->site = tl_blob_read_u64(reader);
    unit->first = tl_blob_read_u64(reader);
    unit->last = tl_blob_read_u64(reader);
    unit->last_number = tl_blob_read_u64(reader);
    unit->last_us = read_time(reader);
    unit->items = tl_blob_read_u32(reader);
    unit->propensity = read_in(reader, TL_GATE_PROPENSITY_MIN, 1);
    unit->over = read_flag(reader);
    if (unit->items == 0 || (unit->key == 0 && !unit->over)) reader->failed = true;
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++) {
        unit->share[k].items = tl_blob_read_u32(reader);
        unit->share[k].hidden_flagged = tl_blob_read_u32(reader);
        unit->share[k].hidden_passed = tl_blob_read_u32(reader);
        unit->share[k].weight = read_in(reader, 0, 1e12);
    }
}

/* The index that every open unit gets: its place in the order. */
static void save_units(const tl_open *open, uint32_t *place, tl_blob *blob)
{
    uint32_t count = 0;
    tl_blob_u32(blob, (uint32_t)open->unit_count);
    for (uint32_t i = open->first; i != TL_GATE_NONE; i = open->units[i].after) {
        place[i] = count++;
        save_unit(&open->units[i], blob);
    }
    uint32_t growing = 0;
    for (uint32_t i = open->oldest; i != TL_GATE_NONE; i = open->units[i].newer) growing++;
    tl_blob_u32(blob, growing);
    for (uint32_t i = open->oldest; i != TL_GATE_NONE; i = open->units[i].newer)
        tl_blob_u32(blob, place[i]);
}

static void save_items(const tl_open *open, const uint32_t *place, tl_blob *blob)
{
    tl_blob_u64(blob, open->item_begin);
    tl_blob_u64(blob, open->item_end);
    for (uint64_t n = open->item_begin; n < open->item_end; n++) {
        const tl_open_item *item = tl_open_item_at(open, n);
        tl_blob_u64(blob, item->position);
        tl_blob_u64(blob, item->source);
        tl_blob_f64(blob, item->weight);
        tl_blob_u32(blob, item->done ? TL_GATE_NONE : place[item->unit]);
        tl_blob_u8(blob, item->answer);
        tl_blob_u8(blob, item->flagged);
        tl_blob_u8(blob, item->calls);
        tl_blob_u8(blob, item->calls_flagged);
    }
}

static void save_open(const tl_open *open, tl_blob *blob)
{
    uint32_t *place = malloc((open->unit_capacity + 1) * sizeof *place);
    if (place == NULL) {
        blob->failed = true;
        return;
    }
    tl_blob_u64(blob, open->number);
    tl_blob_u64(blob, open->position);
    tl_blob_u64(blob, (uint64_t)open->now_us);
    tl_blob_u64(blob, (uint64_t)open->start_us);
    tl_blob_u64s(blob, open->late, TL_GATE_LATE_SLOTS);
    for (size_t i = 0; i < TL_GATE_LATE_SLOTS; i++) tl_blob_u64(blob, (uint64_t)open->late_us[i]);
    save_units(open, place, blob);
    save_items(open, place, blob);
    free(place);
}

/* Units in their order take the indices 0, 1, ... */
static tl_status load_units(tl_open *open, tl_blob_reader *reader, tl_error *err)
{
    uint32_t count = tl_blob_read_u32(reader);
    if (reader->failed || count > TL_GATE_OPEN_MAX)
        return tl_fail(err, TL_ECORRUPT, "saved gate has too many open units");
    tl_status status = tl_open_reserve(open, 0, count, err);
    if (status != TL_OK) return status;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = tl_open_unit_new(open);
        load_unit(&open->units[index], reader);
    }
    uint32_t growing = tl_blob_read_u32(reader), expected = 0;
    for (uint32_t i = 0; i < count; i++) expected += !open->units[i].over;
    if (reader->failed || growing != expected)
        return tl_fail(err, TL_ECORRUPT, "saved gate is inconsistent about its open units");
    for (uint32_t i = 0; i < growing; i++) {
        uint32_t index = tl_blob_read_u32(reader);
        bool fresh = index < count && !open->units[index].over &&
                     open->units[index].newer == TL_GATE_NONE &&
                     open->units[index].older == TL_GATE_NONE && open->newest != index;
        if (!fresh) return tl_fail(err, TL_ECORRUPT, "saved gate lists an open unit wrongly");
        tl_open_growing_add(open, index);
    }
    return TL_OK;
}

static void load_item(tl_open *open, tl_blob_reader *reader, uint64_t number)
{
    tl_open_item *item = tl_open_item_at(open, number);
    *item = (tl_open_item){ .position = tl_blob_read_u64(reader) };
    item->source = tl_blob_read_u64(reader);
    item->weight = read_in(reader, 1, 1 / TL_GATE_PROPENSITY_MIN * (1 + 1e-9));
    item->unit = tl_blob_read_u32(reader);
    item->answer = tl_blob_read_u8(reader);
    item->flagged = read_flag(reader);
    item->calls = tl_blob_read_u8(reader);
    item->calls_flagged = tl_blob_read_u8(reader);
    item->done = item->unit == TL_GATE_NONE;
    bool ordered =
        number == open->item_begin || item->position > tl_open_item_at(open, number - 1)->position;
    if (!ordered || item->answer > TL_ANSWER_DEFECT || item->calls >> TL_GATE_SHADOW_MAX ||
        (item->calls_flagged & ~item->calls) || (!item->done && item->unit >= open->unit_count))
        reader->failed = true;
    if (item->done || reader->failed) return;
    tl_open_unit *unit = &open->units[item->unit];
    if (unit->item_last != 0)
        tl_open_item_at(open, unit->item_last)->next = number;
    else
        unit->item_first = number;
    unit->item_last = number;
    unit->open += item->answer == TL_ANSWER_NONE;
}

/* What a unit can lose is computed from its weights: its items must not bring more. */
static bool weights_agree(const tl_open *open)
{
    for (uint32_t i = 0; i < open->unit_count; i++) {
        const tl_open_unit *unit = &open->units[i];
        double weight[TL_GATE_SHADOW_MAX] = { 0 };
        for (uint64_t n = unit->item_first; n != 0; n = tl_open_item_at(open, n)->next)
            for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++)
                if (tl_open_disagrees(tl_open_item_at(open, n), k))
                    weight[k] += tl_open_item_at(open, n)->weight;
        for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++)
            if (weight[k] > unit->share[k].weight * (1 + 1e-9)) return false;
    }
    return true;
}

static tl_status load_open(tl_open *open, tl_blob_reader *reader, tl_error *err)
{
    open->number = tl_blob_read_u64(reader);
    open->position = tl_blob_read_u64(reader);
    open->now_us = read_time(reader);
    open->start_us = read_time(reader);
    tl_blob_read_u64s(reader, open->late, TL_GATE_LATE_SLOTS);
    for (size_t i = 0; i < TL_GATE_LATE_SLOTS; i++) open->late_us[i] = read_time(reader);
    tl_status status = load_units(open, reader, err);
    if (status != TL_OK) return status;
    open->item_begin = tl_blob_read_u64(reader);
    open->item_end = tl_blob_read_u64(reader);
    bool sound = !reader->failed && open->item_begin >= 1 && open->item_end >= open->item_begin &&
                 open->item_end - open->item_begin <= TL_GATE_OPEN_MAX;
    if (!sound) return tl_fail(err, TL_ECORRUPT, "saved gate has open items out of range");
    uint64_t end = open->item_end;
    open->item_end = open->item_begin; /* nothing to be moved */
    status = tl_open_reserve(open, (size_t)(end - open->item_begin), 0, err);
    open->item_end = end;
    for (uint64_t n = open->item_begin; status == TL_OK && n < end && !reader->failed; n++)
        load_item(open, reader, n);
    if (status == TL_OK && !reader->failed && !weights_agree(open))
        status = tl_fail(err, TL_ECORRUPT, "saved gate has items that their units do not count");
    return status;
}

/* ---- Verdicts, and all of it ----------------------------------------------------------------- */

static void save_verdicts(const tl_gate *gate, tl_blob *blob)
{
    tl_blob_u8(blob, (uint8_t)gate->verdict_count);
    for (size_t i = 0; i < gate->verdict_count; i++) {
        const tl_gate_verdict *verdict =
            &gate->verdict[(gate->verdict_begin + i) % TL_GATE_VERDICT_MAX];
        tl_blob_u8(blob, (uint8_t)verdict->kind);
        tl_blob_u64(blob, verdict->version);
        tl_blob_u64(blob, verdict->number);
        tl_blob_u64(blob, verdict->position);
        tl_blob_f64(blob, verdict->log_e);
        tl_blob_f64(blob, verdict->log_threshold);
        save_counts(&verdict->counts, blob);
        tl_blob_f64(blob, verdict->gain);
        tl_blob_f64(blob, verdict->gain_low);
        tl_blob_f64(blob, verdict->gain_high);
        tl_blob_bytes(blob, verdict->words, sizeof verdict->words);
    }
}

static void load_verdict(tl_gate_verdict *verdict, tl_blob_reader *reader)
{
    verdict->kind = (tl_gate_kind)tl_blob_read_u8(reader);
    verdict->version = tl_blob_read_u64(reader);
    verdict->number = tl_blob_read_u64(reader);
    verdict->position = tl_blob_read_u64(reader);
    verdict->log_e = tl_blob_read_f64(reader);
    verdict->log_threshold = tl_blob_read_f64(reader);
    load_counts(&verdict->counts, reader);
    verdict->gain = tl_blob_read_f64(reader);
    verdict->gain_low = tl_blob_read_f64(reader);
    verdict->gain_high = tl_blob_read_f64(reader);
    const void *words = tl_blob_read_bytes(reader, sizeof verdict->words);
    if (words != NULL) memcpy(verdict->words, words, sizeof verdict->words);
    verdict->words[sizeof verdict->words - 1] = '\0';
    if (verdict->kind > TL_GATE_ALARM) reader->failed = true;
}

void tl_gate_save(const tl_gate *gate, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "GATE", VERSION);
    save_policy(&gate->policy, blob);
    tl_blob_u64(blob, gate->spent);
    tl_blob_u64(blob, gate->units);
    tl_blob_u64(blob, gate->late_items);
    tl_blob_u64(blob, gate->unused_labels);
    tl_blob_u64(blob, gate->forced_units);
    tl_blob_f64(blob, gate->propensity);
    tl_blob_f64(blob, gate->promise_errors);
    save_counts(&gate->promise_counts, blob);
    tl_detector_save(&gate->promise, blob);
    for (unsigned k = 0; k < TL_GATE_SHADOW_MAX; k++) save_shadow(&gate->shadow[k], blob);
    save_open(&gate->open, blob);
    save_verdicts(gate, blob);
    tl_blob_section_end(blob, section);
}

static tl_status load_promise(tl_gate *gate, tl_blob_reader *reader, tl_error *err)
{
    double centre = gate->promise.centre; /* as the policy has it */
    tl_status status = tl_detector_load(&gate->promise, reader, err);
    if (status == TL_OK && gate->promise.centre != centre)
        status = tl_fail(err, TL_ECORRUPT, "saved gate has an alarm for another promise");
    return status;
}

static tl_status load_body(tl_gate *gate, tl_blob_reader *reader, tl_error *err)
{
    gate->spent = tl_blob_read_u64(reader);
    gate->units = tl_blob_read_u64(reader);
    gate->late_items = tl_blob_read_u64(reader);
    gate->unused_labels = tl_blob_read_u64(reader);
    gate->forced_units = tl_blob_read_u64(reader);
    gate->propensity = read_in(reader, TL_GATE_PROPENSITY_MIN, 1);
    gate->promise_errors = read_finite(reader);
    load_counts(&gate->promise_counts, reader);
    tl_status status = load_promise(gate, reader, err);
    for (unsigned k = 0; status == TL_OK && k < TL_GATE_SHADOW_MAX; k++)
        status = load_shadow(&gate->shadow[k], reader, err);
    if (status == TL_OK) status = load_open(&gate->open, reader, err);
    if (status != TL_OK) return status;
    gate->verdict_count = tl_blob_read_u8(reader);
    if (gate->verdict_count > TL_GATE_VERDICT_MAX)
        return tl_fail(err, TL_ECORRUPT, "saved gate has too many verdicts");
    for (size_t i = 0; i < gate->verdict_count; i++) load_verdict(&gate->verdict[i], reader);
    return tl_blob_read_end(reader, "gate", err);
}

tl_status tl_gate_load(tl_blob_reader *reader, tl_gate **out, tl_error *err)
{
    tl_blob_reader body;
    tl_gate_policy policy;
    tl_gate *gate = NULL;
    tl_status status = tl_blob_read_section(reader, "GATE", VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    load_policy(&policy, &body);
    if (body.failed) return tl_fail(err, TL_ECORRUPT, "saved gate has a policy that cannot be");
    status = tl_gate_create(&policy, &gate, err);
    if (status == TL_OK) status = load_body(gate, &body, err);
    if (status != TL_OK) {
        tl_gate_destroy(&gate);
        return status;
    }
    *out = gate;
    return TL_OK;
}
