/* classes.h - the classes of a loop as its journal tells them: at creation, and added since.
 * Layer: loop. Pure reading. */
#ifndef TL_LOOP_REPORT_CLASSES_H
#define TL_LOOP_REPORT_CLASSES_H

#include "journal/journal.h"

typedef struct tl_report_classes {
    size_t count;
    char names[TL_CLASS_COUNT_MAX][TL_TEXT_BYTES_MAX];
    uint64_t third_class_at; /* as in loop/core/standing.h */
} tl_report_classes;

tl_status tl_report_classes_read(tl_journal_reader *reader, uint32_t loop, tl_report_classes *out,
                                 tl_error *err);

#endif
