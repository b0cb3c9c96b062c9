/* calibrator.h - what a score means as a probability of a defect, learned from selected labels.
 * Layer: stats. One owner thread a state.
 *
 * Labels fall into bins of the score's logit, each weighing min(1 / propensity, 10), so that a label
 * of a rarely audited kind counts for those that were not looked at. From the bins alone follow
 * Platt's sigmoid(a logit + b) (Platt 1999) by Newton's method, with pseudo-labels worth 10 that say
 * "the scores are right"; and from 1,000 defects on isotonic regression (pool adjacent violators:
 * Ayer et al. 1955), with the same pseudo-labels saying what Platt's curve says.
 *
 * The cap trades a little bias for much variance: for rankings and predictions (the f of
 * estimate/selective.h), never for estimates. Fitted by itself after each sixteenth more labels;
 * a fit takes some 50 us, an add otherwise some 20 ns. */
#ifndef TL_STATS_CALIBRATOR_H
#define TL_STATS_CALIBRATOR_H

#include "base/blob.h"

enum { TL_CALIBRATOR_BINS = 256 };

/* Plain data; change only by the functions below. */
typedef struct tl_calibrator {
    uint64_t labels, defects;
    uint64_t fitted_at; /* labels, at the last fit */
    double a, b;        /* Platt's curve */
    bool isotonic;      /* `curve` holds, else Platt's */
    double weight[TL_CALIBRATOR_BINS], defect_weight[TL_CALIBRATOR_BINS];
    double curve[TL_CALIBRATOR_BINS]; /* at the middles of the bins, rising */
} tl_calibrator;

void tl_calibrator_init(tl_calibrator *calibrator); /* says what the scores say */
/* A label of an item with that score (0..1) that was put before a person with that probability, in
 * (0, 1]; others are ignored. */
void tl_calibrator_add(tl_calibrator *calibrator, double score, bool defect, double propensity);
/* Probability of a defect, in 1e-6..1 - 1e-6, rising with the score. */
double tl_calibrator_read(const tl_calibrator *calibrator, double score);
/* Half of all weight: older labels count for less. */
void tl_calibrator_halve(tl_calibrator *calibrator);
/* Add another state's labels, and fit. */
void tl_calibrator_merge(tl_calibrator *calibrator, const tl_calibrator *other);

void tl_calibrator_save(const tl_calibrator *calibrator, tl_blob *blob);
/* Errors: TL_ECORRUPT, TL_EVERSION; *out is then untouched. */
tl_status tl_calibrator_load(tl_blob_reader *reader, tl_calibrator *out, tl_error *err);

#endif
