/* The knobs of the gate: checked, as JSON in the loop's description, as bytes in a checkpoint. */
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

tl_status tl_gate_options_check(const tl_gate_options *options, tl_error *err)
{
    if ((size_t)options->promotion >= TL_COUNT_OF(PROMOTION))
        return tl_fail(err, TL_EINVAL, "gate.promotion must be proven or no-worse");
    if ((size_t)options->unit >= TL_COUNT_OF(UNIT))
        return tl_fail(err, TL_EINVAL, "evidence.unit must be board, lot or item");
    if ((size_t)options->take_back >= TL_COUNT_OF(RESPONSE))
        return tl_fail(err, TL_EINVAL, "gate.take_back must be off, dry-run or act");
    tl_gate_policy policy = tl_loop_config_gate(options);
    const char *problem = tl_gate_policy_check(&policy);
    return problem == NULL ? TL_OK : tl_fail(err, TL_EINVAL, "gate: %s", problem);
}

/* The numbers among the gate's knobs: name and place, once for writing and reading. */
typedef struct gate_number {
    const char *key;
    size_t offset;
    bool whole; /* uint32_t, else double */
} gate_number;
#define NUMBER(member, whole)                                                                      \
    {                                                                                              \
#member, offsetof(tl_gate_options, member), whole                                          \
    }
static const gate_number GATE_NUMBERS[] = {
    NUMBER(alpha, false),          NUMBER(effect, false),
    NUMBER(cost_miss, false),      NUMBER(cost_false_alarm, false),
    NUMBER(noise, false),          NUMBER(hostile, false),
    NUMBER(promised_error, false), NUMBER(alarm_days, true),
    NUMBER(take_back_days, true),  NUMBER(timeout_s, true),
};

void tl_gate_options_write(const tl_gate_options *gate, tl_json_writer *w)
{
    tl_json_object(w);
    tl_json_key(w, "promotion"), tl_json_string(w, PROMOTION[gate->promotion]);
    tl_json_key(w, "unit"), tl_json_string(w, UNIT[gate->unit]);
    tl_json_key(w, "take_back"), tl_json_string(w, RESPONSE[gate->take_back]);
    for (size_t i = 0; i < TL_COUNT_OF(GATE_NUMBERS); i++) {
        const char *at = (const char *)gate + GATE_NUMBERS[i].offset;
        tl_json_key(w, GATE_NUMBERS[i].key);
        if (GATE_NUMBERS[i].whole)
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
bool tl_gate_options_read(const tl_json *section, tl_gate_options *gate)
{
    *gate = tl_loop_options_default().gate;
    gate->promotion = TL_PROMOTION_NO_WORSE;
    if (section == NULL) return true;
    uint32_t promotion, unit, take_back;
    if (!read_choice(section, "promotion", PROMOTION, TL_COUNT_OF(PROMOTION), &promotion) ||
        !read_choice(section, "unit", UNIT, TL_COUNT_OF(UNIT), &unit) ||
        !read_choice(section, "take_back", RESPONSE, TL_COUNT_OF(RESPONSE), &take_back))
        return false;
    gate->promotion = (tl_promotion)promotion;
    gate->unit = (tl_evidence_unit)unit;
    gate->take_back = (tl_response)take_back;
    for (size_t i = 0; i < TL_COUNT_OF(GATE_NUMBERS); i++) {
        char *at = (char *)gate + GATE_NUMBERS[i].offset;
        const char *key = GATE_NUMBERS[i].key;
        if (GATE_NUMBERS[i].whole ? !read_whole(section, key, (uint32_t *)at)
                                  : !tl_json_number(tl_json_get(section, key), (double *)at))
            return false;
    }
    tl_gate_policy policy = tl_loop_config_gate(gate);
    return tl_gate_policy_check(&policy) == NULL;
}

bool tl_gate_options_equal(const tl_gate_options *a, const tl_gate_options *b)
{
    bool equal = a->promotion == b->promotion && a->unit == b->unit && a->take_back == b->take_back;
    for (size_t i = 0; i < TL_COUNT_OF(GATE_NUMBERS); i++) {
        const gate_number *number = &GATE_NUMBERS[i];
        size_t bytes = number->whole ? sizeof(uint32_t) : sizeof(double);
        equal = equal && memcmp((const char *)a + number->offset, (const char *)b + number->offset,
                                bytes) == 0;
    }
    return equal;
}

void tl_gate_options_save(const tl_gate_options *gate, tl_blob *blob)
{
    tl_blob_u8(blob, (uint8_t)gate->promotion);
    tl_blob_u8(blob, (uint8_t)gate->unit);
    tl_blob_u8(blob, (uint8_t)gate->take_back);
    for (size_t i = 0; i < TL_COUNT_OF(GATE_NUMBERS); i++) {
        const char *at = (const char *)gate + GATE_NUMBERS[i].offset;
        if (GATE_NUMBERS[i].whole)
            tl_blob_u32(blob, *(const uint32_t *)at);
        else
            tl_blob_f64(blob, *(const double *)at);
    }
}

tl_status tl_gate_options_load(tl_blob_reader *body, tl_gate_options *gate, tl_error *err)
{
    tl_gate_options read = { .promotion = (tl_promotion)tl_blob_read_u8(body) };
    read.unit = (tl_evidence_unit)tl_blob_read_u8(body);
    read.take_back = (tl_response)tl_blob_read_u8(body);
    for (size_t i = 0; i < TL_COUNT_OF(GATE_NUMBERS); i++) {
        char *at = (char *)&read + GATE_NUMBERS[i].offset;
        if (GATE_NUMBERS[i].whole)
            *(uint32_t *)at = tl_blob_read_u32(body);
        else
            *(double *)at = tl_blob_read_f64(body);
    }
    if (body->failed || tl_gate_options_check(&read, NULL) != TL_OK)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint has damaged knobs of the gate");
    *gate = read;
    return TL_OK;
}
