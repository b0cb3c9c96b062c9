/* The learner's thread: the only one that steps the cores. It takes what was committed, in the
 * order of positions, applies it, publishes one new model for all of it, and answers. */
#include "base/log.h"
#include "loop/runtime.h"

#include "stats/interval.h"

#include <stdlib.h>
#include <string.h>

enum { MESSAGES_A_ROUND = 256 };

/* ---- Settling -------------------------------------------------------------------------------- */

static void fill_share(tl_share *share)
{
    tl_interval interval = tl_interval_wilson(share->hits, share->count, 0.95);
    share->low = interval.low;
    share->high = interval.high;
    share->value = share->count == 0 ? 0.0 : (double)share->hits / (double)share->count;
}

static void share_state(tl_loop *loop)
{
    tl_loop_state state = { 0 };
    tl_core_describe(loop->core, &state);
    fill_share(&state.precision);
    fill_share(&state.recall);
    fill_share(&state.accuracy);
    size_t golden_count = tl_core_golden_count(loop->core);
    uint64_t *golden = malloc((golden_count + 1) * sizeof *golden);
    if (golden != NULL) tl_core_golden(loop->core, golden);
    const tl_loop_config *config = tl_core_config(loop->core);

    pthread_mutex_lock(&loop->mutex);
    loop->shared.info = config->info;
    loop->shared.audit_rate = config->audit_rate;
    loop->shared.state = state;
    loop->shared.previous = tl_core_previous_champion(loop->core);
    loop->shared.kept_count = tl_core_kept(loop->core, loop->shared.kept);
    uint64_t *before = loop->shared.golden;
    if (golden != NULL) {
        loop->shared.golden = golden;
        loop->shared.golden_count = golden_count;
    }
    pthread_mutex_unlock(&loop->mutex);
    if (golden != NULL) free(before);
    atomic_store(&loop->pending, tl_core_pending_count(loop->core));
    atomic_store(&loop->decided_ops, tl_core_decided_ops(loop->core));
}

tl_status tl_learner_settle(tl_loop *loop, tl_error *err)
{
    tl_status status = TL_OK;
    if (tl_core_is_dirty(loop->core)) {
        tl_model *model = NULL;
        status = tl_core_model(loop->core, &model, err);
        if (status == TL_OK) tl_model_slot_put(loop->model, model);
    }
    share_state(loop);
    tl_status fed = tl_training_feed(loop, err);
    return status == TL_OK ? fed : status;
}

/* ---- Messages -------------------------------------------------------------------------------- */

static void complain(tl_loop *loop, uint64_t position, const tl_error *err)
{
    tl_log(TL_LOG_ERROR, "loop %s: position %llu could not be applied: %s", loop->config.info.name,
           (unsigned long long)position, err->text);
}

/* A step that fails for want of memory or of the journal is told, and the loop goes on; restarting
 * applies it again from the journal. */
static tl_status step(tl_loop *loop, const tl_record *record, tl_version **candidate,
                      tl_feedback_state *outcome)
{
    tl_error err = { 0 };
    tl_status status = tl_core_step(loop->core, record, candidate, outcome, &err);
    if (status != TL_OK) complain(loop, record->position, &err);
    if (status == TL_OK && record->kind == TL_RECORD_EVENT) tl_event_emit(loop, record);
    return status;
}

static void take_feedback(tl_feedback_op *op)
{
    tl_loop *loop = op->message.loop;
    for (size_t i = 0; i < op->count; i++) {
        tl_feedback_result *result = &op->results[i];
        tl_feedback_state state = TL_FEEDBACK_NOTED;
        if (op->entry.repeated) {
            op->records[i].position = op->entry.first_position + i;
            tl_core_outcome(loop->core, &op->records[i], &state, NULL);
        } else {
            step(loop, &op->records[i], NULL, &state);
        }
        *result = (tl_feedback_result){ .state = state,
                                        .position = op->records[i].position,
                                        .epoch = op->records[i].position };
    }
}

static void answer_feedback(tl_feedback_op *op)
{
    tl_loop *loop = op->message.loop;
    tl_histogram_record_ns(&loop->applied_ns, tl_env_mono_ns(loop->runtime->env) - op->arrived_ns);
    op->done(op->context, TL_OK, op->results, op->count, NULL);
    atomic_fetch_sub(&loop->inflight, op->count);
    tl_arena arena = op->arena;
    tl_arena_destroy(&arena);
}

static void take_predictions(tl_predict_op *op)
{
    for (size_t i = 0; i < op->count; i++)
        if (tl_core_wants(op->message.loop->core, &op->records[i]))
            step(op->message.loop, &op->records[i], NULL, NULL);
    size_t count = op->count;
    tl_loop *loop = op->message.loop;
    tl_predict_op_free(op);
    atomic_fetch_sub(&loop->inflight, count);
}

static void finish_control(tl_control_op *op, tl_status status, const tl_error *err)
{
    pthread_mutex_lock(&op->mutex);
    op->status = status;
    if (status != TL_OK && err != NULL) op->err = *err;
    op->finished = true;
    pthread_cond_signal(&op->answered);
    pthread_mutex_unlock(&op->mutex);
}

static void take_judgement(tl_judgement_op *op)
{
    tl_loop *loop = op->message.loop;
    bool published = op->judgement.version != NULL;
    const tl_record *event = &op->records[published ? 1 : 0];
    tl_status status = step(loop, event, &op->judgement.version, NULL);
    if (status == TL_OK) {
        free(loop->trainer_state);
        loop->trainer_state = op->trainer_state.data;
        loop->trainer_state_bytes = op->trainer_state.bytes;
        loop->trainer_state_ops = op->judgement.ops;
        op->trainer_state = (tl_blob){ 0 };
    }
    op->status = status;
}

/* The trainer may go on: its version serves. */
static void finish_judgement(tl_judgement_op *op)
{
    pthread_mutex_lock(&op->mutex);
    op->finished = true;
    pthread_cond_signal(&op->answered);
    pthread_mutex_unlock(&op->mutex);
}

/* Apply a message. What must wait for the new model stays in the round, the rest is finished. */
static bool take(tl_message *message)
{
    switch (message->kind) {
    case TL_MESSAGE_FEEDBACK: take_feedback((tl_feedback_op *)message); return true;
    case TL_MESSAGE_PREDICTION: take_predictions((tl_predict_op *)message); return false;
    case TL_MESSAGE_EVENT: {
        tl_control_op *op = (tl_control_op *)message;
        op->status = step(message->loop, &op->record, NULL, NULL);
        return true;
    }
    case TL_MESSAGE_JUDGEMENT: take_judgement((tl_judgement_op *)message); return true;
    case TL_MESSAGE_CHECKPOINT: tl_checkpoint_done((tl_checkpoint_op *)message); return false;
    case TL_MESSAGE_CONTROL: return true;
    }
    return false;
}

static void finish(tl_message *message)
{
    tl_error err = { 0 };
    switch (message->kind) {
    case TL_MESSAGE_FEEDBACK: answer_feedback((tl_feedback_op *)message); break;
    case TL_MESSAGE_EVENT: {
        tl_control_op *op = (tl_control_op *)message;
        finish_control(op, op->status, NULL);
        break;
    }
    case TL_MESSAGE_CONTROL: {
        tl_control_op *op = (tl_control_op *)message;
        tl_status status = op->checkpoint ? tl_checkpoint_append(message->loop, &err) : TL_OK;
        finish_control(op, status, &err);
        break;
    }
    case TL_MESSAGE_JUDGEMENT: finish_judgement((tl_judgement_op *)message); break;
    case TL_MESSAGE_PREDICTION:
    case TL_MESSAGE_CHECKPOINT: break;
    }
}

static void settle(tl_loop *loop)
{
    tl_error err = { 0 };
    if (tl_learner_settle(loop, &err) != TL_OK) complain(loop, 0, &err);
    if (tl_checkpoint_is_due(loop) && tl_checkpoint_queue(loop, &err) != TL_OK)
        tl_log(TL_LOG_WARNING, "loop %s: checkpoint: %s", loop->config.info.name, err.text);
}

static bool touched_before(void *const *messages, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (((tl_message *)messages[i])->loop == ((tl_message *)messages[index])->loop) return true;
    return false;
}

static void run_round(void **messages, size_t count)
{
    tl_loop *loops[MESSAGES_A_ROUND];
    size_t loop_count = 0, waiting = 0;
    for (size_t i = 0; i < count; i++)
        if (!touched_before(messages, i)) loops[loop_count++] = ((tl_message *)messages[i])->loop;
    const tl_env *env = loops[0]->runtime->env;
    int64_t start_ns = tl_env_mono_ns(env);
    for (size_t i = 0; i < count; i++)
        if (take(messages[i])) messages[waiting++] = messages[i];
    int64_t at_ns = tl_env_mono_ns(env);
    for (size_t i = 0; i < loop_count; i++) {
        tl_histogram_record_ns(&loops[i]->update_ns, at_ns - start_ns);
        int64_t before_ns = tl_env_mono_ns(env);
        settle(loops[i]);
        tl_histogram_record_ns(&loops[i]->publish_ns, tl_env_mono_ns(env) - before_ns);
    }
    for (size_t i = 0; i < waiting; i++) finish(messages[i]);
}

void *tl_learner_main(void *context)
{
    tl_runtime *runtime = context;
    void *messages[MESSAGES_A_ROUND];
    for (;;) {
        size_t count = tl_queue_pop_many(runtime->inbox, messages, MESSAGES_A_ROUND, -1);
        if (count == 0) return NULL;
        run_round(messages, count);
    }
}
