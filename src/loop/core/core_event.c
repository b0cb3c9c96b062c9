/* What the events of a loop do: versions that come and go, pauses, classes, the golden set, knobs.
 */
#include "loop/core/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CATCH_UP_MAX = 512, CATCH_UP_MIN = 16 };

/* Feedback waits while the features of what came meanwhile are made: some quarter of a second. */
#define CATCH_UP_MACS 4000000000u

static size_t catch_up_limit(const tl_core *core)
{
    uint64_t macs = tl_graph_macs(core->graph), items = CATCH_UP_MACS / (macs > 0 ? macs : 1);
    if (items > CATCH_UP_MAX) return CATCH_UP_MAX;
    return items < CATCH_UP_MIN ? CATCH_UP_MIN : (size_t)items;
}

/* ---- Versions -------------------------------------------------------------------------------- */

static tl_past *find_past(tl_core *core, uint64_t number)
{
    for (size_t i = 0; i < core->past_count; i++)
        if (core->past[i].number == number) return &core->past[i];
    return NULL;
}

static void forget_past(tl_core *core, tl_past *past)
{
    tl_head_release(&past->head);
    size_t index = (size_t)(past - core->past);
    core->past_count--;
    memmove(past, past + 1, (core->past_count - index) * sizeof *past);
}

void tl_core_evict(tl_core *core, uint64_t number)
{
    if (core->evicted_count == TL_CORE_EVICTED_MAX) /* nobody took them: their weights stay */
        memmove(core->evicted, core->evicted + 1, --core->evicted_count * sizeof core->evicted[0]);
    core->evicted[core->evicted_count++] = number;
}

void tl_core_let_go(tl_core *core, uint64_t number)
{
    if (find_past(core, number) == NULL && number != core->champion) tl_core_evict(core, number);
}

bool tl_core_pin(tl_core *core, uint64_t number)
{
    tl_past *past = find_past(core, number);
    if (past != NULL) past->pinned = true;
    return past != NULL;
}

/* The oldest goes, but for `keep`. Where somebody returned to it its weights stay: replaying the
 * journal needs them. */
static void evict_oldest(tl_core *core, uint64_t keep)
{
    tl_past *oldest = &core->past[core->past[0].number == keep ? 1 : 0];
    if (!oldest->pinned) tl_core_evict(core, oldest->number);
    forget_past(core, oldest);
}

/* Keep the champion's fast head as it is now, for a way back; `keep` (0: none) is about to replace
 * it. */
static tl_status retire_champion(tl_core *core, uint64_t keep, tl_error *err)
{
    if (core->champion == 0) return TL_OK;
    tl_model *model = NULL; /* brings the head up to date */
    tl_status status = tl_core_model(core, &model, err);
    if (status != TL_OK) return status;
    float threshold = model->threshold;
    tl_model_release(&model);
    tl_past *known = find_past(core, core->champion);
    bool pinned = core->champion_pinned || (known != NULL && known->pinned);
    core->champion_pinned = false;
    if (known != NULL) forget_past(core, known);
    if (core->past_count == TL_PAST_MAX) evict_oldest(core, keep);
    if (core->head != NULL) tl_head_retain(core->head);
    core->past[core->past_count++] = (tl_past){ .number = core->champion,
                                                .head = core->head,
                                                .mixture = core->mixture,
                                                .threshold = threshold,
                                                .pinned = pinned };
    return TL_OK;
}

/* Where the newest catch_up_limit new labels among the operations from `from` on begin: what the slow
 * learner has not come to is not all worth the time that its features take. */
static uint64_t catch_up_start(const tl_core *core, uint64_t from)
{
    uint64_t number = tl_core_op_count(core);
    size_t limit = catch_up_limit(core);
    for (size_t labels = 0; number > from && labels < limit; number--) {
        uint8_t code = core->ops[number - 1 - core->ops_base].code;
        labels += code == TL_TRAIN_LEARN || code == TL_TRAIN_REMEMBER;
    }
    return number;
}

tl_catch_up tl_core_catch_up_from(const tl_core *core, uint64_t from)
{
    uint64_t first = from < core->ops_base ? core->ops_base : from;
    return (tl_catch_up){ .number = first, .learn_from = catch_up_start(core, first) };
}

bool tl_core_catch_up_next(const tl_core *core, tl_catch_up *way, tl_catch_up_op *out)
{
    while (way->number < tl_core_op_count(core)) {
        uint64_t number = way->number++;
        tl_train_op op = core->ops[number - core->ops_base];
        *out = (tl_catch_up_op){ .key = op.key, .to = (int32_t)op.label };
        switch (op.code) {
        case TL_TRAIN_LEARN:
        case TL_TRAIN_REMEMBER: out->members_only = number < way->learn_from; return true;
        case TL_TRAIN_RELABEL: out->members_only = true; return true;
        case TL_TRAIN_REMOVE:
        case TL_TRAIN_EXCLUDE: out->to = -1; return true;
        default: continue;
        }
    }
    return false;
}

/* Labels that came, changed or went after the version's statistics were made. */
static tl_status catch_up(tl_core *core, uint64_t from, tl_error *err)
{
    tl_status status = TL_OK;
    tl_catch_up_op op;
    for (tl_catch_up way = tl_core_catch_up_from(core, from);
         status == TL_OK && tl_core_catch_up_next(core, &way, &op);)
        if (!op.members_only || tl_keymap_get(&core->members, op.key, NULL))
            status = tl_core_stats_change(core, op.key, op.to, NULL, err);
    return status;
}

/* A version that somebody returns to starts its fast head from items whose labels may have changed
 * since: they are learned as they stand now, or not at all. */
static tl_status correct_members(tl_core *core, uint64_t position, tl_error *err)
{
    size_t count = core->members.count;
    uint64_t *keys = malloc((count + 1) * sizeof *keys);
    if (keys == NULL) return tl_fail(err, TL_ENOMEM, "items of the fast head");
    tl_keymap_sorted_keys(&core->members, keys);
    tl_status status = TL_OK;
    for (size_t i = 0; i < count && status == TL_OK; i++) {
        tl_record prediction;
        int32_t label = -1;
        tl_arena_reset(&core->arena);
        status = tl_journal_read_prediction(core->items->journal, core->items->loop, keys[i], false,
                                            &core->arena, &prediction, err);
        if (status == TL_OK)
            status = tl_core_standing_label(core, &prediction, position, &label, NULL, err);
        if (status == TL_ENOTFOUND) { /* its features are in no statistics either */
            status = TL_OK;
            continue;
        }
        if (status == TL_OK && tl_keymap_get(&core->golden, keys[i], NULL)) label = -1;
        if (status == TL_OK) status = tl_core_stats_change(core, keys[i], label, NULL, err);
    }
    free(keys);
    return status;
}

/* Take the statistics of `version`; its kept items become the members. */
static tl_status take_statistics(tl_core *core, tl_version *version, tl_error *err)
{
    size_t class_count = core->config.info.class_count;
    tl_status status = TL_OK;
    if (version->stats == NULL)
        status = tl_version_warm(version, core->graph, core->featurizer, &core->config.info,
                                 core->config.feature_range, class_count, err);
    while (status == TL_OK && tl_head_stats_class_count(version->stats) < class_count)
        status = tl_head_stats_add_class(version->stats, err);
    if (status != TL_OK) return status;
    tl_head_stats_destroy(&core->stats);
    core->stats = version->stats;
    version->stats = NULL;
    tl_keymap_clear(&core->members);
    for (size_t i = 0; i < version->kept_count; i++)
        if (tl_keymap_set(&core->members, version->kept_keys[i], version->kept_labels[i]) != TL_OK)
            return tl_fail(err, TL_ENOMEM, "items of the fast head");
    return TL_OK;
}

/* Serve `version` from now on. The old champion has been retired. */
static tl_status install(tl_core *core, tl_version *version, bool catching_up, tl_error *err)
{
    bool same_features = core->champion != 0 && version->backbone_hash == core->backbone_hash;
    tl_weights_release(&core->weights);
    core->weights = version->weights;
    version->weights = NULL;
    core->backbone_hash = version->backbone_hash;
    core->previous = core->champion;
    core->champion = version->number;
    core->dirty = true;
    if (same_features) return TL_OK;
    core->head_stale = true;
    /* Warming needs the weights that now are the core's. */
    if (version->stats == NULL) {
        version->weights = core->weights;
        tl_weights_retain(core->weights);
    }
    tl_status status = take_statistics(core, version, err);
    if (status == TL_OK && catching_up) status = catch_up(core, version->op_count, err);
    return status;
}

tl_status tl_core_take_version(tl_core *core, uint64_t number, tl_version **candidate,
                               tl_version **out, tl_error *err)
{
    tl_version *version = NULL;
    tl_status status = TL_OK;
    if (candidate != NULL && *candidate != NULL) {
        version = *candidate;
        *candidate = NULL;
    } else {
        status = tl_version_read(core->graph, core->items, number, &version, err);
    }
    if (status == TL_OK && version->number != number)
        status = tl_fail(err, TL_ECORRUPT, "version %llu is recorded where %llu should be",
                         (unsigned long long)version->number, (unsigned long long)number);
    if (status == TL_OK)
        *out = version;
    else
        tl_version_destroy(&version);
    return status;
}

tl_status tl_core_serve(tl_core *core, tl_version *version, tl_error *err)
{
    tl_status status = retire_champion(core, 0, err);
    if (status == TL_OK) status = install(core, version, true, err);
    if (status != TL_OK) return status;
    core->publishes++;
    tl_core_chain(core, &version->weights_hash, sizeof version->weights_hash);
    return TL_OK;
}

static tl_status step_publish(tl_core *core, uint64_t number, uint64_t ops, tl_version **candidate,
                              tl_error *err)
{
    if (ops < core->restart_ops) { /* somebody went elsewhere meanwhile */
        core->refused++;
        tl_core_decide(core, ops);
        tl_core_evict(core, number);
        return TL_OK;
    }
    tl_version *version = NULL;
    tl_status status = tl_core_take_version(core, number, candidate, &version, err);
    if (status == TL_OK) status = tl_core_serve(core, version, err);
    if (status == TL_OK) {
        tl_core_decide(core, ops);
        tl_core_gate_restart(core);
    }
    tl_version_destroy(&version);
    return status;
}

/* The version that served before `number`, of those that are kept; 0: none. */
static uint64_t served_before(const tl_core *core, uint64_t number)
{
    for (size_t i = 1; i < core->past_count; i++)
        if (core->past[i].number == number) return core->past[i - 1].number;
    return 0;
}

/* "rollback" and "promote": the same swap to a kept version; a rollback serves its fast head as it
 * was and pauses learning, a promotion learns on. */
tl_status tl_core_step_return(tl_core *core, uint64_t position, uint64_t number, bool rollback,
                              tl_error *err)
{
    if (number == core->champion || find_past(core, number) == NULL)
        return TL_OK; /* it went between the request and the event */
    tl_version *version = NULL;
    tl_status status = tl_version_read(core->graph, core->items, number, &version, err);
    uint64_t before = served_before(core, number);
    find_past(core, number)->pinned = true;
    if (status == TL_OK) status = retire_champion(core, number, err);
    tl_past *past = find_past(core, number);
    bool same_features = version != NULL && version->backbone_hash == core->backbone_hash;
    if (status == TL_OK) status = install(core, version, false, err);
    if (status == TL_OK && !same_features) status = correct_members(core, position, err);
    if (status == TL_OK) {
        tl_head_release(&core->head);
        core->head = past->head;
        if (core->head != NULL) tl_head_retain(core->head);
        core->mixture = past->mixture;
        core->frozen_threshold = past->threshold;
        core->head_frozen = rollback;
        if (!rollback) core->head_stale = true;
        if (rollback) {
            core->learning = false;
            core->previous = before; /* twice back is two versions back */
            core->rollbacks++;
        }
        tl_core_chain(core, &version->weights_hash, sizeof version->weights_hash);
        tl_train_op op = { .code = TL_TRAIN_RESTART, .key = number };
        status = tl_core_push_op(core, op, err);
        core->restart_ops = tl_core_op_count(core);
        tl_core_gate_restart(core);
    }
    tl_version_destroy(&version);
    return status;
}

/* ---- Learning, classes, golden set, knobs ---------------------------------------------------- */

static tl_status step_learning(tl_core *core, uint64_t position, bool on, tl_error *err)
{
    if (on == core->learning || (on && core->frozen)) return TL_OK;
    core->learning = on;
    if (!on) return TL_OK;
    core->head_frozen = false;
    core->head_stale = core->dirty = true;
    core->epoch = position;
    return tl_core_learn_deferred(core, err);
}

/* A requalified line: nothing is learned or promoted until it is released. */
static tl_status step_frozen(tl_core *core, uint64_t position, bool on, tl_error *err)
{
    tl_status status = TL_OK;
    if (on && !core->head_frozen) {
        tl_model *model = NULL; /* brings the head up to date */
        status = tl_core_model(core, &model, err);
        if (status != TL_OK) return status;
        core->frozen_threshold = model->threshold;
        core->head_frozen = core->dirty = true;
        tl_model_release(&model);
        tl_core_review_restart(core); /* a certificate is one of what is frozen now */
    }
    core->frozen = on;
    return step_learning(core, position, !on, err);
}

static tl_status step_class(tl_core *core, uint64_t position, const char *name, tl_error *err)
{
    tl_loop_info *info = &core->config.info;
    size_t outputs = tl_shape_count(tl_graph_output_shape(core->graph, 0));
    if (name == NULL || !tl_name_is_valid(name) || info->class_count == TL_CLASS_COUNT_MAX ||
        info->class_count >= outputs)
        return tl_fail(err, TL_ECORRUPT, "an event adds a class that cannot be");
    for (size_t i = 0; i < info->class_count; i++)
        if (strcmp(info->classes[i], name) == 0) return TL_OK;
    tl_status status = tl_head_stats_add_class(core->stats, err);
    if (status != TL_OK) return status;
    snprintf(info->classes[info->class_count++], TL_TEXT_BYTES_MAX, "%s", name);
    if (info->class_count == 3) core->third_class_at = position;
    core->head_stale = core->dirty = true;
    tl_core_gate_restart(core); /* what was compared knew nothing of it */
    tl_core_review_classes(core);
    tl_train_op op = { .code = TL_TRAIN_CLASSES, .key = info->class_count };
    return tl_core_push_op(core, op, err);
}

static tl_status step_golden_add(tl_core *core, uint64_t event, uint64_t key, tl_error *err)
{
    tl_record prediction;
    int32_t label = -1;
    tl_status status = tl_journal_read_prediction(core->items->journal, core->items->loop, key,
                                                  false, &core->arena, &prediction, err);
    if (status == TL_ENOTFOUND) return TL_OK; /* pruned between the request and the event */
    if (status == TL_OK)
        status = tl_core_standing_label(core, &prediction, event, &label, NULL, err);
    if (status != TL_OK || label < 0) return status;
    if (tl_keymap_set(&core->golden, key, (uint32_t)label) != TL_OK)
        return tl_fail(err, TL_ENOMEM, "golden set");
    core->golden_changed = true;
    tl_keymap_remove(&core->deferred, key);
    status = tl_core_stats_change(core, key, -1, prediction.as.prediction.features, err);
    tl_train_op op = { .code = TL_TRAIN_EXCLUDE, .label = (uint32_t)label, .key = key };
    return status == TL_OK ? tl_core_push_op(core, op, err) : status;
}

static tl_status step_golden_remove(tl_core *core, uint64_t key, tl_error *err)
{
    uint32_t label;
    tl_record prediction;
    if (!tl_keymap_get(&core->golden, key, &label)) return TL_OK;
    tl_keymap_remove(&core->golden, key);
    core->golden_changed = true;
    tl_train_op op = { .code = TL_TRAIN_INCLUDE, .key = key };
    tl_status status = tl_core_push_op(core, op, err);
    if (status == TL_OK)
        status = tl_journal_read_prediction(core->items->journal, core->items->loop, key, false,
                                            &core->arena, &prediction, err);
    if (status == TL_ENOTFOUND) return TL_OK;
    if (status != TL_OK) return status;
    return tl_core_stats_change(core, key, (int32_t)label, prediction.as.prediction.features, err);
}

static tl_status step_configure(tl_core *core, const tl_record *record, tl_error *err)
{
    tl_loop_config config;
    tl_status status = tl_loop_config_read(record->as.event.body, &config, err);
    if (status != TL_OK) return status;
    tl_loop_config_copy_knobs(&core->config, &config);
    tl_threshold_set_target(core->threshold, config.target_precision);
    tl_gate_policy gate = tl_loop_config_gate(&core->config.gate);
    tl_gate_set_policy(core->gate, &gate);
    tl_core_people_changed(core);
    tl_core_review_restart(core);
    if (core->config.gate.hostile <= 0.0) tl_trust_init(&core->trust->sources);
    core->dirty = true;
    tl_train_op op = { .code = TL_TRAIN_CONFIGURE, .key = record->position };
    return tl_core_push_op(core, op, err);
}

/* ---- Dispatch -------------------------------------------------------------------------------- */

static uint64_t number_of(const tl_json *body, const char *key)
{
    uint64_t value = 0;
    return tl_json_uint64(tl_json_get(body, key), &value) ? value : 0;
}

/* Of the gate, not of a person. */
static bool is_verdict(const char *kind, const tl_json *body)
{
    if (strcmp(kind, "promote") == 0) return tl_json_get(body, "key") != NULL;
    return strcmp(kind, "certify") == 0 || strcmp(kind, "take_back") == 0 ||
           strcmp(kind, "alarm") == 0;
}

tl_status tl_core_step_event(tl_core *core, const tl_record *record, tl_version **candidate,
                             tl_error *err)
{
    core->now_position = record->position;
    core->now_us = record->as.event.time_us;
    const char *kind = record->as.event.kind;
    uint64_t position = record->position;
    const tl_json *body;
    tl_status status = tl_json_parse(core->parser, record->as.event.body,
                                     strlen(record->as.event.body), &core->arena, &body, err);
    if (status != TL_OK) return tl_fail_context(err, TL_ECORRUPT, "event \"%.32s\"", kind);
    uint64_t version = number_of(body, "version"), ops = number_of(body, "ops");
    if (strcmp(kind, "publish") == 0) return step_publish(core, version, ops, candidate, err);
    if (strcmp(kind, "refuse") == 0) {
        core->refused++;
        tl_core_decide(core, ops);
        return TL_OK;
    }
    if (strcmp(kind, "challenge") == 0)
        return tl_core_step_challenge(core, version, ops, candidate, err);
    if (strcmp(kind, "try") == 0) return tl_core_step_try(core, version, err);
    if (is_verdict(kind, body)) return tl_core_step_verdict(core, kind, body, err);
    if (strcmp(kind, "rollback") == 0)
        return tl_core_step_return(core, position, version, true, err);
    if (strcmp(kind, "promote") == 0)
        return tl_core_step_return(core, position, version, false, err);
    if (strcmp(kind, "pause") == 0) return step_learning(core, position, false, err);
    if (strcmp(kind, "resume") == 0) return step_learning(core, position, true, err);
    if (strcmp(kind, "freeze") == 0) return step_frozen(core, position, true, err);
    if (strcmp(kind, "unfreeze") == 0) return step_frozen(core, position, false, err);
    if (strcmp(kind, "class") == 0)
        return step_class(core, position, tl_json_get_text(body, "name", NULL), err);
    if (strcmp(kind, "golden_add") == 0)
        return step_golden_add(core, position, number_of(body, "position"), err);
    if (strcmp(kind, "golden_remove") == 0)
        return step_golden_remove(core, number_of(body, "position"), err);
    if (strcmp(kind, "configure") == 0) return step_configure(core, record, err);
    return TL_OK; /* events that only people read */
}
