/* study_journal.c - a study from the golden items of a loop. */
#include "cli/quality/study_internal.h"
#include "format/json.h"
#include "loop/core/standing.h"
#include "loop/report/classes.h"

#include <stdlib.h>
#include <string.h>

typedef struct reading {
    tl_study_gathering gathering;
    tl_journal_reader *reader;
    uint32_t loop;
    tl_report_classes classes;
    tl_json_parser *parser;
    tl_arena arena;
    uint64_t seen[TL_PEOPLE_PART_MAX]; /* positions of the golden items taken */
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

static tl_status take_all(reading *r, tl_error *err)
{
    tl_record record;
    uint64_t below = UINT64_MAX, position;
    for (;;) {
        tl_arena_reset(&r->arena);
        tl_status status =
            tl_journal_next_event(r->reader, r->loop, "golden_add", below, &r->arena, &record, err);
        if (status == TL_ENOTFOUND) break;
        if (status != TL_OK) return status;
        below = record.position;
        const tl_json *body = NULL;
        const char *text = record.as.event.body;
        if (tl_json_parse(r->parser, text, strlen(text), &r->arena, &body, NULL) == TL_OK &&
            tl_json_uint64(tl_json_get(body, "position"), &position))
            status = take_item(r, below, position, err);
        if (status != TL_OK) return status;
    }
    if (r->gathering.call_count == 0)
        return tl_fail(err, TL_ENOTFOUND,
                       "nobody has judged a golden item again; put golden items before each "
                       "operator, unmarked, and give what they say as feedback under their names");
    return TL_OK;
}

static void name_classes(reading *r)
{
    tl_study *study = r->gathering.study;
    study->classes = (uint32_t)r->classes.count;
    memcpy(study->class_names, r->classes.names, sizeof study->class_names);
}

tl_status tl_study_read_journal(tl_journal_reader *reader, uint32_t loop, tl_study *out,
                                tl_error *err)
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
        status = tl_study_gather_end(&r->gathering, take_all(r, err), err);
    }
    tl_json_parser_destroy(&r->parser);
    tl_arena_destroy(&r->arena);
    free(r);
    return status;
}
