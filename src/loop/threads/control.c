/* Calls by hand: each is an event in the journal, applied by the learner, and answered then. */
#include "loop/threads/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void committed(tl_journal_entry *entry, tl_status status, const tl_error *err)
{
    tl_control_op *op = entry->context;
    if (status == TL_OK) {
        tl_message_post(op->message.loop->runtime, &op->message);
        return;
    }
    tl_waiter_finish(&op->waiter, status, err);
}

static tl_status run(tl_control_op *op, tl_error *err)
{
    tl_loop *loop = op->message.loop;
    tl_status status = TL_OK;
    tl_waiter_init(&op->waiter);
    if (op->has_event) {
        op->entry = (tl_journal_entry){
            .records = &op->record, .count = 1, .done = committed, .context = op
        };
        status = tl_journal_submit(loop->runtime->journal, &op->entry, err);
    } else {
        tl_message_post(loop->runtime, &op->message);
    }
    if (status == TL_OK) status = tl_waiter_wait(&op->waiter, err);
    tl_waiter_destroy(&op->waiter);
    return status;
}

tl_status tl_control_event(tl_loop *loop, const char *kind, const char *body, tl_error *err)
{
    if (loop->runtime->options.read_only)
        return tl_fail(err, TL_EPERM, "the journal was opened for looking only");
    if (atomic_load(&loop->closing)) return tl_fail(err, TL_ECLOSED, "the loop is closing");
    tl_control_op op = { .message = { TL_MESSAGE_EVENT, loop },
                         .has_event = true,
                         .record = {
                             .kind = TL_RECORD_EVENT,
                             .loop = loop->number,
                             .as.event = { .kind = kind,
                                           .body = body,
                                           .time_us = tl_env_wall_us(loop->runtime->env) } } };
    return run(&op, err);
}

tl_status tl_control_barrier(tl_loop *loop, tl_error *err)
{
    tl_control_op op = { .message = { TL_MESSAGE_CONTROL, loop } };
    return run(&op, err);
}

/* With nobody stepping the core it may be looked at here. */
tl_status tl_control_look(tl_loop *loop, void (*look)(tl_core *core, void *context), void *context,
                          tl_error *err)
{
    if (!loop->runtime->learner_runs) {
        look(loop->core, context);
        return TL_OK;
    }
    tl_control_op op = { .message = { TL_MESSAGE_CONTROL, loop },
                         .look = look,
                         .look_context = context };
    return run(&op, err);
}

tl_status tl_control_checkpoint(tl_loop *loop, tl_error *err)
{
    tl_control_op op = { .message = { TL_MESSAGE_CONTROL, loop }, .checkpoint = true };
    return run(&op, err);
}

tl_status tl_loop_drain(tl_loop *loop, tl_error *err)
{
    if (!loop->runtime->learner_runs) return TL_OK;
    tl_status status = tl_control_barrier(loop, err); /* every label is with the trainer */
    if (status == TL_OK && tl_runtime_trains(loop->runtime)) status = tl_training_wait(loop, err);
    return status;
}

/* ---- Events with a body ---------------------------------------------------------------------- */

/* {"who":...,"KEY":VALUE}; `value` is JSON. */
static tl_status event_with(tl_loop *loop, const char *kind, const char *who, const char *key,
                            const char *value, tl_error *err)
{
    tl_text body;
    tl_text_init(&body, 4096);
    tl_text_puts(&body, "{\"who\":");
    tl_json_write_string(&body, who == NULL ? "local" : who);
    if (key != NULL) tl_text_printf(&body, ",\"%s\":%s", key, value);
    tl_text_puts(&body, "}");
    tl_status status = tl_text_ok(&body) ? tl_control_event(loop, kind, body.data, err)
                                         : tl_fail(err, TL_ENOMEM, "event");
    tl_text_destroy(&body);
    return status;
}

static tl_status event_with_number(tl_loop *loop, const char *kind, const char *who,
                                   const char *key, uint64_t number, tl_error *err)
{
    char value[24];
    snprintf(value, sizeof value, "%llu", (unsigned long long)number);
    return event_with(loop, kind, who, key, value, err);
}

/* ---- Versions -------------------------------------------------------------------------------- */

static uint64_t champion_of(tl_loop *loop)
{
    tl_model *model = tl_model_slot_get(loop->model);
    uint64_t version = model->version;
    tl_model_release(&model);
    return version;
}

static bool is_kept(tl_loop *loop, uint64_t version)
{
    bool kept = false;
    pthread_mutex_lock(&loop->mutex);
    for (size_t i = 0; i < loop->shared.kept_count; i++)
        kept = kept || loop->shared.kept[i] == version;
    pthread_mutex_unlock(&loop->mutex);
    return kept;
}

static tl_status return_to(tl_loop *loop, const char *kind, uint64_t version, const char *who,
                           tl_error *err)
{
    if (!is_kept(loop, version))
        return tl_fail(err, TL_ENOTFOUND, "version %llu is not kept; see the list of versions",
                       (unsigned long long)version);
    if (champion_of(loop) == version)
        return tl_fail(err, TL_ECONFLICT, "version %llu serves already",
                       (unsigned long long)version);
    tl_status status = event_with_number(loop, kind, who, "version", version, err);
    if (status == TL_OK && champion_of(loop) != version)
        return tl_fail(err, TL_ECONFLICT, "version %llu was replaced at the same moment; try again",
                       (unsigned long long)version);
    return status;
}

static tl_status promote_alone(tl_loop *loop, uint64_t version, const char *who, tl_error *err)
{
    return return_to(loop, "promote", version, who, err);
}

tl_status tl_loop_promote(tl_loop *loop, uint64_t version, const char *who, tl_error *err)
{
    pthread_mutex_lock(&loop->runtime->control_mutex);
    tl_status status = promote_alone(loop, version, who, err);
    pthread_mutex_unlock(&loop->runtime->control_mutex);
    return status;
}

static tl_status challenge_alone(tl_loop *loop, uint64_t version, const char *who, tl_error *err)
{
    pthread_mutex_lock(&loop->mutex);
    tl_promotion promotion = loop->shared.promotion;
    pthread_mutex_unlock(&loop->mutex);
    if (promotion != TL_PROMOTION_PROVEN)
        return tl_fail(err, TL_ECONFLICT,
                       "gate.promotion is no-worse: nothing is proven in shadow; set it to proven");
    if (!is_kept(loop, version))
        return tl_fail(err, TL_ENOTFOUND, "version %llu is not kept; see the list of versions",
                       (unsigned long long)version);
    if (champion_of(loop) == version)
        return tl_fail(err, TL_ECONFLICT, "version %llu serves already",
                       (unsigned long long)version);
    return event_with_number(loop, "try", who, "version", version, err);
}

tl_status tl_loop_challenge(tl_loop *loop, uint64_t version, const char *who, tl_error *err)
{
    pthread_mutex_lock(&loop->runtime->control_mutex);
    tl_status status = challenge_alone(loop, version, who, err);
    pthread_mutex_unlock(&loop->runtime->control_mutex);
    return status;
}

static tl_status rollback_alone(tl_loop *loop, uint64_t version, const char *who, tl_error *err)
{
    if (version == 0) {
        pthread_mutex_lock(&loop->mutex);
        version = loop->shared.previous;
        pthread_mutex_unlock(&loop->mutex);
        if (version == 0) return tl_fail(err, TL_ENOTFOUND, "there is no version before this one");
    }
    return return_to(loop, "rollback", version, who, err);
}

tl_status tl_loop_rollback(tl_loop *loop, uint64_t version, const char *who, tl_error *err)
{
    pthread_mutex_lock(&loop->runtime->control_mutex);
    tl_status status = rollback_alone(loop, version, who, err);
    pthread_mutex_unlock(&loop->runtime->control_mutex);
    return status;
}

tl_status tl_loop_set_learning(tl_loop *loop, bool on, const char *who, tl_error *err)
{
    tl_loop_state state;
    tl_loop_status(loop, &state);
    if (on && state.frozen)
        return tl_fail(err, TL_ECONFLICT, "the line is frozen; unfreeze it, and it learns again");
    return event_with(loop, on ? "resume" : "pause", who, NULL, NULL, err);
}

tl_status tl_loop_set_frozen(tl_loop *loop, bool on, const char *who, tl_error *err)
{
    return event_with(loop, on ? "freeze" : "unfreeze", who, NULL, NULL, err);
}

static tl_status add_class_alone(tl_loop *loop, const char *name, const char *who, tl_error *err)
{
    TL_ASSERT(name != NULL);
    if (!tl_name_is_valid(name))
        return tl_fail(err, TL_EINVAL, "a class is 1 to %d bytes without control characters",
                       TL_TEXT_BYTES_MAX - 1);
    tl_loop_info info;
    tl_loop_describe(loop, &info);
    for (size_t i = 0; i < info.class_count; i++)
        if (strcmp(info.classes[i], name) == 0)
            return tl_fail(err, TL_ECONFLICT, "class \"%s\" is there already", name);
    size_t outputs = tl_shape_count(tl_graph_output_shape(loop->graph, 0));
    if (info.class_count >= outputs || info.class_count >= TL_CLASS_COUNT_MAX)
        return tl_fail(err, TL_ELIMIT, "the network answers for at most %zu classes", outputs);
    tl_text value;
    tl_text_init(&value, 1024);
    tl_json_write_string(&value, name);
    tl_status status = event_with(loop, "class", who, "name", value.data, err);
    tl_text_destroy(&value);
    return status;
}

tl_status tl_loop_add_class(tl_loop *loop, const char *name, const char *who, tl_error *err)
{
    pthread_mutex_lock(&loop->runtime->control_mutex);
    tl_status status = add_class_alone(loop, name, who, err);
    pthread_mutex_unlock(&loop->runtime->control_mutex);
    return status;
}

/* ---- Golden set ------------------------------------------------------------------------------ */

static tl_status position_of(tl_loop *loop, tl_id id, uint64_t *position, tl_error *err)
{
    tl_record record;
    bool pruned = false;
    pthread_mutex_lock(&loop->lookup_mutex);
    tl_arena_reset(&loop->lookup.arena);
    tl_status status = tl_journal_find_prediction(loop->lookup.journal, loop->number, id, false,
                                                  &loop->lookup.arena, &record, &pruned, err);
    if (status == TL_OK) *position = record.position;
    pthread_mutex_unlock(&loop->lookup_mutex);
    if (status == TL_OK && pruned)
        return tl_fail(err, TL_ENOTFOUND, "the item of this prediction is not kept any more");
    return status;
}

static bool is_golden(tl_loop *loop, uint64_t position)
{
    bool found = false;
    pthread_mutex_lock(&loop->mutex);
    for (size_t i = 0; i < loop->shared.golden_count; i++)
        found = found || loop->shared.golden[i] == position;
    pthread_mutex_unlock(&loop->mutex);
    return found;
}

static tl_status golden_add_alone(tl_loop *loop, tl_id prediction, const char *who, tl_error *err)
{
    uint64_t position;
    tl_status status = position_of(loop, prediction, &position, err);
    if (status != TL_OK) return status;
    if (is_golden(loop, position)) return TL_OK;
    if (tl_loop_golden(loop, NULL, 0) >= TL_GOLDEN_LIMIT)
        return tl_fail(err, TL_ELIMIT, "the golden set holds at most %d items", TL_GOLDEN_LIMIT);
    status = event_with_number(loop, "golden_add", who, "position", position, err);
    if (status == TL_OK && !is_golden(loop, position))
        return tl_fail(err, TL_EINVAL, "only a labelled item can be golden; label it first");
    return status;
}

tl_status tl_loop_golden_add(tl_loop *loop, tl_id prediction, const char *who, tl_error *err)
{
    pthread_mutex_lock(&loop->runtime->control_mutex);
    tl_status status = golden_add_alone(loop, prediction, who, err);
    pthread_mutex_unlock(&loop->runtime->control_mutex);
    return status;
}

static tl_status golden_remove_alone(tl_loop *loop, tl_id prediction, const char *who,
                                     tl_error *err)
{
    uint64_t position;
    tl_status status = position_of(loop, prediction, &position, err);
    if (status != TL_OK) return status;
    if (!is_golden(loop, position))
        return tl_fail(err, TL_ENOTFOUND, "this item is not in the golden set");
    return event_with_number(loop, "golden_remove", who, "position", position, err);
}

tl_status tl_loop_golden_remove(tl_loop *loop, tl_id prediction, const char *who, tl_error *err)
{
    pthread_mutex_lock(&loop->runtime->control_mutex);
    tl_status status = golden_remove_alone(loop, prediction, who, err);
    pthread_mutex_unlock(&loop->runtime->control_mutex);
    return status;
}

size_t tl_loop_golden(tl_loop *loop, tl_id *out, size_t capacity)
{
    uint64_t positions[64];
    size_t total, done = 0;
    do { /* in pieces: positions under one lock, their ids under the other */
        pthread_mutex_lock(&loop->mutex);
        total = loop->shared.golden_count;
        size_t some = 0;
        while (some < TL_COUNT_OF(positions) && done + some < total && done + some < capacity) {
            positions[some] = loop->shared.golden[done + some];
            some++;
        }
        pthread_mutex_unlock(&loop->mutex);
        if (some == 0) break;
        pthread_mutex_lock(&loop->lookup_mutex);
        for (size_t i = 0; i < some; i++) {
            tl_record record;
            tl_arena_reset(&loop->lookup.arena);
            tl_status status =
                tl_journal_read_prediction(loop->lookup.journal, loop->number, positions[i], false,
                                           &loop->lookup.arena, &record, NULL);
            out[done++] = status == TL_OK ? record.as.prediction.id : (tl_id){ { 0 } };
        }
        pthread_mutex_unlock(&loop->lookup_mutex);
    } while (done < capacity);
    return total;
}
