/* confidence.h - confidence sequences: intervals for means and shares that hold at every look.
 * Layer: stats. Any thread for the functions; one owner thread a state.
 *
 * An interval of interval.h may be read once. These may be watched after every item, acted upon, and
 * stopped by what they show: with probability at least `confidence` the truth is inside at all times
 * at once (Ville 1939). Each comes from evidence against a candidate m, the wealth of a gambler who
 * bets against it and cannot be expected to win if m is true; the interval is the m against which
 * neither a bet on "more" nor one on "less" has multiplied its stake by 2 / (1 - confidence).
 *
 * Conditions. Betting and beta-binomial: given the past, every item has the same mean m. Items that
 * share a cause (one board, one lot) have not: give one value a unit. Running means (empirical
 * Bernstein): the truth may move; the interval is for the mean of the truths so far. */
#ifndef TL_STATS_CONFIDENCE_H
#define TL_STATS_CONFIDENCE_H

#include "base/blob.h"
#include "stats/interval.h"

/* ---- Betting (Waudby-Smith and Ramdas 2023) --------------------------------------------------- */

/* `count` items (a fraction is allowed) that pay gain - scale * m to a bet on "more than m", so that
 * a mean of 0 says that m is right. A value x in 0..1: {1, x, 1}. */
typedef struct tl_payoff {
    double count;
    double gain, scale; /* 0 <= gain <= scale */
} tl_payoff;

/* Natural logarithm of the wealth of a bet that the truth is above m, for m in 0..1: the mean over
 * 24 stakes xi, spaced evenly in the logarithm from .95 down to 1e-5, each weighing .9 times the one
 * above it, of the product of
 * 1 + xi (gain / m - scale) / loss_max. `loss_max`: no item's scale - gain may ever be above it.
 * Falls in m. The order of items does not matter. */
double tl_betting_log_e_above(const tl_payoff *payoffs, size_t payoff_count, double loss_max,
                              double m);
/* The same for a bet that the truth is below m; no item's gain may ever be above `gain_max`. */
double tl_betting_log_e_below(const tl_payoff *payoffs, size_t payoff_count, double gain_max,
                              double m);
tl_interval tl_betting_interval(const tl_payoff *payoffs, size_t payoff_count, double loss_max,
                                double gain_max, double confidence);

/* The mean of values in 0..1 whose true mean does not move. Bounded memory: a value is split between
 * the two next of TL_MEAN_CELLS + 1 evenly spaced ones so that the mean stays; because a logarithm
 * is concave, that can only lower the wealth, so that the promise holds. */
enum { TL_MEAN_CELLS = 128 };

/* Plain data; all zeros: empty. */
typedef struct tl_mean {
    uint64_t count;
    double sum;
    double cells[TL_MEAN_CELLS + 1];
} tl_mean;

void tl_mean_add(tl_mean *mean, double x); /* clamped to 0..1; not a number counts as 0 */
void tl_mean_merge(tl_mean *mean, const tl_mean *other);
/* Some 1 ms. Without values: 0..1. */
tl_interval tl_mean_interval(const tl_mean *mean, double confidence);
bool tl_mean_covers(const tl_mean *mean, double m, double confidence);
void tl_mean_save(const tl_mean *mean, tl_blob *blob);
/* Errors: TL_ECORRUPT, TL_EVERSION; *out is then untouched. */
tl_status tl_mean_load(tl_blob_reader *reader, tl_mean *out, tl_error *err);

/* ---- Shares of independent trials: the beta-binomial mixture (Robbins 1970) -------------------- */

/* Evidence against the share u, both sides together: ln of B(k + 1/2, n - k + 1/2) / B(1/2, 1/2)
 * over u^k (1 - u)^(n - k). 0 <= k <= n, fractions allowed; u in 0..1 (at an end that k denies:
 * infinity). */
double tl_beta_binomial_log_e(double hits, double count, double u);
tl_interval tl_beta_binomial_interval(uint64_t hits, uint64_t count, double confidence);

/* ---- Running means: empirical Bernstein (Howard et al. 2021; Choe and Ramdas 2023) ------------- */

/* Evidence that the sum of the conditional means of X_1..X_n is smaller than observed by `excess`:
 * ln of the mean over stakes lambda (spaced as above, below 1 / loss_max) of
 * exp(lambda excess - psi(lambda) squares), psi(l) = (-ln(1 - c l) - c l) / c^2 with c = loss_max,
 * `squares` the sum of (X_i - guess_i)^2, each guess made before its X, X_i - guess_i >= -loss_max
 * for every i (Fan, Grama and Liu 2015, inequality 4.11). */
double tl_bernstein_log_e(double excess, double squares, double loss_max);

/* The mean of the true means of values in 0..1 so far. Plain data; all zeros: empty. */
typedef struct tl_running_mean {
    uint64_t count;
    double sum, squares;
} tl_running_mean;

void tl_running_mean_add(tl_running_mean *mean, double x); /* clamped as above */
tl_interval tl_running_mean_interval(const tl_running_mean *mean, double confidence);
bool tl_running_mean_covers(const tl_running_mean *mean, double m, double confidence);
void tl_running_mean_save(const tl_running_mean *mean, tl_blob *blob);
/* Errors: TL_ECORRUPT, TL_EVERSION; *out is then untouched. */
tl_status tl_running_mean_load(tl_blob_reader *reader, tl_running_mean *out, tl_error *err);

/* ---- Both limits of any evidence -------------------------------------------------------------- */

/* ln(2 / (1 - confidence)): what either side has to reach. */
double tl_confidence_log_bar(double confidence);
/* The lower limit: the candidates m from 0 up that evidence `f` denies (f >= bar); 0 when it starts
 * below. The limit itself is denied still. Evidence that falls in m is all that is needed; where it
 * rises first, the interval has every m of 32 steps that is not denied. */
double tl_confidence_lower(double (*f)(const void *context, double m), const void *context,
                           double bar);
/* The upper limit, from 1 down. */
double tl_confidence_upper(double (*f)(const void *context, double m), const void *context,
                           double bar);

#endif
