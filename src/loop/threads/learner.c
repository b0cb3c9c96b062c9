/* The learner's thread: the only one that steps the cores. It takes what was committed, in the
 * order of positions, applies it, publishes one new model for all of it, and answers. */
#include "base/log.h"
#include "loop/threads/runtime.h"

#include <stdlib.h>
#include <string.h>

/* Predictions are gathered: nothing waits for what the gate makes of them until there are labels, and
 * each round costs a wake-up. */
enum {
    MESSAGES_A_ROUND = 256,
    MESSAGES_GATHERED = 16,
    GATHER_NS = 100000000,
    REBUILD_NS = 500000000
};

/* ---- Settling -------------------------------------------------------------------------------- */

static void share_golden(tl_loop *loop)
{
    size_t count = tl_core_golden_count(loop->core);
    uint64_t *golden = malloc((count + 1) * sizeof *golden), *before;
    if (golden == NULL) return; /* with the next round */
    tl_core_golden(loop->core, golden);
    pthread_mutex_lock(&loop->mutex);
    before = loop->shared.golden;
    loop->shared.golden = golden;
    loop->shared.golden_count = count;
    pthread_mutex_unlock(&loop->mutex);
    free(before);
}

/* Each round pays for this: what takes more than copying is worked out by those who read it. */
static void share_state(tl_loop *loop)
{
    tl_loop_state state = { 0 };
    tl_core_describe(loop->core, &state);
    const tl_loop_config *config = tl_core_config(loop->core);
    tl_core_zones zones = tl_core_zones_of(loop->core);

    pthread_mutex_lock(&loop->mutex);
    loop->shared.info = config->info;
    tl_loop_review_policy(config, &loop->shared.review);
    loop->shared.audit_factor = tl_core_audit_factor(loop->core);
    loop->shared.zones = zones;
    loop->shared.promotion = config->gate.promotion;
    loop->shared.automatic = config->review.automatic;
    loop->shared.state = state;
    loop->shared.previous = tl_core_previous_champion(loop->core);
    loop->shared.kept_count = tl_core_kept(loop->core, loop->shared.kept);
    loop->shared.tti_count = tl_core_ttis(loop->core, loop->shared.ttis);
    pthread_mutex_unlock(&loop->mutex);
    atomic_store(&loop->pending, tl_core_pending_count(loop->core));
    atomic_store(&loop->decided_ops, tl_core_decided_ops(loop->core));
    if (atomic_exchange(&loop->paused, !state.learning) != !state.learning) tl_training_wake(loop);
}

/* The policies in shadow, for the batcher. Packing is paid for here, as for what answers. */
static void share_shadows(tl_loop *loop)
{
    tl_model *now[TL_GATE_SHADOW_MAX], *before[TL_GATE_SHADOW_MAX];
    size_t count = tl_core_shadows(loop->core, now);
    for (size_t i = 0; i < count; i++)
        (void)tl_weights_prepare(now[i]->weights, loop->serving_plan, NULL); /* else at first use */
    pthread_mutex_lock(&loop->mutex);
    size_t before_count = loop->shared.shadow_count;
    memcpy(before, loop->shared.shadows, before_count * sizeof before[0]);
    memcpy(loop->shared.shadows, now, count * sizeof now[0]);
    loop->shared.shadow_count = count;
    pthread_mutex_unlock(&loop->mutex);
    for (size_t i = 0; i < before_count; i++) tl_model_release(&before[i]);
}

/* What scores mean, for the batcher; a fit comes after each sixteenth more answers. */
static void share_calibrator(tl_loop *loop)
{
    const tl_calibrator *now = tl_core_calibrator(loop->core);
    if (now == NULL || now->fitted_at == loop->calibrator_fitted_at) return;
    loop->calibrator_fitted_at = now->fitted_at;
    pthread_mutex_lock(&loop->mutex);
    loop->shared.calibrator = *now;
    loop->shared.calibrator_number++;
    pthread_mutex_unlock(&loop->mutex);
}

tl_status tl_learner_settle(tl_loop *loop, tl_error *err)
{
    tl_status status = TL_OK;
    if (tl_core_is_dirty(loop->core)) {
        tl_model *model = NULL;
        status = tl_core_model(loop->core, &model, err);
        /* Packing is paid for here, not by the next answer. */
        if (status == TL_OK) status = tl_weights_prepare(model->weights, loop->serving_plan, err);
        if (status == TL_OK)
            tl_model_slot_put(loop->model, model);
        else
            tl_model_release(&model);
    }
    if (tl_core_shadows_changed(loop->core)) share_shadows(loop);
    if (tl_core_golden_changed(loop->core)) share_golden(loop);
    share_state(loop);
    share_calibrator(loop);
    tl_status fed = tl_training_feed(loop, err);
    int64_t now_ns = tl_env_mono_ns(loop->runtime->env);
    tl_spans_handed(&loop->spans, loop->queued_ops, now_ns);
    tl_spans_serves(&loop->spans, tl_core_champion(loop->core), now_ns);
    return status == TL_OK ? fed : status;
}

/* ---- Messages -------------------------------------------------------------------------------- */

static void complain(tl_loop *loop, uint64_t position, const tl_error *err)
{
    tl_log(TL_LOG_ERROR, "loop %s: position %llu could not be applied: %s", loop->config.info.name,
           (unsigned long long)position, err->text);
}

/* A step that failed may have been done by half. Nothing is stepped until the core was built anew
 * from its checkpoint and the journal, with everything committed by then. */
static void rebuild(tl_loop *loop)
{
    int64_t now_ns = tl_env_mono_ns(loop->runtime->env);
    if (now_ns < loop->rebuild_ns) return;
    loop->rebuild_ns = now_ns + REBUILD_NS;
    tl_error err = { 0 };
    tl_core *core = NULL;
    uint64_t upto = 0;
    tl_status status = tl_checkpoint_load_core(loop, &core, &upto, &err);
    if (status == TL_OK) status = tl_loop_catch_up(loop, core, upto, NULL, &err);
    if (status != TL_OK) {
        complain(loop, upto, &err);
        tl_core_destroy(&core);
        return;
    }
    tl_core_destroy(&loop->core);
    loop->core = core;
    loop->broken = false;
    tl_log(TL_LOG_WARNING, "loop %s: state rebuilt up to position %llu", loop->config.info.name,
           (unsigned long long)tl_core_position(core));
}

/* A rebuilt core has stepped records whose messages are still to come. */
static tl_status step(tl_loop *loop, const tl_record *record, tl_version **candidate,
                      tl_feedback_state *outcome, tl_error *err)
{
    if (loop->broken)
        return tl_fail(err, TL_EIO, "what came is durable; it counts once the loop has recovered");
    if (record->position <= tl_core_position(loop->core))
        return record->kind == TL_RECORD_FEEDBACK
                   ? tl_core_outcome(loop->core, record, outcome, err)
                   : TL_OK;
    tl_status status = tl_core_step(loop->core, record, candidate, outcome, err);
    if (status != TL_OK) {
        complain(loop, record->position, err);
        loop->broken = true;
    } else if (record->kind == TL_RECORD_EVENT) {
        tl_event_emit(loop, record);
    }
    return status;
}

/* The same request came before: what was answered then. */
static tl_status recall_feedback(tl_feedback_op *op, size_t index, tl_feedback_state *state,
                                 tl_error *err)
{
    tl_loop *loop = op->message.loop;
    if (op->entry.last_position - op->entry.first_position + 1 != op->count)
        return tl_fail(err, TL_ECONFLICT, "this request id was used for something else");
    op->records[index].position = op->entry.first_position + index;
    tl_status status = tl_core_outcome(loop->core, &op->records[index], state, err);
    return status == TL_ECORRUPT
               ? tl_fail(err, TL_ECONFLICT, "this request id was used for something else")
               : status;
}

static void take_feedback(tl_feedback_op *op)
{
    tl_loop *loop = op->message.loop;
    for (size_t i = 0; i < op->count; i++) {
        tl_error err = { 0 };
        tl_feedback_state state = TL_FEEDBACK_NOTED;
        tl_status status = op->entry.repeated ? recall_feedback(op, i, &state, &err)
                                              : step(loop, &op->records[i], NULL, &state, &err);
        if (status != TL_OK && op->status == TL_OK) {
            op->status = status;
            op->err = err;
        }
        op->results[i] = (tl_feedback_result){ .state = state,
                                               .position = op->records[i].position,
                                               .epoch = op->records[i].position };
    }
}

static void answer_feedback(tl_feedback_op *op)
{
    tl_loop *loop = op->message.loop;
    if (op->status == TL_OK) {
        tl_histogram_record_ns(&loop->applied_ns,
                               tl_env_mono_ns(loop->runtime->env) - op->arrived_ns);
        op->done(op->context, TL_OK, op->results, op->count, NULL);
    } else {
        op->done(op->context, op->status, NULL, 0, &op->err);
    }
    tl_feedback_op_free(op);
}

static bool take_predictions(tl_predict_op *op)
{
    tl_error err = { 0 };
    for (size_t i = 0; i < op->count; i++)
        step(op->message.loop, &op->records[i], NULL, NULL, &err);
    bool waits = op->answer_later;
    if (!waits) tl_predict_op_leave(op);
    return waits;
}

static void answer_predictions(tl_predict_op *op)
{
    op->done(op->context, TL_OK, op->predictions, op->count, NULL);
    tl_predict_op_leave(op);
}

static void take_judgement(tl_judgement_op *op)
{
    tl_loop *loop = op->message.loop;
    const tl_record *event = &op->records[op->entry.count - 1];
    tl_error err = { 0 };
    tl_status status = step(loop, event, &op->judgement.version, NULL, &err);
    if (status == TL_OK) {
        tl_spans_judged(&loop->spans, op->judgement.ops,
                        tl_event_brings_version(event) ? tl_event_number(event, "version") : 0,
                        tl_env_mono_ns(loop->runtime->env));
        for (size_t i = 0; i + 1 < op->entry.count; i++)
            if (op->records[i].kind == TL_RECORD_EVENT) tl_event_emit(loop, &op->records[i]);
        free(loop->trainer_state);
        loop->trainer_state = op->trainer_state.data;
        loop->trainer_state_bytes = op->trainer_state.bytes;
        loop->trainer_state_ops = op->judgement.ops;
        op->trainer_state = (tl_blob){ 0 };
    }
    op->status = status;
}

static void take_verdict(tl_verdict_op *op)
{
    tl_error err = { 0 };
    if (op->status == TL_OK) step(op->message.loop, &op->record, NULL, NULL, &err);
    tl_verdict_done(op);
}

/* Apply a message. What must wait for the new model stays in the round, the rest is finished. */
static bool take(tl_message *message)
{
    switch (message->kind) {
    case TL_MESSAGE_FEEDBACK: take_feedback((tl_feedback_op *)message); return true;
    case TL_MESSAGE_PREDICTION: return take_predictions((tl_predict_op *)message);
    case TL_MESSAGE_EVENT: {
        tl_control_op *op = (tl_control_op *)message;
        op->status = step(message->loop, &op->record, NULL, NULL, &op->err);
        return true;
    }
    case TL_MESSAGE_JUDGEMENT: take_judgement((tl_judgement_op *)message); return true;
    case TL_MESSAGE_CHECKPOINT: tl_checkpoint_done((tl_checkpoint_op *)message); return false;
    case TL_MESSAGE_CONTROL: return true;
    case TL_MESSAGE_VERDICT: take_verdict((tl_verdict_op *)message); return false;
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
        tl_waiter_finish(&op->waiter, op->status, &op->err);
        break;
    }
    case TL_MESSAGE_CONTROL: {
        tl_control_op *op = (tl_control_op *)message;
        if (op->look != NULL) op->look(message->loop->core, op->look_context);
        tl_status status = op->checkpoint ? tl_checkpoint_append(message->loop, &err) : TL_OK;
        tl_waiter_finish(&op->waiter, status, &err);
        break;
    }
    case TL_MESSAGE_JUDGEMENT: {
        tl_judgement_op *op = (tl_judgement_op *)message;
        tl_waiter_finish(&op->waiter, op->status, NULL);
        break;
    }
    case TL_MESSAGE_PREDICTION: answer_predictions((tl_predict_op *)message); break;
    case TL_MESSAGE_CHECKPOINT:
    case TL_MESSAGE_VERDICT: break;
    }
}

static void settle(tl_loop *loop, tl_error *err)
{
    if (loop->broken) rebuild(loop);
    if (loop->broken) {
        tl_fail(err, TL_EIO, "what came is durable; it counts once the loop has recovered");
        return;
    }
    if (tl_learner_settle(loop, err) != TL_OK) complain(loop, 0, err);
    tl_verdict_submit(loop);
    tl_error why = { 0 };
    if (tl_checkpoint_is_due(loop) && tl_checkpoint_queue(loop, &why) != TL_OK)
        tl_log(TL_LOG_WARNING, "loop %s: checkpoint: %s", loop->config.info.name, why.text);
}

/* Feedback whose model could not be made is not acknowledged. */
static void spoil(tl_message *message, const tl_error *err)
{
    if (message->kind != TL_MESSAGE_FEEDBACK) return;
    tl_feedback_op *op = (tl_feedback_op *)message;
    if (op->status != TL_OK) return;
    op->status = err->status;
    op->err = *err;
}

static bool touched_before(void *const *messages, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (((tl_message *)messages[i])->loop == ((tl_message *)messages[index])->loop) return true;
    return false;
}

/* Challengers learn after feedback was answered, and before anybody is told that all is done: with
 * the last message of a loop it may be gone. */
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
        tl_error err = { 0 };
        settle(loops[i], &err);
        for (size_t j = 0; j < waiting && err.status != TL_OK; j++)
            if (((tl_message *)messages[j])->loop == loops[i]) spoil(messages[j], &err);
        tl_histogram_record_ns(&loops[i]->publish_ns, tl_env_mono_ns(env) - before_ns);
    }
    size_t rest = 0;
    for (size_t i = 0; i < waiting; i++) {
        if (((tl_message *)messages[i])->kind == TL_MESSAGE_FEEDBACK)
            finish(messages[i]);
        else
            messages[rest++] = messages[i];
    }
    for (size_t i = 0; i < loop_count; i++)
        if (!loops[i]->broken && tl_core_shadows_follow(loops[i]->core)) share_shadows(loops[i]);
    for (size_t i = 0; i < rest; i++) finish(messages[i]);
}

void *tl_learner_main(void *context)
{
    tl_runtime *runtime = context;
    void *messages[MESSAGES_A_ROUND];
    for (;;) {
        size_t count = tl_queue_pop_gathered(runtime->inbox, messages, MESSAGES_A_ROUND, GATHER_NS,
                                             MESSAGES_GATHERED);
        if (count == 0) return NULL;
        run_round(messages, count);
    }
}
