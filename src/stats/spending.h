/* spending.h - one level for an unlimited series of tests. Layer: stats. Pure; any thread.
 *
 * The i-th test (from 1) is done at alpha_i = alpha gamma_i, gamma_i = .47399 / ((i+1) ln^2(i+1)).
 * The gammas sum to .999997, so the chance of any false rejection ever, over all tests, is at most
 * alpha (union bound), whatever their dependence. The price of the i-th test is only logarithmic:
 * about log i + 2 log log i nats.
 * Reference: alpha spending as in Foster & Stine 2008 (JRSS-B 70); the series is that of Javanmard &
 * Montanari 2018 (Ann. Stat. 46), its constant rounded down so that the sum stays below 1. */
#ifndef TL_STATS_SPENDING_H
#define TL_STATS_SPENDING_H

#include <stdint.h>

/* Share of the level that the index-th test gets; index >= 1 (asserted). */
double tl_spending_share(uint64_t index);
/* log(1 / alpha_index), nats: what an e-process of that test has to reach. 0 < alpha < 1. */
double tl_spending_log_threshold(double alpha, uint64_t index);

#endif
