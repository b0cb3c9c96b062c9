#include "tests/kill/ledger.h"

#include "journal/journal.h"
#include "loop/replay.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the journal holds at a position, and what replaying it says of that position. */
typedef struct fact {
    uint8_t kind;  /* a tl_record_kind + 1; 0: nothing */
    uint8_t said;  /* of feedback: a tl_feedback_kind */
    uint8_t state; /* of feedback: its effect, as replayed */
    bool has_digest;
    int32_t label;
    char source[12];
    tl_id id;
    uint64_t version, epoch, digest;
    float scores[KILL_CLASSES + KILL_EXTRA_CLASSES];
} fact;

typedef struct facts {
    ledger *l;
    fact *at; /* [count] by position */
    size_t count;
    tl_verify_report report;
} facts;

static void wrong(ledger *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void wrong(ledger *l, const char *format, ...)
{
    if (l->trouble[0] != '\0') return;
    va_list args;
    va_start(args, format);
    vsnprintf(l->trouble, sizeof l->trouble, format, args);
    va_end(args);
}

void ledger_begin(ledger *l, const char *path, bool images, kill_counts *counts)
{
    *l = (ledger){ .path = path, .images = images, .counts = counts };
    counts->journals++;
}

void ledger_end(ledger *l)
{
    free(l->reports);
    l->reports = NULL;
}

void ledger_take(ledger *l, const kill_report *report)
{
    if (l->count == l->capacity) {
        l->capacity = l->capacity == 0 ? 4096 : 2 * l->capacity;
        l->reports = realloc(l->reports, l->capacity * sizeof *l->reports);
        if (l->reports == NULL) abort();
    }
    l->reports[l->count++] = *report;
    l->counts->reports++;
    l->opened = l->opened || report->kind == KILL_READY;
    if (report->kind == KILL_TROUBLE) wrong(l, "worker: %s", report->as.text);
}

/* ---- Facts ----------------------------------------------------------------------------------- */

/* Of a journal that never was open there may be just an empty file. */
static void doctor_says(void *context, int severity, const char *text)
{
    ledger *l = context;
    if (severity >= 2 && l->opened) wrong(l, "doctor: %s", text);
}

static void check_doctor(ledger *l)
{
    int worst = 0;
    tl_error err = { 0 };
    tl_status status = tl_journal_doctor(l->path, doctor_says, l, &worst, &err);
    if (!l->opened) return;
    if (status != TL_OK) wrong(l, "doctor: %s", err.text);
    if (worst >= 2) wrong(l, "doctor: damage");
}

static fact *fact_at(facts *f, uint64_t position)
{
    if (position >= f->count) {
        size_t count = position + position / 2 + 1024;
        fact *at = realloc(f->at, count * sizeof *at);
        if (at == NULL) abort();
        memset(at + f->count, 0, (count - f->count) * sizeof *at);
        f->at = at;
        f->count = count;
    }
    return &f->at[position];
}

static void take_record(facts *f, const tl_record *record)
{
    fact *at = fact_at(f, record->position);
    at->kind = (uint8_t)(record->kind + 1);
    if (record->kind == TL_RECORD_PREDICTION) {
        const tl_prediction_record *p = &record->as.prediction;
        uint32_t count = p->score_count;
        if (count > KILL_CLASSES + KILL_EXTRA_CLASSES) count = KILL_CLASSES + KILL_EXTRA_CLASSES;
        at->id = p->id;
        at->label = (int32_t)p->label;
        at->version = p->version;
        at->epoch = p->epoch;
        memcpy(at->scores, p->scores, count * sizeof *p->scores);
    } else if (record->kind == TL_RECORD_FEEDBACK) {
        const tl_feedback_record *said = &record->as.feedback;
        at->id = said->prediction_id;
        at->label = said->label;
        at->said = said->kind;
        snprintf(at->source, sizeof at->source, "%s", said->source);
    }
    f->l->counts->records++;
}

/* Every record, in order. */
static void walk(facts *f)
{
    tl_journal_reader *reader = NULL;
    tl_error err = { 0 };
    tl_status status = tl_journal_reader_open_path(f->l->path, &reader, &err);
    tl_arena arena;
    tl_arena_init(&arena, (size_t)1 << 28);
    for (uint64_t at = 0; status == TL_OK;) {
        tl_record record;
        tl_arena_reset(&arena);
        status = tl_journal_next(reader, UINT32_MAX, at, &arena, &record, &err);
        if (status != TL_OK) break;
        if (record.position <= at) wrong(f->l, "records are not in order");
        at = record.position;
        take_record(f, &record);
    }
    if (status != TL_ENOTFOUND) wrong(f->l, "reading the journal: %s", err.text);
    tl_arena_destroy(&arena);
    tl_journal_reader_close(&reader);
}

static void take_digest(void *context, uint64_t position, uint64_t digest)
{
    fact *at = fact_at(context, position);
    at->has_digest = true;
    at->digest = digest;
}

static void take_state(void *context, uint64_t position, tl_feedback_state state)
{
    fact_at(context, position)->state = (uint8_t)state;
}

/* Rebuild the loop from its journal; false: there is none, and need not be. */
static bool replay(facts *f)
{
    ledger *l = f->l;
    tl_error err = { 0 };
    tl_verify_options options = { .path = l->path,
                                  .loop = "parts",
                                  .on_digest = take_digest,
                                  .on_feedback = take_state,
                                  .context = f };
    tl_status status = tl_replay_verify(&options, &f->report, &err);
    if (status != TL_OK && !l->opened) return false;
    if (status != TL_OK) {
        wrong(l, "replay: %s", err.text);
        return false;
    }
    if (f->report.mismatches > 0) wrong(l, "replay: %s", f->report.first_mismatch);
    l->counts->judgements += f->report.judgements;
    l->counts->checkpoints += f->report.checkpoints;
    return true;
}

/* ---- Acknowledged, and there? ---------------------------------------------------------------- */

/* Of a lie only the id is known: is the prediction there at all? */
static void check_promise(facts *f, const kill_report *r)
{
    char id[TL_ID_TEXT_BYTES];
    tl_id_format(r->id, id);
    for (size_t i = 0; i < f->count; i++)
        if (f->at[i].kind == TL_RECORD_PREDICTION + 1 &&
            memcmp(&f->at[i].id, &r->id, sizeof r->id) == 0)
            return;
    wrong(f->l, "prediction %s, told before it was written, is missing", id);
}

static void check_prediction(facts *f, const kill_report *r)
{
    char id[TL_ID_TEXT_BYTES];
    tl_id_format(r->id, id);
    if (r->position == 0) {
        check_promise(f, r);
        return;
    }
    if (r->position >= f->count || f->at[r->position].kind != TL_RECORD_PREDICTION + 1) {
        wrong(f->l, "prediction %s, acknowledged at position %llu, is missing", id,
              (unsigned long long)r->position);
        return;
    }
    const fact *at = &f->at[r->position];
    bool same = memcmp(&at->id, &r->id, sizeof r->id) == 0 && at->label == r->label &&
                at->version == r->version && at->epoch == r->epoch &&
                memcmp(at->scores, r->as.scores, r->class_count * sizeof(float)) == 0;
    if (!same)
        wrong(f->l, "prediction %s, position %llu, is not what was answered", id,
              (unsigned long long)r->position);
    f->l->counts->predictions++;
}

static void check_feedback(facts *f, const kill_report *r)
{
    char id[TL_ID_TEXT_BYTES];
    tl_id_format(r->id, id);
    if (r->position >= f->count || f->at[r->position].kind != TL_RECORD_FEEDBACK + 1) {
        wrong(f->l, "feedback on %s, acknowledged at position %llu, is missing", id,
              (unsigned long long)r->position);
        return;
    }
    const fact *at = &f->at[r->position];
    bool same = memcmp(&at->id, &r->id, sizeof r->id) == 0 && at->label == r->label &&
                at->said == r->seed && strcmp(at->source, KILL_SOURCE[r->source]) == 0;
    if (!same)
        wrong(f->l, "feedback on %s, position %llu, is not what was said", id,
              (unsigned long long)r->position);
    if (at->state != r->state)
        wrong(f->l, "feedback on %s, position %llu: %s when answered, %s when replayed", id,
              (unsigned long long)r->position, tl_feedback_state_text(r->state),
              tl_feedback_state_text(at->state));
    f->l->counts->feedback++;
}

static void check_digest(facts *f, uint64_t position, uint64_t digest, const char *when)
{
    /* A loop that passed predictions by is what it was after the step before them. */
    if (position < f->count && f->at[position].kind == TL_RECORD_PREDICTION + 1)
        while (position > 0 && !f->at[position].has_digest) position--;
    if (position >= f->count || !f->at[position].has_digest)
        wrong(f->l, "%s the loop was at position %llu, which is not in the journal", when,
              (unsigned long long)position);
    else if (f->at[position].digest != digest)
        wrong(f->l, "%s the digest at position %llu was %016llx, replayed it is %016llx", when,
              (unsigned long long)position, (unsigned long long)digest,
              (unsigned long long)f->at[position].digest);
    f->l->counts->digests++;
}

static void check_reports(facts *f)
{
    for (size_t i = 0; i < f->l->count; i++) {
        const kill_report *r = &f->l->reports[i];
        if (r->kind == KILL_PREDICTION) check_prediction(f, r);
        if (r->kind == KILL_FEEDBACK) check_feedback(f, r);
        if (r->kind == KILL_STATUS) check_digest(f, r->position, r->digest, "before the kill");
    }
}

void ledger_check(ledger *l)
{
    facts f = { .l = l };
    check_doctor(l);
    if (l->trouble[0] == '\0' && replay(&f)) {
        walk(&f);
        check_reports(&f);
    } else if (l->opened) {
        wrong(l, "the loop is gone");
    }
    free(f.at);
}

/* ---- Restart --------------------------------------------------------------------------------- */

/* The same request again: the answer of the first time when there was one, else a first answer. */
static void ask_again(ledger *l, tl_loop *loop, uint64_t request)
{
    tl_prediction answers[KILL_BATCH];
    tl_error err = { 0 };
    if (kill_ask(loop, l->images, request, answers, &err) != TL_OK) {
        wrong(l, "a request made again: %s", err.text);
        return;
    }
    size_t reports = l->count, answered = 0;
    for (size_t i = l->life; i < reports; i++) {
        const kill_report *r = &l->reports[i];
        if (r->kind != KILL_PREDICTION || r->request != request) continue;
        const tl_prediction *now = &answers[r->item];
        answered++;
        if (now->position != r->position || memcmp(&now->id, &r->id, sizeof r->id) != 0 ||
            memcmp(now->scores, r->as.scores, r->class_count * sizeof(float)) != 0)
            wrong(l, "a request made again got another answer than the first time");
    }
    l->counts->retries++;
    l->counts->retries_unanswered += answered == 0;
    for (uint32_t i = 0; i < KILL_BATCH; i++) {
        kill_report report = { .kind = KILL_PREDICTION,
                               .label = (int32_t)answers[i].label,
                               .class_count = answers[i].class_count,
                               .item = i,
                               .position = answers[i].position,
                               .version = answers[i].version,
                               .epoch = answers[i].epoch,
                               .id = answers[i].id };
        memcpy(report.as.scores, answers[i].scores, sizeof report.as.scores);
        if (answers[i].position != answers[0].position + i)
            wrong(l, "the items of a request made again are apart in the journal");
        ledger_take(l, &report);
    }
}

enum { ASK_AGAIN_MAX = 24 };

static void ask_all_again(ledger *l, tl_loop *loop)
{
    size_t asked = 0;
    for (size_t i = l->count; i-- > l->life && asked < ASK_AGAIN_MAX;) {
        if (l->reports[i].kind != KILL_ASKING) continue;
        ask_again(l, loop, l->reports[i].request);
        asked++;
    }
}

/* Classes and pauses that were acknowledged. */
static void check_control(ledger *l, tl_loop *loop, const tl_loop_state *state)
{
    tl_loop_info info;
    tl_loop_describe(loop, &info);
    bool known = false, learning = true;
    for (size_t i = 0; i < l->count; i++) {
        const kill_report *r = &l->reports[i];
        if (r->kind == KILL_CLASS && info.class_count < (size_t)r->label)
            wrong(l, "a class that was added is gone");
        if (r->kind == KILL_LEARNING_SOON) known = false;
        if (r->kind != KILL_LEARNING) continue;
        known = true;
        learning = r->state != 0;
    }
    if (known && state->learning != learning)
        wrong(l, "learning was switched %s, and is not", learning ? "on" : "off");
}

static void check_start(ledger *l, tl_loop *loop)
{
    facts f = { .l = l };
    tl_loop_state state;
    tl_loop_status(loop, &state);
    if (!replay(&f)) {
        if (l->opened) wrong(l, "the loop cannot be replayed after a restart");
        return;
    }
    walk(&f);
    check_digest(&f, state.position, state.digest, "after the restart");
    if (f.report.labels != state.labels)
        wrong(l, "after the restart %llu labels, replayed %llu", (unsigned long long)state.labels,
              (unsigned long long)f.report.labels);
    check_control(l, loop, &state);
    free(f.at);
}

void ledger_restart(ledger *l, tl_rng *rng)
{
    tl_runtime *runtime = NULL;
    tl_loop *loop = NULL;
    tl_error err = { 0 };
    uint64_t way = tl_rng_below(rng, 3); /* looking only, without the slow learner, all of it */
    tl_status status = kill_open(l->path, l->images, way == 0, way == 2, &runtime, &loop, &err);
    if (status != TL_OK && (way > 0 || l->opened)) wrong(l, "restart: %s", err.text);
    if (status != TL_OK) return;
    l->counts->restarts++;
    l->opened = true;
    if (way < 2) check_start(l, loop);
    if (way > 0) ask_all_again(l, loop);
    if (way == 2 && tl_loop_drain(loop, &err) != TL_OK) wrong(l, "drain: %s", err.text);
    kill_report report = { .kind = KILL_STATUS };
    tl_loop_state state;
    tl_loop_status(loop, &state);
    report.position = state.position;
    report.digest = state.digest;
    ledger_take(l, &report);
    tl_runtime_close(&runtime);
}
