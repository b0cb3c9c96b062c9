/* threshold.h - from which defect score on an item is flagged; and the window of recent items
 * behind the figures that people look at. Layer: learn. One owner thread.
 *
 * A ring of the last labelled items holds what was said of each before its label was known. The
 * threshold for the next item is the lowest one, at least `low`, at which the ring's precision
 * would have reached the target even with one false alarm more; but never so high that the ring's
 * recall would have fallen below `recall_min`, and never above `high`. With fewer than `labels_min`
 * items, or fewer than `defects_min` defects in the ring, it is `early`. */
#ifndef TL_LEARN_THRESHOLD_H
#define TL_LEARN_THRESHOLD_H

#include "base/blob.h"

typedef struct tl_threshold tl_threshold;

typedef struct tl_threshold_options {
    uint32_t window;         /* items; default 1000, 1..100,000 */
    double target_precision; /* default 0.994 */
    double recall_min;       /* default 0.97 */
    float low, high;         /* default 0.5 and 0.9 */
    float early;             /* default 0.9 */
    uint32_t labels_min;     /* default 300 */
    uint32_t defects_min;    /* default 20 */
} tl_threshold_options;

tl_threshold_options tl_threshold_options_default(void);
/* Errors: TL_EINVAL, TL_ENOMEM. */
tl_status tl_threshold_create(const tl_threshold_options *options, tl_threshold **out,
                              tl_error *err);
void tl_threshold_destroy(tl_threshold **threshold);

typedef struct tl_threshold_entry {
    uint64_t key;    /* the prediction's journal position */
    float score;     /* defect score that it was given */
    uint8_t defect;  /* the label says so */
    uint8_t flagged; /* as answered */
    uint8_t correct; /* the most likely class was the label */
} tl_threshold_entry;

/* Another target from the next value on, 0..1. */
void tl_threshold_set_target(tl_threshold *threshold, double target_precision);
void tl_threshold_learn(tl_threshold *threshold, const tl_threshold_entry *entry);
/* A withdrawn or corrected label: drop its entry, if it is still in the ring. */
void tl_threshold_forget(tl_threshold *threshold, uint64_t key);
/* For the next item. Computed on demand, O(window) after a change. */
float tl_threshold_value(tl_threshold *threshold);

/* Hits and counts over the ring, of the answers as they were given. */
typedef struct tl_window_counts {
    uint64_t items, defects, flagged;
    uint64_t flagged_defects; /* precision: of flagged; recall: of defects */
    uint64_t correct;         /* accuracy: of items */
} tl_window_counts;

void tl_threshold_counts(const tl_threshold *threshold, tl_window_counts *out);

tl_status tl_threshold_save(const tl_threshold *threshold, tl_blob *blob, tl_error *err);
tl_status tl_threshold_load(tl_blob_reader *reader, tl_threshold **out, tl_error *err);

#endif
