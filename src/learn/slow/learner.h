/* learner.h - the slow learner: trains a whole network, label by label, on replay. Layer: learn
 * (above graph). One owner thread. A pure state machine: the same calls with the same items give
 * the same bits; what it needs besides is in tl_learner_save. It never looks at a clock or a file.
 *
 * Continuously: for each new labelled item it first predicts it with the averaged weights (its
 * prequential score), then takes one or more steps on the new item and replayed ones. The caller
 * publishes tl_learner_average when it sees fit. In campaigns: campaign.h. */
#ifndef TL_LEARN_LEARNER_H
#define TL_LEARN_LEARNER_H

#include "learn/pixels.h"
#include "learn/slow/optimizer.h"
#include "learn/slow/replay.h"

typedef struct tl_learner tl_learner;

typedef struct tl_learner_options {
    /* What an item is: an image of this form, or (feature_count > 0) a vector. */
    tl_pixels_form pixels;
    uint32_t feature_count;
    float feature_scale; /* vectors are multiplied by it; default 1 */

    uint64_t seed;                  /* of sampling and augmentation */
    uint32_t class_count;           /* classes that exist; at most the graph's outputs */
    uint32_t replay_per_label;      /* items replayed for each new one; default 8 */
    uint32_t labels_per_step;       /* new labels gathered for one step; default 1. The batch is
                                       labels_per_step * (1 + replay_per_label), at most 512 */
    uint32_t early_labels;          /* for the first so many labels ... default 0 */
    uint32_t early_steps;           /* ... so many steps instead of one; default 1 */
    bool augment;                   /* random symmetries, images only; default true */
    float label_smoothing;          /* default 0 */
    tl_optimizer_options optimizer; /* default AdamW, beta2 0.99, weight decay 0.01 */
    tl_schedule schedule; /* of labels; default 0.004 / (1 + labels / 2000)^0.5, warm-up 50 */
    double average_decay; /* default 0.998 */
    tl_replay_options replay;
    bool live_norm;   /* batch normalisation by batch statistics; default true */
    uint32_t threads; /* default 1; bits are reproducible for one number */
} tl_learner_options;

/* For images (feature_count 0) or vectors: the recipe for learning from nothing. */
tl_learner_options tl_learner_options_default(void);

/* Deliver the item `key`: into `pixels` [tl_pixels_item_bytes] (image, then template, always the
 * same for a key) or `features` [feature_count]; the other is NULL. Any error skips that item in
 * this step: it is told in the result, so that the caller can journal it, and must fail again when
 * the journal is replayed. */
typedef tl_status (*tl_learner_fetch)(void *context, uint64_t key, uint8_t *pixels, float *features,
                                      tl_error *err);

typedef struct tl_learner_result {
    bool predicted;  /* scores and log_loss hold */
    bool trained;    /* at least one step was taken */
    double log_loss; /* of the averaged weights on the new item before it was learned, nats */
    float scores[TL_CLASS_COUNT_MAX]; /* its probabilities */
    double train_loss;                /* mean over the last step's batch */
    double rate;                      /* learning rate of the last step */
    const uint64_t *skipped; /* keys that could not be fetched; borrowed until the next call */
    size_t skipped_count;
} tl_learner_result;

/* `graph` (retained): input as the options say, output 0 [classes or more]. `initial_flat`
 * [tl_graph_float_count] is copied. Errors: TL_EINVAL, TL_ESHAPE, TL_ENOMEM, TL_EUNSUPPORTED. */
tl_status tl_learner_create(tl_graph *graph, const float *initial_flat,
                            const tl_learner_options *options, tl_learner **out, tl_error *err);
void tl_learner_destroy(tl_learner **learner);

/* Test, then train, on one new labelled item. A key that is known already is relabelled instead,
 * and trained on again. An item that cannot be fetched is told as skipped and not remembered.
 * Errors: TL_EINVAL (label), TL_ENOMEM. TL_OK with result->trained false: nothing to train on, or a
 * step of non-finite gradients was left out. */
tl_status tl_learner_step(tl_learner *learner, uint64_t key, uint32_t label, tl_learner_fetch fetch,
                          void *context, tl_learner_result *result, tl_error *err);

/* Put an item that nobody labelled into a memory of its own, of the newest
 * TL_AUTOMATIC_MEMORY_MAX: a quarter of each batch is drawn from it, and weighs `weight` (0..1, that of
 * the newest call counts for all). A person's label for the item takes its place. Errors: TL_EINVAL
 * (label, weight), TL_ENOMEM. */
tl_status tl_learner_automatic(tl_learner *learner, uint64_t key, uint32_t label, float weight,
                               tl_error *err);
/* Those are not used again. */
void tl_learner_forget_automatic(tl_learner *learner);
size_t tl_learner_automatic_count(const tl_learner *learner);

/* Put one labelled item into the memory without a step: to be replayed with others. Errors:
 * TL_EINVAL (label), TL_ENOMEM. */
tl_status tl_learner_remember(tl_learner *learner, uint64_t key, uint32_t label, tl_error *err);

/* A withdrawn label: not used again. What was learned from it stays. False: not there. */
bool tl_learner_remove(tl_learner *learner, uint64_t key);
/* A corrected label, without training now. False: not there. TL_EINVAL labels are refused: false.
 */
bool tl_learner_relabel(tl_learner *learner, uint64_t key, uint32_t label);
/* Golden items are never trained on from now on, nor when their label comes later. TL_ENOMEM. */
tl_status tl_learner_exclude(tl_learner *learner, uint64_t key, bool excluded, tl_error *err);
/* Continue from other weights [tl_graph_float_count]: no momentum, the average starts there too.
 * What people labelled stays remembered, and so does the count of labels. */
void tl_learner_restart(tl_learner *learner, const float *flat);
/* Another replay_per_label from now on. TL_EINVAL, TL_ENOMEM; unchanged then. */
tl_status tl_learner_set_replay(tl_learner *learner, uint32_t replay_per_label, tl_error *err);
/* More classes; at most the graph's outputs: TL_ELIMIT. */
tl_status tl_learner_set_class_count(tl_learner *learner, uint32_t class_count, tl_error *err);

uint64_t tl_learner_labels(const tl_learner *learner); /* steps called with a label so far */
uint64_t tl_learner_steps(const tl_learner *learner);  /* optimiser steps so far */
/* The weights to publish, and the raw ones; [tl_graph_float_count], borrowed until the next call.
 */
const float *tl_learner_average(const tl_learner *learner);
const float *tl_learner_flat(const tl_learner *learner);
const tl_replay *tl_learner_replay(const tl_learner *learner);
/* Bytes of plans, vectors and memory. */
size_t tl_learner_bytes(const tl_learner *learner);
/* Over everything that tl_learner_save keeps. */
uint64_t tl_learner_digest(const tl_learner *learner);

/* Everything that the next step depends on, but the options and the graph. */
tl_status tl_learner_save(const tl_learner *learner, tl_blob *blob, tl_error *err);
/* Into a learner of the same graph and options. TL_ECORRUPT, TL_EVERSION, TL_ENOMEM; unchanged
 * then. */
tl_status tl_learner_load(tl_learner *learner, tl_blob_reader *reader, tl_error *err);

#endif
