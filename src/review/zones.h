/* zones.h - three zones of the score: accept, review, reject, with certified escapes.
 * Layer: review (above stats). One owner thread; saved with the loop's state.
 *
 *     0 ------ accept ------ T_accept ------ review ------ T_reject ------ reject ------ 1
 *
 * An escape is a defect whose score lies below T_accept. For every threshold T of a grid the state
 * bets against "more than a of the defects score below T": each unit of evidence pays
 *     X_T = mean over its items of (A / pi) Y (a - 1{s < T}),   A drawn, Y defect,
 * whose mean is at most 0 where that is true, so wealth sum_j c_j prod (1 + l_j X_T / bound) passes
 * 1/(1-confidence) with at most that probability, ever, under continuous looking (Ville 1939). The
 * certified ceiling is the highest T up to which all lower ones have passed: the share missed only
 * grows with T, so a fixed sequence costs nothing for being 256 tests (Bates et al. 2021, Angelopoulos
 * et al. 2021; anytime and with drawn labels: Xu, Karampatziakis, Mineiro 2024).
 *
 * T_accept is a tracker that never exceeds the ceiling: after each verified defect it moves by
 * w (a - 1{missed}) times a step that decays (Gibbs & Candes 2021; decaying steps: Angelopoulos,
 * Barber, Bates 2024), so that it gives way where the ceiling, proven earlier, has become too high. A
 * detector (e-Shiryaev-Roberts: Shin, Ramdas, Rinaldo 2023) watches the same figure: at its alarm
 * the certificate ends and everything is to be reviewed until there is another one.
 *
 * What a certificate says: of the defects in the stream that was learned from, scored by this very
 * version. Conditions:
 *   - a frozen version: another one, or another image pipeline, is tl_zones_restart;
 *   - items at or above T_accept are all reviewed; those below are drawn by lot (reviewer.h), never
 *     with less than the `propensity_min` that is told with them;
 *   - every drawn item is learned, once, answered or timed out. Timed out counts as an escape for
 *     each T above its score: a bound, not an estimate;
 *   - one call a unit of evidence (board or lot): defects come in clusters. With units of unlike
 *     size each defect weighs 1 / size of its unit;
 *   - the share missed is that found by people: see people.h for their own misses. */
#ifndef TL_REVIEW_ZONES_H
#define TL_REVIEW_ZONES_H

#include "base/blob.h"

enum { TL_ZONES_GRID = 256, TL_ZONES_WORDS_BYTES = 320 };

typedef struct tl_zones_policy {
    double escapes_max;  /* a: of the defects, missed at most; (0, 0.5]; 0.01 */
    double confidence;   /* (0.5, 1); 0.95 */
    double alarm_length; /* mean verified units with a defect between alarms without cause; 1e5 */
    double reject_at;    /* T_reject, score; 1 or more: nothing is rejected unseen; 1 */
} tl_zones_policy;

tl_zones_policy tl_zones_policy_default(void);
/* NULL when it can be used, else what is wrong, in words. Static. */
const char *tl_zones_policy_check(const tl_zones_policy *policy);

/* One item of a unit. Scores are probabilities of a defect, 0..1. */
typedef struct tl_zones_item {
    double score;
    bool drawn;            /* put before a person with a known probability, volunteered ones not */
    bool answered;         /* else timed out; void unless drawn */
    bool defect;           /* void unless answered */
    double propensity;     /* of being drawn, (0, 1]; void unless drawn */
    double propensity_min; /* the least that any item could have had at that time, (0, 1]; where it
                              is 0 there is nothing to certify: do not learn */
    size_t unit_items;     /* of its unit, drawn or not; 0: as many as are given */
} tl_zones_item;

typedef struct tl_zones tl_zones;

/* NULL: out of memory. The policy must pass its check. */
tl_zones *tl_zones_create(const tl_zones_policy *policy);
void tl_zones_destroy(tl_zones **zones);
/* A new version, or a new policy: evidence begins anew. */
void tl_zones_restart(tl_zones *zones, const tl_zones_policy *policy);
/* Another end of the review zone; nothing begins anew, as escapes do not depend on it. */
void tl_zones_set_reject(tl_zones *zones, double reject_at);

/* The items of one unit of evidence, count >= 1: all of them, or only the drawn ones with how many
 * there are in `unit_items`. (A mean over the drawn ones alone is biased: a miss that is drawn would
 * count half beside a defect that was flagged.) Units of which nothing was drawn may be left out.
 * Units in any order that does not depend on their labels (the order of prediction).
 * Errors: TL_EINVAL (a score or probability out of range, a propensity below the least one,
 * unit_items below count);
 * nothing is learned then. */
tl_status tl_zones_learn(tl_zones *zones, const tl_zones_item *items, size_t count, tl_error *err);

typedef struct tl_zones_reading {
    double accept_below; /* T_accept; 0: nothing is accepted unseen */
    double ceiling;      /* certified; 0: none */
    double reject_at;
    bool certified;
    bool alarmed; /* an alarm ended the last certificate, and there is none since */
    double escapes_max, confidence;
    uint64_t labels;            /* drawn and answered */
    uint64_t timeouts;          /* drawn and not answered */
    uint64_t defects_verified;  /* of the labels */
    uint64_t escapes_verified;  /* of these, below the wanted threshold */
    double escapes;             /* estimated share of defects below it, weighted; NaN: no defects */
    double needed_defects;      /* verified, still, for the wanted threshold; 0: it is certified;
                                  INFINITY: not to be certified, too many are missed there */
    double needed_labels;       /* the same in answers, at the present rate of defects among them;
                                  NaN: that rate is not known yet */
    double band_low, band_high; /* where audits should be denser: just below the wanted one */
    char words[TL_ZONES_WORDS_BYTES]; /* all of it, for people */
} tl_zones_reading;

/* How far a certificate for `wanted` (a threshold on the score, 0..1) has come. */
void tl_zones_read(const tl_zones *zones, double wanted, tl_zones_reading *out);

/* ---- What a certificate will cost, before it is asked for ------------------------------------ */

typedef struct tl_zones_plan {
    double escapes_max, confidence;
    double escapes;           /* true share missed, as far as it is known; 0: the best case */
    double propensity_min;    /* least probability of an audit anywhere below the threshold */
    double propensity_missed; /* that of the defects that are missed, mostly in the band */
    double prevalence;        /* defects among items */
    double flagged;           /* share of items above the threshold, all reviewed */
    double audits;            /* mean probability of an audit of the others */
} tl_zones_plan;

typedef struct tl_zones_need {
    double defects; /* verified; INFINITY: cannot be certified */
    double items;   /* that pass */
    double labels;  /* answers of people */
} tl_zones_need;

/* By the mean growth of the evidence, units of one item: exact when nothing is missed, otherwise
 * between the median and the 90th percentile (bench certificates). Errors: TL_EINVAL names the field. */
tl_status tl_zones_forecast(const tl_zones_plan *plan, tl_zones_need *out, tl_error *err);

/* ---- Saving ---------------------------------------------------------------------------------- */

void tl_zones_save(const tl_zones *zones, tl_blob *blob);
/* Errors: TL_ECORRUPT, TL_EVERSION, TL_ENOMEM; then *out is untouched. */
tl_status tl_zones_load(tl_blob_reader *reader, tl_zones **out, tl_error *err);

#endif
