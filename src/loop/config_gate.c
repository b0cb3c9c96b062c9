/* The knobs of the gate and of review: checked, as JSON in the loop's description, as bytes in a checkpoint. */
#include "loop/config.h"

#include <stddef.h>
#include <string.h>

static const char *const PROMOTION[] = {
    [TL_PROMOTION_PROVEN] = "proven", [TL_PROMOTION_NO_WORSE] = "no-worse"
};
static const char *const UNIT[] = {
    [TL_EVIDENCE_BOARD] = "board", [TL_EVIDENCE_LOT] = "lot", [TL_EVIDENCE_ITEM] = "item"
};
static const char *const RESPONSE[] = {
    [TL_RESPONSE_OFF] = "off", [TL_RESPONSE_DRY_RUN] = "dry-run", [TL_RESPONSE_ACT] = "act"
};

tl_gate_policy tl_loop_config_gate(const tl_gate_options *options)
{
    static const double US_A_SECOND = 1e6;
    return (tl_gate_policy){ .alpha = options->alpha,
                             .effect = options->effect,
                             .cost_miss = options->cost_miss,
                             .cost_false_alarm = options->cost_false_alarm,
                             .noise = options->noise,
                             .hostile = options->hostile,
                             .promised_error = options->promised_error,
                             .alarm_days = options->alarm_days,
                             .take_back_days = options->take_back_days,
                             .timeout_us = (int64_t)(US_A_SECOND * options->timeout_s),
                             .unit = options->unit == TL_EVIDENCE_BOARD ? TL_GATE_UNIT_BOARD
                                     : options->unit == TL_EVIDENCE_LOT ? TL_GATE_UNIT_LOT
                                                                        : TL_GATE_UNIT_ITEM };
}

void tl_loop_review_policy(const tl_loop_config *config, tl_reviewer_policy *out)
{
    memset(out, 0, sizeof *out);
    *out = tl_reviewer_policy_default();
    memcpy(out->key, config->audit_key, sizeof out->key);
    out->audit_rate = config->audit_rate;
    out->budget = config->review.budget;
    out->blind_rate = config->review.blind;
    out->band_rate = config->review.band;
    out->disagreements = config->review.disagreements;
}

tl_status tl_loop_policy_check(const tl_gate_options *options, const tl_review_options *review,
                               tl_error *err)
{
    if ((size_t)options->promotion >= TL_COUNT_OF(PROMOTION))
        return tl_fail(err, TL_EINVAL, "gate.promotion must be proven or no-worse");
    if ((size_t)options->unit >= TL_COUNT_OF(UNIT))
        return tl_fail(err, TL_EINVAL, "evidence.unit must be board, lot or item");
    if ((size_t)options->take_back >= TL_COUNT_OF(RESPONSE))
        return tl_fail(err, TL_EINVAL, "gate.take_back must be off, dry-run or act");
    if ((size_t)options->drift >= TL_COUNT_OF(RESPONSE) || options->drift_items < 1000)
        return tl_fail(err, TL_EINVAL,
                       "gate.drift must be off, dry-run or act, and drift_items at least 1000");
    if (!(review->budget >= 0.0 && review->budget <= 1.0 && review->blind >= 0.0 &&
          review->band >= 0.0 && review->band <= 1.0 && review->blind <= 1.0 &&
          review->escapes > 0.0 && review->escapes <= 0.5 && review->confidence > 0.5 &&
          review->confidence < 1.0 && review->disagreements > 0.0 && review->disagreements <= 1.0))
        return tl_fail(err, TL_EINVAL,
                       "review: budget, band and blind must be 0 to 1, disagreements above 0 to 1, "
                       "escapes above 0 to 0.5, confidence above 0.5 and below 1");
    if (!(review->automatic_precision >= 0.9 && review->automatic_precision < 1.0))
        return tl_fail(err, TL_EINVAL,
                       "review.automatic_precision must be 0.9 or more, and below 1");
    if (!(review->repeats >= 0.0 && review->repeats <= 1.0))
        return tl_fail(err, TL_EINVAL, "review.repeats must be 0 to 1");
    tl_gate_policy policy = tl_loop_config_gate(options);
    const char *problem = tl_gate_policy_check(&policy);
    return problem == NULL ? TL_OK : tl_fail(err, TL_EINVAL, "gate: %s", problem);
}

/* The numbers among the knobs: name and place, once for writing and reading. */
typedef struct policy_number {
    const char *key;
    size_t offset;
    bool whole; /* uint32_t, else double */
} policy_number;
#define NUMBER(part, member, whole)                                                                \
    {                                                                                              \
#member, offsetof(tl_loop_config, part.member), whole                                      \
    }
static const policy_number NUMBERS[] = {
    NUMBER(gate, alpha, false),           NUMBER(gate, effect, false),
    NUMBER(gate, cost_miss, false),       NUMBER(gate, cost_false_alarm, false),
    NUMBER(gate, noise, false),           NUMBER(gate, hostile, false),
    NUMBER(gate, promised_error, false),  NUMBER(gate, alarm_days, true),
    NUMBER(gate, take_back_days, true),   NUMBER(gate, timeout_s, true),
    NUMBER(gate, drift_items, true),      NUMBER(review, budget, false),
    NUMBER(review, band, false),          NUMBER(review, blind, false),
    NUMBER(review, escapes, false),       NUMBER(review, confidence, false),
    NUMBER(review, disagreements, false), NUMBER(review, automatic_precision, false),
    NUMBER(review, repeats, false),
};

void tl_loop_policy_write(const tl_loop_config *config, tl_json_writer *w)
{
    tl_json_object(w);
    tl_json_key(w, "promotion"), tl_json_string(w, PROMOTION[config->gate.promotion]);
    tl_json_key(w, "unit"), tl_json_string(w, UNIT[config->gate.unit]);
    tl_json_key(w, "take_back"), tl_json_string(w, RESPONSE[config->gate.take_back]);
    tl_json_key(w, "drift"), tl_json_string(w, RESPONSE[config->gate.drift]);
    tl_json_key(w, "automatic"), tl_json_boolean(w, config->review.automatic);
    for (size_t i = 0; i < TL_COUNT_OF(NUMBERS); i++) {
        const char *at = (const char *)config + NUMBERS[i].offset;
        tl_json_key(w, NUMBERS[i].key);
        if (NUMBERS[i].whole)
            tl_json_uint(w, *(const uint32_t *)at);
        else
            tl_json_double(w, *(const double *)at);
    }
    tl_json_object_end(w);
}

static bool read_whole(const tl_json *root, const char *key, uint32_t *out)
{
    uint64_t value;
    if (!tl_json_uint64(tl_json_get(root, key), &value) || value > UINT32_MAX) return false;
    *out = (uint32_t)value;
    return true;
}

static bool read_choice(const tl_json *root, const char *key, const char *const *names,
                        size_t count, uint32_t *out)
{
    const char *text = tl_json_get_text(root, key, "");
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = (uint32_t)i;
            return true;
        }
    return false;
}

/* Loops from before there was proof go on as they were. */
bool tl_loop_policy_read(const tl_json *section, tl_loop_config *config)
{
    const tl_loop_options defaults = tl_loop_options_default();
    tl_gate_options *gate = &config->gate;
    *gate = defaults.gate;
    config->review = defaults.review;
    gate->promotion = TL_PROMOTION_NO_WORSE;
    if (section == NULL) return true;
    uint32_t promotion, unit, take_back, drift;
    if (!read_choice(section, "promotion", PROMOTION, TL_COUNT_OF(PROMOTION), &promotion) ||
        !read_choice(section, "unit", UNIT, TL_COUNT_OF(UNIT), &unit) ||
        !read_choice(section, "take_back", RESPONSE, TL_COUNT_OF(RESPONSE), &take_back) ||
        !read_choice(section, "drift", RESPONSE, TL_COUNT_OF(RESPONSE), &drift))
        return false;
    gate->promotion = (tl_promotion)promotion;
    gate->unit = (tl_evidence_unit)unit;
    gate->take_back = (tl_response)take_back;
    gate->drift = (tl_response)drift;
    /* A description from before a knob was there: its default. */
    const tl_json *automatic = tl_json_get(section, "automatic");
    if (automatic != NULL && !tl_json_bool(automatic, &config->review.automatic)) return false;
    for (size_t i = 0; i < TL_COUNT_OF(NUMBERS); i++) {
        char *at = (char *)config + NUMBERS[i].offset;
        const char *key = NUMBERS[i].key;
        if (tl_json_get(section, key) == NULL) continue; /* a knob that came later */
        if (NUMBERS[i].whole ? !read_whole(section, key, (uint32_t *)at)
                             : !tl_json_number(tl_json_get(section, key), (double *)at))
            return false;
    }
    return tl_loop_policy_check(gate, &config->review, NULL) == TL_OK;
}

bool tl_loop_policy_equal(const tl_loop_config *a, const tl_loop_config *b)
{
    bool equal = a->gate.promotion == b->gate.promotion && a->gate.unit == b->gate.unit &&
                 a->gate.take_back == b->gate.take_back && a->gate.drift == b->gate.drift &&
                 a->review.automatic == b->review.automatic;
    for (size_t i = 0; i < TL_COUNT_OF(NUMBERS); i++) {
        const policy_number *number = &NUMBERS[i];
        size_t bytes = number->whole ? sizeof(uint32_t) : sizeof(double);
        equal = equal && memcmp((const char *)a + number->offset, (const char *)b + number->offset,
                                bytes) == 0;
    }
    return equal;
}

void tl_loop_policy_save(const tl_loop_config *config, tl_blob *blob)
{
    tl_blob_u8(blob, (uint8_t)config->gate.promotion);
    tl_blob_u8(blob, (uint8_t)config->gate.unit);
    tl_blob_u8(blob, (uint8_t)config->gate.take_back);
    tl_blob_u8(blob, (uint8_t)config->gate.drift);
    tl_blob_u8(blob, config->review.automatic);
    for (size_t i = 0; i < TL_COUNT_OF(NUMBERS); i++) {
        const char *at = (const char *)config + NUMBERS[i].offset;
        if (NUMBERS[i].whole)
            tl_blob_u32(blob, *(const uint32_t *)at);
        else
            tl_blob_f64(blob, *(const double *)at);
    }
}

tl_status tl_loop_policy_load(tl_blob_reader *body, tl_loop_config *config, tl_error *err)
{
    config->gate.promotion = (tl_promotion)tl_blob_read_u8(body);
    config->gate.unit = (tl_evidence_unit)tl_blob_read_u8(body);
    config->gate.take_back = (tl_response)tl_blob_read_u8(body);
    config->gate.drift = (tl_response)tl_blob_read_u8(body);
    config->review.automatic = tl_blob_read_u8(body) != 0;
    for (size_t i = 0; i < TL_COUNT_OF(NUMBERS); i++) {
        char *at = (char *)config + NUMBERS[i].offset;
        if (NUMBERS[i].whole)
            *(uint32_t *)at = tl_blob_read_u32(body);
        else
            *(double *)at = tl_blob_read_f64(body);
    }
    if (body->failed || tl_loop_policy_check(&config->gate, &config->review, NULL) != TL_OK)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint has damaged knobs of the gate");
    return TL_OK;
}
