/* runtime.h - the threads around the cores, and what travels between them. Layer: loop.
 * Not for other modules: they see tightloop.h.
 *
 *   callers ──ops──> batcher ──entries──> journal's writer ──> answers
 *   callers ──entries──────────────────> journal's writer ──messages──> learner ──> models, answers
 *                                                         learner ──ops──> trainer ──judgements──┐
 *                                        journal's writer <──────────────entries─────────────────┘
 *
 * The learner's thread owns every core and is the only one that steps it. The batcher owns the
 * serving plans. The trainer's thread owns the trainers. Everything else goes through queues or
 * through the small locked parts below. */
#ifndef TL_LOOP_RUNTIME_H
#define TL_LOOP_RUNTIME_H

#include "base/histogram.h"
#include "base/id.h"
#include "base/queue.h"
#include "format/json.h"
#include "loop/core/core.h"
#include "loop/item/novelty.h"
#include "loop/threads/spans.h"
#include "loop/threads/waiter.h"
#include "loop/version/network.h"
#include "loop/version/trainer.h"
#include "review/labels/automatic.h"
#include "review/reviewer.h"

#include <pthread.h>
#include <stdio.h>

enum {
    TL_LOOP_MAX = 64,
    TL_PENDING_LIMIT = 65536, /* feedback that may wait for its prediction */
    TL_GOLDEN_LIMIT = 4096,
    TL_SIDE_MODEL_MAX = 4 /* kept versions other than the champion, ready to answer */
};

/* What comes to the learner. */
typedef enum tl_message_kind {
    TL_MESSAGE_FEEDBACK,   /* tl_feedback_op, committed */
    TL_MESSAGE_PREDICTION, /* tl_predict_op that brought ids, committed */
    TL_MESSAGE_EVENT,      /* tl_control_op, committed */
    TL_MESSAGE_JUDGEMENT,  /* tl_judgement_op, committed */
    TL_MESSAGE_CHECKPOINT, /* tl_checkpoint_op, written or failed */
    TL_MESSAGE_CONTROL,    /* tl_control_op without an event: barrier, checkpoint */
    TL_MESSAGE_VERDICT     /* tl_verdict_op */
} tl_message_kind;

typedef struct tl_message {
    tl_message_kind kind;
    tl_loop *loop;
} tl_message;

/* Predictions committed so far, and the position of the last one of them. */
typedef struct tl_seen {
    uint64_t predictions, flagged, reviews, position;
} tl_seen;

struct tl_loop {
    tl_runtime *runtime;
    uint32_t number;       /* in the journal */
    tl_loop_config config; /* as at opening; its info never changes: see `info` below */
    tl_graph *graph;
    tl_network_facts network;
    void *model_data; /* of a file that was just read, until the journal has it; else NULL */
    size_t model_bytes;
    tl_loop_config asks;    /* the same with the knobs in force: who is asked what */
    uint64_t pending_limit; /* feedback that may wait for its prediction */

    /* Any thread. */
    tl_model_slot *model;
    _Atomic uint64_t pending, trained_labels, decided_ops;
    _Atomic uint64_t inflight; /* items and feedback accepted and not yet answered */
    _Atomic bool paused;       /* learning: the trainer rests */
    tl_histogram answer_ns, applied_ns;
    /* The spans of applied_ns: arrival to commit, then a round's steps, then its new model. */
    tl_histogram commit_ns, update_ns, publish_ns;
    tl_spans spans; /* of versions */
    _Atomic bool closing;

    pthread_mutex_t mutex; /* of the block below */
    struct {
        tl_seen seen;
        tl_loop_info info;   /* classes grow */
        tl_loop_state state; /* as of the last step; shares and times are worked out by readers */
        tl_tti ttis[TL_TTI_LIMIT];
        size_t tti_count;
        tl_reviewer_policy review;
        tl_promotion promotion;
        bool automatic; /* labels that nobody gives */
        tl_core_zones zones;
        double audit_factor;        /* 1, or more after an alarm that items look different */
        tl_calibrator calibrator;   /* for the reviewer, while it has a budget */
        uint64_t calibrator_number; /* rises when it changes */
        uint64_t kept[TL_PAST_LIMIT], previous;
        size_t kept_count;
        uint64_t *golden; /* positions */
        size_t golden_count;
        tl_model *side[TL_SIDE_MODEL_MAX]; /* newest last */
        size_t side_count;
        tl_model *shadows[TL_GATE_SHADOW_MAX]; /* decide beside what answers */
        size_t shadow_count;
    } shared;

    /* Readers for rare look-ups by callers; each call holds the mutex. */
    pthread_mutex_t lookup_mutex;
    tl_item_reader lookup;

    /* The batcher's thread. */
    tl_plan *serving_plan;
    tl_reviewer *reviewer;
    tl_reviewer_policy review;
    tl_novelty *novelty; /* while there is a budget of review; NULL: none, or out of memory */
    tl_calibrator calibrator;
    uint64_t calibrator_number;

    /* The learner's thread. */
    tl_core *core;
    tl_item_reader core_items;
    uint8_t *trainer_state; /* newest saved state of the trainer, for the next checkpoint */
    size_t trainer_state_bytes;
    uint64_t trainer_state_ops, queued_ops;
    uint64_t checkpoint_position;
    int64_t checkpoint_ns;
    bool checkpoint_wanted;
    int64_t checkpoint_retry_ns;   /* after a failure: not before */
    uint64_t calibrator_fitted_at; /* of the calibrator that was shared */
    uint64_t verdict_number;       /* of the newest verdict that was handed to the journal */
    bool broken;                   /* a step failed: the core must be rebuilt before it goes on */
    int64_t rebuild_ns;            /* not before */

    uint64_t droppable[TL_CORE_EVICTED_MAX]; /* versions that only the older checkpoint needs */
    size_t droppable_count;

    /* The trainer's queue: ops [train_done, train_queued) wait. */
    pthread_mutex_t train_mutex;
    pthread_cond_t train_idle;
    tl_train_op *train_ops;
    size_t train_head, train_count, train_capacity;
    bool train_busy, train_due; /* at an operation; a campaign goes first */
    tl_campaign_state campaign;
    tl_status train_status; /* why it does not go on; TL_OK: it does */

    /* The trainer's thread. */
    tl_trainer *trainer;
    tl_item_reader trainer_items;
};

struct tl_runtime {
    tl_runtime_options options;
    char *path;
    const tl_env *env;
    tl_journal *journal;
    tl_queue *predict_queue; /* tl_predict_op */
    tl_queue *inbox;         /* tl_message, for the learner */
    pthread_t batcher, learner, trainer;
    bool batcher_runs, learner_runs, trainer_runs;

    pthread_mutex_t mutex; /* loops, listener */
    tl_loop *loops[TL_LOOP_MAX];
    size_t loop_count;
    tl_event_fn event_fn;
    void *event_context;

    pthread_mutex_t open_mutex;    /* one loop is opened at a time */
    pthread_mutex_t control_mutex; /* one call by hand at a time, from its checks to its event */
    _Atomic uint64_t waiting_items, waiting_feedback; /* of all loops: bounds the queues */

    pthread_mutex_t id_mutex;
    tl_id_maker ids;

    pthread_mutex_t train_mutex; /* wakes the trainer */
    pthread_cond_t train_wanted;
    _Atomic bool stopping;
};

/* ---- Messages to the learner ----------------------------------------------------------------- */

/* Room for `count` more in what waits, or false. Taken back when answered. */
bool tl_waiting_enter(_Atomic uint64_t *waiting, uint64_t count, uint64_t limit);

/* Push to the learner; its inbox has room for everything that is bounded elsewhere. */
void tl_message_post(tl_runtime *runtime, tl_message *message);
/* The same for what the learner need not see at once. */
void tl_message_post_quietly(tl_runtime *runtime, tl_message *message);

/* ---- Requests on their way ------------------------------------------------------------------- */

typedef struct tl_predict_op {
    tl_message message;
    tl_arena arena; /* everything below */
    tl_predict_done done;
    void *context;
    int64_t arrived_ns;
    size_t count, answered; /* items; how many the batcher has run */
    tl_status status;       /* the first failure while running */
    tl_error err;
    bool brought_ids, answer_later; /* once the learner has joined feedback that waits */
    tl_model *model;                /* answers; NULL until the batcher takes the champion */
    uint8_t *pixels;                /* [count, item bytes] */
    float *features;                /* [count, feature_count] */
    tl_record *records;             /* [count] */
    tl_prediction *predictions;     /* [count] */
    tl_journal_entry entry;
} tl_predict_op;

typedef struct tl_feedback_op {
    tl_message message;
    tl_arena arena;
    tl_feedback_done done;
    void *context;
    int64_t arrived_ns;
    size_t count;
    tl_record *records;
    tl_feedback_result *results;
    tl_status status; /* the first failure of applying it */
    tl_error err;
    tl_journal_entry entry;
} tl_feedback_op;

/* An event by hand; the caller waits. */
typedef struct tl_control_op {
    tl_message message;
    bool has_event, checkpoint; /* neither, and no look: a barrier */
    void (*look)(tl_core *core, void *context);
    void *look_context;
    tl_record record;
    tl_journal_entry entry;
    tl_status status; /* of applying it */
    tl_error err;
    tl_waiter waiter;
} tl_control_op;

typedef struct tl_judgement_op {
    tl_message message;
    tl_judgement judgement;
    tl_blob weights, trainer_state; /* of the version record; of the trainer after judging */
    tl_text body, metrics, skip;
    tl_record records[3];
    tl_journal_entry entry;
    tl_status status; /* of applying it */
    tl_waiter waiter; /* the trainer goes on when its version serves */
} tl_judgement_op;

/* A verdict of the gate on its way to being an event. */
typedef struct tl_verdict_op {
    tl_message message;
    tl_text body;
    tl_record record;
    tl_journal_entry entry;
    tl_status status; /* of the journal */
} tl_verdict_op;

typedef struct tl_checkpoint_op {
    tl_message message;
    tl_blob body;
    tl_record record;
    tl_journal_entry entry;
    uint64_t evicted[TL_CORE_EVICTED_MAX];
    size_t evicted_count;
    tl_status status;
} tl_checkpoint_op;

/* tl_runtime_open in another environment (NULL: the system's), and with the journal in an SQLite VFS
 * (NULL: the file system). For simulations. */
tl_status tl_runtime_open_in(const tl_runtime_options *options, const tl_env *env, const char *vfs,
                             tl_runtime **out, tl_error *err);
/* A slow learner belongs to this runtime. */
bool tl_runtime_trains(const tl_runtime *runtime);

/* ---- Threads --------------------------------------------------------------------------------- */

void *tl_batcher_main(void *runtime);
void *tl_learner_main(void *runtime);
void *tl_trainer_main(void *runtime);

/* batcher.c: answer an operation whose entry was committed, or failed, and hand it to the learner; one
 * that failed is freed. On the writer's thread. */
void tl_predict_op_answer(tl_predict_op *op, tl_status status, const tl_error *err);
void tl_predict_op_free(tl_predict_op *op);
/* An accepted operation was answered: frees it, and lets the loop close. */
void tl_predict_op_leave(tl_predict_op *op);
/* feedback.c: the same for feedback. */
void tl_feedback_op_free(tl_feedback_op *op);

/* verdict.c: hand a verdict that was reached to the journal, once. On the learner's thread. */
void tl_verdict_submit(tl_loop *loop);
/* It was committed, or failed; frees it. */
void tl_verdict_done(tl_verdict_op *op);

/* learner.c: after one or more steps: new model, figures, work for the trainer. */
tl_status tl_learner_settle(tl_loop *loop, tl_error *err);

/* open.c: step what the journal holds beyond the core's state; `seen` (may be NULL) counts it. */
tl_status tl_loop_catch_up(tl_loop *loop, tl_core *core, uint64_t after, tl_seen *seen,
                           tl_error *err);
/* The network of the loop's configuration: built in, or from the bytes that the journal keeps.
 * `items` is any reader of the loop. *flat is malloc'ed; `facts` may be NULL. */
tl_status tl_loop_make_graph(tl_loop *loop, tl_item_reader *items, tl_graph **graph, float **flat,
                             tl_network_facts *facts, tl_error *err);

/* checkpoint.c */
/* The core in a checkpoint, for comparing; graph and readers are the loop's. */
tl_status tl_checkpoint_read_core(tl_loop *loop, const tl_record *record, tl_core **out,
                                  tl_error *err);
tl_status tl_checkpoint_load(tl_loop *loop, tl_error *err);
/* The core anew from a checkpoint, or from nothing; *upto: the position that it is of. */
tl_status tl_checkpoint_load_core(tl_loop *loop, tl_core **out, uint64_t *upto, tl_error *err);
/* Queue a checkpoint of the present state, or wait for its commit. On the learner's thread. */
tl_status tl_checkpoint_queue(tl_loop *loop, tl_error *err);
tl_status tl_checkpoint_append(tl_loop *loop, tl_error *err);
/* A queued one was written, or failed; frees it. */
void tl_checkpoint_done(tl_checkpoint_op *op);
bool tl_checkpoint_is_due(const tl_loop *loop);

/* training.c */
tl_status tl_training_start(tl_loop *loop, tl_error *err);
/* One operation by the loop's trainer, with what it needs from the journal; the trainer may be busy
 * after it. */
tl_status tl_training_do(tl_loop *loop, const tl_train_op *op, bool *judged,
                         tl_judgement *judgement, tl_error *err);
/* Hand new operations of the core to the trainer. */
tl_status tl_training_feed(tl_loop *loop, tl_error *err);
/* Wait until the trainer has no operation of this loop left, or learning is paused; else why it
 * does not go on. */
tl_status tl_training_wait(tl_loop *loop, tl_error *err);
/* Whoever waits looks again. */
void tl_training_wake(tl_loop *loop);
/* The version of that judgement, trained again: its weights are not kept. Continues the loop's
 * trainer from where it is. */
tl_status tl_training_again(tl_loop *loop, uint64_t ops, tl_judgement *out, bool *judged,
                            tl_error *err);
/* A trainer that starts from the first version. */
tl_status tl_training_create(tl_loop *loop, const tl_version *start, tl_error *err);
/* What the trainer made: into service, or into shadow. */
bool tl_event_brings_version(const tl_record *record);
/* The number under `key` in the body of an event; 0: none. */
uint64_t tl_event_number(const tl_record *event, const char *key);
/* The first version, from the journal or made again. */
tl_status tl_version_first(tl_loop *loop, tl_version **out, tl_error *err);
/* The trainer lets go of this loop: what waits stays for the next opening. */
void tl_training_leave(tl_loop *loop);

/* control.c: journal an event and wait until it was applied. body: JSON text. */
tl_status tl_control_event(tl_loop *loop, const char *kind, const char *body, tl_error *err);
/* Wait until the learner has seen everything that was posted before. */
tl_status tl_control_barrier(tl_loop *loop, tl_error *err);
/* Look at the core on the thread that owns it; waits until it was done. */
tl_status tl_control_look(tl_loop *loop, void (*look)(tl_core *core, void *context), void *context,
                          tl_error *err);
/* A checkpoint of the present state; waits until it is durable. */
tl_status tl_control_checkpoint(tl_loop *loop, tl_error *err);

/* status.c: one line of JSON to the listener. */
void tl_event_emit(tl_loop *loop, const tl_record *record);

#endif
