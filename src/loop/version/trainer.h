/* trainer.h - the slow learner of one loop: works through the core's training operations, and
 * judges what came of them. Layer: loop. One owner thread.
 *
 * Continuously, it takes steps for each label, and every so many labels the average is a candidate.
 * In campaigns it only remembers labels, until there are enough new ones: then it is busy, with work
 * in pieces (tl_trainer_work), before it takes further operations.
 *
 * What it does is a function of the operations, their items and the seed: not of when it runs. So a
 * replay that hands it the same operations gets the same versions, bit for bit. */
#ifndef TL_LOOP_TRAINER_H
#define TL_LOOP_TRAINER_H

#include "gate/no_worse.h"
#include "learn/slow/learner.h"
#include "loop/core/core.h"

typedef struct tl_trainer tl_trainer;

/* What came of a window of labels. */
typedef struct tl_judgement {
    uint64_t ops;      /* judged after so many operations */
    uint64_t labels;   /* labels learned by then */
    uint64_t position; /* key of the newest item learned */
    uint64_t skipped;  /* samples that could not be fetched since the judgement before */
    tl_no_worse_evidence evidence;
    tl_no_worse_verdict verdict;
    tl_version *version; /* warmed up; owned by whoever got it; NULL when refused */
    bool challenges;     /* the version is to prove itself in shadow first */
    const char *origin;  /* "continuous" or "campaign" */
} tl_judgement;

typedef struct tl_trainer_options {
    const tl_loop_config *config; /* copied; classes and knobs as of now */
    tl_graph *graph;              /* retained */
    tl_item_reader *items;        /* borrowed */
    const tl_version *start;      /* the version to start from; borrowed for the call */
    uint64_t start_ops;           /* operations that are behind it */
} tl_trainer_options;

tl_status tl_trainer_create(const tl_trainer_options *options, tl_trainer **out, tl_error *err);
void tl_trainer_destroy(tl_trainer **trainer);

/* Do one operation. `restart` and `configure` belong to TL_TRAIN_RESTART and TL_TRAIN_PARENT (the
 * version) and TL_TRAIN_CONFIGURE (the configuration), else NULL. *judged is set when a window is full: then
 * *judgement is filled. Errors: TL_ENOMEM, and those of reading the journal. */
tl_status tl_trainer_do(tl_trainer *trainer, const tl_train_op *op, const tl_version *restart,
                        const tl_loop_config *configure, bool *judged, tl_judgement *judgement,
                        tl_error *err);

/* A campaign is due or under way: operations wait until it is done. */
bool tl_trainer_busy(const tl_trainer *trainer);
/* The next piece of it, only while busy. *judged is set with the last one. Errors as above. */
tl_status tl_trainer_work(tl_trainer *trainer, bool *judged, tl_judgement *judgement,
                          tl_error *err);

typedef struct tl_campaign_state {
    uint64_t campaigns;   /* judged so far */
    uint64_t done, steps; /* of the one under way; steps 0: none is */
    uint64_t next_labels; /* labels at which the next one starts; 0: learning is not in campaigns */
} tl_campaign_state;
void tl_trainer_campaign(const tl_trainer *trainer, tl_campaign_state *out);

uint64_t tl_trainer_ops(const tl_trainer *trainer);    /* done so far, start_ops included */
uint64_t tl_trainer_labels(const tl_trainer *trainer); /* learned so far */

/* What it replays; borrowed. */
const tl_replay *tl_trainer_replay(const tl_trainer *trainer);

tl_status tl_trainer_save(const tl_trainer *trainer, tl_blob *blob, tl_error *err);
/* Into a trainer just created. TL_ECORRUPT, TL_EVERSION, TL_ENOMEM. */
tl_status tl_trainer_load(tl_trainer *trainer, tl_blob_reader *reader, tl_error *err);

#endif
