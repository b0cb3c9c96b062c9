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

#endif
