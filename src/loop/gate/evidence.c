/* What the gate is told, in the order of the journal, and what it answers. */
#include "loop/core/internal.h"

#include <string.h>

/* ---- Evidence -------------------------------------------------------------------------------- */

tl_status tl_core_gate_prediction(tl_core *core, const tl_record *record, tl_error *err)
{
    const tl_prediction_record *p = &record->as.prediction;
    core->now_position = record->position;
    core->now_us = p->time_us;
    if (p->version != core->champion) return TL_OK; /* another version was asked for */
    tl_core_review_prediction(core, record);
    tl_status status = tl_core_automatic_prediction(core, record, err);
    if (status != TL_OK) return status;
    tl_gate_item item = tl_shadow_item(record, core->config.gate.unit);
    tl_core_site_note(core, p->site, item.site);
    for (uint32_t i = 0; i < p->shadow_count; i++) {
        if (tl_core_find_shadow(core, p->shadows[i].version) == NULL) continue;
        item.shadow[item.shadow_count].version = p->shadows[i].version;
        item.shadow[item.shadow_count++].flagged = p->shadows[i].flagged != 0;
    }
    return tl_gate_item_add(core->gate, &item, err);
}

tl_status tl_core_gate_label(tl_core *core, const tl_record *prediction, int32_t label,
                             uint64_t source, tl_error *err)
{
    if (label >= 0)
        tl_gate_label(core->gate, prediction->position, label != 0, source);
    else
        tl_gate_unlabel(core->gate, prediction->position);
    return tl_core_review_label(core, prediction, label, source, err);
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

/* Take-backs that nobody wants to hear of. */
static bool is_wanted(const tl_core *core, const tl_gate_verdict *verdict)
{
    if (verdict->kind == TL_GATE_TAKE_BACK) return core->config.gate.take_back != TL_RESPONSE_OFF;
    return !core->frozen || verdict->kind == TL_GATE_ALARM;
}

static tl_status warm_up(tl_core *core, tl_error *err)
{
    core->review.warm = true;
    tl_core_review_restart(core);
    return tl_core_push_op(core, (tl_train_op){ .code = TL_TRAIN_WARM }, err);
}

tl_status tl_core_gate_settle(tl_core *core, tl_error *err)
{
    tl_status status = tl_core_automatic_settle(core, err);
    if (status == TL_OK && !core->review.warm && tl_core_warms_up(core))
        status = warm_up(core, err);
    if (status == TL_OK && tl_core_proves(core) && core->champion != 0 && !tl_core_is_cold(core)) {
        if (tl_core_find_watched(core, TL_WATCH_BASELINE) == NULL)
            status = tl_core_take_baseline(core, err);
        if (status == TL_OK) status = tl_core_start_waiting(core, err);
    }
    tl_gate_verdict verdict;
    while (!core->has_verdict && tl_gate_take_verdict(core->gate, &verdict)) {
        if (!is_wanted(core, &verdict)) continue;
        core->verdict = verdict;
        core->has_verdict = true;
        core->verdict_number++;
    }
    return status;
}
