/* report.h - a journal in an inspector's words: escapes, overkill, by site, line, shift, lot, class.
 * Layer: loop. One owner thread; needs no runtime, so that a journal can be reported on while
 * another process serves it. What is promised: tl_report in tightloop.h, stats/estimate/selective.h.
 *
 * Two walks over the journal. The first finds what there is: groups, the least probabilities, and
 * which share of the drawn items was answered, of those flagged and of those that passed. An item's
 * chance to be seen is its logged probability times that share; this takes unanswered items to be
 * like answered ones, which is said with the figures, with the worst case beside them. */
#ifndef TL_LOOP_REPORT_H
#define TL_LOOP_REPORT_H

#include "journal/journal.h"

/* Of loop number `loop` of the reader's journal. Errors: as tl_loop_report. */
tl_status tl_report_make(tl_journal_reader *reader, uint32_t loop, const tl_report_options *options,
                         tl_report **out, tl_error *err);

#endif
