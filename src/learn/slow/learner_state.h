/* learner_state.h - what a learner looks like inside. For learner*.c only. */
#ifndef TL_LEARN_LEARNER_STATE_H
#define TL_LEARN_LEARNER_STATE_H

#include "learn/slow/automatic_memory.h"
#include "learn/slow/learner.h"
#include "learn/train/step.h"

enum { TL_LEARNER_BATCH_MAX = 512 };

/* Keys in rising order. */
typedef struct tl_key_set {
    uint64_t *keys;
    size_t count, capacity;
} tl_key_set;

struct tl_learner {
    tl_learner_options options;
    tl_graph *graph;
    tl_plan *predict_plan;
    tl_step *step;                   /* of training, `batch` items */
    size_t float_count, input_count; /* floats of all parameters, and of one input */
    uint32_t width, batch;           /* logits; items in a step */
    uint32_t automatic_count;        /* of the batch at hand, its last ones */

    /* The state. */
    float *flat, *average;
    tl_optimizer *optimizer;
    tl_replay *replay;
    tl_automatic_memory automatic; /* labels that nobody gave */
    uint64_t labels, steps;
    tl_key_set excluded;
    uint64_t *pending; /* [labels_per_step] new keys that wait for their step */
    uint32_t pending_count;

    /* Work memory. */
    float *weights;          /* [batch] */
    uint32_t *targets;       /* [batch] */
    tl_replay_entry *chosen; /* [batch] */
    uint8_t *pixels;         /* one item, or NULL */
    float *features;         /* one item, or NULL */
    uint64_t *skipped;
    size_t skipped_count, skipped_max;
};

/* How the items of a batch are delivered: `fetched` is the key whose item lies in the learner's
 * item buffer already (valid when has_fetched). */
typedef struct tl_learner_source {
    tl_learner_fetch fetch;
    void *context;
    bool has_fetched;
    uint64_t fetched;
} tl_learner_source;

/* Get item `key` into the item buffer; notes it as skipped when that fails. */
bool tl_learner_get(tl_learner *learner, tl_learner_source *source, uint64_t key);
/* The item buffer as input `slot` of a plan. `key` is its item's: where its template fits is worked
 * out once and noted in the replay memory. */
void tl_learner_put(tl_learner *learner, tl_plan *plan, uint32_t slot, uint64_t key,
                    uint32_t transform);
/* Load learner->chosen [batch] into the training plan, with random symmetries. An item that cannot
 * be fetched weighs nothing and is filled with another one. False: none could be fetched. */
bool tl_learner_fill(tl_learner *learner, tl_learner_source *source, tl_rng *rng);
/* The gradient for that batch: tl_step_gradient. */
tl_status tl_learner_gradient(tl_learner *learner, float *flat, double *loss, tl_error *err);

bool tl_key_set_has(const tl_key_set *set, uint64_t key);

#endif
