#include "loop/replay.h"

#include "loop/threads/runtime.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* The same parts as in a running loop, driven by one thread. */
typedef struct verifier {
    const tl_verify_options *options;
    tl_verify_report report;
    tl_journal *journal;
    tl_item_reader events; /* the walk; its arena holds the record at hand */
    tl_loop loop;          /* core, trainer and their readers */
    uint64_t last_position;
    uint64_t skip_ops, skip_count; /* of the newest "skip" event */
    bool diverged;                 /* items are gone that were there: training cannot be redone */
    struct {
        uint64_t upto, digest;
    } checkpoint[2];
    size_t checkpoint_count;
} verifier;

static void mismatch(verifier *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void mismatch(verifier *v, const char *format, ...)
{
    if (v->report.mismatches++ > 0) return;
    va_list args;
    va_start(args, format);
    vsnprintf(v->report.first_mismatch, sizeof v->report.first_mismatch, format, args);
    va_end(args);
}

/* ---- Setting up ------------------------------------------------------------------------------ */

static tl_status find_loop(verifier *v, tl_loop_config *config, tl_error *err)
{
    for (uint32_t number = 1;; number++) {
        const char *name, *json;
        tl_arena_reset(&v->events.arena);
        tl_status status =
            tl_journal_loop_info(v->events.journal, number, &v->events.arena, &name, &json, err);
        if (status == TL_ENOTFOUND)
            return tl_fail(err, TL_ENOTFOUND, "no loop \"%s\" in this journal", v->options->loop);
        if (status != TL_OK) return status;
        if (strcmp(name, v->options->loop) != 0) continue;
        v->loop.number = number;
        return tl_loop_config_read(json, config, err);
    }
}

static tl_status open_readers(verifier *v, tl_error *err)
{
    tl_journal_options options = { .path = v->options->path,
                                   .vfs = v->options->vfs,
                                   .read_only = true };
    tl_status status = tl_journal_open(&options, &v->journal, err);
    static const tl_loop_config none;
    if (status == TL_OK) status = tl_item_reader_open(v->journal, &none, 0, &v->events, err);
    if (status == TL_OK) status = find_loop(v, &v->loop.config, err);
    v->events.loop = v->loop.number;
    v->events.config = &v->loop.config;
    if (status == TL_OK)
        status = tl_item_reader_open(v->journal, &v->loop.config, v->loop.number,
                                     &v->loop.core_items, err);
    if (status == TL_OK)
        status = tl_item_reader_open(v->journal, &v->loop.config, v->loop.number,
                                     &v->loop.trainer_items, err);
    if (status == TL_OK)
        status = tl_journal_last_position(v->events.journal, &v->last_position, err);
    return status;
}

/* Full digests of the recorded checkpoints, to compare when the walk gets there. */
static tl_status read_checkpoints(verifier *v, tl_error *err)
{
    for (uint32_t skip = 0; skip < TL_COUNT_OF(v->checkpoint); skip++) {
        tl_record record;
        tl_core *core = NULL;
        tl_arena_reset(&v->events.arena);
        tl_status status = tl_journal_find_checkpoint(v->events.journal, v->loop.number, skip,
                                                      &v->events.arena, &record, err);
        if (status == TL_ENOTFOUND) return TL_OK;
        if (status != TL_OK) return status;
        status = tl_checkpoint_read_core(&v->loop, &record, &core, err);
        if (status == TL_OK) {
            v->checkpoint[v->checkpoint_count].upto = record.as.checkpoint.upto;
            v->checkpoint[v->checkpoint_count++].digest = tl_core_full_digest(core);
        } else {
            mismatch(v, "the checkpoint at position %llu cannot be read: %s",
                     (unsigned long long)record.position, err == NULL ? "" : err->text);
        }
        tl_core_destroy(&core);
    }
    return TL_OK;
}

static tl_status set_up(verifier *v, tl_error *err)
{
    float *flat = NULL;
    tl_status status = open_readers(v, err);
    if (status == TL_OK)
        status =
            tl_loop_make_graph(&v->loop, &v->loop.core_items, &v->loop.graph, &flat, NULL, err);
    free(flat);
    if (status == TL_OK) status = read_checkpoints(v, err);
    tl_core_options options = { .config = &v->loop.config,
                                .graph = v->loop.graph,
                                .items = &v->loop.core_items };
    return status == TL_OK ? tl_core_create(&options, &v->loop.core, err) : status;
}

static void tear_down(verifier *v)
{
    tl_trainer_destroy(&v->loop.trainer);
    tl_core_destroy(&v->loop.core);
    tl_item_reader_close(&v->events);
    tl_item_reader_close(&v->loop.core_items);
    tl_item_reader_close(&v->loop.trainer_items);
    tl_graph_release(&v->loop.graph);
    free(v->loop.model_data);
    tl_journal_close(&v->journal);
}

/* ---- Walking --------------------------------------------------------------------------------- */

static tl_status start_trainer(verifier *v, tl_version **candidate, tl_error *err)
{
    tl_status status = tl_version_first(&v->loop, candidate, err);
    return status == TL_OK ? tl_training_create(&v->loop, *candidate, err) : status;
}

static tl_status check_judgement(verifier *v, const tl_record *event, tl_version **candidate,
                                 tl_error *err)
{
    bool publish = tl_event_brings_version(event), judged = false;
    uint64_t ops = tl_event_number(event, "ops");
    if (ops == 0) return v->loop.trainer == NULL ? start_trainer(v, candidate, err) : TL_OK;
    if (v->loop.trainer == NULL) return tl_fail(err, TL_ECORRUPT, "the first version is missing");
    tl_judgement judgement = { 0 };
    tl_status status = tl_training_again(&v->loop, ops, &judgement, &judged, err);
    if (status != TL_OK) return status;
    if (tl_trainer_ops(v->loop.trainer) < ops) {
        mismatch(v, "a judgement after %llu operations, but there are only %llu",
                 (unsigned long long)ops, (unsigned long long)tl_core_op_count(v->loop.core));
        return TL_OK;
    }
    uint64_t skipped_then = v->skip_ops == ops ? v->skip_count : 0;
    v->diverged = v->diverged || (judged && judgement.skipped > skipped_then);
    if (v->diverged) { /* what was recorded is taken as it is */
        v->report.unchecked++;
        tl_version_destroy(&judgement.version);
        return TL_OK;
    }
    v->report.judgements++;
    if (!judged || (judgement.version != NULL) != publish) {
        mismatch(v, "position %llu says \"%s\", training again says otherwise",
                 (unsigned long long)event->position, event->as.event.kind);
        tl_version_destroy(&judgement.version);
        return TL_OK;
    }
    if (!publish) return TL_OK;
    char hash[32];
    snprintf(hash, sizeof hash, "\"%016llx\"", (unsigned long long)judgement.version->weights_hash);
    if (strstr(event->as.event.body, hash) == NULL)
        mismatch(v, "version %llu has other weights when trained again",
                 (unsigned long long)judgement.version->number);
    *candidate = judgement.version;
    return TL_OK;
}

static void check_checkpoints(verifier *v, uint64_t next_position)
{
    for (size_t i = 0; i < v->checkpoint_count; i++) {
        if (tl_core_position(v->loop.core) > v->checkpoint[i].upto ||
            next_position <= v->checkpoint[i].upto || v->checkpoint[i].digest == 0)
            continue;
        v->report.checkpoints++;
        if (tl_core_full_digest(v->loop.core) != v->checkpoint[i].digest)
            mismatch(v, "the checkpoint of position %llu differs from the state rebuilt",
                     (unsigned long long)v->checkpoint[i].upto);
        v->checkpoint[i].digest = 0; /* compared */
    }
}

static tl_status step(verifier *v, const tl_record *record, tl_error *err)
{
    tl_version *candidate = NULL;
    tl_status status = TL_OK;
    if (record->kind == TL_RECORD_EVENT && strcmp(record->as.event.kind, "skip") == 0) {
        v->skip_ops = tl_event_number(record, "ops");
        v->skip_count = tl_event_number(record, "count");
    }
    if (tl_event_brings_version(record) ||
        (record->kind == TL_RECORD_EVENT && strcmp(record->as.event.kind, "refuse") == 0))
        status = check_judgement(v, record, &candidate, err);
    tl_feedback_state outcome = TL_FEEDBACK_NOTED;
    if (status == TL_OK) status = tl_core_step(v->loop.core, record, &candidate, &outcome, err);
    tl_version_destroy(&candidate);
    if (status != TL_OK) return status;
    v->report.events++;
    if (record->kind == TL_RECORD_FEEDBACK && v->options->on_feedback != NULL)
        v->options->on_feedback(v->options->context, record->position, outcome);
    if (v->options->on_digest != NULL) {
        tl_loop_state state = { 0 };
        tl_core_describe(v->loop.core, &state);
        v->options->on_digest(v->options->context, record->position, state.digest);
    }
    return TL_OK;
}

static tl_status walk(verifier *v, tl_error *err)
{
    for (uint64_t at = 0;;) {
        tl_record record;
        tl_arena_reset(&v->events.arena);
        tl_status status =
            tl_journal_next(v->events.journal, v->loop.number, at, &v->events.arena, &record, err);
        bool end =
            status == TL_ENOTFOUND || (status == TL_OK && record.position > v->last_position);
        check_checkpoints(v, end ? UINT64_MAX : record.position);
        if (end) return TL_OK;
        if (status == TL_OK && tl_core_wants(&record)) status = step(v, &record, err);
        if (status != TL_OK) return status;
        at = record.position;
        if (v->options->progress != NULL)
            v->options->progress(v->options->context, at, v->last_position);
    }
}

tl_status tl_replay_verify(const tl_verify_options *options, tl_verify_report *out, tl_error *err)
{
    verifier *v = calloc(1, sizeof *v);
    if (v == NULL) return tl_fail(err, TL_ENOMEM, "replay");
    v->options = options;
    tl_status status = set_up(v, err);
    if (status == TL_OK) status = walk(v, err);
    if (status == TL_OK) {
        tl_loop_state state = { 0 };
        tl_core_describe(v->loop.core, &state);
        v->report.labels = state.labels;
        v->report.position = state.position;
        v->report.digest = state.digest;
        *out = v->report;
    }
    tear_down(v);
    free(v);
    return status;
}
