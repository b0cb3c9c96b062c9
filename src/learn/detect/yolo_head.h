/* yolo_head.h - the raw output of a YOLOv8 detector. Layer: learn. Any thread.
 *
 * For each scale a map [h, w, 4 * 16 + classes], where h and w are the input's over the stride. A
 * cell is an anchor at its middle, ((x + 0.5) * stride, (y + 0.5) * stride). Its first channels are
 * logits over the distances 0..15 (in strides) from there to the left, top, right and bottom side
 * of its box, 16 for each: the distance is their expectation (Li et al., "Generalized Focal Loss",
 * 2020). Then one logit a class. Anchors are numbered by scale, row, column. */
#ifndef TL_LEARN_YOLO_HEAD_H
#define TL_LEARN_YOLO_HEAD_H

#include "graph/graph.h"
#include "learn/detect/box.h"

enum {
    TL_YOLO_SCALE_MAX = 4,
    TL_YOLO_BINS = 16,
    TL_YOLO_BOX_CHANNELS = 4 * TL_YOLO_BINS,
    TL_YOLO_CLASS_MAX = 1024
};

typedef struct tl_yolo_scale {
    uint32_t height, width, stride;
    size_t first; /* number of its first anchor */
} tl_yolo_scale;

typedef struct tl_yolo_head {
    uint32_t scale_count, class_count;
    tl_yolo_scale scales[TL_YOLO_SCALE_MAX];
    size_t anchor_count;
} tl_yolo_head;

/* An anchor, in pixels of the input. */
typedef struct tl_yolo_anchor {
    uint32_t scale;
    size_t cell; /* row * width + column */
    double x, y, stride;
} tl_yolo_anchor;

/* Strides 8, 16, 32. TL_EINVAL: a side that is no multiple of 32, or a number of classes that is
 * out of range. */
tl_status tl_yolo_head_make(uint32_t height, uint32_t width, uint32_t class_count,
                            tl_yolo_head *out, tl_error *err);
/* What the first outputs of `graph` are: maps whose strides double from one to the next. TL_ESHAPE:
 * it is no such network. */
tl_status tl_yolo_head_of_graph(const tl_graph *graph, tl_yolo_head *out, tl_error *err);

/* Channels of each map. */
uint32_t tl_yolo_head_channels(const tl_yolo_head *head);
/* Floats of all maps of one item. */
size_t tl_yolo_head_floats(const tl_yolo_head *head);
tl_yolo_anchor tl_yolo_head_anchor(const tl_yolo_head *head, size_t anchor);
/* The channels of an anchor of item `item`; maps[s] is [batch, h, w, channels] of scale s. */
const float *tl_yolo_head_at(const tl_yolo_head *head, const float *const *maps, uint32_t item,
                             const tl_yolo_anchor *anchor);

/* Probabilities over one side's 16 distances, and their expectation. */
double tl_yolo_distance(const float *logits, double *probabilities);
/* Box (x1, y1, x2, y2) of an anchor in pixels, from its channels. */
void tl_yolo_box(const tl_yolo_anchor *anchor, const float *channels, double box[4]);

#endif
