/* acceptance.h - acceptance sampling by attributes: how many to look at, and how many defectives may
 * be among them. Layer: stats (above base). Pure; any thread.
 *
 * A single sampling plan (n, c) looks at n items of a lot and accepts it when at most c of them are
 * defective. Its operating characteristic is P(accept) as a function of the true share of defective
 * items: from the hypergeometric distribution for a lot of known size, from the binomial one for a
 * process that goes on (`lot` 0). Both are exact, not approximated by Poisson.
 *
 * Conditions: the sample is drawn at random, and every item of it gets a right verdict.
 * Reference: Hald, Statistical Theory of Sampling Inspection by Attributes, 1981; the master table
 * is that of ISO 2859-1 (normal inspection, single sampling). */
#ifndef TL_STATS_ACCEPTANCE_H
#define TL_STATS_ACCEPTANCE_H

#include "base/status.h"

enum {
    TL_SAMPLING_LOT_MAX = 1000000000, /* items */
    TL_SAMPLING_ACCEPT_MAX = 2000     /* defectives that a plan may accept */
};

typedef struct tl_sampling_plan {
    uint64_t sample; /* n: items looked at */
    uint64_t accept; /* c: the lot is rejected with c + 1 defectives among them */
    uint64_t lot;    /* items of the lot; 0: a process, no end */
} tl_sampling_plan;

/* What a plan is wanted for. Shares in 0..1. */
typedef struct tl_sampling_risks {
    double aql;      /* acceptable quality level: share of defectives that is fine; 0: none given */
    double ltpd;     /* lot tolerance percent defective, limiting quality: what must be rejected;
                        at least 1e-6 */
    double producer; /* risk that a lot at the AQL is rejected; 0.05. Not used without AQL */
    double consumer; /* risk that a lot at the LTPD is accepted; 0.10 */
    uint64_t lot;    /* 0: a process */
} tl_sampling_risks;

/* How many of a lot are defective at that share: at the AQL as many as it still allows (rounded
 * down), at the LTPD the first that is as bad (rounded up). */
uint64_t tl_sampling_defectives(uint64_t lot, double share, bool up);

/* P(accept) of the plan: where `share` of a process is defective, 0..1; of a lot, the nearest whole
 * number of items. */
double tl_sampling_accepts(const tl_sampling_plan *plan, double share);
/* The same of a lot with so many defectives, at most plan->lot. */
double tl_sampling_accepts_lot(const tl_sampling_plan *plan, uint64_t defectives);

/* The smallest plan that keeps both risks; without AQL the smallest one with accept = `accept` that
 * keeps the consumer's (how many audits with at most that many escapes show "at most LTPD" at
 * confidence 1 - consumer).
 * Errors: TL_EINVAL (a share or a risk outside its range, AQL not below LTPD; the text says which),
 * TL_ELIMIT (they are so near to each other that over TL_SAMPLING_ACCEPT_MAX would be accepted; or
 * the lot is too large). */
tl_status tl_sampling_find(const tl_sampling_risks *risks, uint64_t accept, tl_sampling_plan *out,
                           tl_error *err);

/* The share at which the plan accepts with that probability in (0, 1): producer's quality at .95,
 * indifference at .5, consumer's at .1. Of a lot: the largest share that is still accepted with at
 * least this probability. */
double tl_sampling_quality_at(const tl_sampling_plan *plan, double probability);

/* Average outgoing quality: the share of defectives that leaves when rejected lots are sorted piece
 * by piece and what was found is replaced by good items. Without a lot: what is not sampled is all
 * of it, P(accept) * share. */
double tl_sampling_outgoing(const tl_sampling_plan *plan, double share);
/* Its limit: the largest over all shares. *share_out (may be NULL): where. */
double tl_sampling_outgoing_limit(const tl_sampling_plan *plan, double *share_out);

/* ---- ISO 2859-1 -------------------------------------------------------------------------------- */

/* Lots by code letter (general inspection level II) and plans by code letter and AQL (normal
 * inspection, single sampling), 0.065 to 6.5 percent nonconforming; arrows of the master table are
 * followed, so `letter_out` is that of the plan, which may differ from the lot's. A sample as large
 * as the lot means all of it. `aql_percent` must be a step of the standard: 0.065, 0.10, 0.15, 0.25,
 * 0.40, 0.65, 1.0, 1.5, 2.5, 4.0, 6.5.
 * Checked (acceptance_test.c): all 165 plans against the published tables of MIL-STD-105E and ANSI/ASQ
 * Z1.4, which are those of ISO 2859-1:1989; the quality accepted with probability .95, .50 and .10 (or
 * .25) of 18 plans against tables X-C, X-H and X-Q of ISO 2859-1:1989. Not here: levels I, III and S-1
 * to S-4, letter R, AQLs below 0.065 and above 6.5, tightened and reduced inspection.
 * Errors: TL_EINVAL (another AQL: the text lists them; lot below 2), TL_ELIMIT. */
tl_status tl_sampling_iso2859(uint64_t lot, double aql_percent, tl_sampling_plan *out,
                              char *letter_out, tl_error *err);

#endif
