/* The gate's part of a checkpoint: its evidence, the policies in shadow, what waits, what was. */
#include "loop/core/internal.h"

#include <stdio.h>
#include <string.h>

/* ---- Saving ---------------------------------------------------------------------------------- */

static tl_status save_shadow(const tl_shadow *s, tl_blob *blob, tl_error *err)
{
    tl_blob_u64(blob, s->key);
    tl_blob_u64(blob, s->version);
    tl_blob_u32(blob, s->watch);
    tl_blob_u8(blob, s->own_backbone);
    tl_blob_u8(blob, s->made != NULL);
    tl_blob_u8(blob, s->follows);
    tl_blob_u64(blob, (uint64_t)s->since_us);
    tl_blob_u64(blob, s->since_labels);
    tl_blob_f32s(blob, &s->threshold, 1);
    tl_status status = tl_mixture_save(&s->mixture, blob, err);
    if (status != TL_OK || !s->follows) /* the head of one that follows is worked out anew */
        return status == TL_OK ? tl_core_save_head(s->head, blob, err) : status;
    if (!s->own_backbone) return TL_OK;
    status = tl_head_stats_save(s->made->stats, blob, err);
    return status == TL_OK ? tl_keymap_save(&s->members, blob, err) : status;
}

static void save_notes(const tl_core *core, tl_blob *blob)
{
    tl_blob_u32(blob, (uint32_t)core->note_count);
    for (size_t i = 0; i < core->note_count; i++) {
        const tl_gate_note *n = &core->notes[i];
        tl_blob_u8(blob, (uint8_t)n->kind);
        tl_blob_u64(blob, n->position);
        tl_blob_u64(blob, n->version);
        tl_blob_u64(blob, (uint64_t)n->time_us);
        tl_blob_bytes(blob, n->words, sizeof n->words);
    }
    tl_blob_u32(blob, (uint32_t)core->tti_count);
    for (size_t i = 0; i < core->tti_count; i++) {
        tl_blob_f64(blob, core->tti[i].seconds);
        tl_blob_u64(blob, core->tti[i].labels);
        tl_blob_u8(blob, core->tti[i].proven);
    }
}

static void save_verdict(const tl_gate_verdict *v, tl_blob *blob)
{
    const uint64_t counts[] = { v->version,
                                v->position,
                                v->counts.units,
                                v->counts.items,
                                v->counts.disagreements,
                                v->counts.wins,
                                v->counts.losses,
                                v->counts.timeouts };
    const double numbers[] = { v->log_e, v->log_threshold, v->gain, v->gain_low, v->gain_high };
    tl_blob_u8(blob, (uint8_t)v->kind);
    tl_blob_u64s(blob, counts, TL_COUNT_OF(counts));
    for (size_t i = 0; i < TL_COUNT_OF(numbers); i++) tl_blob_f64(blob, numbers[i]);
    tl_blob_bytes(blob, v->words, sizeof v->words);
}

tl_status tl_core_gate_save(const tl_core *core, tl_blob *blob, tl_error *err)
{
    tl_blob_u64(blob, core->label_events);
    tl_blob_u64(blob, core->alarms);
    tl_blob_u64(blob, core->verdict_number);
    tl_blob_u8(blob, core->frozen);
    tl_blob_u8(blob, core->champion_pinned);
    tl_blob_u8(blob, core->has_verdict);
    if (core->has_verdict) save_verdict(&core->verdict, blob);
    tl_gate_save(core->gate, blob);
    tl_status status = TL_OK;
    tl_blob_u32(blob, (uint32_t)core->shadow_count);
    for (size_t i = 0; i < core->shadow_count && status == TL_OK; i++)
        status = save_shadow(&core->shadows[i], blob, err);
    tl_blob_u64(blob, core->candidate == NULL ? 0 : core->candidate->number);
    save_notes(core, blob);
    tl_core_sites_save(core, blob);
    if (status == TL_OK) status = tl_core_review_save(core, blob, err);
    return status == TL_OK ? tl_core_trust_save(core, blob, err) : status;
}

/* ---- Loading --------------------------------------------------------------------------------- */

static tl_status load_shadow(tl_blob_reader *body, tl_shadow *s, bool *made, tl_error *err)
{
    s->key = tl_blob_read_u64(body);
    s->version = tl_blob_read_u64(body);
    s->watch = tl_blob_read_u32(body);
    s->own_backbone = tl_blob_read_u8(body) != 0;
    *made = tl_blob_read_u8(body) != 0;
    s->follows = tl_blob_read_u8(body) != 0;
    s->since_us = (int64_t)tl_blob_read_u64(body);
    s->since_labels = tl_blob_read_u64(body);
    tl_blob_read_f32s(body, &s->threshold, 1);
    tl_status status = tl_mixture_load(body, &s->mixture, err);
    if (status == TL_OK && !s->follows) status = tl_core_load_head(body, &s->head, err);
    return status;
}

/* Once its version is there: what one that follows has learned. */
static tl_status load_followed(tl_blob_reader *body, tl_shadow *s, tl_error *err)
{
    if (!s->follows) return TL_OK;
    if (s->made == NULL)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint has a challenger without a version");
    if (!s->own_backbone) return TL_OK;
    s->head_stale = true;
    tl_head_stats_destroy(&s->made->stats);
    tl_status status = tl_head_stats_load(body, &s->made->stats, err);
    return status == TL_OK ? tl_keymap_load(&s->members, body, TL_HELD_MAX, err) : status;
}

/* What answers shares its weights with the policies that were frozen from it; those of others are
 * in the journal, since none of them was let go. */
static tl_status find_weights(tl_core *core, tl_shadow *s, bool made, tl_error *err)
{
    if (!made && s->version == core->champion) {
        s->weights = core->weights;
        tl_weights_retain(s->weights);
        return TL_OK;
    }
    tl_version *version = NULL;
    tl_status status = tl_version_read(core->graph, core->items, s->version, &version, err);
    if (status != TL_OK) return status;
    s->weights = version->weights;
    tl_weights_retain(s->weights);
    if (made)
        s->made = version;
    else
        tl_version_destroy(&version);
    return TL_OK;
}

static tl_status load_shadows(tl_core *core, tl_blob_reader *body, tl_error *err)
{
    uint32_t count = tl_blob_read_u32(body);
    if (count > TL_GATE_SHADOW_MAX)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint has %u policies in shadow", count);
    tl_status status = TL_OK;
    for (uint32_t i = 0; i < count && status == TL_OK; i++) {
        tl_shadow shadow = { 0 };
        bool made = false;
        status = load_shadow(body, &shadow, &made, err);
        if (status == TL_OK) status = find_weights(core, &shadow, made, err);
        if (status == TL_OK) status = load_followed(body, &shadow, err);
        if (status == TL_OK)
            core->shadows[core->shadow_count++] = shadow;
        else
            tl_shadow_clear(&shadow);
    }
    core->shadows_changed = true;
    return status;
}

static tl_status load_notes(tl_core *core, tl_blob_reader *body, tl_error *err)
{
    core->note_count = tl_blob_read_u32(body);
    if (core->note_count > TL_GATE_NOTE_MAX) core->note_count = 0, body->failed = true;
    for (size_t i = 0; i < core->note_count; i++) {
        tl_gate_note *n = &core->notes[i];
        uint8_t kind = tl_blob_read_u8(body);
        n->kind = kind < TL_NOTE_KIND_COUNT ? (tl_gate_note_kind)kind : TL_NOTE_BASELINE;
        n->position = tl_blob_read_u64(body);
        n->version = tl_blob_read_u64(body);
        n->time_us = (int64_t)tl_blob_read_u64(body);
        const char *words = tl_blob_read_bytes(body, sizeof n->words);
        snprintf(n->words, sizeof n->words, "%.*s", (int)sizeof n->words - 1,
                 words == NULL ? "" : words);
    }
    core->tti_count = tl_blob_read_u32(body);
    if (core->tti_count > TL_TTI_MAX) core->tti_count = 0, body->failed = true;
    for (size_t i = 0; i < core->tti_count; i++) {
        core->tti[i].seconds = tl_blob_read_f64(body);
        core->tti[i].labels = tl_blob_read_u64(body);
        core->tti[i].proven = tl_blob_read_u8(body) != 0;
    }
    return body->failed ? tl_fail(err, TL_ECORRUPT, "a checkpoint is cut short") : TL_OK;
}

static tl_status load_verdict(tl_blob_reader *body, tl_gate_verdict *v, tl_error *err)
{
    uint8_t kind = tl_blob_read_u8(body);
    uint64_t *const counts[] = { &v->version,
                                 &v->position,
                                 &v->counts.units,
                                 &v->counts.items,
                                 &v->counts.disagreements,
                                 &v->counts.wins,
                                 &v->counts.losses,
                                 &v->counts.timeouts };
    double *const numbers[] = { &v->log_e, &v->log_threshold, &v->gain, &v->gain_low,
                                &v->gain_high };
    for (size_t i = 0; i < TL_COUNT_OF(counts); i++) *counts[i] = tl_blob_read_u64(body);
    for (size_t i = 0; i < TL_COUNT_OF(numbers); i++) *numbers[i] = tl_blob_read_f64(body);
    const char *words = tl_blob_read_bytes(body, sizeof v->words);
    if (words == NULL || kind > TL_GATE_ALARM)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint has a damaged verdict");
    v->kind = (tl_gate_kind)kind;
    snprintf(v->words, sizeof v->words, "%.*s", (int)sizeof v->words - 1, words);
    return TL_OK;
}

tl_status tl_core_gate_load(tl_core *core, tl_blob_reader *body, tl_error *err)
{
    core->label_events = tl_blob_read_u64(body);
    core->alarms = tl_blob_read_u64(body);
    core->verdict_number = tl_blob_read_u64(body);
    core->frozen = tl_blob_read_u8(body) != 0;
    core->champion_pinned = tl_blob_read_u8(body) != 0;
    core->has_verdict = tl_blob_read_u8(body) != 0;
    tl_status status = TL_OK;
    if (core->has_verdict) status = load_verdict(body, &core->verdict, err);
    tl_gate *gate = NULL;
    if (status == TL_OK) status = tl_gate_load(body, &gate, err);
    if (status != TL_OK) return status;
    tl_gate_destroy(&core->gate);
    core->gate = gate;
    status = load_shadows(core, body, err);
    uint64_t waiting = tl_blob_read_u64(body);
    if (status == TL_OK && waiting != 0)
        status = tl_version_read(core->graph, core->items, waiting, &core->candidate, err);
    if (status == TL_OK) status = load_notes(core, body, err);
    if (status == TL_OK) status = tl_core_sites_load(core, body, err);
    if (status == TL_OK) status = tl_core_review_load(core, body, err);
    return status == TL_OK ? tl_core_trust_load(core, body, err) : status;
}
