/* study_journal.c - a study from the golden items and the blind repeats of a loop. */
#include "cli/quality/study_internal.h"
#include "format/json.h"
#include "loop/asking/again.h"
#include "loop/config.h"
#include "loop/core/standing.h"
#include "loop/report/classes.h"
#include "review/people/people.h"

#include <stdlib.h>
#include <string.h>

enum { RATE_MAX = 64 };

/* The share of repeats from a moment on. */
typedef struct repeat_rate {
    int64_t since_us;
    double rate;
} repeat_rate;

typedef struct reading {
    tl_study_gathering gathering;
    tl_journal_reader *reader;
    uint32_t loop;
    tl_report_classes classes;
    tl_json_parser *parser;
    tl_arena arena;
    uint64_t seen[TL_PEOPLE_PART_MAX]; /* positions of the golden items taken */
    uint8_t key[TL_DRAW_KEY_BYTES];
    repeat_rate rates[RATE_MAX]; /* newest first */
    size_t rate_count;
} reading;

static bool is_seen(const reading *r, uint64_t position)
{
    for (uint32_t i = 0; i < r->gathering.part_count; i++)
        if (r->seen[i] == position) return true;
    return false;
}

/* Labels after the item was made golden, each a trial of its source. */
static tl_status take_trials(reading *r, const tl_prediction_record *p, uint32_t part,
                             const tl_record *feedback, size_t count, tl_error *err)
{
    tl_status status = TL_OK;
    for (size_t i = 0; i < count && status == TL_OK; i++) {
        tl_study_call call = { .part = part };
        int32_t label =
            tl_standing_fold(p, &feedback[i], 1, r->classes.count, r->classes.third_class_at);
        if (label < 0) continue;
        call.verdict = (uint8_t)label;
        status = tl_study_operator(&r->gathering, feedback[i].as.feedback.source,
                                   &call.operator_index, err);
        if (status != TL_OK) break;
        call.trial = tl_study_trials_of(&r->gathering, part, call.operator_index);
        if (call.trial < TL_PEOPLE_TRIAL_MAX) status = tl_study_add(&r->gathering, call, err);
    }
    return status;
}

static tl_status take_item(reading *r, uint64_t event, uint64_t position, tl_error *err)
{
    tl_record prediction, *feedback;
    size_t count, before = 0;
    if (r->gathering.part_count == TL_PEOPLE_PART_MAX || is_seen(r, position)) return TL_OK;
    tl_status status = tl_journal_read_prediction(r->reader, r->loop, position, false, &r->arena,
                                                  &prediction, err);
    if (status == TL_ENOTFOUND) return TL_OK; /* pruned */
    if (status == TL_OK)
        status = tl_journal_list_feedback(r->reader, r->loop, prediction.as.prediction.id,
                                          UINT64_MAX, &r->arena, &feedback, &count, err);
    if (status != TL_OK) return status;
    while (before < count && feedback[before].position < event) before++;
    const tl_prediction_record *p = &prediction.as.prediction;
    int32_t known =
        tl_standing_fold(p, feedback, before, r->classes.count, r->classes.third_class_at);
    if (known < 0 || before == count) return TL_OK; /* nobody has judged it again */
    uint32_t part = r->gathering.part_count++;
    r->seen[part] = position;
    r->gathering.known[part] = (uint8_t)known;
    return take_trials(r, p, part, feedback + before, count - before, err);
}

static tl_status take_golden(reading *r, tl_error *err)
{
    tl_record record;
    uint64_t below = UINT64_MAX, position;
    for (;;) {
        tl_arena_reset(&r->arena);
        tl_status status =
            tl_journal_next_event(r->reader, r->loop, "golden_add", below, &r->arena, &record, err);
        if (status == TL_ENOTFOUND) return TL_OK;
        if (status != TL_OK) return status;
        below = record.position;
        const tl_json *body = NULL;
        const char *text = record.as.event.body;
        if (tl_json_parse(r->parser, text, strlen(text), &r->arena, &body, NULL) == TL_OK &&
            tl_json_uint64(tl_json_get(body, "position"), &position))
            status = take_item(r, below, position, err);
        if (status != TL_OK) return status;
    }
}

/* ---- Repeats ----------------------------------------------------------------------------------- */

static tl_status note_rate(reading *r, const char *config, int64_t since_us, tl_error *err)
{
    tl_loop_config c;
    tl_status status = tl_loop_config_read(config, &c, err);
    if (status != TL_OK) return status;
    memcpy(r->key, c.audit_key, sizeof r->key);
    r->rates[r->rate_count++] = (repeat_rate){ since_us, c.review.repeats };
    return TL_OK;
}

/* As the loop was made, and as it was configured since; of too many changes the newest. */
static tl_status read_rates(reading *r, const char *config, tl_error *err)
{
    tl_record record;
    uint64_t below = UINT64_MAX;
    while (r->rate_count < RATE_MAX - 1) {
        tl_arena_reset(&r->arena);
        tl_status status =
            tl_journal_next_event(r->reader, r->loop, "configure", below, &r->arena, &record, err);
        if (status == TL_ENOTFOUND) break;
        if (status == TL_OK)
            status = note_rate(r, record.as.event.body, record.as.event.time_us, err);
        if (status != TL_OK) return status;
        below = record.position;
    }
    return note_rate(r, config, INT64_MIN, err);
}

/* Whether an answer given then was to be repeated. */
static bool is_repeated(const reading *r, const tl_prediction_record *p, int64_t answered_us)
{
    tl_people_policy policy = { .rate = 0.0 };
    memcpy(policy.key, r->key, sizeof policy.key);
    for (size_t i = 0; i < r->rate_count; i++) {
        if (answered_us < r->rates[i].since_us) continue;
        policy.rate = r->rates[i].rate;
        break;
    }
    return p->review && tl_people_repeat(&policy, p->id, 0);
}

/* The first label, and those from when it was put up again on. */
static tl_status take_repeat(void *context, const tl_prediction_record *p,
                             const tl_record *feedback, size_t count, tl_error *err)
{
    reading *r = context;
    size_t first = 0;
    while (first < count && tl_standing_fold(p, &feedback[first], 1, r->classes.count,
                                             r->classes.third_class_at) < 0)
        first++;
    if (first == count || r->gathering.part_count == TL_PEOPLE_PART_MAX) return TL_OK;
    int64_t answered_us = feedback[first].as.feedback.received_us;
    size_t again = first + 1;
    while (again < count &&
           feedback[again].as.feedback.received_us < answered_us + 1000000LL * TL_AGAIN_AFTER_S)
        again++;
    if (again == count || !is_repeated(r, p, answered_us)) return TL_OK;
    uint32_t part = r->gathering.part_count++;
    tl_status status = take_trials(r, p, part, &feedback[first], 1, err);
    return status == TL_OK ? take_trials(r, p, part, &feedback[again], count - again, err) : status;
}

static tl_status take_all(reading *r, const char *config, tl_error *err)
{
    uint64_t upto;
    tl_status status = take_golden(r, err);
    if (status == TL_OK) status = read_rates(r, config, err);
    if (status == TL_OK) status = tl_journal_last_position(r->reader, &upto, err);
    if (status == TL_OK)
        status = tl_journal_walk_outcomes(r->reader, r->loop, upto, take_repeat, r, err);
    if (status == TL_OK && r->gathering.call_count == 0)
        return tl_fail(err, TL_ENOTFOUND,
                       "nobody has judged an item again; set review.repeats, or put golden items "
                       "before each operator, unmarked, and give what they say as feedback under "
                       "their names");
    return status;
}

static void name_classes(reading *r)
{
    tl_study *study = r->gathering.study;
    study->classes = (uint32_t)r->classes.count;
    memcpy(study->class_names, r->classes.names, sizeof study->class_names);
}

tl_status tl_study_read_journal(tl_journal_reader *reader, uint32_t loop, const char *config,
                                tl_study *out, tl_error *err)
{
    reading *r = calloc(1, sizeof *r);
    if (r == NULL) return tl_fail(err, TL_ENOMEM, "a study");
    r->reader = reader;
    r->loop = loop;
    tl_arena_init(&r->arena, SIZE_MAX / 2);
    tl_status status = tl_json_parser_create(NULL, &r->parser, err);
    if (status == TL_OK) status = tl_report_classes_read(reader, loop, &r->classes, err);
    if (status == TL_OK) status = tl_study_gather_begin(&r->gathering, out, err);
    if (status == TL_OK) {
        name_classes(r);
        status = tl_study_gather_end(&r->gathering, take_all(r, config, err), err);
    }
    tl_json_parser_destroy(&r->parser);
    tl_arena_destroy(&r->arena);
    free(r);
    return status;
}
