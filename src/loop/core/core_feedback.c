/* How feedback joins its prediction, and what a change of the label that stands does. */
#include "loop/core/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- The label that stands ------------------------------------------------------------------- */

/* The label that stood before the feedback at `record`, and the one after it. */
static tl_status join(tl_core *core, const tl_record *record, tl_label_change *out, tl_error *err)
{
    return tl_standing_join(core->items->journal, core->items->loop, record,
                            core->config.info.class_count, core->third_class_at, &core->arena, out,
                            err);
}

tl_status tl_core_standing_label(tl_core *core, const tl_record *prediction, uint64_t upto,
                                 int32_t *label, const char **by, tl_error *err)
{
    tl_record *statements;
    size_t count;
    tl_status status = tl_journal_list_feedback(core->items->journal, core->items->loop,
                                                prediction->as.prediction.id, upto, &core->arena,
                                                &statements, &count, err);
    if (status != TL_OK) return status;
    const tl_prediction_record *p = &prediction->as.prediction;
    *label =
        tl_standing_fold(p, statements, count, core->config.info.class_count, core->third_class_at);
    if (by != NULL)
        *by = tl_standing_source(p, statements, count, core->config.info.class_count,
                                 core->third_class_at);
    return TL_OK;
}

static tl_feedback_state outcome_of(const tl_label_change *change,
                                    const tl_feedback_record *feedback)
{
    if (!change->known) return TL_FEEDBACK_PENDING;
    if (change->before < 0 && change->after >= 0) return TL_FEEDBACK_APPLIED;
    if (change->before >= 0 && change->after < 0) return TL_FEEDBACK_WITHDRAWN;
    if (change->before != change->after) return TL_FEEDBACK_CORRECTED;
    return feedback->kind == TL_FEEDBACK_LABEL || change->after >= 0 ? TL_FEEDBACK_REPEATED
                                                                     : TL_FEEDBACK_NOTED;
}

tl_status tl_core_outcome(tl_core *core, const tl_record *record, tl_feedback_state *outcome,
                          tl_error *err)
{
    tl_label_change change;
    tl_arena_reset(&core->arena);
    tl_status status = join(core, record, &change, err);
    if (status == TL_OK) *outcome = outcome_of(&change, &record->as.feedback);
    return status;
}

/* ---- The fast head's statistics -------------------------------------------------------------- */

tl_status tl_core_stats_change(tl_core *core, uint64_t key, int32_t to, const float *features,
                               tl_error *err)
{
    uint32_t from = 0;
    bool member = tl_keymap_get(&core->members, key, &from);
    tl_status followed = tl_core_follow(core, key, to, false, err);
    if (followed != TL_OK) return followed;
    if (!member && to < 0) return TL_OK;
    if (member && to >= 0 && (uint32_t)to == from) return TL_OK;

    float *computed = NULL;
    if (features == NULL || !core->direct_features) {
        bool found;
        computed =
            tl_arena_alloc(&core->arena, tl_graph_feature_count(core->graph) * sizeof *computed);
        if (computed == NULL) return tl_fail(err, TL_ENOMEM, "features of an item");
        tl_status status = tl_featurizer_run(core->featurizer, core->weights, &key, 1, computed,
                                             NULL, &found, err);
        if (status != TL_OK) return status;
        if (!found) return TL_OK; /* pruned: nothing left to learn from */
        features = computed;
    }
    tl_status status;
    if (member && to >= 0)
        status = tl_head_stats_relabel(core->stats, features, from, (uint32_t)to, err);
    else
        status = tl_head_stats_add(core->stats, features, member ? from : (uint32_t)to,
                                   member ? -1 : +1, err);
    if (status != TL_OK) return status;
    core->head_stale = core->dirty = true;
    if (to < 0) {
        tl_keymap_remove(&core->members, key);
        return TL_OK;
    }
    if (tl_keymap_set(&core->members, key, (uint32_t)to) != TL_OK)
        return tl_fail(err, TL_ENOMEM, "items of the fast head");
    return TL_OK;
}

/* ---- What a change does ---------------------------------------------------------------------- */

/* Figures that people look at, and the threshold: from the answer as it was given. */
static void measure(tl_core *core, const tl_record *prediction, uint32_t label)
{
    const tl_prediction_record *p = &prediction->as.prediction;
    float defect_score = p->score_count > 0 ? 1.0f - p->scores[0] : 0.0f;
    tl_threshold_entry entry = { .key = prediction->position,
                                 .score = defect_score,
                                 .defect = label != 0,
                                 .flagged = p->flagged,
                                 .correct = p->label == label };
    tl_threshold_learn(core->threshold, &entry);
}

/* The slow learner must not fall behind without bound. How far it is behind is known from the
 * judgements in the journal: beyond the bound a label gets no gradient step of its own, but is
 * remembered for replay; far beyond it, not even that. */
static tl_status push_learn(tl_core *core, tl_train_op op, tl_error *err)
{
    if (core->config.learning == TL_LEARNING_OFF) return TL_OK;
    size_t bound = TL_BACKLOG_MIN + 2 * (size_t)core->config.publish_every_labels;
    uint64_t undecided = tl_core_op_count(core) - core->decided_ops;
    if (core->waiting < bound) return tl_core_push_op(core, op, err);
    op.code = TL_TRAIN_REMEMBER;
    return undecided < bound + TL_BACKLOG_OPS_MAX ? tl_core_push_op(core, op, err) : TL_OK;
}

static double nats_of(const tl_prediction_record *p, const float *scores, uint32_t label)
{
    if (scores == NULL || label >= p->score_count) return log((double)p->score_count + 1.0);
    return -log(fmax((double)scores[label], 1e-12));
}

static tl_status learn(tl_core *core, const tl_record *prediction, uint32_t label, tl_error *err)
{
    const tl_prediction_record *p = &prediction->as.prediction;
    uint32_t class_count = (uint32_t)core->config.info.class_count;
    bool comparable = p->head_count == TL_MODEL_HEAD_COUNT && p->score_count == class_count;
    if (comparable) tl_mixture_learn(&core->mixture, p->head_scores, class_count, label);
    tl_train_op op = { .code = TL_TRAIN_LEARN,
                       .label = label,
                       .key = prediction->position,
                       .champion_loss =
                           nats_of(p, p->head_count > 0 ? p->head_scores : NULL, label) };
    tl_status status = push_learn(core, op, err);
    if (status == TL_OK)
        status = tl_core_stats_change(core, prediction->position, (int32_t)label, p->features, err);
    core->dirty = true;
    return status;
}

/* Keep for "resume", or take back, what is labelled during a pause. */
static tl_status defer(tl_core *core, uint64_t key, int32_t label, tl_error *err)
{
    if (label < 0)
        tl_keymap_remove(&core->deferred, key);
    else if (tl_keymap_set(&core->deferred, key, (uint32_t)label) != TL_OK)
        return tl_fail(err, TL_ENOMEM, "labels that wait for learning to resume");
    return TL_OK;
}

static tl_status relearn(tl_core *core, const tl_record *prediction, int32_t label, tl_error *err)
{
    if (tl_keymap_get(&core->deferred, prediction->position, NULL))
        return defer(core, prediction->position, label, err);
    tl_train_op op = { .code = label >= 0 ? TL_TRAIN_RELABEL : TL_TRAIN_REMOVE,
                       .label = label >= 0 ? (uint32_t)label : 0,
                       .key = prediction->position };
    tl_status status = tl_core_push_op(core, op, err);
    bool member = tl_keymap_get(&core->members, prediction->position, NULL);
    if (status == TL_OK && member)
        status = tl_core_stats_change(core, prediction->position, label,
                                      prediction->as.prediction.features, err);
    else if (status == TL_OK)
        status = tl_core_follow(core, prediction->position, label, true, err);
    core->dirty = true;
    return status;
}

/* A golden item is not learned from; its label is kept up to date. Without a label it is no golden
 * item any more, and the slow learner must not come back to it. */
static tl_status change_golden(tl_core *core, uint64_t key, int32_t label, tl_error *err)
{
    tl_train_op change = { .code = label >= 0 ? TL_TRAIN_RELABEL : TL_TRAIN_REMOVE,
                           .label = label >= 0 ? (uint32_t)label : 0,
                           .key = key };
    tl_train_op golden = { .code = label >= 0 ? TL_TRAIN_EXCLUDE : TL_TRAIN_INCLUDE,
                           .label = change.label,
                           .key = key };
    core->golden_changed = true;
    if (label < 0)
        tl_keymap_remove(&core->golden, key);
    else if (tl_keymap_set(&core->golden, key, (uint32_t)label) != TL_OK)
        return tl_fail(err, TL_ENOMEM, "golden set");
    tl_status status = tl_core_push_op(core, change, err);
    return status == TL_OK ? tl_core_push_op(core, golden, err) : status;
}

static tl_status apply(tl_core *core, const tl_label_change *change, tl_error *err)
{
    uint64_t key = change->prediction.position;
    tl_trust_way way = TL_TRUST_AS_IT_IS;
    tl_core_again_suspect(core, change);
    tl_status status = tl_core_trust_label(core, change, err);
    if (status == TL_OK)
        status = tl_core_trust_filter(core, key, change->after, change->by, &way, err);
    if (status != TL_OK) return status;
    bool learns = way == TL_TRUST_AS_IT_IS || way == TL_TRUST_NEW;
    if (change->before >= 0) tl_threshold_forget(core->threshold, key);
    if (change->after >= 0 && learns) measure(core, &change->prediction, (uint32_t)change->after);
    if (change->before < 0) {
        core->labels++;
        core->label_events++;
    }
    if (change->after < 0) {
        core->labels--;
        core->withdrawn++;
    }
    if (tl_keymap_get(&core->golden, key, NULL))
        return change_golden(core, key, change->after, err);
    if (change->pruned) return TL_OK; /* a tombstone counts, but has nothing to learn from */
    bool was_learned = change->before >= 0 && way != TL_TRUST_NEW && way != TL_TRUST_NOTHING;
    if (was_learned) return relearn(core, &change->prediction, learns ? change->after : -1, err);
    if (!learns) return TL_OK;
    if (!core->learning) return defer(core, key, change->after, err);
    return learn(core, &change->prediction, (uint32_t)change->after, err);
}

static void chain_change(tl_core *core, uint64_t position, const tl_label_change *change)
{
    struct {
        uint64_t position, key;
        int32_t before, after;
        double weight[TL_MODEL_HEAD_COUNT], loss[TL_MODEL_HEAD_COUNT];
    } link = { position, change->prediction.position, change->before, change->after, { 0 }, { 0 } };
    for (int i = 0; i < TL_MODEL_HEAD_COUNT; i++) {
        link.weight[i] = core->mixture.weight[i];
        link.loss[i] = core->mixture.loss[i];
    }
    tl_core_chain(core, &link, sizeof link);
}

tl_status tl_core_step_feedback(tl_core *core, const tl_record *record, tl_feedback_state *outcome,
                                tl_error *err)
{
    tl_label_change change;
    tl_status status = join(core, record, &change, err);
    if (status != TL_OK) return status;
    core->feedback++;
    core->now_position = record->position;
    core->now_us = record->as.feedback.received_us;
    *outcome = outcome_of(&change, &record->as.feedback);
    if (!change.known) {
        if (tl_idset_add(&core->pending, record->as.feedback.prediction_id) != TL_OK)
            return tl_fail(err, TL_ENOMEM, "pending feedback");
        return TL_OK;
    }
    core->epoch = record->position;
    core->dirty = true; /* the epoch moved: answers say that they know this feedback */
    bool second = tl_core_again_hear(core, &change, record);
    status = tl_core_hear(core, &change, record, second, err);
    if (status == TL_OK && change.before != change.after) status = apply(core, &change, err);
    chain_change(core, record->position, &change);
    return status;
}

tl_status tl_core_step_prediction(tl_core *core, const tl_record *record, tl_error *err)
{
    if (!tl_idset_remove(&core->pending, record->as.prediction.id)) return TL_OK;
    tl_label_change change = { .prediction = *record, .known = true, .before = -1, .after = -1 };
    tl_status status =
        tl_core_standing_label(core, record, record->position, &change.after, &change.by, err);
    if (status != TL_OK) return status;
    core->epoch = record->position;
    core->dirty = true;
    status = tl_core_hear(core, &change, NULL, false, err);
    if (status == TL_OK && change.after >= 0) status = apply(core, &change, err);
    chain_change(core, record->position, &change);
    return status;
}

tl_status tl_core_learn_deferred(tl_core *core, tl_error *err)
{
    size_t count = core->deferred.count;
    if (count == 0) return TL_OK;
    uint64_t *keys = malloc(count * sizeof *keys);
    if (keys == NULL) return tl_fail(err, TL_ENOMEM, "labels that wait");
    tl_keymap_sorted_keys(&core->deferred, keys);
    tl_status status = TL_OK;
    for (size_t i = 0; i < count && status == TL_OK; i++) {
        tl_record record;
        uint32_t label = 0;
        tl_arena_reset(&core->arena);
        tl_keymap_get(&core->deferred, keys[i], &label);
        status = tl_journal_read_prediction(core->items->journal, core->items->loop, keys[i], false,
                                            &core->arena, &record, err);
        if (status == TL_OK) status = learn(core, &record, label, err);
        if (status == TL_ENOTFOUND) status = TL_OK; /* gone: nothing left to learn from */
    }
    free(keys);
    if (status == TL_OK) tl_keymap_clear(&core->deferred);
    return status;
}
