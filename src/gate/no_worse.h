/* no_worse.h - decides from evidence whether a candidate version goes into service.
 * Layer: gate (above stats). Pure; any thread.
 *
 * This is the plain rule: publish what did no worse on the items that both the champion and the
 * candidate predicted before they learned them, and made no more errors on the golden set. It looks
 * once at each candidate and makes no promise under repeated looking. */
#ifndef TL_GATE_NO_WORSE_H
#define TL_GATE_NO_WORSE_H

#include "base/status.h"

enum { TL_NO_WORSE_WORDS_BYTES = 128 };

/* Paired evidence over the same items, each predicted by both before it was learned by either. */
typedef struct tl_no_worse_evidence {
    double champion_loss, candidate_loss; /* sums of log loss, nats */
    uint32_t count;                       /* items in the window */
    uint32_t golden_count, golden_champion_errors, golden_candidate_errors;
    uint32_t golden_new_errors; /* of the candidate, where the champion is right */
    bool golden_paired;         /* as many as an exact paired test allows, for what is to be proven
                                   in shadow anyway; else not one error more */
} tl_no_worse_evidence;

typedef struct tl_no_worse_verdict {
    bool publish;
    char words[TL_NO_WORSE_WORDS_BYTES]; /* why, for people */
} tl_no_worse_verdict;

/* Publishes when the candidate's mean loss over the window is at most the champion's, and the
 * golden set (void while it is empty) shows no additional error, or none beyond chance. An empty window publishes nothing.
 */
tl_no_worse_verdict tl_no_worse_decide(const tl_no_worse_evidence *evidence);

#endif
