/* mixture.h - blends heads by how well each has foretold the labels. Layer: learn. One owner
 * thread; a copy (tl_mixture is plain data) may be handed to serving threads.
 *
 * Each head's probabilities are first calibrated by two numbers learned online: an inverse
 * temperature a and an offset b of class 0 ("nothing to flag"): q_c ~ p_c^a exp(b [c = 0]). The
 * calibrated heads are averaged with weights that follow their log losses (fixed-share Hedge,
 * Herbster and Warmuth 1998): w_h ~ w_h exp(-eta loss_h), then w_h = (1 - share) w_h + share/heads.
 * The share keeps every weight above share/heads: no head is ever lost for good. */
#ifndef TL_LEARN_MIXTURE_H
#define TL_LEARN_MIXTURE_H

#include "base/blob.h"

enum { TL_MIXTURE_HEAD_MAX = 4 };

typedef struct tl_mixture_options {
    uint32_t head_count;                 /* 1..TL_MIXTURE_HEAD_MAX */
    double share;                        /* default 1/500 */
    double eta;                          /* default 0.5: two nats worse cost a factor e */
    double loss_max;                     /* a loss counts as at most this, nats; default 6 */
    double memory;                       /* labels that a calibration remembers; default 500 */
    double pseudo_count;                 /* labels' worth of belief in a = 1, b = 0; default 20 */
    double initial[TL_MIXTURE_HEAD_MAX]; /* weights to start from; all 0: equal */
} tl_mixture_options;

tl_mixture_options tl_mixture_options_default(uint32_t head_count);

/* Plain data; read freely, change only by the functions below. */
typedef struct tl_mixture {
    tl_mixture_options options;
    uint64_t labels;
    double weight[TL_MIXTURE_HEAD_MAX]; /* sum 1 */
    struct tl_calibration {
        double a, b;         /* inverse temperature, offset of class 0 */
        double curvature[3]; /* of the loss by (a, a), (a, b), (b, b), decayed */
    } calibration[TL_MIXTURE_HEAD_MAX];
    double loss[TL_MIXTURE_HEAD_MAX]; /* decayed mean calibrated log loss, for status */
} tl_mixture;

/* TL_EINVAL: an option out of bounds. */
tl_status tl_mixture_init(tl_mixture *mixture, const tl_mixture_options *options, tl_error *err);

/* Blend head_scores [head_count, class_count] (probabilities) into out [class_count]; sum 1. A head
 * that has nothing to say gives equal scores. */
void tl_mixture_combine(const tl_mixture *mixture, const float *head_scores, uint32_t class_count,
                        float *out);
/* Learn from the scores that were given before `label` was known. */
void tl_mixture_learn(tl_mixture *mixture, const float *head_scores, uint32_t class_count,
                      uint32_t label);

tl_status tl_mixture_save(const tl_mixture *mixture, tl_blob *blob, tl_error *err);
tl_status tl_mixture_load(tl_blob_reader *reader, tl_mixture *out, tl_error *err);

#endif
