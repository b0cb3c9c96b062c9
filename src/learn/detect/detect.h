/* detect.h - from a detector's raw maps to boxes, and how good boxes are. Layer: learn. Pure
 * functions; any thread. */
#ifndef TL_LEARN_DETECT_H
#define TL_LEARN_DETECT_H

#include "learn/detect/yolo_head.h"

/* ---- Boxes of an image ----------------------------------------------------------------------- */

typedef struct tl_detect_options {
    float score_min;    /* default 0.25; 0.001 to measure mean average precision */
    double overlap_max; /* a box that overlaps a better one of its class more is dropped; 0.7 */
    size_t count_max;   /* boxes of an image that are kept; default 300 */
    bool many_labels;   /* an anchor may give a box for every class above score_min, not only for
                           its most likely one; default false */
} tl_detect_options;

tl_detect_options tl_detect_options_default(void);

/* Boxes of one item before suppression, by falling score (equal ones by anchor, class). maps[s] is
 * [batch, h, w, channels] of scale s. Writes up to `capacity` (the best ones) and returns how many.
 */
size_t tl_detect_decode(const tl_yolo_head *head, const float *const *maps, uint32_t item,
                        const tl_detect_options *options, tl_detection *out, size_t capacity);
/* Drop what overlaps a better box of the same class (greedy non-maximum suppression), and what is
 * past count_max. Sorts by falling score; returns how many are left at the front. */
size_t tl_detect_suppress(const tl_detect_options *options, tl_detection *boxes, size_t count);

/* ---- Quality over many images ---------------------------------------------------------------- */

/* One image: what was found, and what is there. Borrowed. */
typedef struct tl_detect_image {
    const tl_detection *found;
    size_t found_count;
    tl_truths truths;
} tl_detect_image;

typedef struct tl_detect_quality {
    double map50;    /* mean over classes of the average precision at IoU 0.5 */
    double map50_95; /* the same, mean over IoU 0.5, 0.55 ... 0.95 */
    size_t classes;  /* with at least one box: those that count */
} tl_detect_quality;

/* Average precision as COCO has it (Lin et al., "Microsoft COCO", 2014): over all images of a class,
 * found boxes by falling score take the free box of their image and class that they overlap most, if
 * by at least the threshold; precision is made to fall with recall and averaged at recalls 0, 0.01
 * ... 1. No box anywhere: 0. TL_ENOMEM. */
tl_status tl_detect_measure(const tl_detect_image *images, size_t count, uint32_t class_count,
                            tl_detect_quality *out, tl_error *err);

typedef struct tl_detect_matched {
    double average_precision;         /* pooled over the classes: precision at each correct box */
    double precision, recall, f_mean; /* of all that was found */
} tl_detect_matched;

/* DeepPCB's rule (Tang et al., "Online PCB Defect Detector On A New PCB Defect Dataset", 2019): box
 * after box takes the first free one found that overlaps it by more than 0.33, whatever its class;
 * it is correct if the class agrees. TL_ENOMEM. */
tl_status tl_detect_measure_boards(const tl_detect_image *images, size_t count,
                                   tl_detect_matched *out, tl_error *err);

#endif
