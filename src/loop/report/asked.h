/* asked.h - who was asked about each prediction of a journal. Layer: loop. One thread. */
#ifndef TL_LOOP_REPORT_ASKED_H
#define TL_LOOP_REPORT_ASKED_H

#include "loop/asking/people.h"

enum {
    TL_ASKED_CHANGES_MAX = 32
}; /* changes of the configuration that are looked at: the newest */

typedef struct tl_report_asked tl_report_asked;

/* Errors: those of reading events, TL_ENOMEM. */
tl_status tl_report_asked_read(tl_journal_reader *reader, uint32_t loop, tl_report_asked **out,
                               tl_error *err);
void tl_report_asked_free(tl_report_asked *asked); /* NULL-safe */
/* By the people as of the prediction's time: the source whose word counts; 0: anybody's. */
uint64_t tl_report_asked_of(const tl_report_asked *asked, const tl_prediction_record *prediction);

#endif
