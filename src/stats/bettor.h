/* bettor.h - evidence that a mean is above zero, which may be looked at after every observation.
 * Layer: stats. Pure; one owner thread per state.
 *
 * Payoffs x_t >= -1 with E[x_t | past] <= 0 under the null. A fixed stake lambda in (0, 1) makes
 * K_t(lambda) = prod (1 + lambda x_s) a supermartingale that starts at 1, and so is the mean of
 * sixteen of them, with stakes spaced evenly in the logarithm from .02 to .95. By Ville's inequality
 * the chance that the mean ever reaches 1/alpha is at most alpha, however often it is looked at:
 * log_e >= log(1/alpha) rejects the null at level alpha, at any time.
 * References: Ville 1939; Waudby-Smith & Ramdas 2023 (JRSS-B 86), section 4; Shafer 2021.
 *
 * Condition: the mean is at most 0 given everything before. Observations that come in clusters of
 * one cause break it; then a cluster is one observation. Payoffs may be scaled by anything that is
 * known before they are. */
#ifndef TL_STATS_BETTOR_H
#define TL_STATS_BETTOR_H

#include "base/blob.h"

enum { TL_BETTOR_STAKES = 16 };

typedef struct tl_bettor {
    double log_wealth[TL_BETTOR_STAKES]; /* nats, without what is pending */
    double factor[TL_BETTOR_STAKES];     /* products of the bets since */
    double pending;                      /* how far these can be from 1 at most, nats */
    double top, share[TL_BETTOR_STAKES]; /* largest log_wealth, and exp(log_wealth - top) */
} tl_bettor;

/* The stakes, ascending. Borrowed for ever. */
const double *tl_bettor_stakes(void);

void tl_bettor_init(tl_bettor *bettor);
/* One observation, -1 <= payoff <= 1e4 (asserted up to rounding). */
void tl_bettor_bet(tl_bettor *bettor, double payoff);
/* Log of the mean wealth, nats; 0 at the start. */
double tl_bettor_log_e(const tl_bettor *bettor);
/* Log-wealth of one stake, nats. */
double tl_bettor_log_wealth(const tl_bettor *bettor, unsigned stake);

/* The state goes on bit by bit where it stood. Load: untrusted. Errors: TL_ECORRUPT, TL_EVERSION;
 * *bettor is then untouched. */
void tl_bettor_save(const tl_bettor *bettor, tl_blob *blob);
tl_status tl_bettor_load(tl_bettor *bettor, tl_blob_reader *reader, tl_error *err);

#endif
