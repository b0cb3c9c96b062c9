/* box.h - axis-aligned boxes and how much they overlap. Layer: learn. Any thread.
 * Coordinates are pixels of an image, x to the right, y down; a box covers x1..x2, y1..y2, and its
 * area is (x2 - x1) * (y2 - y1). */
#ifndef TL_LEARN_BOX_H
#define TL_LEARN_BOX_H

#include "base/status.h"

typedef struct tl_box {
    float x1, y1, x2, y2;
} tl_box;

/* What a person drew. */
typedef struct tl_truth {
    tl_box box;
    uint32_t label;
} tl_truth;

/* All of one image; borrowed. */
typedef struct tl_truths {
    const tl_truth *items;
    size_t count;
} tl_truths;

/* What a network found. */
typedef struct tl_detection {
    tl_box box;
    float score; /* 0..1 */
    uint32_t label;
} tl_detection;

/* 0 where a side is not above 0. */
double tl_box_area(const tl_box *box);
/* Intersection over union, 0..1; 0 when both are empty. */
double tl_box_iou(const tl_box *a, const tl_box *b);

/* Complete IoU of two boxes (x1, y1, x2, y2): the overlap less the squared distance of the centres
 * over the squared diagonal of what encloses both, less a term for unequal aspect (Zheng et al.,
 * "Enhancing Geometric Factors in Model Learning and Inference for Object Detection and Instance
 * Segmentation", 2020), with 1e-7 against divisions by 0 as YOLOv8 has it. `grad` [4] or NULL: by
 * the coordinates of `box`, the weight of the aspect term held constant. */
double tl_box_complete_iou(const double box[4], const double target[4], double *grad);

#endif
