/* claim.h - evidence that one side of a comparison costs less an item than the other, by more than
 * the least effect; and how much less at least. Layer: gate, inside it. Pure; one owner thread.
 *
 * The bet of a unit is z - effect n >= -1, with z its gain and n its items, both divided by a bound
 * that is known before the labels. The decision is the bettor's. For the limit of the gain g the
 * same bets are needed at every g. They follow from sums that are kept for each stake lambda:
 *   log(1 + lambda (z - g n)) = log(1 + lambda z) + log(1 - y),  y = lambda g n / (1 + lambda z),
 *   log(1 - y) >= -y - y^2 for |y| <= 1/2,
 * so log K(g) is bounded from below by sums of log(1 + lambda z), n / (1 + lambda z) and its square.
 * What is rejected by the bound is rejected by the bets themselves: the limit errs on the safe side
 * only. Together with the claim of the other side it is a confidence sequence (Waudby-Smith & Ramdas
 * 2023, theorem 3) for the gain an item, where that is the same in all units; where it varies it
 * excludes gains that no unit has. */
#ifndef TL_GATE_CLAIM_H
#define TL_GATE_CLAIM_H

#include "stats/bettor.h"

typedef struct tl_claim {
    tl_bettor decided;                                       /* bets z - effect n */
    tl_bettor free;                                          /* bets z */
    double slope[TL_BETTOR_STAKES], curve[TL_BETTOR_STAKES]; /* sums of n/(1+lambda z), squared */
    double reach[TL_BETTOR_STAKES];                          /* the largest n/(1+lambda z) */
} tl_claim;

/* `charge` as in tl_bettor_init_charged. */
void tl_claim_init(tl_claim *claim, double charge);
void tl_claim_bet(tl_claim *claim, double z, double n, double effect);
/* The gain an item is above this, at level exp(-log_threshold), at any time. In -limit..limit. */
double tl_claim_gain_low(const tl_claim *claim, double log_threshold, double limit);
/* Expected growth of the evidence a disagreement after so many, nats; <= 0: it does not grow. */
double tl_claim_growth(const tl_claim *claim, uint64_t disagreements);

void tl_claim_save(const tl_claim *claim, tl_blob *blob);
tl_status tl_claim_load(tl_claim *claim, tl_blob_reader *reader, tl_error *err);

#endif
