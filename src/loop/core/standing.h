/* standing.h - what has been said of a prediction, folded into the label that stands.
 * Layer: loop. Pure; any thread. */
#ifndef TL_LOOP_STANDING_H
#define TL_LOOP_STANDING_H

#include "journal/journal.h"

/* Of each source only the newest statement counts; of those that name a class, the newest stands.
 * Only the newest 255 are looked at: a bound on the work that one id can cause.
 *   statements      [count] feedback records on `prediction`, in order
 *   class_count     at present
 *   third_class_at  position of the event that made two classes three; 0: never had only two,
 *                   UINT64_MAX: still has
 * The class index, or -1: none stands. */
int32_t tl_standing_fold(const tl_prediction_record *prediction, const tl_record *statements,
                         size_t count, size_t class_count, uint64_t third_class_at);
/* Whose word that is: of one of the statements, borrowed; NULL: none stands. */
const char *tl_standing_source(const tl_prediction_record *prediction, const tl_record *statements,
                               size_t count, size_t class_count, uint64_t third_class_at);

/* What feedback changes. */
typedef struct tl_label_change {
    tl_record prediction; /* in the arena */
    bool known, pruned;   /* not known: the prediction is still to come */
    int32_t before, after;
    const char *by; /* by whose word `after` stands, in the arena; NULL: nobody's */
} tl_label_change;

/* The label that stood before the feedback at `feedback`, and the one after it. Errors: those of
 * reading, TL_ECORRUPT (it is not in the journal). */
tl_status tl_standing_join(tl_journal_reader *reader, uint32_t loop, const tl_record *feedback,
                           size_t class_count, uint64_t third_class_at, tl_arena *arena,
                           tl_label_change *out, tl_error *err);

#endif
