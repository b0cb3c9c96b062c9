/* The trainer's thread: one operation of one loop at a time, in turn, at low priority. Judgements
 * are journaled, and it goes on when the learner has applied them. */
#include "base/log.h"
#include "loop/threads/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    NICE = 15,
    RETRY_NS = 50000000 /* between tries to journal a judgement on a full disk or queue */
};

/* ---- The queue ------------------------------------------------------------------------------- */

static tl_status queue_reserve(tl_loop *loop, size_t more)
{
    size_t need = loop->train_count + more;
    if (need <= loop->train_capacity) return TL_OK;
    size_t capacity = loop->train_capacity == 0 ? 256 : loop->train_capacity;
    while (capacity < need) capacity *= 2;
    tl_train_op *ops = malloc(capacity * sizeof *ops);
    if (ops == NULL) return TL_ENOMEM;
    for (size_t i = 0; i < loop->train_count; i++)
        ops[i] = loop->train_ops[(loop->train_head + i) % loop->train_capacity];
    free(loop->train_ops);
    loop->train_ops = ops;
    loop->train_head = 0;
    loop->train_capacity = capacity;
    return TL_OK;
}

static tl_status queue_push(tl_loop *loop, const tl_train_op *ops, size_t count)
{
    pthread_mutex_lock(&loop->train_mutex);
    tl_status status = queue_reserve(loop, count);
    for (size_t i = 0; status == TL_OK && i < count; i++)
        loop->train_ops[(loop->train_head + loop->train_count++) % loop->train_capacity] = ops[i];
    pthread_mutex_unlock(&loop->train_mutex);
    return status;
}

typedef enum turn { NOTHING_TO_DO, OPERATION, CAMPAIGN } turn;

/* Takes the next operation, unless a campaign is due first, and marks the loop busy, until
 * queue_done. */
static turn queue_take(tl_loop *loop, tl_train_op *out)
{
    turn found = NOTHING_TO_DO;
    pthread_mutex_lock(&loop->train_mutex);
    bool may =
        !atomic_load(&loop->closing) && !atomic_load(&loop->paused) && loop->train_status == TL_OK;
    if (may && loop->train_due) {
        found = CAMPAIGN;
    } else if (may && loop->train_count > 0) {
        found = OPERATION;
        *out = loop->train_ops[loop->train_head];
        loop->train_head = (loop->train_head + 1) % loop->train_capacity;
        loop->train_count--;
    }
    loop->train_busy = found != NOTHING_TO_DO;
    pthread_mutex_unlock(&loop->train_mutex);
    return found;
}

static void queue_done(tl_loop *loop)
{
    pthread_mutex_lock(&loop->train_mutex);
    loop->train_busy = false;
    loop->train_due = tl_trainer_busy(loop->trainer);
    tl_trainer_campaign(loop->trainer, &loop->campaign);
    pthread_cond_broadcast(&loop->train_idle);
    pthread_mutex_unlock(&loop->train_mutex);
}

tl_status tl_training_feed(tl_loop *loop, tl_error *err)
{
    if (!tl_runtime_trains(loop->runtime))
        return TL_OK; /* the core keeps them for when there is one */
    uint64_t from = loop->queued_ops;
    size_t count;
    const tl_train_op *ops = tl_core_ops(loop->core, from, &count);
    if (count > 0) {
        if (queue_push(loop, ops, count) != TL_OK)
            return tl_fail(err, TL_ENOMEM, "queue of the slow learner");
        loop->queued_ops = from + count;
        pthread_mutex_lock(&loop->runtime->train_mutex);
        pthread_cond_signal(&loop->runtime->train_wanted);
        pthread_mutex_unlock(&loop->runtime->train_mutex);
    }
    tl_core_forget_ops(loop->core, loop->trainer_state_ops);
    return TL_OK;
}

tl_status tl_training_wait(tl_loop *loop, tl_error *err)
{
    pthread_mutex_lock(&loop->train_mutex);
    while (loop->train_status == TL_OK &&
           (loop->train_busy ||
            ((loop->train_count > 0 || loop->train_due) && !atomic_load(&loop->paused))))
        pthread_cond_wait(&loop->train_idle, &loop->train_mutex);
    tl_status status = loop->train_status;
    pthread_mutex_unlock(&loop->train_mutex);
    return status == TL_OK
               ? TL_OK
               : tl_fail(err, status, "the slow learner cannot go on: %s", tl_status_text(status));
}

void tl_training_wake(tl_loop *loop)
{
    pthread_mutex_lock(&loop->train_mutex);
    pthread_cond_broadcast(&loop->train_idle);
    pthread_mutex_unlock(&loop->train_mutex);
    pthread_mutex_lock(&loop->runtime->train_mutex);
    pthread_cond_signal(&loop->runtime->train_wanted);
    pthread_mutex_unlock(&loop->runtime->train_mutex);
}

/* Tell whoever waits why the trainer stands still, or (TL_OK) that it goes on. */
static void set_status(tl_loop *loop, tl_status status)
{
    pthread_mutex_lock(&loop->train_mutex);
    loop->train_status = status;
    pthread_cond_broadcast(&loop->train_idle);
    pthread_mutex_unlock(&loop->train_mutex);
}

void tl_training_leave(tl_loop *loop)
{
    pthread_mutex_lock(&loop->train_mutex);
    loop->train_count = 0; /* still in the core's list, and in the checkpoint */
    loop->train_due = false;
    while (loop->train_busy) pthread_cond_wait(&loop->train_idle, &loop->train_mutex);
    pthread_mutex_unlock(&loop->train_mutex);
}

/* ---- Judgements ------------------------------------------------------------------------------ */

static void write_words(tl_text *out, const char *key, const char *words)
{
    tl_text_printf(out, ",\"%s\":", key);
    tl_json_write_string(out, words);
}

static void describe(tl_judgement_op *op)
{
    const tl_judgement *j = &op->judgement;
    double count = j->evidence.count > 0 ? j->evidence.count : 1;
    tl_text_init(&op->body, 4096);
    tl_text_init(&op->metrics, 4096);
    tl_text_printf(&op->body, "{\"version\":%llu,\"ops\":%llu,\"labels\":%llu",
                   (unsigned long long)(j->version != NULL ? j->version->number : 0),
                   (unsigned long long)j->ops, (unsigned long long)j->labels);
    if (j->version != NULL)
        tl_text_printf(&op->body, ",\"weights_hash\":\"%016llx\"",
                       (unsigned long long)j->version->weights_hash);
    write_words(&op->body, "verdict", j->verdict.words);
    tl_text_puts(&op->body, "}");
    tl_text_printf(&op->metrics,
                   "{\"labels\":%llu,\"window_count\":%u,\"window_loss\":%.9g,"
                   "\"parent_window_loss\":%.9g,\"golden_count\":%u,\"golden_errors\":%u",
                   (unsigned long long)j->labels, j->evidence.count,
                   j->evidence.candidate_loss / count, j->evidence.champion_loss / count,
                   j->evidence.golden_count, j->evidence.golden_candidate_errors);
    write_words(&op->metrics, "verdict", j->verdict.words);
    tl_text_puts(&op->metrics, "}");
}

static void committed(tl_journal_entry *entry, tl_status status, const tl_error *err)
{
    tl_judgement_op *op = entry->context;
    if (status == TL_OK)
        tl_message_post(op->message.loop->runtime, &op->message);
    else
        tl_waiter_finish(&op->waiter, status, err);
}

static tl_status submit_and_wait(tl_judgement_op *op)
{
    tl_status status = tl_journal_submit(op->message.loop->runtime->journal, &op->entry, NULL);
    return status == TL_OK ? tl_waiter_wait(&op->waiter, NULL) : status;
}

static bool may_pass(tl_status status)
{
    return status == TL_ENOSPC || status == TL_EFULL || status == TL_EBUSY || status == TL_ENOMEM;
}

static tl_status fill_records(tl_judgement_op *op, tl_loop *loop, tl_error *err)
{
    const tl_judgement *j = &op->judgement;
    int64_t now_us = tl_env_wall_us(loop->runtime->env);
    size_t count = 0;
    describe(op);
    if (j->skipped > 0) {
        tl_text_init(&op->skip, 256);
        tl_text_printf(&op->skip, "{\"ops\":%llu,\"count\":%llu}", (unsigned long long)j->ops,
                       (unsigned long long)j->skipped);
        op->records[count++] =
            (tl_record){ .kind = TL_RECORD_EVENT,
                         .loop = loop->number,
                         .as.event = { .kind = "skip", .body = op->skip.data, .time_us = now_us } };
    }
    if (j->version != NULL) {
        tl_status status = tl_version_save(j->version, loop->graph, &op->weights, err);
        if (status != TL_OK) return status;
        op->records[count++] =
            (tl_record){ .kind = TL_RECORD_VERSION,
                         .loop = loop->number,
                         .as.version = { .number = j->version->number,
                                         .parent = j->version->parent,
                                         .origin = j->origin,
                                         .metrics = op->metrics.data,
                                         .time_us = now_us,
                                         .trained_position = j->position,
                                         .weights_hash = j->version->weights_hash,
                                         .weights = op->weights.data,
                                         .weights_bytes = op->weights.bytes } };
    }
    op->records[count++] = (tl_record){ .kind = TL_RECORD_EVENT,
                                        .loop = loop->number,
                                        .as.event = { .kind = j->version == NULL ? "refuse"
                                                              : j->challenges    ? "challenge"
                                                                                 : "publish",
                                                      .body = op->body.data,
                                                      .time_us = now_us } };
    op->entry = (tl_journal_entry){
        .records = op->records, .count = count, .done = committed, .context = op
    };
    return TL_OK;
}

static tl_status journal_judgement(tl_loop *loop, tl_judgement *judgement, tl_error *err)
{
    tl_judgement_op op = { .message = { TL_MESSAGE_JUDGEMENT, loop }, .judgement = *judgement };
    tl_waiter_init(&op.waiter);
    tl_blob_init(&op.weights);
    tl_blob_init(&op.trainer_state);
    tl_status status = tl_trainer_save(loop->trainer, &op.trainer_state, err);
    if (status == TL_OK) status = fill_records(&op, loop, err);
    if (status == TL_OK) {
        status = submit_and_wait(&op);
        while (may_pass(status) && !atomic_load(&loop->runtime->stopping) &&
               !atomic_load(&loop->closing)) {
            set_status(loop, status);
            struct timespec pause = { .tv_nsec = RETRY_NS };
            nanosleep(&pause, NULL);
            status = submit_and_wait(&op);
        }
        if (status == TL_OK) set_status(loop, TL_OK);
        if (status != TL_OK) tl_fail(err, status, "the judgement could not be journaled");
    }
    tl_version_destroy(&op.judgement.version);
    tl_blob_destroy(&op.weights);
    tl_blob_destroy(&op.trainer_state);
    tl_text_destroy(&op.body);
    tl_text_destroy(&op.metrics);
    tl_text_destroy(&op.skip);
    tl_waiter_destroy(&op.waiter);
    return status;
}

/* ---- Operations ------------------------------------------------------------------------------ */

static tl_status read_configuration(tl_loop *loop, uint64_t position, tl_loop_config *out,
                                    tl_error *err)
{
    tl_record record;
    tl_item_reader *items = &loop->trainer_items;
    tl_arena_reset(&items->arena);
    tl_status status =
        tl_journal_next(items->journal, loop->number, position - 1, &items->arena, &record, err);
    if (status == TL_OK && (record.position != position || record.kind != TL_RECORD_EVENT))
        status = tl_fail(err, TL_ECORRUPT, "no configuration at position %llu",
                         (unsigned long long)position);
    return status == TL_OK ? tl_loop_config_read(record.as.event.body, out, err) : status;
}

tl_status tl_training_do(tl_loop *loop, const tl_train_op *op, bool *judged,
                         tl_judgement *judgement, tl_error *err)
{
    tl_version *restart = NULL;
    tl_loop_config config;
    tl_status status = TL_OK;
    if (op->code == TL_TRAIN_RESTART || op->code == TL_TRAIN_PARENT)
        status = tl_version_read(loop->graph, &loop->trainer_items, op->key, &restart, err);
    if (op->code == TL_TRAIN_CONFIGURE) status = read_configuration(loop, op->key, &config, err);
    if (status == TL_OK)
        status = tl_trainer_do(loop->trainer, op, restart, &config, judged, judgement, err);
    tl_version_destroy(&restart);
    return status;
}

/* For people, and for the listeners: a campaign starts. */
static tl_status announce_campaign(tl_loop *loop, tl_error *err)
{
    tl_campaign_state state;
    char body[160];
    tl_trainer_campaign(loop->trainer, &state);
    snprintf(body, sizeof body, "{\"number\":%llu,\"labels\":%llu,\"steps\":%llu}",
             (unsigned long long)state.campaigns + 1,
             (unsigned long long)tl_trainer_labels(loop->trainer), (unsigned long long)state.steps);
    tl_status status = tl_control_event(loop, "campaign", body, err);
    return status == TL_ECLOSED || may_pass(status) ? TL_OK : status; /* it is only told */
}

static tl_status run_campaign(tl_loop *loop, bool *judged, tl_judgement *judgement, tl_error *err)
{
    tl_status status = tl_trainer_work(loop->trainer, judged, judgement, err);
    tl_campaign_state state;
    tl_trainer_campaign(loop->trainer, &state);
    bool started = status == TL_OK && state.steps > 0 && state.done == 0;
    return started ? announce_campaign(loop, err) : status;
}

static void run_one(tl_loop *loop, turn what, const tl_train_op *op)
{
    tl_error err = { 0 };
    bool judged = false;
    tl_judgement judgement;
    tl_status status = what == CAMPAIGN ? run_campaign(loop, &judged, &judgement, &err)
                                        : tl_training_do(loop, op, &judged, &judgement, &err);
    /* After a restart the trainer comes again by what was judged before the crash. */
    if (status == TL_OK && judged && judgement.ops <= atomic_load(&loop->decided_ops))
        tl_version_destroy(&judgement.version);
    else if (status == TL_OK && judged)
        status = journal_judgement(loop, &judgement, &err);
    if (status != TL_OK) {
        /* What it has done is not a function of the journal any more: the next start does it
         * again from the last judgement. */
        tl_log(TL_LOG_ERROR, "loop %s: training stops until the next start: %s",
               loop->config.info.name, err.text);
        set_status(loop, status);
    }
    atomic_store(&loop->trained_labels, tl_trainer_labels(loop->trainer));
}

/* Threads have their own nice value on Linux; serving comes first. */
static void lower_priority(void)
{
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
}

static bool run_turn(tl_runtime *runtime)
{
    bool any = false;
    for (size_t i = 0; !atomic_load(&runtime->stopping); i++) {
        pthread_mutex_lock(&runtime->mutex);
        tl_loop *loop = i < runtime->loop_count ? runtime->loops[i] : NULL;
        tl_train_op op;
        turn what = loop != NULL ? queue_take(loop, &op) : NOTHING_TO_DO;
        pthread_mutex_unlock(&runtime->mutex);
        if (loop == NULL) break;
        if (what == NOTHING_TO_DO) continue;
        run_one(loop, what, &op);
        queue_done(loop);
        any = true;
    }
    return any;
}

void *tl_trainer_main(void *context)
{
    tl_runtime *runtime = context;
    lower_priority();
    while (!atomic_load(&runtime->stopping)) {
        if (run_turn(runtime)) continue;
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1; /* a signal between the look and the wait is made up for */
        pthread_mutex_lock(&runtime->train_mutex);
        if (!atomic_load(&runtime->stopping))
            pthread_cond_timedwait(&runtime->train_wanted, &runtime->train_mutex, &until);
        pthread_mutex_unlock(&runtime->train_mutex);
    }
    return NULL;
}

tl_status tl_version_first(tl_loop *loop, tl_version **out, tl_error *err)
{
    tl_status status = tl_version_read(loop->graph, &loop->trainer_items, 1, out, err);
    if (status != TL_ENOTFOUND) return status;
    float *flat = NULL; /* dropped since: made again, as it was made then */
    tl_graph *graph = NULL;
    status = tl_loop_make_graph(loop, &loop->trainer_items, &graph, &flat, NULL, err);
    if (status == TL_OK)
        status = tl_version_create(loop->graph, flat, 1, 0, 0, NULL, NULL, 0, out, err);
    tl_graph_release(&graph);
    free(flat);
    return status;
}

tl_status tl_training_create(tl_loop *loop, const tl_version *start, tl_error *err)
{
    tl_trainer_options options = {
        .config = &loop->config, .graph = loop->graph, .items = &loop->trainer_items, .start = start
    };
    return tl_trainer_create(&options, &loop->trainer, err);
}

/* The trainer in the state that the checkpoint has of it, or at its beginning. */
static tl_status make_trainer(tl_loop *loop, tl_error *err)
{
    if (loop->trainer != NULL) return TL_OK;
    tl_version *start = NULL;
    tl_status status = tl_version_first(loop, &start, err);
    if (status == TL_OK) status = tl_training_create(loop, start, err);
    if (status == TL_OK && loop->trainer_state != NULL) {
        tl_blob_reader reader;
        tl_blob_reader_init(&reader, loop->trainer_state, loop->trainer_state_bytes);
        status = tl_trainer_load(loop->trainer, &reader, err);
    }
    tl_version_destroy(&start);
    return status;
}

tl_status tl_training_again(tl_loop *loop, uint64_t ops, tl_judgement *out, bool *judged,
                            tl_error *err)
{
    *judged = false;
    tl_status status = make_trainer(loop, err);
    while (status == TL_OK && tl_trainer_ops(loop->trainer) < ops) {
        size_t count;
        const tl_train_op *next = tl_core_ops(loop->core, tl_trainer_ops(loop->trainer), &count);
        if (count == 0) return TL_OK;
        if (*judged) tl_version_destroy(&out->version); /* one that is not in the journal */
        status = tl_training_do(loop, next, judged, out, err);
        while (status == TL_OK && tl_trainer_busy(loop->trainer))
            status = tl_trainer_work(loop->trainer, judged, out, err);
    }
    return status;
}

bool tl_event_brings_version(const tl_record *record)
{
    return record->kind == TL_RECORD_EVENT && (strcmp(record->as.event.kind, "publish") == 0 ||
                                               strcmp(record->as.event.kind, "challenge") == 0);
}

uint64_t tl_event_number(const tl_record *event, const char *key)
{
    char pattern[32];
    snprintf(pattern, sizeof pattern, "\"%s\":", key);
    const char *at = strstr(event->as.event.body, pattern);
    return at == NULL ? 0 : strtoull(at + strlen(pattern), NULL, 10);
}

tl_status tl_training_start(tl_loop *loop, tl_error *err)
{
    if (!tl_runtime_trains(loop->runtime)) {
        tl_trainer_destroy(&loop->trainer); /* of a recovery that had to train again */
        return TL_OK;
    }
    tl_status status = make_trainer(loop, err);
    if (status != TL_OK) return status;
    loop->queued_ops = tl_trainer_ops(loop->trainer);
    loop->train_due = tl_trainer_busy(loop->trainer);
    tl_trainer_campaign(loop->trainer, &loop->campaign);
    atomic_store(&loop->trained_labels, tl_trainer_labels(loop->trainer));
    return TL_OK;
}
