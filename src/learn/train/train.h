/* train.h - train a network on a data set, in epochs: classes or boxes, from scratch or from given
 * weights, all layers or the last ones. Layer: learn (above graph). One owner thread.
 *
 * The same graph, options and items give the same bits for one number of threads. Everything is
 * allocated at creation; a step asks for `batch` items (with mosaic four times as many). */
#ifndef TL_LEARN_TRAIN_H
#define TL_LEARN_TRAIN_H

#include "learn/augment/augment.h"
#include "learn/train/step.h"

typedef struct tl_train tl_train;

/* One labelled item; borrowed until the next is asked for. */
typedef struct tl_train_item {
    tl_augment_source source; /* its size may differ from item to item; detect: with its boxes */
    uint32_t label;           /* classify */
} tl_train_item;

/* Deliver item `index` < count. An error ends the training with that error. */
typedef tl_status (*tl_train_fetch)(void *context, size_t index, tl_train_item *out, tl_error *err);

typedef struct tl_train_options {
    tl_task task;
    tl_pixels_form form;            /* what the network takes */
    size_t count;                   /* items; 1 or more */
    double epochs;                  /* passes, each in an order of its own; default 10 */
    uint32_t batch;                 /* default 16 */
    uint32_t threads;               /* default 1 */
    tl_precision precision;         /* as tl_plan_options; default float32 */
    uint64_t seed;                  /* of order and augmentation; default 1 */
    uint32_t class_count;           /* classify: 0: all outputs */
    float label_smoothing;          /* classify; default 0 */
    const float *class_weight;      /* classify: [class_count] or NULL; borrowed */
    uint32_t truth_max;             /* boxes of an item; default 1,024 */
    tl_optimizer_options optimizer; /* default AdamW, gradients clipped to norm 10. Its
                                       trained_stages 1 trains a last layer on a frozen backbone */
    bool live_norm;                 /* batch normalisation by batch statistics; default true */
    double rate;                    /* peak; default 1e-3 */
    double warmup_share;            /* of all steps, rising; default 0.05; then half a cosine ... */
    double final_share;             /* ... down to this share of the peak; default 0.01 */
    double average_decay;           /* of the weights' moving average; default 0.999 */
    float l2_to_start;              /* pull towards the starting weights; default 0 */
    double interpolation;           /* result = start + a (average - start); default 1 */
    tl_augment_options augment;     /* default none */
    double plain_share;             /* of the steps, at the end, without mosaic; default 0.1 */
} tl_train_options;

/* For the task: classification augments by tl_augment_options_classify, detection by ..._detect. */
tl_train_options tl_train_options_default(tl_task task);

/* `graph` is retained; `start` [tl_graph_float_count] is copied. TL_EINVAL, TL_ESHAPE (the network's
 * input is not what the form gives), TL_ENOMEM, TL_EUNSUPPORTED. */
tl_status tl_train_create(tl_graph *graph, const float *start, const tl_train_options *options,
                          tl_train_fetch fetch, void *context, tl_train **out, tl_error *err);
void tl_train_destroy(tl_train **train); /* NULL-safe */
size_t tl_train_bytes(const tl_train *train);

typedef struct tl_train_progress {
    uint64_t step, steps; /* taken; in all */
    double epoch;         /* passes so far */
    double rate;
    tl_step_loss loss; /* of the last step */
    uint64_t left_out; /* steps that were not finite */
} tl_train_progress;

/* One step; false in *more after the last. A step of numbers that are not finite is left out, but
 * 100 in a row end it: TL_EINVAL. Errors of fetch; TL_EINVAL (a label out of range). */
tl_status tl_train_step(tl_train *train, tl_train_progress *progress, bool *more, tl_error *err);
/* All steps. `on_step` is told of each and returns false to stop: TL_ECLOSED then. It may be NULL. */
tl_status tl_train_run(tl_train *train,
                       bool (*on_step)(void *context, const tl_train_progress *now), void *context,
                       tl_error *err);
/* The weights so far, averaged and interpolated: out [tl_graph_float_count]. */
void tl_train_result(const tl_train *train, float *out);

/* ---- Looking --------------------------------------------------------------------------------- */

/* An item as serving sees it: fitted, nothing random, into input [form's shape]; its boxes (may be
 * NULL) where they come to lie. Borrowed until the next call. */
tl_status tl_train_view(tl_train *train, size_t index, float *input, tl_truths *truths,
                        tl_error *err);

#endif
