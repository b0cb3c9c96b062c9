#include "cli/quality/changes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is kept of a version until something is done with it. */
typedef struct version {
    uint64_t number, parent, labels, golden_errors, golden_count;
    char origin[TL_TEXT_BYTES_MAX];
} version;

typedef struct reading {
    tl_json_parser *parser;
    tl_arena arena; /* of one record */
    tl_change *changes;
    size_t change_count, change_capacity;
    version *versions;
    size_t version_count, version_capacity;
    uint64_t champion;
    float threshold; /* of the last prediction; NaN: none yet */
    size_t open;     /* changes from here on wait for the next prediction */
    char build[TL_CHANGE_BUILD_BYTES];
} reading;

static const char *const KINDS[] = { "publish", "promote", "rollback", "take_back",
                                     "certify", "alarm",   "freeze",   "unfreeze" };

/* ---- One record -------------------------------------------------------------------------------- */

static const tl_json *parse(reading *r, const char *text)
{
    const tl_json *root = NULL;
    return tl_json_parse(r->parser, text, strlen(text), &r->arena, &root, NULL) == TL_OK ? root
                                                                                         : NULL;
}

static uint64_t count_of(const tl_json *value, const char *key)
{
    uint64_t count = 0;
    (void)tl_json_uint64(tl_json_get(value, key), &count);
    return count;
}

static double number_of(const tl_json *value, const char *key)
{
    double number = NAN;
    (void)tl_json_number(tl_json_get(value, key), &number);
    return number;
}

/* Room for one more of `size` bytes each; NULL: out of memory. */
static void *grow(void *list, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return list;
    size_t wider = *capacity == 0 ? 16 : 2 * *capacity;
    void *grown = realloc(list, wider * size);
    if (grown != NULL) *capacity = wider;
    return grown;
}

static tl_status take_version(reading *r, const tl_version_record *record, tl_error *err)
{
    version *grown = grow(r->versions, r->version_count, &r->version_capacity, sizeof *grown);
    if (grown == NULL) return tl_fail(err, TL_ENOMEM, "versions");
    r->versions = grown;
    const tl_json *metrics = parse(r, record->metrics);
    version *v = &r->versions[r->version_count++];
    *v = (version){ .number = record->number,
                    .parent = record->parent,
                    .labels = count_of(metrics, "labels"),
                    .golden_errors = count_of(metrics, "golden_errors"),
                    .golden_count = count_of(metrics, "golden_count") };
    snprintf(v->origin, sizeof v->origin, "%s", record->origin);
    return TL_OK;
}

static void fill_version(const reading *r, tl_change *change)
{
    for (size_t i = r->version_count; i-- > 0;) {
        const version *v = &r->versions[i];
        if (v->number != change->version) continue;
        change->parent = v->parent;
        change->labels = v->labels;
        change->golden_errors = v->golden_errors;
        change->golden_count = v->golden_count;
        memcpy(change->origin, v->origin, sizeof change->origin);
        return;
    }
}

static bool takes_over(const tl_change *change)
{
    static const char *const changing[] = { "publish", "promote", "rollback", "take_back" };
    if (change->dry_run || change->version == 0) return false;
    for (size_t i = 0; i < TL_COUNT_OF(changing); i++)
        if (strcmp(change->kind, changing[i]) == 0) return true;
    return false;
}

static tl_status take_event(reading *r, const tl_record *record, tl_error *err)
{
    const tl_event_record *event = &record->as.event;
    bool wanted = false;
    for (size_t i = 0; i < TL_COUNT_OF(KINDS); i++)
        wanted = wanted || strcmp(event->kind, KINDS[i]) == 0;
    if (!wanted) return TL_OK;
    tl_change *grown = grow(r->changes, r->change_count, &r->change_capacity, sizeof *grown);
    if (grown == NULL) return tl_fail(err, TL_ENOMEM, "changes");
    r->changes = grown;
    const tl_json *body = parse(r, event->body);
    tl_change *c = &r->changes[r->change_count++];
    *c = (tl_change){ .position = record->position,
                      .time_us = event->time_us,
                      .version = count_of(body, "version"),
                      .before = r->champion,
                      .threshold_before = r->threshold,
                      .threshold_after = NAN,
                      .judged = tl_json_get(body, "units") != NULL,
                      .units = count_of(body, "units"),
                      .disagreements = count_of(body, "disagreements"),
                      .wins = count_of(body, "wins"),
                      .losses = count_of(body, "losses"),
                      .gain = number_of(body, "gain"),
                      .gain_low = number_of(body, "gain_low"),
                      .gain_high = number_of(body, "gain_high") };
    (void)tl_json_bool(tl_json_get(body, "dry_run"), &c->dry_run);
    snprintf(c->kind, sizeof c->kind, "%s", event->kind);
    snprintf(c->who, sizeof c->who, "%s", tl_json_get_text(body, "who", ""));
    snprintf(c->words, sizeof c->words, "%s", tl_json_get_text(body, "verdict", ""));
    memcpy(c->build, r->build, sizeof c->build);
    if (c->version == 0) c->version = r->champion;
    fill_version(r, c);
    if (takes_over(c)) r->champion = c->version;
    return TL_OK;
}

/* Changes that wait get the first threshold after them. */
static void take_prediction(reading *r, const tl_prediction_record *p)
{
    for (; r->open < r->change_count; r->open++) r->changes[r->open].threshold_after = p->threshold;
    r->threshold = p->threshold;
}

static tl_status take(reading *r, const tl_record *record, tl_error *err)
{
    switch (record->kind) {
    case TL_RECORD_PREDICTION: take_prediction(r, &record->as.prediction); return TL_OK;
    case TL_RECORD_VERSION: return take_version(r, &record->as.version, err);
    case TL_RECORD_EVENT: return take_event(r, record, err);
    case TL_RECORD_CHECKPOINT:
        snprintf(r->build, sizeof r->build, "%s", record->as.checkpoint.build);
        return TL_OK;
    case TL_RECORD_FEEDBACK: return TL_OK;
    }
    return TL_OK;
}

tl_status tl_changes_read(tl_journal_reader *reader, uint32_t loop, tl_change **out, size_t *count,
                          tl_error *err)
{
    reading r = { .threshold = NAN };
    uint64_t position = 0;
    tl_record record;
    tl_arena_init(&r.arena, SIZE_MAX / 2);
    tl_status status = tl_json_parser_create(NULL, &r.parser, err);
    while (status == TL_OK) {
        tl_arena_reset(&r.arena);
        status = tl_journal_next(reader, loop, position, &r.arena, &record, err);
        if (status == TL_OK) status = take(&r, &record, err);
        position = record.position;
    }
    if (status == TL_ENOTFOUND) status = TL_OK; /* the end */
    tl_json_parser_destroy(&r.parser);
    tl_arena_destroy(&r.arena);
    free(r.versions);
    if (status == TL_OK) {
        *out = r.changes;
        *count = r.change_count;
    } else {
        free(r.changes);
    }
    return status;
}
