/* automatic.h - labels that nobody gave: where the model may label items for its own training.
 * Layer: review (above stats). Plain state, one owner thread; saved with the loop's state.
 *
 * Calls are sorted by what they say (good, defect) and by how sure they are, in 32 bins of the
 * probability each. A bin's calls become labels only when a confidence sequence over its audited
 * calls has its precision above `precision` (beta-binomial, Robbins 1970: valid at every look; each
 * bin at (1 - confidence) / 64, so that all of them are right together with `confidence`). A detector
 * (e-Shiryaev-Roberts) goes on watching the audits of a certified bin and ends its certificate.
 *
 * Conditions:
 *   - the audits of a bin are drawn regardless of anything but their bin: a plain random sample, and
 *     all of it; calls that were picked because they were uncertain are not among them;
 *   - a frozen version: after another one is published, tl_automatic_restart;
 *   - an automatic label weighs `weight` in training, is at most half of a batch, and is never
 *     evidence: not for a gate, an estimate, a threshold, or this state. */
#ifndef TL_REVIEW_LABELS_AUTOMATIC_H
#define TL_REVIEW_LABELS_AUTOMATIC_H

#include "base/blob.h"
#include "stats/detector.h"

enum { TL_AUTOMATIC_BINS = 32, TL_AUTOMATIC_WORDS_BYTES = 200 };

typedef struct tl_automatic_policy {
    double precision;    /* [0.5, 1); 0.995 */
    double confidence;   /* (0.5, 1); 0.95 */
    double weight;       /* of a label in training, 0..1; 0: no automatic labels; 0.3 */
    double alarm_length; /* mean audits of a bin between alarms without cause; 1e5 */
} tl_automatic_policy;

tl_automatic_policy tl_automatic_policy_default(void);
/* NULL when it can be used, else what is wrong, in words. Static. */
const char *tl_automatic_policy_check(const tl_automatic_policy *policy);

typedef struct tl_automatic_bin {
    uint64_t audits, errors;
    bool certified;
    tl_detector detector;
} tl_automatic_bin;

/* Plain data; change only by the functions below. */
typedef struct tl_automatic {
    tl_automatic_policy policy;
    tl_automatic_bin bin[2][TL_AUTOMATIC_BINS]; /* calls of good, calls of a defect */
} tl_automatic;

/* The policy must pass its check. */
void tl_automatic_init(tl_automatic *automatic, const tl_automatic_policy *policy);
void tl_automatic_restart(tl_automatic *automatic);

/* An audited call: the model called it a defect or good with that probability (of what it called,
 * 0..1; calls below one half are never certified), and a person did or did not find the same. True:
 * with it the certificate of its bin ended. */
bool tl_automatic_audit(tl_automatic *automatic, bool called_defect, double probability, bool same);
/* What the call weighs in training as a label; 0: it is none. */
double tl_automatic_weight(const tl_automatic *automatic, bool called_defect, double probability);

/* How sure a call is, in few steps that fit a log: 1..TL_AUTOMATIC_CALL_MAX by its log odds, 0: less.
 * And a probability in the middle of such a step, in whose bin all of its calls are sorted. */
enum { TL_AUTOMATIC_CALL_MAX = 7 };
uint32_t tl_automatic_call(double probability);
double tl_automatic_call_probability(uint32_t call);

uint32_t tl_automatic_certified(const tl_automatic *automatic); /* bins */

typedef struct tl_automatic_reading {
    uint32_t certified;                          /* bins, of 2 x TL_AUTOMATIC_BINS */
    uint64_t certified_audits, certified_errors; /* in them */
    uint64_t audits;                             /* in all bins */
    double good_above;    /* least probability of a certified call of good; NaN: none */
    double defect_above;  /* the same of a defect */
    double needed_audits; /* more, all of them right, until the next bin; INFINITY: none in sight */
    char words[TL_AUTOMATIC_WORDS_BYTES];
} tl_automatic_reading;

void tl_automatic_read(const tl_automatic *automatic, tl_automatic_reading *out);

void tl_automatic_save(const tl_automatic *automatic, tl_blob *blob);
/* Errors: TL_ECORRUPT, TL_EVERSION; *out is then untouched. */
tl_status tl_automatic_load(tl_blob_reader *reader, tl_automatic *out, tl_error *err);

#endif
