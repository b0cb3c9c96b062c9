/* yolo_loss.h - the losses of YOLOv8 and their gradient by the raw head. Layer: learn. One owner
 * thread.
 *
 * Targets come from assign.h; S is their sum over the batch, at least 1. Of the foreground anchors,
 * each weighted by its target:
 *   box       sum of (1 - complete IoU of prediction and box) / S
 *   distance  distribution focal loss (Li et al., "Generalized Focal Loss", 2020): for each side
 *             the cross-entropy to the two bins beside the true distance (in strides, at most
 *             14.99), weighted by nearness; the mean of the four sides; summed, over S
 * Of all anchors and classes:
 *   classes   binary cross-entropy to the target (0 but for the class of the anchor's box), summed,
 *             over S
 * The total is box_gain * box + class_gain * classes + distance_gain * distance. (Ultralytics'
 * trainer multiplies that by the batch; here it is the learning rate's affair.) */
#ifndef TL_LEARN_YOLO_LOSS_H
#define TL_LEARN_YOLO_LOSS_H

#include "learn/detect/assign.h"

typedef struct tl_yolo_loss_options {
    tl_yolo_head head;
    uint32_t batch_max;
    uint32_t truth_max; /* boxes in one image; default 1,024 */
    tl_assign_options assign;
    double box_gain, class_gain, distance_gain; /* default 7.5, 0.5, 1.5 */
} tl_yolo_loss_options;

tl_yolo_loss_options tl_yolo_loss_options_default(const tl_yolo_head *head, uint32_t batch_max);

typedef struct tl_yolo_parts {
    double total;                  /* with the gains */
    double box, classes, distance; /* without */
    double target_sum;             /* before "at least 1" */
    size_t foreground;             /* anchors */
} tl_yolo_parts;

typedef struct tl_yolo_loss tl_yolo_loss;

/* Everything is allocated here. TL_EINVAL, TL_ENOMEM. */
tl_status tl_yolo_loss_create(const tl_yolo_loss_options *options, tl_yolo_loss **out,
                              tl_error *err);
void tl_yolo_loss_destroy(tl_yolo_loss **loss); /* NULL-safe */
size_t tl_yolo_loss_bytes(const tl_yolo_loss *loss);

/* Loss of a batch of 1..batch_max items.
 *   maps    [scale_count], each [batch, h, w, channels]
 *   truths  [batch]; boxes in pixels of the input
 *   parts   the means
 *   grad    NULL, or of parts->total by the maps: one map after the other, each [batch, h, w,
 *           channels], as tl_plan_train_backward takes it
 * Maps that are not finite give a loss that is not finite. TL_EINVAL: too many boxes in an image or
 * a label that is no class; then nothing was written. */
tl_status tl_yolo_loss_run(tl_yolo_loss *loss, const float *const *maps, uint32_t batch,
                           const tl_truths *truths, tl_yolo_parts *parts, float *grad,
                           tl_error *err);

#endif
