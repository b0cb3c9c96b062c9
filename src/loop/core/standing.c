#include "loop/core/standing.h"

#include <string.h>

enum {
    STATEMENT_MAX = 255
}; /* those before and after a newest one are among the 256 that the
                                 journal lists */

/* What one statement says: a class, or -1 (withdrawn, or "incorrect" without a class). */
static int32_t statement_label(const tl_prediction_record *prediction, const tl_record *statement,
                               size_t class_count, uint64_t third_class_at)
{
    const tl_feedback_record *feedback = &statement->as.feedback;
    switch (feedback->kind) {
    case TL_FEEDBACK_LABEL: return feedback->label < (int32_t)class_count ? feedback->label : -1;
    case TL_FEEDBACK_VERDICT:
        if (feedback->correct) return (int32_t)prediction->label;
        /* Of two classes it was the other one; what was said then stays said when a third comes. */
        return statement->position < third_class_at && prediction->label < 2
                   ? 1 - (int32_t)prediction->label
                   : -1;
    default: return -1;
    }
}

/* The statement by which a label stands, and that label; NULL and -1: none does. */
static const tl_record *standing(const tl_prediction_record *prediction,
                                 const tl_record *statements, size_t count, size_t class_count,
                                 uint64_t third_class_at, int32_t *label)
{
    if (count > STATEMENT_MAX) {
        statements += count - STATEMENT_MAX;
        count = STATEMENT_MAX;
    }
    for (size_t i = count; i-- > 0;) {
        const char *source = statements[i].as.feedback.source;
        bool superseded = false;
        for (size_t later = i + 1; later < count && !superseded; later++)
            superseded = strcmp(statements[later].as.feedback.source, source) == 0;
        *label = superseded
                     ? -1
                     : statement_label(prediction, &statements[i], class_count, third_class_at);
        if (*label >= 0) return &statements[i];
    }
    *label = -1;
    return NULL;
}

int32_t tl_standing_fold(const tl_prediction_record *prediction, const tl_record *statements,
                         size_t count, size_t class_count, uint64_t third_class_at)
{
    int32_t label;
    (void)standing(prediction, statements, count, class_count, third_class_at, &label);
    return label;
}

const char *tl_standing_source(const tl_prediction_record *prediction, const tl_record *statements,
                               size_t count, size_t class_count, uint64_t third_class_at)
{
    int32_t label;
    const tl_record *by =
        standing(prediction, statements, count, class_count, third_class_at, &label);
    return by == NULL ? NULL : by->as.feedback.source;
}

tl_status tl_standing_join(tl_journal_reader *reader, uint32_t loop, const tl_record *feedback,
                           size_t class_count, uint64_t third_class_at, tl_arena *arena,
                           tl_label_change *out, tl_error *err)
{
    *out = (tl_label_change){ .before = -1, .after = -1 };
    tl_id id = feedback->as.feedback.prediction_id;
    tl_status status = tl_journal_find_prediction(reader, loop, id, false, arena, &out->prediction,
                                                  &out->pruned, err);
    if (status == TL_ENOTFOUND) return TL_OK;
    if (status != TL_OK) return status;
    if (out->prediction.position > feedback->position)
        return TL_OK; /* comes as an event of its own */
    out->known = true;
    tl_record *statements;
    size_t count;
    status = tl_journal_list_feedback(reader, loop, id, feedback->position, arena, &statements,
                                      &count, err);
    if (status != TL_OK) return status;
    if (count == 0 || statements[count - 1].position != feedback->position)
        return tl_fail(err, TL_ECORRUPT, "feedback at position %llu is not listed",
                       (unsigned long long)feedback->position);
    const tl_prediction_record *p = &out->prediction.as.prediction;
    out->before = tl_standing_fold(p, statements, count - 1, class_count, third_class_at);
    out->after = tl_standing_fold(p, statements, count, class_count, third_class_at);
    out->by = tl_standing_source(p, statements, count, class_count, third_class_at);
    return TL_OK;
}
