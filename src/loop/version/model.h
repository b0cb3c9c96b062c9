/* model.h - what answers at this moment: an immutable snapshot, swapped atomically.
 * Layer: loop. Made by the learner's thread, used by any; reference-counted. */
#ifndef TL_LOOP_MODEL_H
#define TL_LOOP_MODEL_H

#include "graph/graph.h"
#include "learn/fast/head.h"
#include "learn/fast/mixture.h"

#include <stdatomic.h>

enum { TL_MODEL_NETWORK, TL_MODEL_FAST, TL_MODEL_HEAD_COUNT }; /* order in head_scores */

typedef struct tl_model {
    _Atomic uint32_t references;
    uint64_t version, epoch;
    uint64_t key;    /* of a policy in shadow, see gate/shadow.h; else 0 */
    bool challenges; /* of one in shadow: it may be promoted */
    uint32_t class_count;
    tl_weights *weights;
    tl_head *head; /* NULL: the fast head knows nothing yet and says so (equal scores) */
    tl_mixture mixture;
    float threshold;
    bool cold;
} tl_model;

/* Takes over one reference each of `from`'s weights and head. NULL: out of memory (nothing taken).
 */
tl_model *tl_model_create(const tl_model *from);
void tl_model_retain(tl_model *model);
void tl_model_release(tl_model **model); /* NULL-safe; clears */

/* Scores of one item from the network's output and penultimate features.
 *   logits       [>= class_count]; outputs beyond belong to classes that do not exist yet
 *   features     [tl_graph_feature_count]
 *   head_scores  [TL_MODEL_HEAD_COUNT, class_count] probabilities of each head
 *   scores       [class_count] their calibrated mixture, sum 1 */
void tl_model_score(const tl_model *model, const float *logits, const float *features,
                    float *head_scores, float *scores);

/* The same for several models over the same weights: what they share is worked out once.
 * A row begins with tl_model_row_begin; logits and features are borrowed until the next one. */
typedef struct tl_model_row {
    const float *logits, *features;
    uint32_t class_count;              /* of `network`; 0: not worked out */
    float network[TL_CLASS_COUNT_MAX]; /* probabilities */
    tl_head_input input;
} tl_model_row;
void tl_model_row_begin(tl_model_row *row, const float *logits, const float *features);
void tl_model_score_row(const tl_model *model, tl_model_row *row, float *head_scores,
                        float *scores);

/* The index of the largest of `count` >= 1 values; of equal ones the first. */
uint32_t tl_model_most_likely(const float *values, size_t count);

/* The slot that holds the current model of a loop. Readers take a reference; the swap is one
 * pointer exchange under a lock that is held for a few instructions. */
typedef struct tl_model_slot tl_model_slot;
tl_status tl_model_slot_create(tl_model_slot **out);
void tl_model_slot_destroy(tl_model_slot **slot);
/* The current model with a reference for the caller; NULL before the first one was put in. */
tl_model *tl_model_slot_get(tl_model_slot *slot);
/* Takes over the caller's reference; releases the one before. */
void tl_model_slot_put(tl_model_slot *slot, tl_model *model);

#endif
