/* Checkpoints: the core's state and the trainer's, so that a start need not replay history. */
#include "base/log.h"
#include "loop/threads/runtime.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>

enum {
    FORMAT = 3,
    DUE_POSITIONS = 20000,
    DUE_EVICTED = TL_CORE_EVICTED_MAX / 2 /* versions whose weights wait to be dropped */
};
#define DUE_NS   30000000000
#define RETRY_NS 5000000000

static void save_seen(tl_loop *loop, tl_blob *blob)
{
    pthread_mutex_lock(&loop->mutex);
    tl_seen seen = loop->shared.seen;
    pthread_mutex_unlock(&loop->mutex);
    tl_blob_u64(blob, seen.predictions);
    tl_blob_u64(blob, seen.flagged);
    tl_blob_u64(blob, seen.reviews);
    tl_blob_u64(blob, seen.position);
}

static tl_status save(tl_loop *loop, const uint64_t *evicted, size_t evicted_count, tl_blob *blob,
                      tl_error *err)
{
    size_t section = tl_blob_section_begin(blob, "CKPT", FORMAT);
    save_seen(loop, blob);
    tl_status status = tl_core_save(loop->core, blob, err);
    if (status != TL_OK) return status;
    tl_blob_u64(blob, loop->trainer_state_ops);
    tl_blob_u64(blob, loop->trainer_state_bytes);
    tl_blob_bytes(blob, loop->trainer_state, loop->trainer_state_bytes);
    tl_blob_u64(blob, evicted_count);
    tl_blob_u64s(blob, evicted, evicted_count);
    tl_blob_section_end(blob, section);
    return tl_blob_ok(blob) ? TL_OK : tl_fail(err, TL_ENOMEM, "checkpoint");
}

/* What the bits of a state depend on beside the journal. */
static const char *build_text(void)
{
    static char text[128];
    if (text[0] == '\0') {
        const dnnl_version_t *dnnl = dnnl_version();
        snprintf(text, sizeof text, "tightloop %s, oneDNN %d.%d.%d, isa %d", tl_version_text(),
                 dnnl->major, dnnl->minor, dnnl->patch, (int)dnnl_get_effective_cpu_isa());
    }
    return text;
}

bool tl_checkpoint_is_due(const tl_loop *loop)
{
    uint64_t position = tl_core_position(loop->core);
    int64_t now_ns = tl_env_mono_ns(loop->runtime->env);
    if (loop->checkpoint_wanted || position == loop->checkpoint_position ||
        now_ns < loop->checkpoint_retry_ns || atomic_load(&loop->closing))
        return false; /* closing writes one itself, and waits for it */
    int64_t age_ns = now_ns - loop->checkpoint_ns;
    return position >= loop->checkpoint_position + DUE_POSITIONS || age_ns > DUE_NS ||
           tl_core_evicted_count(loop->core) >= DUE_EVICTED;
}

static tl_checkpoint_op *op_create(tl_loop *loop, tl_error *err)
{
    tl_checkpoint_op *op = calloc(1, sizeof *op);
    if (op == NULL) {
        tl_fail(err, TL_ENOMEM, "checkpoint");
        return NULL;
    }
    op->message = (tl_message){ TL_MESSAGE_CHECKPOINT, loop };
    tl_blob_init(&op->body);
    op->evicted_count = tl_core_take_evicted(loop->core, op->evicted);
    if (save(loop, op->evicted, op->evicted_count, &op->body, err) != TL_OK) {
        tl_core_put_evicted(loop->core, op->evicted, op->evicted_count);
        tl_blob_destroy(&op->body);
        free(op);
        return NULL;
    }
    op->record = (tl_record){ .kind = TL_RECORD_CHECKPOINT,
                              .loop = loop->number,
                              .as.checkpoint = { .upto = tl_core_position(loop->core),
                                                 .build = build_text(),
                                                 .body = op->body.data,
                                                 .bytes = op->body.bytes,
                                                 .time_us = tl_env_wall_us(loop->runtime->env) } };
    loop->checkpoint_ns = tl_env_mono_ns(loop->runtime->env);
    return op;
}

static void committed(tl_journal_entry *entry, tl_status status, const tl_error *err)
{
    (void)err;
    tl_checkpoint_op *op = entry->context;
    op->status = status;
    tl_message_post(op->message.loop->runtime, &op->message);
}

/* Two checkpoints are kept, and both must be of use: weights go when the older one is young enough
 * to do without them. */
static void drop_weights(tl_loop *loop, const tl_checkpoint_op *op)
{
    for (size_t i = 0; i < loop->droppable_count; i++)
        tl_journal_version_drop_weights(loop->runtime->journal, loop->number, loop->droppable[i],
                                        NULL);
    memcpy(loop->droppable, op->evicted, op->evicted_count * sizeof op->evicted[0]);
    loop->droppable_count = op->evicted_count;
}

void tl_checkpoint_done(tl_checkpoint_op *op)
{
    tl_loop *loop = op->message.loop;
    loop->checkpoint_wanted = false;
    if (op->status == TL_OK) {
        uint64_t upto = op->record.as.checkpoint.upto;
        if (upto > loop->checkpoint_position) loop->checkpoint_position = upto;
        drop_weights(loop, op);
    } else { /* another one will cover the same */
        tl_core_put_evicted(loop->core, op->evicted, op->evicted_count);
        loop->checkpoint_retry_ns = tl_env_mono_ns(loop->runtime->env) + RETRY_NS;
    }
    tl_blob_destroy(&op->body);
    free(op);
}

tl_status tl_checkpoint_queue(tl_loop *loop, tl_error *err)
{
    tl_checkpoint_op *op = op_create(loop, err);
    if (op == NULL) return TL_ENOMEM;
    op->entry =
        (tl_journal_entry){ .records = &op->record, .count = 1, .done = committed, .context = op };
    loop->checkpoint_wanted = true;
    tl_status status = tl_journal_submit(loop->runtime->journal, &op->entry, err);
    if (status == TL_OK) return TL_OK;
    op->status = status;
    tl_checkpoint_done(op);
    return status;
}

tl_status tl_checkpoint_append(tl_loop *loop, tl_error *err)
{
    if (loop->broken) return tl_fail(err, TL_EIO, "the state is not whole; it is read again");
    if (tl_core_position(loop->core) == loop->checkpoint_position) return TL_OK;
    tl_checkpoint_op *op = op_create(loop, err);
    if (op == NULL) return TL_ENOMEM;
    op->status = tl_journal_append(loop->runtime->journal, &op->record, 1, err);
    tl_status status = op->status;
    tl_checkpoint_done(op);
    return status;
}

/* ---- Loading --------------------------------------------------------------------------------- */

/* Opens the checkpoint's section, and loads the core from it; `body` is then at the trainer's
 * state. */
static tl_status load_core(tl_core *core, const tl_record *record, tl_blob_reader *body,
                           tl_seen *seen, tl_error *err)
{
    tl_blob_reader reader;
    uint32_t format;
    tl_blob_reader_init(&reader, record->as.checkpoint.body, record->as.checkpoint.bytes);
    tl_status status = tl_blob_read_section(&reader, "CKPT", FORMAT, body, &format, err);
    if (status != TL_OK) return status;
    seen->predictions = tl_blob_read_u64(body);
    seen->flagged = tl_blob_read_u64(body);
    seen->reviews = tl_blob_read_u64(body);
    seen->position = tl_blob_read_u64(body);
    return tl_core_load(core, body, err);
}

/* Versions that this checkpoint does without; the next one lets their weights go. */
static tl_status load_droppable(tl_loop *loop, tl_blob_reader *body, tl_error *err)
{
    uint64_t count = tl_blob_read_u64(body);
    if (count > TL_COUNT_OF(loop->droppable))
        return tl_fail(err, TL_ECORRUPT, "a checkpoint lets %llu versions go",
                       (unsigned long long)count);
    uint64_t numbers[TL_CORE_EVICTED_MAX];
    tl_blob_read_u64s(body, numbers, (size_t)count);
    tl_status status = tl_blob_read_end(body, "a checkpoint", err);
    if (status != TL_OK) return status;
    memcpy(loop->droppable, numbers, (size_t)count * sizeof numbers[0]);
    loop->droppable_count = (size_t)count;
    return TL_OK;
}

static tl_status load_trainer_state(tl_loop *loop, tl_blob_reader *body, tl_error *err)
{
    uint64_t ops = tl_blob_read_u64(body), bytes = tl_blob_read_u64(body);
    const void *state = bytes > 0 ? tl_blob_read_bytes(body, bytes) : NULL;
    tl_status status = load_droppable(loop, body, err);
    if (status != TL_OK || state == NULL) return status;
    loop->trainer_state = malloc(bytes);
    if (loop->trainer_state == NULL) return tl_fail(err, TL_ENOMEM, "checkpoint");
    memcpy(loop->trainer_state, state, bytes);
    loop->trainer_state_bytes = bytes;
    loop->trainer_state_ops = ops;
    return TL_OK;
}

static tl_status fresh_core(tl_loop *loop, tl_core **out, tl_error *err)
{
    tl_core_options options = { .config = &loop->config,
                                .graph = loop->graph,
                                .items = &loop->core_items };
    return tl_core_create(&options, out, err);
}

tl_status tl_checkpoint_read_core(tl_loop *loop, const tl_record *record, tl_core **out,
                                  tl_error *err)
{
    tl_core *core = NULL;
    tl_blob_reader body;
    tl_seen seen;
    tl_status status = fresh_core(loop, &core, err);
    if (status == TL_OK) status = load_core(core, record, &body, &seen, err);
    if (status != TL_OK) {
        tl_core_destroy(&core);
        return status;
    }
    *out = core;
    return TL_OK;
}

static tl_status load(tl_loop *loop, const tl_record *record, tl_error *err)
{
    tl_core *core = NULL;
    tl_blob_reader body;
    tl_seen seen;
    tl_status status = fresh_core(loop, &core, err);
    if (status == TL_OK) status = load_core(core, record, &body, &seen, err);
    if (status == TL_OK) status = load_trainer_state(loop, &body, err);
    if (status != TL_OK) {
        tl_core_destroy(&core);
        return status;
    }
    loop->core = core;
    loop->shared.seen = seen;
    loop->checkpoint_position = record->as.checkpoint.upto;
    loop->checkpoint_ns = tl_env_mono_ns(loop->runtime->env);
    return TL_OK;
}

tl_status tl_checkpoint_load_core(tl_loop *loop, tl_core **out, uint64_t *upto, tl_error *err)
{
    *upto = 0;
    for (uint32_t skip = 0; skip < 2; skip++) {
        tl_record record;
        pthread_mutex_lock(&loop->lookup_mutex);
        tl_arena_reset(&loop->lookup.arena);
        tl_status status = tl_journal_find_checkpoint(loop->lookup.journal, loop->number, skip,
                                                      &loop->lookup.arena, &record, err);
        if (status == TL_OK) status = tl_checkpoint_read_core(loop, &record, out, err);
        if (status == TL_OK) *upto = record.as.checkpoint.upto;
        pthread_mutex_unlock(&loop->lookup_mutex);
        if (status == TL_OK) return TL_OK;
        if (status == TL_ENOTFOUND) break;
        if (status == TL_ENOMEM) return status;
    }
    return fresh_core(loop, out, err);
}

tl_status tl_checkpoint_load(tl_loop *loop, tl_error *err)
{
    for (uint32_t skip = 0; skip < 2; skip++) {
        tl_record record;
        tl_error why = { 0 };
        tl_arena_reset(&loop->lookup.arena);
        tl_status status = tl_journal_find_checkpoint(loop->lookup.journal, loop->number, skip,
                                                      &loop->lookup.arena, &record, &why);
        if (status == TL_OK) status = load(loop, &record, &why);
        if (status == TL_OK) return TL_OK;
        if (status == TL_ENOTFOUND) break;
        tl_log(TL_LOG_WARNING, "loop %s: a checkpoint cannot be used (%s); going further back",
               loop->config.info.name, why.text);
    }
    loop->checkpoint_ns = tl_env_mono_ns(loop->runtime->env); /* the first is due after a while */
    return fresh_core(loop, &loop->core, err);
}
