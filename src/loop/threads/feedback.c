/* Feedback, from the caller's thread to the journal, and its answer. */
#include "loop/threads/runtime.h"

#include <stdio.h>
#include <string.h>

enum { OP_BYTES_MAX = 1 << 20 };

const char *tl_feedback_state_text(tl_feedback_state state)
{
    static const char *const texts[] = { "applied", "corrected", "repeated",
                                         "pending", "withdrawn", "noted" };
    return (unsigned)state < TL_COUNT_OF(texts) ? texts[state] : "unknown";
}

static tl_status find_class(const tl_loop_info *info, const char *label, int32_t *out,
                            tl_error *err)
{
    for (size_t i = 0; label != NULL && i < info->class_count; i++) {
        if (strcmp(info->classes[i], label) != 0) continue;
        *out = (int32_t)i;
        return TL_OK;
    }
    char known[160] = "";
    size_t used = 0;
    for (size_t i = 0; i < info->class_count && used < sizeof known - 1; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 info->classes[i]);
    return tl_fail(err, TL_EINVAL, "unknown class \"%.40s\"; known: %s", label == NULL ? "" : label,
                   known);
}

static tl_status take(tl_feedback_op *op, const tl_loop_info *info, const tl_feedback *feedback,
                      tl_feedback_record *out, tl_error *err)
{
    const char *source = feedback->source == NULL ? "local" : feedback->source;
    if (tl_id_is_none(feedback->prediction_id))
        return tl_fail(err, TL_EINVAL, "feedback needs the id of its prediction");
    if (!tl_name_is_valid(source))
        return tl_fail(err, TL_EINVAL, "a source is 1 to %d bytes without control characters",
                       TL_TEXT_BYTES_MAX - 1);
    int64_t now_us = tl_env_wall_us(op->message.loop->runtime->env);
    *out = (tl_feedback_record){ .prediction_id = feedback->prediction_id,
                                 .kind = (uint8_t)feedback->kind,
                                 .label = -1,
                                 .correct = feedback->correct,
                                 .source = tl_arena_strndup(&op->arena, source, strlen(source)),
                                 .time_us = feedback->time_us != 0 ? feedback->time_us : now_us,
                                 .received_us = now_us };
    if (out->source == NULL) return tl_fail(err, TL_ENOMEM, "feedback");
    switch (feedback->kind) {
    case TL_FEEDBACK_LABEL: return find_class(info, feedback->label, &out->label, err);
    case TL_FEEDBACK_VERDICT:
    case TL_FEEDBACK_WITHDRAW: return TL_OK;
    }
    return tl_fail(err, TL_EINVAL, "feedback is a label, a verdict or a withdrawal");
}

static void committed(tl_journal_entry *entry, tl_status status, const tl_error *err)
{
    tl_feedback_op *op = entry->context;
    if (status == TL_OK) {
        tl_loop *loop = op->message.loop;
        tl_histogram_record_ns(&loop->commit_ns,
                               tl_env_mono_ns(loop->runtime->env) - op->arrived_ns);
        tl_message_post(loop->runtime, &op->message);
        return;
    }
    op->done(op->context, status, NULL, 0, err);
    tl_feedback_op_free(op);
}

void tl_feedback_op_free(tl_feedback_op *op)
{
    tl_loop *loop = op->message.loop;
    size_t count = op->count;
    tl_arena arena = op->arena; /* the operation itself lives in it */
    tl_arena_destroy(&arena);
    atomic_fetch_sub(&loop->runtime->waiting_feedback, count);
    atomic_fetch_sub(&loop->inflight, count); /* the last touch: the loop may be gone now */
}

static tl_status take_all(tl_feedback_op *op, const tl_feedback_request *request, tl_error *err)
{
    tl_loop_info info;
    tl_loop_describe(op->message.loop, &info);
    op->records = tl_arena_alloc(&op->arena, op->count * sizeof *op->records);
    op->results = tl_arena_alloc(&op->arena, op->count * sizeof *op->results);
    if (op->records == NULL || op->results == NULL) return tl_fail(err, TL_ENOMEM, "feedback");
    for (size_t i = 0; i < op->count; i++) {
        op->records[i] =
            (tl_record){ .kind = TL_RECORD_FEEDBACK, .loop = op->message.loop->number };
        tl_status status = take(op, &info, &request->items[i], &op->records[i].as.feedback, err);
        if (status != TL_OK)
            return op->count > 1 ? tl_fail_context(err, status, "feedback %zu", i) : status;
    }
    if (request->request_id == NULL) return TL_OK;
    size_t bytes = strnlen(request->request_id, TL_REQUEST_ID_BYTES_MAX);
    if (bytes == 0 || bytes == TL_REQUEST_ID_BYTES_MAX)
        return tl_fail(err, TL_EINVAL, "a request id is 1 to %d bytes",
                       TL_REQUEST_ID_BYTES_MAX - 1);
    op->entry.request_id = tl_arena_strndup(&op->arena, request->request_id, bytes);
    memcpy(op->entry.body_hash, request->body_hash, sizeof op->entry.body_hash);
    return op->entry.request_id != NULL ? TL_OK : tl_fail(err, TL_ENOMEM, "feedback");
}

static tl_status check_request(tl_loop *loop, const tl_feedback_request *request, tl_error *err)
{
    if (loop->runtime->options.read_only)
        return tl_fail(err, TL_EPERM, "the journal was opened for looking only");
    if (atomic_load(&loop->closing)) return tl_fail(err, TL_ECLOSED, "the loop is closing");
    if (request->count < 1 || request->count > TL_ITEM_COUNT_MAX)
        return tl_fail(err, TL_ELIMIT, "%zu feedback; send 1 to %d in a request", request->count,
                       TL_ITEM_COUNT_MAX);
    return TL_OK;
}

/* Feedback on predictions that are known goes on when too much waits for others. */
static tl_status check_pending(tl_loop *loop, const tl_feedback_request *request, tl_error *err)
{
    uint64_t under_way = atomic_load(&loop->runtime->waiting_feedback);
    if (atomic_load(&loop->pending) + under_way <= loop->pending_limit) return TL_OK;
    tl_status status = TL_OK;
    pthread_mutex_lock(&loop->lookup_mutex);
    for (size_t i = 0; i < request->count && status == TL_OK; i++) {
        tl_record record;
        tl_arena_reset(&loop->lookup.arena);
        status = tl_journal_find_prediction(loop->lookup.journal, loop->number,
                                            request->items[i].prediction_id, false,
                                            &loop->lookup.arena, &record, NULL, err);
    }
    pthread_mutex_unlock(&loop->lookup_mutex);
    return status != TL_ENOTFOUND
               ? status
               : tl_fail(err, TL_EFULL,
                         "%llu feedback wait for predictions that are not known; send "
                         "the predictions first, or check the ids",
                         (unsigned long long)loop->pending_limit);
}

static tl_status admit(tl_loop *loop, const tl_feedback_request *request, tl_error *err)
{
    tl_runtime *runtime = loop->runtime;
    if (!tl_waiting_enter(&runtime->waiting_feedback, request->count, runtime->options.queue_max))
        return tl_fail(err, TL_EFULL, "too many requests wait; try again shortly");
    tl_status status = check_pending(loop, request, err);
    if (status == TL_OK)
        atomic_fetch_add(&loop->inflight, request->count);
    else
        atomic_fetch_sub(&runtime->waiting_feedback, request->count);
    return status;
}

tl_status tl_loop_feedback_async(tl_loop *loop, const tl_feedback_request *request,
                                 tl_feedback_done done, void *context, tl_error *err)
{
    TL_ASSERT(loop != NULL && request != NULL && done != NULL);
    int64_t arrived_ns = tl_env_mono_ns(loop->runtime->env);
    tl_status status = check_request(loop, request, err);
    if (status != TL_OK) return status;
    tl_arena arena;
    tl_arena_init(&arena, OP_BYTES_MAX);
    tl_feedback_op *op = tl_arena_alloc(&arena, sizeof *op);
    if (op == NULL) return tl_fail(err, TL_ENOMEM, "feedback");
    *op = (tl_feedback_op){ .message = { TL_MESSAGE_FEEDBACK, loop },
                            .arena = arena,
                            .done = done,
                            .context = context,
                            .arrived_ns = arrived_ns,
                            .count = request->count };
    status = take_all(op, request, err);
    if (status == TL_OK) status = admit(loop, request, err);
    if (status == TL_OK) {
        op->entry.records = op->records;
        op->entry.count = op->count;
        op->entry.done = committed;
        op->entry.context = op;
        status = tl_journal_submit(loop->runtime->journal, &op->entry, err);
        if (status != TL_OK) tl_feedback_op_free(op);
        return status;
    }
    arena = op->arena;
    tl_arena_destroy(&arena);
    return status;
}

typedef struct one_feedback {
    tl_waiter waiter;
    tl_feedback_result result;
} one_feedback;

static void wake(void *context, tl_status status, const tl_feedback_result *results, size_t count,
                 const tl_error *err)
{
    one_feedback *one = context;
    if (status == TL_OK && count > 0) one->result = results[0];
    tl_waiter_finish(&one->waiter, status, err);
}

tl_status tl_loop_feedback(tl_loop *loop, const tl_feedback *feedback, tl_feedback_result *out,
                           tl_error *err)
{
    TL_ASSERT(feedback != NULL);
    one_feedback one;
    tl_waiter_init(&one.waiter);
    tl_feedback_request request = { .items = feedback, .count = 1 };
    tl_status status = tl_loop_feedback_async(loop, &request, wake, &one, err);
    if (status == TL_OK) status = tl_waiter_wait(&one.waiter, err);
    if (status == TL_OK && out != NULL) *out = one.result;
    tl_waiter_destroy(&one.waiter);
    return status;
}
