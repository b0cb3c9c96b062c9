/* The gate's verdicts on their way from the core to the journal, and back as events. */
#include "base/log.h"
#include "loop/threads/runtime.h"

#include <stdlib.h>

static void committed(tl_journal_entry *entry, tl_status status, const tl_error *err)
{
    (void)err;
    tl_verdict_op *op = entry->context;
    op->status = status;
    tl_message_post(op->message.loop->runtime, &op->message);
}

static tl_verdict_op *op_create(tl_loop *loop, const char *kind)
{
    tl_verdict_op *op = calloc(1, sizeof *op);
    if (op == NULL) return NULL;
    op->message = (tl_message){ TL_MESSAGE_VERDICT, loop };
    tl_text_init(&op->body, 8192);
    tl_core_write_verdict(loop->core, &op->body);
    if (!tl_text_ok(&op->body)) {
        tl_text_destroy(&op->body);
        free(op);
        return NULL;
    }
    op->record = (tl_record){ .kind = TL_RECORD_EVENT,
                              .loop = loop->number,
                              .as.event = { .kind = kind,
                                            .body = op->body.data,
                                            .time_us = tl_env_wall_us(loop->runtime->env) } };
    op->entry =
        (tl_journal_entry){ .records = &op->record, .count = 1, .done = committed, .context = op };
    return op;
}

void tl_verdict_submit(tl_loop *loop)
{
    uint64_t number = 0;
    const char *kind = tl_core_verdict(loop->core, &number);
    if (kind == NULL || number == loop->verdict_number || atomic_load(&loop->closing)) return;
    tl_verdict_op *op = op_create(loop, kind);
    if (op == NULL) return; /* out of memory: with the next round */
    loop->verdict_number = number;
    atomic_fetch_add(&loop->inflight, 1);
    tl_status status = tl_journal_submit(loop->runtime->journal, &op->entry, NULL);
    if (status == TL_OK) return; /* the operation is the writer's now */
    op->status = status;
    tl_verdict_done(op);
}

void tl_verdict_done(tl_verdict_op *op)
{
    tl_loop *loop = op->message.loop;
    if (op->status != TL_OK) { /* a full disk or queue: the verdict stands, and is tried again */
        loop->verdict_number = 0;
        tl_log(TL_LOG_WARNING, "loop %s: a verdict could not be journaled yet: %s",
               loop->config.info.name, tl_status_text(op->status));
    }
    tl_text_destroy(&op->body);
    free(op);
    atomic_fetch_sub(&loop->inflight, 1);
}
