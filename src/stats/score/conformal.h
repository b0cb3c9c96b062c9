/* conformal.h - is an item strange, and has something changed, without any label. Layer: stats. One
 * owner thread a state.
 *
 * The online conformal p-value of a score (larger: stranger) is its rank among all scores since the
 * last reset, itself included, ties broken by lot: as long as items are exchangeable, the p-values
 * are independent and uniform, whatever the scores' distribution (Vovk, Gammerman and Shafer 2005,
 * theorem 8.1). Scores fall into 4,096 bins of one width; a coarse score only makes more ties. A
 * fixed reference set would not do: its p-values depend on one another.
 *
 * The detector bets that p-values become small: L_e = e p^(e - 1), which has mean 1 for a uniform p,
 * M_e <- (1 + M_e) L_e for each e of .2, .4, .6, .8 (Shiryaev-Roberts; Vovk et al. 2021). While
 * nothing has changed, an alarm as soon as the mean of the M_e is at least A comes after A items in
 * the mean, or later. (One M with the mean of the L_e promises the same and finds small shifts later:
 * half a standard deviation in 213 items instead of 88, one or two as fast; A = 1e5.) It says that
 * items look different, not that answers are worse: look more often, change nothing.
 *
 * Condition: exchangeable items. Frames of one part are not: take one a part. What changed slowly
 * becomes part of what is usual; reset after an alarm that was dealt with. */
#ifndef TL_STATS_CONFORMAL_H
#define TL_STATS_CONFORMAL_H

#include "base/blob.h"
#include "base/rng.h"

enum { TL_CONFORMAL_BINS = 4096, TL_CONFORMAL_BETS = 4 };

/* Plain data, 33 KB; change only by the functions below. */
typedef struct tl_conformal {
    double low, high; /* of the bins; scores outside are clamped */
    uint64_t count;   /* scores since the reset */
    double m[TL_CONFORMAL_BETS];
    tl_rng rng;
    uint64_t tree[TL_CONFORMAL_BINS + 1]; /* Fenwick's sums of counts, from index 1 */
} tl_conformal;

/* low < high, finite (asserted). The same seed and scores give the same p-values. */
void tl_conformal_init(tl_conformal *conformal, double low, double high, uint64_t seed);
/* Forget all scores and the detector's sums; the lot goes on. */
void tl_conformal_reset(tl_conformal *conformal);
/* Add a score, move the detector, and return the score's p-value, in (0, 1]. What is not a number
 * counts as `high`. Some 0.1 us. */
double tl_conformal_step(tl_conformal *conformal, double score);
/* The detector's, to be compared with A. */
double tl_conformal_value(const tl_conformal *conformal);

void tl_conformal_save(const tl_conformal *conformal, tl_blob *blob);
/* Errors: TL_ECORRUPT, TL_EVERSION; *out is then untouched. */
tl_status tl_conformal_load(tl_blob_reader *reader, tl_conformal *out, tl_error *err);

#endif
