/* rivals.h - with which probability people are asked about items that pass, though a version in the
 * shadow calls them otherwise. Layer: review. Plain state; one owner thread: the one that answers.
 *
 * Every disagreement is worth asking about, unless there are too many: a challenger that calls half of
 * what passes a defect is soon known for what it is, and would cost more labels than all flagged items.
 * So challengers, and frozen snapshots, may each ask about a share of all items, with so many
 * disagreements saved up at most: four times as many for snapshots, for what they tell after a change of
 * the world is what the loop is watched by. Whoever overdraws that is asked about with half the
 * probability from there on, again and again, to 1/32. Between these moments the probability is one
 * constant, and a new version begins with 1 where half of the credit is there; else with what the one
 * before came down to.
 *
 * Why evidence stays valid: the probability depends on what was called before, never on a label, and
 * is logged; the gate divides by it. It costs evidence: one disagreement at probability p then may
 * cost 1/p, and stakes follow. An item on which both sorts disagree gets the higher probability. */
#ifndef TL_REVIEW_RIVALS_H
#define TL_REVIEW_RIVALS_H

#include "base/status.h"

typedef enum tl_rival { TL_RIVAL_CHALLENGER, TL_RIVAL_SNAPSHOT, TL_RIVAL_COUNT } tl_rival;

enum { TL_RIVALS_CREDIT = 32, TL_RIVALS_SNAPSHOT_CREDIT = 128 };

typedef struct tl_rivals {
    double share; /* of all items, (0, 1]; 1: no limit */
    struct {
        uint64_t newest; /* known by; 0: none so far */
        double credit, rate;
    } of[TL_RIVAL_COUNT];
} tl_rivals;

/* Of one item. */
typedef struct tl_rival_calls {
    uint64_t newest[TL_RIVAL_COUNT]; /* in the shadow now; 0: none */
    bool disagrees[TL_RIVAL_COUNT];  /* some version of that sort calls it otherwise */
} tl_rival_calls;

/* share: (0, 1] (asserted). */
void tl_rivals_init(tl_rivals *rivals, double share);
/* The next item; `passes`: nobody would be asked about it for another reason for certain. The
 * probability because of rivals; 0: none disagrees. */
double tl_rivals_step(tl_rivals *rivals, const tl_rival_calls *calls, bool passes);

#endif
