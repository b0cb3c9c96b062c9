#include "loop/core/internal.h"

#include <stdlib.h>
#include <string.h>

static tl_status create_parts(tl_core *core, tl_error *err)
{
    const tl_loop_info *info = &core->config.info;
    tl_status status = tl_featurizer_create(core->graph, core->items, &core->featurizer, err);
    if (status == TL_OK) status = tl_json_parser_create(NULL, &core->parser, err);
    if (status == TL_OK)
        status = tl_version_empty_stats(core->graph, info, core->config.feature_range,
                                        info->class_count, &core->stats, err);
    if (status == TL_OK)
        status =
            tl_head_solver_create(tl_version_fast_features(core->graph, info), &core->solver, err);
    tl_mixture_options mixture = tl_mixture_options_default(TL_MODEL_HEAD_COUNT);
    if (status == TL_OK) status = tl_mixture_init(&core->mixture, &mixture, err);
    tl_threshold_options threshold = tl_threshold_options_default();
    threshold.target_precision = core->config.target_precision;
    if (status == TL_OK) status = tl_threshold_create(&threshold, &core->threshold, err);
    tl_gate_policy gate = tl_loop_config_gate(&core->config.gate);
    if (status == TL_OK) status = tl_gate_create(&gate, &core->gate, err);
    if (status == TL_OK) status = tl_core_review_create(core, err);
    if (status == TL_OK) status = tl_core_trust_create(core, err);
    return status;
}

tl_status tl_core_create(const tl_core_options *options, tl_core **out, tl_error *err)
{
    tl_core *core = calloc(1, sizeof *core);
    if (core == NULL) return tl_fail(err, TL_ENOMEM, "loop state");
    core->config = *options->config;
    core->graph = options->graph;
    tl_graph_retain(core->graph);
    core->items = options->items;
    tl_arena_init(&core->arena, TL_JOIN_ARENA_BYTES);
    core->learning = core->golden_changed = true;
    core->third_class_at = core->config.info.class_count > 2 ? 0 : UINT64_MAX;
    core->direct_features =
        core->config.info.input == TL_INPUT_FEATURES &&
        tl_graph_feature_count(core->graph) == core->config.info.feature_count &&
        tl_graph_param_count(core->graph) <= 2;
    tl_status status = create_parts(core, err);
    if (status != TL_OK) {
        tl_core_destroy(&core);
        return status;
    }
    *out = core;
    return TL_OK;
}

void tl_core_destroy(tl_core **core_pointer)
{
    tl_core *core = *core_pointer;
    if (core == NULL) return;
    *core_pointer = NULL;
    for (size_t i = 0; i < core->past_count; i++) tl_head_release(&core->past[i].head);
    for (size_t i = 0; i < core->shadow_count; i++) tl_shadow_clear(&core->shadows[i]);
    tl_version_destroy(&core->candidate);
    tl_gate_destroy(&core->gate);
    tl_core_review_destroy(core);
    tl_core_trust_destroy(core);
    tl_weights_release(&core->weights);
    tl_head_release(&core->head);
    tl_head_stats_destroy(&core->stats);
    tl_head_solver_destroy(&core->solver);
    tl_threshold_destroy(&core->threshold);
    tl_featurizer_destroy(&core->featurizer);
    tl_json_parser_destroy(&core->parser);
    tl_keymap_destroy(&core->members);
    tl_keymap_destroy(&core->golden);
    tl_keymap_destroy(&core->deferred);
    tl_idset_destroy(&core->pending);
    tl_arena_destroy(&core->arena);
    tl_graph_release(&core->graph);
    free(core->ops);
    free(core);
}

bool tl_core_wants(const tl_record *record)
{
    switch (record->kind) {
    case TL_RECORD_PREDICTION:
    case TL_RECORD_FEEDBACK:
    case TL_RECORD_EVENT: return true;
    case TL_RECORD_VERSION:
    case TL_RECORD_CHECKPOINT: break;
    }
    return false;
}

tl_status tl_core_step(tl_core *core, const tl_record *record, tl_version **candidate,
                       tl_feedback_state *outcome, tl_error *err)
{
    TL_ASSERT(record->position > core->position);
    tl_arena_reset(&core->arena);
    tl_status status = TL_OK;
    switch (record->kind) {
    case TL_RECORD_FEEDBACK: {
        tl_feedback_state state = TL_FEEDBACK_NOTED;
        status = tl_core_step_feedback(core, record, &state, err);
        if (status == TL_OK && outcome != NULL) *outcome = state;
        break;
    }
    case TL_RECORD_PREDICTION:
        status = tl_core_gate_prediction(core, record, err);
        if (status == TL_OK) status = tl_core_step_prediction(core, record, err);
        break;
    case TL_RECORD_EVENT: status = tl_core_step_event(core, record, candidate, err); break;
    case TL_RECORD_VERSION:
    case TL_RECORD_CHECKPOINT: break;
    }
    if (status == TL_OK) status = tl_core_gate_settle(core, err);
    if (status == TL_OK) core->position = record->position;
    return status;
}

tl_status tl_core_push_op(tl_core *core, tl_train_op op, tl_error *err)
{
    if (core->op_count == core->op_capacity) {
        size_t capacity = core->op_capacity == 0 ? 256 : core->op_capacity * 2;
        tl_train_op *ops = realloc(core->ops, capacity * sizeof *ops);
        if (ops == NULL) return tl_fail(err, TL_ENOMEM, "queue of the slow learner");
        core->ops = ops;
        core->op_capacity = capacity;
    }
    core->ops[core->op_count++] = op;
    core->waiting += op.code == TL_TRAIN_LEARN;
    return TL_OK;
}

void tl_core_decide(tl_core *core, uint64_t ops)
{
    core->decided_ops = ops;
    core->waiting = 0;
    uint64_t first = ops > core->ops_base ? ops - core->ops_base : 0;
    for (uint64_t i = first; i < core->op_count; i++)
        core->waiting += core->ops[i].code == TL_TRAIN_LEARN;
}

uint64_t tl_core_op_count(const tl_core *core)
{
    return core->ops_base + core->op_count;
}

const tl_train_op *tl_core_ops(const tl_core *core, uint64_t from, size_t *count)
{
    TL_ASSERT(from >= core->ops_base);
    size_t index = (size_t)(from - core->ops_base);
    *count = index < core->op_count ? core->op_count - index : 0;
    return core->ops + (*count > 0 ? index : 0);
}

/* A version that goes into service catches up with the labels since it was made. */
static uint64_t needed_ops(const tl_core *core)
{
    uint64_t needed = core->decided_ops;
    if (core->candidate != NULL && core->candidate->op_count < needed)
        needed = core->candidate->op_count;
    for (size_t i = 0; i < core->shadow_count; i++) {
        const tl_version *made = core->shadows[i].made;
        if (core->shadows[i].follows) continue; /* it knows them */
        if (made != NULL && made->op_count < needed) needed = made->op_count;
    }
    return needed;
}

void tl_core_forget_ops(tl_core *core, uint64_t below)
{
    uint64_t needed = needed_ops(core);
    if (below > needed) below = needed;
    if (below <= core->ops_base) return;
    size_t drop = (size_t)(below - core->ops_base);
    if (drop > core->op_count) drop = core->op_count;
    core->op_count -= drop;
    core->ops_base += drop;
    if (core->op_count > 0)
        memmove(core->ops, core->ops + drop, core->op_count * sizeof *core->ops);
}

void tl_core_chain(tl_core *core, const void *data, size_t bytes)
{
    core->digest = tl_hash64(data, bytes, core->digest);
}

/* A loop that flags nothing yet would be shown a few audits, and with rare defects never learn. So it
 * stays cold until it finds some of them; not for ever, because a line may have none. */
enum { FINDS_ONE_OF = 5, COLD_AT_MOST = 10 };

static bool finds_defects(const tl_core *core)
{
    tl_window_counts counts;
    tl_threshold_counts(core->threshold, &counts);
    return counts.flagged_defects > 0 && FINDS_ONE_OF * counts.flagged_defects >= counts.defects;
}

bool tl_core_warms_up(const tl_core *core)
{
    uint64_t enough = core->config.cold_labels;
    return core->labels >= COLD_AT_MOST * enough || (core->labels >= enough && finds_defects(core));
}

bool tl_core_is_cold(const tl_core *core)
{
    return !core->review.warm || core->labels < core->config.cold_labels;
}

float tl_core_threshold(tl_core *core)
{
    return core->head_frozen ? core->frozen_threshold : tl_threshold_value(core->threshold);
}

tl_status tl_core_model(tl_core *core, tl_model **out, tl_error *err)
{
    TL_ASSERT(core->weights != NULL);
    if (core->head_stale && !core->head_frozen) {
        tl_head *head = NULL;
        if (tl_head_stats_total(core->stats) > 0) {
            tl_status status = tl_head_solve(core->stats, NULL, core->solver, &head, err);
            if (status != TL_OK) return status;
        }
        tl_head_release(&core->head);
        core->head = head;
        core->head_stale = false;
    }
    tl_model from = { .version = core->champion,
                      .epoch = core->epoch,
                      .class_count = (uint32_t)core->config.info.class_count,
                      .weights = core->weights,
                      .head = core->head,
                      .mixture = core->mixture,
                      .threshold = tl_core_threshold(core),
                      .cold = tl_core_is_cold(core) };
    tl_model *model = tl_model_create(&from);
    if (model == NULL) return tl_fail(err, TL_ENOMEM, "model");
    tl_weights_retain(core->weights);
    if (core->head != NULL) tl_head_retain(core->head);
    core->dirty = false;
    *out = model;
    return TL_OK;
}

bool tl_core_is_dirty(const tl_core *core)
{
    return core->dirty;
}

void tl_core_describe(tl_core *core, tl_loop_state *out)
{
    tl_window_counts counts;
    tl_threshold_counts(core->threshold, &counts);
    out->feedback = core->feedback;
    out->labels = core->labels;
    out->pending = core->pending.count;
    out->withdrawn = core->withdrawn;
    out->clamped = tl_head_stats_clamped(core->stats);
    out->champion = core->champion;
    out->epoch = core->epoch;
    out->position = core->position;
    out->publishes = core->publishes;
    out->rollbacks = core->rollbacks;
    out->refused = core->refused;
    out->golden = core->golden.count;
    out->learning = core->learning;
    out->frozen = core->frozen;
    out->alarms = core->alarms;
    tl_core_automatic_describe(core, out);
    out->cold = tl_core_is_cold(core);
    out->threshold = tl_core_threshold(core);
    out->precision = (tl_share){ .hits = counts.flagged_defects, .count = counts.flagged };
    out->recall = (tl_share){ .hits = counts.flagged_defects, .count = counts.defects };
    out->accuracy = (tl_share){ .hits = counts.correct, .count = counts.items };
    out->digest = core->digest;
}

const tl_loop_config *tl_core_config(const tl_core *core)
{
    return &core->config;
}

uint64_t tl_core_champion(const tl_core *core)
{
    return core->champion;
}

uint64_t tl_core_previous_champion(const tl_core *core)
{
    return core->previous;
}

uint64_t tl_core_decided_ops(const tl_core *core)
{
    return core->decided_ops;
}

uint64_t tl_core_pending_count(const tl_core *core)
{
    return core->pending.count;
}

size_t tl_core_golden_count(const tl_core *core)
{
    return core->golden.count;
}

void tl_core_golden(tl_core *core, uint64_t *out)
{
    tl_keymap_sorted_keys(&core->golden, out);
    core->golden_changed = false;
}

bool tl_core_golden_changed(const tl_core *core)
{
    return core->golden_changed;
}

size_t tl_core_kept(const tl_core *core, uint64_t out[TL_PAST_LIMIT])
{
    _Static_assert(TL_PAST_LIMIT == TL_PAST_MAX + 1, "the past versions and the champion");
    size_t count = 0;
    bool listed = false;
    for (size_t i = 0; i < core->past_count; i++) {
        out[count++] = core->past[i].number;
        listed = listed || core->past[i].number == core->champion;
    }
    if (!listed && core->champion != 0) out[count++] = core->champion;
    return count;
}

size_t tl_core_take_evicted(tl_core *core, uint64_t out[TL_CORE_EVICTED_MAX])
{
    size_t count = core->evicted_count;
    memcpy(out, core->evicted, count * sizeof *out);
    core->evicted_count = 0;
    return count;
}

void tl_core_put_evicted(tl_core *core, const uint64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count && core->evicted_count < TL_CORE_EVICTED_MAX; i++)
        core->evicted[core->evicted_count++] = numbers[i];
}

size_t tl_core_evicted_count(const tl_core *core)
{
    return core->evicted_count;
}

uint64_t tl_core_stats_digest(const tl_core *core)
{
    return tl_head_stats_digest(core->stats);
}

uint64_t tl_core_stats_total(const tl_core *core)
{
    return tl_head_stats_total(core->stats);
}

uint64_t tl_core_position(const tl_core *core)
{
    return core->position;
}
