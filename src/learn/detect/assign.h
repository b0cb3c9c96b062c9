/* assign.h - which anchors learn which box: the task-aligned assignment. Layer: learn. One thread
 * per workspace.
 *
 * Feng et al., "TOOD: Task-aligned One-stage Object Detection" (2021), as YOLOv8 has it. For a box
 * of class c, an anchor whose middle lies in the box has the metric p_c^alpha * u^beta, where p_c is
 * the anchor's probability of c and u the complete IoU (at least 0) of its box and this one. The
 * topk anchors of largest metric are the box's; an anchor that several boxes want goes to the one
 * that it overlaps most. The target of an anchor is its metric, scaled such that the largest of a
 * box is the largest overlap among the box's anchors. Anchors of metric 0 are left out (their
 * target would be 0); of equal metrics the first anchor wins. */
#ifndef TL_LEARN_ASSIGN_H
#define TL_LEARN_ASSIGN_H

#include "learn/detect/yolo_head.h"

enum { TL_ASSIGN_TOPK_MAX = 64 };

typedef struct tl_assign_options {
    uint32_t topk;      /* 1..TL_ASSIGN_TOPK_MAX; default 10 */
    double alpha, beta; /* default 0.5, 6 */
} tl_assign_options;

/* What an anchor is to learn. */
typedef struct tl_assigned {
    int32_t truth; /* index of its box, or -1: background */
    float target;  /* of the class of its box, 0..1 */
} tl_assigned;

typedef struct tl_assign tl_assign;

/* Work memory for images of up to `truth_max` boxes. TL_EINVAL, TL_ENOMEM. */
tl_status tl_assign_create(const tl_yolo_head *head, const tl_assign_options *options,
                           size_t truth_max, tl_assign **out, tl_error *err);
void tl_assign_destroy(tl_assign **assign); /* NULL-safe */
size_t tl_assign_bytes(const tl_assign *assign);

/* Item `item` of the maps; `truths` has at most truth_max boxes with labels below the head's
 * classes (asserted). Writes out [anchor_count]; returns the sum of the targets. */
double tl_assign_run(tl_assign *assign, const float *const *maps, uint32_t item,
                     const tl_truths *truths, tl_assigned *out);

#endif
