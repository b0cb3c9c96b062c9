/* save.c - the gate's state as bytes. Whatever is loaded is checked before it is used. */
#include <string.h>

#include "gate/reading.h"

enum { VERSION = 2 };

/* ---- Small parts ----------------------------------------------------------------------------- */

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
        tl_limit_save(&place->better, blob);
        tl_limit_save(&place->gain, blob);
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
        if (status == TL_OK) status = tl_limit_load(&place->better, reader, err);
        if (status == TL_OK) status = tl_limit_load(&place->gain, reader, err);
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
    tl_open_save(&gate->open, blob);
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
    if (status == TL_OK) status = tl_open_load(&gate->open, reader, err);
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
    uint32_t version;
    tl_status status = tl_blob_read_section(reader, "GATE", VERSION, &body, &version, err);
    if (status != TL_OK) return status;
    if (version != VERSION)
        return tl_fail(err, TL_EVERSION, "a saved gate of format %u; this program reads %d",
                       version, VERSION);
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
