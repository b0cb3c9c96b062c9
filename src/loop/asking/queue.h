/* queue.h - in which order open reviews are put before people. Layer: loop. Pure; any thread.
 *
 * Most valuable first, in three groups:
 *   0  disputed: a policy in shadow decides otherwise, and a verdict waits for the answer; and labels
 *      that look wrong
 *   1  uncertain ones, and those near a threshold that is certified or to be
 *   2  flagged ones, the least clear first, with audits and repeats strewn among them
 *
 * The place of a blind item must not tell what the model says of it. Within a group blind items stand
 * in the order of a keyed hash. And a group by itself tells nothing: as large a share of the blind
 * items that are flagged stands in it as of those that passed, because the kind that has fewer there
 * is filled up by lot with others of its kind. So for a blind item with verdict v
 *   P(group | v) = max over both verdicts of (members of the group among the blind of that verdict),
 * the same for both. The price is that some items without urgency stand early. */
#ifndef TL_LOOP_QUEUE_H
#define TL_LOOP_QUEUE_H

#include "review/reviewer.h"

typedef struct tl_queue_entry {
    uint64_t key;    /* position of the prediction */
    int64_t time_us; /* since then it is asked */
    uint64_t person; /* who is asked; 0: anybody */
    float score;     /* of a defect */
    tl_review_reason reason;
    bool flagged, blind, disputed;
    double place; /* by tl_queue_order: rises along the list */
} tl_queue_entry;

/* Sort; `key` is the loop's secret. The same entries come in the same order. */
void tl_queue_order(const uint8_t key[TL_DRAW_KEY_BYTES], tl_queue_entry *entries, size_t count);

/* Why it is asked: a word, and words for people; of a blind one the same for all. Static. */
const char *tl_queue_why(const tl_queue_entry *entry);
const char *tl_queue_words(const tl_queue_entry *entry);

#endif
