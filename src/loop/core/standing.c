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

int32_t tl_standing_fold(const tl_prediction_record *prediction, const tl_record *statements,
                         size_t count, size_t class_count, uint64_t third_class_at)
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
        int32_t label =
            superseded ? -1
                       : statement_label(prediction, &statements[i], class_count, third_class_at);
        if (label >= 0) return label;
    }
    return -1;
}
