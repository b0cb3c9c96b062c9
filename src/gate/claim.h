/* claim.h - evidence that one side of a comparison costs less an item than the other, by more than
 * the least effect; and how much less at least. Layer: gate, inside it. Pure; one owner thread.
 *
 * The decision is a bettor's on payoffs >= -1, less what rests on one source that may be hostile
 * (sources.h). For the limit of the gain g, bets z - g n are needed at every g, with z the gain of a
 * unit and n its items, both divided by a bound that is known before the labels. They follow from sums
 * that are kept for each stake lambda:
 *   log(1 + lambda (z - g n)) = log(1 + lambda z) + log(1 - y),  y = lambda g n / (1 + lambda z),
 *   log(1 - y) >= -y - y^2 for |y| <= 1/2,
 * so log K(g) is bounded from below by sums of log(1 + lambda z), n / (1 + lambda z) and its square.
 * What is rejected by the bound is rejected by the bets themselves: the limit errs on the safe side
 * only. Together with the claim of the other side it is a confidence sequence (Waudby-Smith & Ramdas
 * 2023, theorem 3) for the gain an item, where that is the same in all units; where it varies it
 * excludes gains that no unit has. */
#ifndef TL_GATE_CLAIM_H
#define TL_GATE_CLAIM_H

#include "gate/sources.h"

/* The limit by itself: it holds beside any decision, or none. */
typedef struct tl_limit {
    tl_bettor free;                                          /* bets z */
    double slope[TL_BETTOR_STAKES], curve[TL_BETTOR_STAKES]; /* sums of n/(1+lambda z), squared */
    double reach[TL_BETTOR_STAKES];                          /* the largest n/(1+lambda z) */
    /* The same of units with z = 0, which are most: alike for all stakes. */
    double still_slope, still_curve, still_reach;
} tl_limit;

void tl_limit_init(tl_limit *limit);
/* A unit: its gain and its items. */
void tl_limit_bet(tl_limit *limit, double z, double n);
/* The gain an item is above this, at level exp(-log_threshold), at any time. In -widest..widest. */
double tl_limit_low(const tl_limit *limit, double log_threshold, double widest);
/* Load: untrusted; what *limit holds after an error is of no use. */
void tl_limit_save(const tl_limit *limit, tl_blob *blob);
tl_status tl_limit_load(tl_limit *limit, tl_blob_reader *reader, tl_error *err);

typedef struct tl_claim {
    tl_bettor decided;
    tl_doubt doubt; /* of what is decided */
    tl_limit limit;
} tl_claim;

void tl_claim_init(tl_claim *claim);
/* A unit: payoff of the decision; gain and items for the limit. Doubt is added apart. */
void tl_claim_bet(tl_claim *claim, double payoff, double z, double n);
/* Log of the evidence, nats, whatever one source may have said. */
double tl_claim_log_e(const tl_claim *claim);
/* Whether it is at least that; cheap when it is far from it. */
bool tl_claim_reaches(const tl_claim *claim, double log_threshold);
/* Expected growth of the evidence a disagreement after so many, nats; <= 0: it does not grow. */
double tl_claim_growth(const tl_claim *claim, uint64_t disagreements);

/* Load: untrusted; what *claim holds after an error is of no use. */
void tl_claim_save(const tl_claim *claim, tl_blob *blob);
tl_status tl_claim_load(tl_claim *claim, tl_blob_reader *reader, tl_error *err);

#endif
