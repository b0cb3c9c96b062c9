/* loss.h - softmax cross-entropy. Layer: learn. Any thread. */
#ifndef TL_LEARN_LOSS_H
#define TL_LEARN_LOSS_H

#include "base/status.h"

typedef struct tl_loss_options {
    uint32_t width;            /* logits a sample */
    uint32_t class_count;      /* classes that exist; logits from there on are masked: 1..width */
    float label_smoothing;     /* share of the target spread over all classes; default 0 */
    const float *class_weight; /* [class_count] or NULL: 1 */
} tl_loss_options;

/* Mean weighted loss in nats, and its gradient by the logits.
 *   logits   [batch, width]
 *   labels   [batch], each below class_count
 *   weights  [batch] or NULL (1): a sample's own weight, times its class weight; 0 leaves it out
 *   losses   [batch] or NULL: each sample's -ln p(label), unweighted and without smoothing
 *   grad     [batch, width] or NULL: of the mean; 0 for masked logits
 * The mean is over the sum of weights; all weights 0: 0. Logits that are not finite give a loss
 * that is not finite. */
double tl_loss_cross_entropy(const tl_loss_options *options, const float *logits,
                             const uint32_t *labels, const float *weights, size_t batch,
                             float *losses, float *grad);

/* Probabilities [class_count] of one sample's logits. */
void tl_loss_softmax(const float *logits, uint32_t class_count, float *scores);

#endif
