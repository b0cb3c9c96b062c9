/* trainer_internal.h - what a trainer looks like inside: for trainer.c, judging.c and campaigns.c. */
#ifndef TL_LOOP_TRAINER_INTERNAL_H
#define TL_LOOP_TRAINER_INTERNAL_H

#include "learn/slow/campaign.h"
#include "loop/version/trainer.h"

/* Learning in campaigns: what is remembered between them. */
typedef struct tl_campaigns {
    tl_replay *replay; /* labelled items; note 1: a campaign has learned it */
    tl_automatic_memory automatic;
    uint64_t labels; /* remembered so far, and at the last campaign */
    uint64_t last_labels, count;
    bool due;
    tl_campaign *running;
} tl_campaigns;

struct tl_trainer {
    tl_loop_config config;
    tl_graph *graph;
    tl_item_reader *items;
    tl_featurizer *featurizer;
    tl_learner *learner; /* NULL unless learning is continuous */
    tl_campaigns campaigns;
    uint64_t ops, next_version;
    bool warm; /* versions have to prove themselves, once there are labels enough */
    /* The version that serves as far as the trainer knows: the parent of the next one. */
    uint64_t parent;
    tl_weights *parent_weights;
    tl_keymap golden; /* position -> label */
    /* The window that is filling. */
    double champion_loss, candidate_loss;
    uint32_t window_count, window_labels;
    uint64_t newest_key, skipped;
    tl_status failed; /* reading an item, for a reason that may pass */
};

/* trainer.c: an item for a learner; notes failures that may pass. */
tl_status tl_trainer_fetch(void *trainer, uint64_t key, uint8_t *pixels, float *features,
                           tl_error *err);
/* `version` serves: what comes is judged against it. */
void tl_trainer_take_parent(tl_trainer *trainer, const tl_version *version);
/* What is replayed, by either way of learning. */
const tl_replay *tl_trainer_memory(const tl_trainer *trainer);

/* judging.c: the candidate `flat` with evidence that lacks the golden set's; clears `skipped`. */
tl_status tl_trainer_judge(tl_trainer *trainer, const float *flat, size_t kept_max,
                           tl_judgement *judgement, tl_error *err);

/* campaigns.c */
tl_status tl_campaigns_create(tl_trainer *trainer, tl_error *err);
void tl_campaigns_destroy(tl_campaigns *campaigns);
tl_status tl_campaigns_do(tl_trainer *trainer, const tl_train_op *op, tl_error *err);
tl_status tl_campaigns_save(const tl_trainer *trainer, tl_blob *blob, tl_error *err);
tl_status tl_campaigns_load(tl_trainer *trainer, tl_blob_reader *body, tl_error *err);

#endif
