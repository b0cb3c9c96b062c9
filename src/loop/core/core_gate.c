/* Evidence and verdicts: what the gate is told, which policies are in shadow, and what its verdicts
 * do. A verdict is reached in a step; it takes effect with the event that the learner then journals,
 * so that everything that ever served is written down. */
#include "loop/core/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    KEYS_A_POSITION = 8, /* more than TL_GATE_SHADOW_MAX */
    GUARD_LABELS = 128,  /* an old champion is shadowed for so many labels after its promotion, */
    ASIDE_REVIEWED = 30, /* a challenger that is behind after so many reviewed disagreements is set
                           aside for a newer one, */
    ASIDE_LABELS = 256   /* and after so many labels one whose proof is not in sight */
};
/* ... but not for longer than this when labels are few. */
static const int64_t GUARD_US = 86400000000;

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
static void end_baseline(tl_core *core, const tl_shadow *shadow, bool proven)
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

static bool proves(const tl_core *core)
{
    return core->config.gate.promotion == TL_PROMOTION_PROVEN;
}

static tl_shadow *find_shadow(tl_core *core, uint64_t key)
{
    for (size_t i = 0; i < core->shadow_count; i++)
        if (core->shadows[i].key == key) return &core->shadows[i];
    return NULL;
}

static tl_shadow *find_watched(tl_core *core, unsigned watch)
{
    for (size_t i = 0; i < core->shadow_count; i++)
        if (core->shadows[i].watch == watch) return &core->shadows[i];
    return NULL;
}

enum { BASELINE = TL_GATE_HARM | TL_GATE_GAIN, GUARD = TL_GATE_HARM, CHALLENGER = TL_GATE_BETTER };

static void drop_shadow(tl_core *core, tl_shadow *shadow)
{
    tl_gate_drop(core->gate, shadow->key);
    tl_shadow_clear(shadow);
    size_t index = (size_t)(shadow - core->shadows);
    core->shadow_count--;
    memmove(shadow, shadow + 1, (core->shadow_count - index) * sizeof *shadow);
    core->shadows_changed = true;
}

/* Takes over the references in `shadow`, also when it fails. */
static tl_status add_shadow(tl_core *core, tl_shadow *shadow, tl_error *err)
{
    shadow->key = KEYS_A_POSITION * core->now_position;
    while (find_shadow(core, shadow->key) != NULL) shadow->key++;
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
static tl_status freeze(tl_core *core, tl_shadow *out, tl_error *err)
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
static tl_status take_baseline(tl_core *core, tl_error *err)
{
    tl_shadow shadow;
    tl_status status = freeze(core, &shadow, err);
    if (status != TL_OK) return status;
    shadow.watch = BASELINE;
    status = add_shadow(core, &shadow, err);
    if (status == TL_OK)
        tl_core_note(core, TL_NOTE_BASELINE, core->champion,
                     "what comes is held against this from here on");
    return status;
}

/* ---- Challengers ----------------------------------------------------------------------------- */

/* A version as a policy: its head knows its kept items, the rest is as it is now. */
static tl_status shadow_of(tl_core *core, tl_version *version, tl_shadow *out, tl_error *err)
{
    tl_status status = TL_OK;
    if (version->stats == NULL)
        status = tl_version_warm(version, core->graph, core->featurizer, &core->config.info,
                                 core->config.feature_range, core->config.info.class_count, err);
    while (status == TL_OK &&
           tl_head_stats_class_count(version->stats) < core->config.info.class_count)
        status = tl_head_stats_add_class(version->stats, err);
    tl_head *head = NULL;
    if (status == TL_OK && tl_head_stats_total(version->stats) > 0)
        status = tl_head_solve(version->stats, NULL, core->solver, &head, err);
    if (status != TL_OK) return status;
    *out = (tl_shadow){ .version = version->number,
                        .weights = version->weights,
                        .head = head,
                        .mixture = core->mixture,
                        .threshold = tl_core_threshold(core),
                        .own_backbone = version->backbone_hash != core->backbone_hash };
    tl_weights_retain(version->weights);
    return TL_OK;
}

/* Takes *version over when it succeeds. */
static tl_status start_challenger(tl_core *core, tl_version **version, tl_error *err)
{
    tl_shadow shadow;
    uint64_t number = (*version)->number;
    tl_status status = shadow_of(core, *version, &shadow, err);
    if (status != TL_OK) return status;
    shadow.watch = CHALLENGER;
    shadow.made = *version;
    *version = NULL;
    status = add_shadow(core, &shadow, err);
    if (status == TL_OK)
        tl_core_note(core, TL_NOTE_CHALLENGE, number, "decides in shadow of what answers");
    return status;
}

static void forget_waiting(tl_core *core, const char *why)
{
    if (core->candidate == NULL) return;
    tl_core_note(core, TL_NOTE_SET_ASIDE, core->candidate->number, why);
    tl_core_let_go(core, core->candidate->number);
    tl_version_destroy(&core->candidate);
}

/* Whether a newer version is worth more than waiting on: it knows more labels, but begins without
 * evidence and with a smaller share of alpha. */
static bool is_hopeless(const tl_core *core, const tl_shadow *challenger)
{
    tl_gate_standing s;
    if (!tl_gate_describe(core->gate, challenger->key, &s)) return false;
    if (s.counts.disagreements >= ASIDE_REVIEWED && s.log_e_better < 0.0) return true;
    if (core->label_events - challenger->since_labels < ASIDE_LABELS) return false;
    return !(s.needed <= 2.0 * (double)(s.counts.disagreements + ASIDE_REVIEWED)); /* or nan */
}

/* A guard that has watched for long enough, or a challenger that gets nowhere, gives way. */
static bool gives_way(const tl_core *core, const tl_shadow *shadow)
{
    if (shadow->watch == GUARD)
        return core->label_events - shadow->since_labels >= GUARD_LABELS ||
               core->now_us - shadow->since_us >= GUARD_US;
    return is_hopeless(core, shadow);
}

static void set_aside(tl_core *core, tl_shadow *shadow)
{
    if (shadow->watch == CHALLENGER) {
        tl_gate_standing standing;
        tl_gate_describe(core->gate, shadow->key, &standing);
        tl_core_note(core, TL_NOTE_SET_ASIDE, shadow->version, standing.words);
        tl_core_let_go(core, shadow->version);
    }
    drop_shadow(core, shadow);
}

/* The version that waits is shadowed as soon as the one backbone in shadow gives way. */
static tl_status start_waiting(tl_core *core, tl_error *err)
{
    if (core->candidate == NULL) return TL_OK;
    tl_shadow *guard = find_watched(core, GUARD), *challenger = find_watched(core, CHALLENGER);
    tl_shadow *in_the_way = guard != NULL ? guard : challenger;
    if (in_the_way != NULL && !gives_way(core, in_the_way)) return TL_OK;
    if (in_the_way != NULL) set_aside(core, in_the_way);
    tl_version *version = core->candidate;
    core->candidate = NULL;
    tl_status status = start_challenger(core, &version, err);
    tl_version_destroy(&version);
    return status;
}

tl_status tl_core_step_challenge(tl_core *core, uint64_t number, uint64_t ops,
                                 tl_version **candidate, tl_error *err)
{
    tl_core_decide(core, ops);
    if (ops < core->restart_ops) { /* somebody went elsewhere meanwhile */
        core->refused++;
        tl_core_evict(core, number);
        return TL_OK;
    }
    forget_waiting(core, "never shadowed: a newer version came while it waited");
    tl_status status = tl_core_take_version(core, number, candidate, &core->candidate, err);
    if (status == TL_OK) status = start_waiting(core, err);
    if (status == TL_OK && core->candidate != NULL)
        tl_core_note(core, TL_NOTE_WAITS, number, "waits until the one in shadow is decided");
    return status;
}

/* By hand: a version that is kept is shadowed as soon as there is room, and may be promoted again. */
tl_status tl_core_step_try(tl_core *core, uint64_t number, tl_error *err)
{
    if (number == core->champion || !proves(core) || !tl_core_pin(core, number))
        return TL_OK; /* it went between the request and the event */
    forget_waiting(core, "never shadowed: another version was put in its place by hand");
    tl_status status = tl_version_read(core->graph, core->items, number, &core->candidate, err);
    if (status == TL_OK) status = start_waiting(core, err);
    if (status == TL_OK && core->candidate != NULL)
        tl_core_note(core, TL_NOTE_WAITS, number, "waits until the one in shadow is decided");
    return status;
}

/* ---- Evidence -------------------------------------------------------------------------------- */

tl_status tl_core_gate_prediction(tl_core *core, const tl_record *record, tl_error *err)
{
    const tl_prediction_record *p = &record->as.prediction;
    core->now_position = record->position;
    core->now_us = p->time_us;
    if (p->version != core->champion) return TL_OK; /* another version was asked for */
    tl_core_review_prediction(core, record);
    tl_gate_item item = tl_shadow_item(record, core->config.gate.unit);
    for (uint32_t i = 0; i < p->shadow_count; i++) {
        if (find_shadow(core, p->shadows[i].version) == NULL) continue;
        item.shadow[item.shadow_count].version = p->shadows[i].version;
        item.shadow[item.shadow_count++].flagged = p->shadows[i].flagged != 0;
    }
    return tl_gate_item_add(core->gate, &item, err);
}

tl_status tl_core_gate_label(tl_core *core, const tl_record *prediction, int32_t label,
                             const char *source, tl_error *err)
{
    uint64_t who = tl_shadow_source(source);
    if (label >= 0)
        tl_gate_label(core->gate, prediction->position, label != 0, who);
    else
        tl_gate_unlabel(core->gate, prediction->position);
    return tl_core_review_label(core, prediction, label, who, err);
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

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

void tl_core_write_verdict(tl_core *core, tl_text *out)
{
    const tl_gate_verdict *v = &core->verdict;
    const tl_shadow *shadow = find_shadow(core, v->version);
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
    if (shadow != NULL) {
        tl_json_key(&w, "tti_seconds");
        tl_json_double(&w, (double)(core->now_us - shadow->since_us) / 1e6);
        tl_json_key(&w, "tti_labels");
        tl_json_uint(&w, core->label_events - shadow->since_labels);
    }
    tl_json_key(&w, "gain"), tl_json_double(&w, v->gain);
    tl_json_key(&w, "gain_low"), tl_json_double(&w, v->gain_low);
    tl_json_key(&w, "gain_high"), tl_json_double(&w, v->gain_high);
    tl_json_key(&w, "verdict"), tl_json_string(&w, v->words);
    tl_json_object_end(&w);
}

static void end_baselines(tl_core *core, bool proven)
{
    for (tl_shadow *baseline; (baseline = find_watched(core, BASELINE)) != NULL;) {
        end_baseline(core, baseline, proven);
        drop_shadow(core, baseline);
    }
}

static void drop_all_shadows(tl_core *core)
{
    end_baselines(core, false);
    while (core->shadow_count > 0) set_aside(core, &core->shadows[core->shadow_count - 1]);
}

void tl_core_gate_restart(tl_core *core)
{
    drop_all_shadows(core);
    forget_waiting(core, "never shadowed: another version was put into service");
    core->has_verdict = false;
    tl_gate_restart(core->gate, core->now_position);
    tl_core_review_restart(core);
}

/* The challenger serves; the champion before it stays in shadow for a while, and a version that
 * waits, made of newer labels, gets its turn. */
static tl_status promote(tl_core *core, tl_shadow *challenger, tl_error *err)
{
    tl_shadow guard;
    tl_status status = freeze(core, &guard, err);
    if (status != TL_OK) return status;
    guard.watch = GUARD;
    guard.own_backbone = challenger->own_backbone;
    tl_version *version = challenger->made, *waiting = core->candidate;
    challenger->made = core->candidate = NULL;
    tl_train_op op = { .code = TL_TRAIN_PARENT, .key = version->number };
    drop_shadow(core, challenger);
    end_baselines(core, true);
    tl_core_gate_restart(core);
    core->candidate = waiting;
    status = tl_core_serve(core, version, err);
    core->champion_pinned = true; /* doing the training again needs its weights */
    tl_version_destroy(&version);
    if (status == TL_OK) status = tl_core_push_op(core, op, err);
    if (status == TL_OK) return add_shadow(core, &guard, err);
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
    end_baseline(core, baseline, true);
    drop_shadow(core, baseline);
    return take_baseline(core, err);
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
    tl_shadow *shadow = find_shadow(core, key);
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
    if (shadow->watch != BASELINE) {
        drop_shadow(core, shadow);
        return TL_OK;
    }
    end_baseline(core, shadow, false); /* it was told; it begins anew */
    drop_shadow(core, shadow);
    return take_baseline(core, err);
}

/* Take-backs that nobody wants to hear of. */
static bool is_wanted(const tl_core *core, const tl_gate_verdict *verdict)
{
    if (verdict->kind == TL_GATE_TAKE_BACK) return core->config.gate.take_back != TL_RESPONSE_OFF;
    return !core->frozen || verdict->kind == TL_GATE_ALARM;
}

tl_status tl_core_gate_settle(tl_core *core, tl_error *err)
{
    tl_status status = TL_OK;
    if (!core->review.warm && !tl_core_is_cold(core)) {
        core->review.warm = true;
        tl_core_review_restart(core);
    }
    if (proves(core) && core->champion != 0 && !tl_core_is_cold(core)) {
        if (find_watched(core, BASELINE) == NULL) status = take_baseline(core, err);
        if (status == TL_OK) status = start_waiting(core, err);
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

size_t tl_core_shadows(tl_core *core, tl_model *out[TL_GATE_SHADOW_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < core->shadow_count; i++) {
        out[count] = tl_shadow_model(&core->shadows[i], (uint32_t)core->config.info.class_count);
        if (out[count] != NULL) count++; /* out of memory: no evidence meanwhile */
    }
    core->shadows_changed = count < core->shadow_count;
    return count;
}

bool tl_core_shadows_changed(const tl_core *core)
{
    return core->shadows_changed;
}
