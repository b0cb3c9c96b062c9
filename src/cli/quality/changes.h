/* changes.h - every change of what answers, read from the journal: for the quality file.
 * Layer: cli. One thread. */
#ifndef TL_CLI_CHANGES_H
#define TL_CLI_CHANGES_H

#include "format/json.h"
#include "journal/journal.h"

enum { TL_CHANGE_WORDS_BYTES = 512, TL_CHANGE_BUILD_BYTES = 256 };

typedef struct tl_change {
    uint64_t position;
    int64_t time_us;
    char kind[32]; /* of the event: publish, promote, rollback, take_back, freeze, ... */
    char who[TL_TEXT_BYTES_MAX]; /* who approved; "": the rule of publishing, by itself */
    uint64_t version, before;    /* what answers from then on, and what did until then; 0: none */
    bool dry_run;                /* it was only said, not done */
    char words[TL_CHANGE_WORDS_BYTES]; /* the evidence */
    float threshold_before,
        threshold_after; /* of the predictions beside it; NaN: there were none */
    /* Of the version. */
    uint64_t parent, labels, golden_errors, golden_count;
    char origin[TL_TEXT_BYTES_MAX];
    char build[TL_CHANGE_BUILD_BYTES]; /* of the newest checkpoint before it; "": none yet */
    /* Of the gate's verdict, where it was one. */
    bool judged;
    uint64_t units, disagreements, wins, losses;
    double gain, gain_low, gain_high;
} tl_change;

/* All of them in order; malloc'ed. Reads the whole journal of the loop. Errors: those of
 * tl_journal_next. */
tl_status tl_changes_read(tl_journal_reader *reader, uint32_t loop, tl_change **out, size_t *count,
                          tl_error *err);

void tl_change_write(tl_json_writer *w, const tl_change *change);
void tl_change_print(tl_text *out, const tl_change *change);

#endif
