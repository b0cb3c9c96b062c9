/* What the gate's verdicts do. A verdict is reached in a step; it takes effect with the event that the
 * learner then journals, so that everything that ever served is written down. */
#include "loop/core/internal.h"

#include <string.h>

static const char *const VERDICT_EVENTS[] = { [TL_GATE_PROMOTE] = "promote",
                                              [TL_GATE_TAKE_BACK] = "take_back",
                                              [TL_GATE_CERTIFY] = "certify",
                                              [TL_GATE_ALARM] = "alarm" };

const char *tl_core_verdict(const tl_core *core, uint64_t *number)
{
    if (!core->has_verdict) return NULL;
    *number = core->verdict_number;
    return VERDICT_EVENTS[core->verdict.kind];
}

/* The baseline that the verdict ends; NULL: it ends none. */
static const tl_shadow *ended_by(tl_core *core, const tl_gate_verdict *v, bool dry)
{
    const tl_shadow *baseline = tl_core_find_watched(core, TL_WATCH_BASELINE);
    if (baseline == NULL || v->kind == TL_GATE_ALARM) return NULL;
    return dry && v->version != baseline->key ? NULL : baseline;
}

/* Time to improvement ends with it: proven, or given up and longer than that (censored). */
static void write_tti(const tl_core *core, const tl_shadow *baseline, bool proven,
                      tl_json_writer *w)
{
    tl_json_key(w, "tti_seconds");
    tl_json_double(w, (double)(core->now_us - baseline->since_us) / 1e6);
    tl_json_key(w, "tti_labels");
    tl_json_uint(w, core->label_events - baseline->since_labels);
    tl_json_key(w, "tti_proven"), tl_json_boolean(w, proven);
}

void tl_core_write_verdict(tl_core *core, tl_text *out)
{
    const tl_gate_verdict *v = &core->verdict;
    const tl_shadow *shadow = tl_core_find_shadow(core, v->version);
    bool dry = v->kind == TL_GATE_TAKE_BACK && core->config.gate.take_back != TL_RESPONSE_ACT;
    tl_json_writer w;
    tl_json_begin(&w, out);
    tl_json_object(&w);
    tl_json_key(&w, "who"), tl_json_string(&w, "gate");
    tl_json_key(&w, "number"), tl_json_uint(&w, core->verdict_number);
    tl_json_key(&w, "key"), tl_json_uint(&w, v->version);
    tl_json_key(&w, "version"), tl_json_uint(&w, shadow == NULL ? core->champion : shadow->version);
    tl_json_key(&w, "champion"), tl_json_uint(&w, core->champion);
    tl_json_key(&w, "threshold"), tl_json_float(&w, tl_core_threshold(core));
    tl_json_key(&w, "dry_run"), tl_json_boolean(&w, dry);
    tl_json_key(&w, "series"), tl_json_uint(&w, v->number);
    tl_json_key(&w, "log_e"), tl_json_double(&w, v->log_e);
    tl_json_key(&w, "log_needed"), tl_json_double(&w, v->log_threshold);
    tl_json_key(&w, "units"), tl_json_uint(&w, v->counts.units);
    tl_json_key(&w, "items"), tl_json_uint(&w, v->counts.items);
    tl_json_key(&w, "disagreements"), tl_json_uint(&w, v->counts.disagreements);
    tl_json_key(&w, "wins"), tl_json_uint(&w, v->counts.wins);
    tl_json_key(&w, "losses"), tl_json_uint(&w, v->counts.losses);
    tl_json_key(&w, "timeouts"), tl_json_uint(&w, v->counts.timeouts);
    const tl_shadow *baseline = ended_by(core, v, dry);
    if (baseline != NULL) write_tti(core, baseline, v->kind != TL_GATE_TAKE_BACK, &w);
    tl_json_key(&w, "gain"), tl_json_double(&w, v->gain);
    tl_json_key(&w, "gain_low"), tl_json_double(&w, v->gain_low);
    tl_json_key(&w, "gain_high"), tl_json_double(&w, v->gain_high);
    tl_json_key(&w, "verdict"), tl_json_string(&w, v->words);
    tl_json_object_end(&w);
}

/* The challenger serves; the champion before it stays in shadow for a while, and a version that
 * waits, made of newer labels, gets its turn. */
static tl_status promote(tl_core *core, tl_shadow *challenger, tl_error *err)
{
    tl_shadow guard;
    tl_status status = tl_core_freeze_policy(core, &guard, err);
    if (status != TL_OK) return status;
    status = tl_core_follow_end(core, challenger, err);
    if (status != TL_OK) {
        tl_shadow_clear(&guard);
        return status;
    }
    guard.watch = TL_WATCH_GUARD;
    guard.own_backbone = challenger->own_backbone;
    tl_version *version = challenger->made, *waiting = core->candidate;
    challenger->made = core->candidate = NULL;
    tl_train_op op = { .code = TL_TRAIN_PARENT, .key = version->number };
    tl_core_drop_shadow(core, challenger);
    tl_core_end_baselines(core, true);
    tl_core_gate_restart(core);
    core->candidate = waiting;
    status = tl_core_serve(core, version, err);
    core->champion_pinned = true; /* doing the training again needs its weights */
    tl_version_destroy(&version);
    if (status == TL_OK) status = tl_core_push_op(core, op, err);
    if (status == TL_OK) return tl_core_add_shadow(core, &guard, err);
    tl_shadow_clear(&guard);
    return status;
}

static tl_status take_back(tl_core *core, const tl_shadow *shadow, tl_error *err)
{
    uint64_t number = shadow->version;
    if (number != core->champion) { /* the old champion, as it was when it was replaced */
        tl_core_gate_restart(core);
        return tl_core_step_return(core, core->now_position, number, true, err);
    }
    tl_head_release(&core->head);
    core->head = shadow->head;
    if (core->head != NULL) tl_head_retain(core->head);
    core->mixture = shadow->mixture;
    core->frozen_threshold = shadow->threshold;
    core->head_frozen = core->dirty = true;
    core->learning = false;
    core->rollbacks++;
    tl_core_gate_restart(core);
    return TL_OK;
}

static tl_status certify(tl_core *core, tl_shadow *baseline, tl_error *err)
{
    tl_core_end_baseline(core, baseline, true);
    tl_core_drop_shadow(core, baseline);
    return tl_core_take_baseline(core, err);
}

tl_status tl_core_step_verdict(tl_core *core, const char *kind, const tl_json *body, tl_error *err)
{
    uint64_t key = 0, number = 0;
    bool dry = false;
    if (!tl_json_uint64(tl_json_get(body, "number"), &number) || !core->has_verdict ||
        number != core->verdict_number)
        return TL_OK; /* something else was put into service between the verdict and its event */
    (void)tl_json_uint64(tl_json_get(body, "key"), &key);
    (void)tl_json_bool(tl_json_get(body, "dry_run"), &dry);
    const char *words = tl_json_get_text(body, "verdict", "");
    core->has_verdict = false;
    tl_shadow *shadow = tl_core_find_shadow(core, key);
    if (strcmp(kind, "alarm") == 0) {
        tl_core_note(core, TL_NOTE_ALARM, core->champion, words);
        core->alarms++;
        return TL_OK;
    }
    if (shadow == NULL) return TL_OK;
    if (strcmp(kind, "promote") == 0) {
        tl_core_note(core, TL_NOTE_PROMOTED, shadow->version, words);
        return promote(core, shadow, err);
    }
    if (strcmp(kind, "certify") == 0) {
        tl_core_note(core, TL_NOTE_CERTIFIED, shadow->version, words);
        return certify(core, shadow, err);
    }
    tl_core_note(core, TL_NOTE_TAKEN_BACK, shadow->version, words);
    if (!dry) return take_back(core, shadow, err);
    if (shadow->watch != TL_WATCH_BASELINE) {
        tl_core_drop_shadow(core, shadow);
        return TL_OK;
    }
    tl_core_end_baseline(core, shadow, false); /* it was told; it begins anew */
    tl_core_drop_shadow(core, shadow);
    return tl_core_take_baseline(core, err);
}
