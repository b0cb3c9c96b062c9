/* The policies that decide in shadow of what answers: baselines, challengers, guards. */
#include "loop/core/internal.h"

#include <stdio.h>
#include <string.h>

enum { KEYS_A_POSITION = 8 }; /* more than TL_GATE_SHADOW_MAX */

/* ---- Notes ----------------------------------------------------------------------------------- */

void tl_core_note(tl_core *core, tl_gate_note_kind kind, uint64_t version, const char *words)
{
    if (core->note_count == TL_GATE_NOTE_MAX)
        memmove(core->notes, core->notes + 1, --core->note_count * sizeof core->notes[0]);
    tl_gate_note *n = &core->notes[core->note_count++];
    *n = (tl_gate_note){
        .kind = kind, .position = core->now_position, .time_us = core->now_us, .version = version
    };
    snprintf(n->words, sizeof n->words, "%s", words);
}

/* The baseline `shadow` was improved upon, or is given up. */
void tl_core_end_baseline(tl_core *core, const tl_shadow *shadow, bool proven)
{
    if (core->tti_count == TL_TTI_MAX)
        memmove(core->tti, core->tti + 1, --core->tti_count * sizeof core->tti[0]);
    uint64_t labels = core->label_events - shadow->since_labels;
    core->tti[core->tti_count++] =
        (tl_tti){ .seconds = (double)(core->now_us - shadow->since_us) / 1e6,
                  .labels = labels,
                  .proven = proven };
}

/* ---- Shadows --------------------------------------------------------------------------------- */

bool tl_core_proves(const tl_core *core)
{
    return core->config.gate.promotion == TL_PROMOTION_PROVEN;
}

tl_shadow *tl_core_find_shadow(tl_core *core, uint64_t key)
{
    for (size_t i = 0; i < core->shadow_count; i++)
        if (core->shadows[i].key == key) return &core->shadows[i];
    return NULL;
}

tl_shadow *tl_core_find_watched(tl_core *core, unsigned watch)
{
    for (size_t i = 0; i < core->shadow_count; i++)
        if (core->shadows[i].watch == watch) return &core->shadows[i];
    return NULL;
}

void tl_core_drop_shadow(tl_core *core, tl_shadow *shadow)
{
    tl_gate_drop(core->gate, shadow->key);
    tl_shadow_clear(shadow);
    size_t index = (size_t)(shadow - core->shadows);
    core->shadow_count--;
    memmove(shadow, shadow + 1, (core->shadow_count - index) * sizeof *shadow);
    core->shadows_changed = true;
}

/* Takes over the references in `shadow`, also when it fails. */
tl_status tl_core_add_shadow(tl_core *core, tl_shadow *shadow, tl_error *err)
{
    shadow->key = KEYS_A_POSITION * core->now_position;
    while (tl_core_find_shadow(core, shadow->key) != NULL) shadow->key++;
    shadow->since_us = core->now_us;
    shadow->since_labels = core->label_events;
    tl_status status =
        core->shadow_count == TL_GATE_SHADOW_MAX
            ? tl_fail(err, TL_ELIMIT, "%d policies are in shadow already", TL_GATE_SHADOW_MAX)
            : tl_gate_watch(core->gate, shadow->key, shadow->watch, core->now_position, err);
    if (status != TL_OK) {
        tl_shadow_clear(shadow);
        return status;
    }
    core->shadows[core->shadow_count++] = *shadow;
    core->shadows_changed = true;
    return TL_OK;
}

/* What answers now, as a frozen policy. */
tl_status tl_core_freeze_policy(tl_core *core, tl_shadow *out, tl_error *err)
{
    bool dirty = core->dirty;
    tl_model *model = NULL; /* brings the head up to date */
    tl_status status = tl_core_model(core, &model, err);
    core->dirty = dirty;
    if (status != TL_OK) return status;
    *out = (tl_shadow){ .version = core->champion,
                        .weights = model->weights,
                        .head = model->head,
                        .mixture = model->mixture,
                        .threshold = model->threshold };
    tl_weights_retain(out->weights);
    if (out->head != NULL) tl_head_retain(out->head);
    tl_model_release(&model);
    return TL_OK;
}

/* Whatever comes from here on is held against what answers now. */
tl_status tl_core_take_baseline(tl_core *core, tl_error *err)
{
    tl_shadow shadow;
    tl_status status = tl_core_freeze_policy(core, &shadow, err);
    if (status != TL_OK) return status;
    shadow.watch = TL_WATCH_BASELINE;
    status = tl_core_add_shadow(core, &shadow, err);
    if (status == TL_OK)
        tl_core_note(core, TL_NOTE_BASELINE, core->champion,
                     "what comes is held against this from here on");
    return status;
}

/* ---- For the batcher ------------------------------------------------------------------------- */

size_t tl_core_shadows(tl_core *core, tl_model *out[TL_GATE_SHADOW_MAX])
{
    size_t count = 0;
    core->shadows_follow = tl_core_follow_up(core, NULL) != TL_OK; /* else once more, later */
    for (size_t i = 0; i < core->shadow_count; i++) {
        tl_shadow policy;
        if (tl_core_follow_policy(core, &core->shadows[i], &policy, NULL) != TL_OK) continue;
        out[count] = tl_shadow_model(&policy, (uint32_t)core->config.info.class_count);
        if (out[count] != NULL) count++; /* out of memory: no evidence meanwhile */
    }
    core->shadows_changed = count < core->shadow_count;
    return count;
}

bool tl_core_shadows_changed(const tl_core *core)
{
    return core->shadows_changed;
}

bool tl_core_shadows_follow(const tl_core *core)
{
    return core->shadows_follow;
}
