/* study.h - what operators said of parts whose class is known, from a table or from a journal, in the
 * form that review/people/people.h judges. Layer: cli. One thread. */
#ifndef TL_CLI_STUDY_H
#define TL_CLI_STUDY_H

#include "journal/journal.h"
#include "review/people/people.h"

typedef struct tl_study {
    size_t parts, operators, trials, calls_made;
    uint32_t classes;
    char operator_names[TL_PEOPLE_OPERATOR_MAX][TL_TEXT_BYTES_MAX];
    char class_names[TL_CLASS_COUNT_MAX][TL_TEXT_BYTES_MAX]; /* the first one is good */
    uint8_t *known;                                          /* [parts] */
    uint8_t *calls; /* [parts, operators, trials]; TL_PEOPLE_NOTHING: none */
} tl_study;

/* A CSV file with the columns part, known, operator, verdict and, unless calls are to be numbered as
 * they come, trial (1, 2, ...), named in its first line, without quotes. `good` is the name of the
 * class that is good. Errors: TL_ENOTFOUND, TL_EIO, TL_EINVAL (the text names the line), TL_ELIMIT. */
tl_status tl_study_read_table(const char *path, const char *good, tl_study *out, tl_error *err);
/* The golden items of a loop, and its blind repeats (review.repeats). Of a golden item known is the label
 * that stood when it was made golden, and a trial each label that a source gave it afterwards. Of a repeat
 * nothing is known; trials are the first label, and those that came when it was put up again. `config`: the
 * description of the loop. Errors: those of tl_journal_next, TL_ELIMIT; TL_ENOTFOUND: nobody has judged an
 * item again. */
tl_status tl_study_read_journal(tl_journal_reader *reader, uint32_t loop, const char *config,
                                tl_study *out, tl_error *err);
void tl_study_free(tl_study *study); /* of what was read; zeroed is fine */

/* tl_people_judge of it at 95 %; *out is malloc'ed. */
tl_status tl_study_judge(const tl_study *study, tl_people_result **out, tl_error *err);

#endif
