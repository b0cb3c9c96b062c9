/* core.h - the heart of a loop: what it knows, and how each event of the journal changes it.
 * Layer: loop. Single-threaded: one owner thread; no clock, no randomness, no waiting.
 *
 * State is a function of the journal: tl_core_step takes the events in the order of their positions
 * and the same events give the same state, bit for bit, on the same build and kind of machine. What
 * the slow learner made is handed in with the event that published it, so that a step never trains.
 *
 * Out of steps come a fresh model to serve when what is served changed (tl_core_model), and work
 * for the slow learner (tl_core_ops). */
#ifndef TL_LOOP_CORE_H
#define TL_LOOP_CORE_H

#include "learn/fast/threshold.h"
#include "loop/asking/queue.h"
#include "loop/config.h"
#include "loop/core/keymap.h"
#include "loop/item/featurizer.h"
#include "loop/item/items.h"
#include "loop/version/model.h"
#include "loop/version/version.h"
#include "stats/score/calibrator.h"

typedef struct tl_core tl_core;

/* ---- Work for the slow learner --------------------------------------------------------------- */

typedef enum tl_op_code {
    TL_TRAIN_LEARN = 1, /* key, label, champion_loss */
    TL_TRAIN_REMOVE,    /* key */
    TL_TRAIN_RELABEL,   /* key, label */
    TL_TRAIN_EXCLUDE,   /* key, label: now golden */
    TL_TRAIN_INCLUDE,   /* key: not golden any more */
    TL_TRAIN_RESTART,   /* key: version to continue from */
    TL_TRAIN_CLASSES,   /* key: how many classes there are */
    TL_TRAIN_CONFIGURE, /* the knobs changed; key: position of the event */
    TL_TRAIN_PARENT,    /* key: version that serves now, made by the trainer before */
    TL_TRAIN_REMEMBER,  /* key, label: too much waits; to be replayed, without a step of its own */
    TL_TRAIN_WARM, /* the loop has found its first defects: versions have to prove themselves */
    TL_TRAIN_AUTOMATIC, /* key, label, weight: nobody gave it; no step of its own */
    TL_TRAIN_FORGET     /* all automatic labels: they may be worse than was certified */
} tl_op_code;

typedef struct tl_train_op {
    uint8_t code; /* a tl_op_code */
    uint32_t label;
    uint64_t key;
    double champion_loss; /* log loss that the network head of the answering version had, nats */
    float weight;         /* in a batch, 0..1 */
} tl_train_op;

/* ---- Lifecycle ------------------------------------------------------------------------------- */

typedef struct tl_core_options {
    const tl_loop_config *config; /* copied */
    tl_graph *graph;              /* retained */
    tl_item_reader *items;        /* borrowed: joins, and features of labelled items */
} tl_core_options;

/* A loop that has seen nothing, not even its first version. Errors: TL_ENOMEM, TL_EUNSUPPORTED
 * (graph without a last Gemm). */
tl_status tl_core_create(const tl_core_options *options, tl_core **out, tl_error *err);
void tl_core_destroy(tl_core **core);

/* The state as bytes, and back into a core just created with the same options. The weights of
 * versions are not in it: loading reads the champion's from the journal. */
tl_status tl_core_save(tl_core *core, tl_blob *blob, tl_error *err);
tl_status tl_core_load(tl_core *core, tl_blob_reader *reader, tl_error *err);

/* ---- Steps ----------------------------------------------------------------------------------- */

/* Whether the record changes what the loop knows: predictions, feedback and events. A running loop
 * and one that catches up step exactly these. */
bool tl_core_wants(const tl_record *record);

/* Apply one event: feedback, an event, or a prediction; other records change nothing. With
 * "publish" comes the version that the slow learner made; *candidate is then taken over and
 * cleared. NULL: it is read from the journal. `outcome` (may be NULL) tells what feedback did.
 * Errors: those of reading the journal, and of memory; malformed events are TL_ECORRUPT. */
tl_status tl_core_step(tl_core *core, const tl_record *record, tl_version **candidate,
                       tl_feedback_state *outcome, tl_error *err);

/* What a repeated feedback request was answered: the state of the feedback at `record`. */
tl_status tl_core_outcome(tl_core *core, const tl_record *record, tl_feedback_state *outcome,
                          tl_error *err);

/* Training operations since the beginning, and those from number `from` (0-based) on: borrowed
 * until the next step. Operations below tl_core_forget_ops are gone. */
uint64_t tl_core_op_count(const tl_core *core);
const tl_train_op *tl_core_ops(const tl_core *core, uint64_t from, size_t *count);
void tl_core_forget_ops(tl_core *core, uint64_t below);

/* A model of the present state, with one reference; only after a first "publish". Solves the fast
 * head when it is stale. Only after tl_core_is_dirty said so does it differ from the one before. */
tl_status tl_core_model(tl_core *core, tl_model **out, tl_error *err);
bool tl_core_is_dirty(const tl_core *core);

/* ---- The gate -------------------------------------------------------------------------------- */

/* The policies that decide in shadow of what answers, each with one reference for the caller and its
 * key; returns how many. */
size_t tl_core_shadows(tl_core *core, tl_model *out[TL_GATE_SHADOW_MAX]);
bool tl_core_shadows_changed(const tl_core *core); /* since the call above */
/* Labels came since then that some of them learn along: the call above does so, which takes a pass
 * through the network a label. */
bool tl_core_shadows_follow(const tl_core *core);

/* A verdict that was reached and takes effect with its event: the kind of that event, and a number
 * that rises with each; NULL: none. */
const char *tl_core_verdict(const tl_core *core, uint64_t *number);
/* The body of that event (JSON). */
void tl_core_write_verdict(tl_core *core, tl_text *out);

/* How the policies in shadow stand, and what the gate did, newest first; return how many. */
size_t tl_core_standings(tl_core *core, tl_standing *out, size_t capacity);
size_t tl_core_gate_events(const tl_core *core, tl_gate_event *out, size_t capacity);

/* From a baseline to its first proven improvement, or to when it was given up. */
enum { TL_TTI_MAX = 64, TL_TTI_LIMIT = TL_TTI_MAX + TL_GATE_SHADOW_MAX };
typedef struct tl_tti {
    double seconds;
    uint64_t labels;
    bool proven; /* else censored */
} tl_tti;
/* Those of the newest baselines, and of the open one up to now; returns how many. */
size_t tl_core_ttis(const tl_core *core, tl_tti out[TL_TTI_LIMIT]);
/* Their medians; a pure function, on any thread. */
void tl_tti_describe(const tl_tti *ttis, size_t count, tl_loop_state *out);

/* Estimates from the items that were drawn for review. Errors: TL_ECONFLICT. */
tl_status tl_core_estimates(tl_core *core, tl_estimates *out, tl_error *err);
/* Where people look at what is not flagged, on the score; of a line that is not frozen nowhere. */
typedef struct tl_core_zones {
    double accept_below;        /* certified: at or above it a person decides; else INFINITY */
    double band_low, band_high; /* audits are denser there, until it is */
} tl_core_zones;
tl_core_zones tl_core_zones_of(const tl_core *core);
/* How much denser than usual audits are to be: after an alarm that items look different. */
double tl_core_audit_factor(const tl_core *core);
/* What scores mean as probabilities, by the answers on drawn items; borrowed until the next step.
 * NULL: there is no budget of review, and nobody asks. */
const tl_calibrator *tl_core_calibrator(const tl_core *core);

/* The open reviews of a person (0: of everybody) at that time, the most valuable first (asking/queue.h);
 * *out is malloc'ed. TL_ENOMEM. */
tl_status tl_core_reviews(const tl_core *core, uint64_t person, int64_t now_us,
                          tl_queue_entry **out, size_t *count, tl_error *err);

/* ---- Looking --------------------------------------------------------------------------------- */

/* The parts that the core knows, cheap enough for each round: of shares hits and counts only, and no
 * times to improvement. */
void tl_core_describe(tl_core *core, tl_loop_state *out);
const tl_loop_config *tl_core_config(const tl_core *core); /* knobs and classes as of now */
uint64_t tl_core_champion(const tl_core *core);
uint64_t tl_core_previous_champion(const tl_core *core); /* 0: none */
uint64_t tl_core_position(const tl_core *core);          /* last event applied */
uint64_t tl_core_decided_ops(const tl_core *core);       /* candidates up to this op were judged */
uint64_t tl_core_pending_count(const tl_core *core);
size_t tl_core_golden_count(const tl_core *core);
enum { TL_CORE_EVICTED_MAX = 512, TL_PAST_LIMIT = 17 };
/* The versions that may be returned to, the champion included; returns how many. */
size_t tl_core_kept(const tl_core *core, uint64_t out[TL_PAST_LIMIT]);
/* Versions that fell out of what can be rolled back to since the last call: their weights may be
 * dropped once a checkpoint of the present state is durable. Returns how many. */
size_t tl_core_take_evicted(tl_core *core, uint64_t out[TL_CORE_EVICTED_MAX]);
/* They were not dropped after all. */
void tl_core_put_evicted(tl_core *core, const uint64_t *numbers, size_t count);
size_t tl_core_evicted_count(const tl_core *core);
/* Positions of golden items in ascending order; out [tl_core_golden_count]. */
void tl_core_golden(tl_core *core, uint64_t *out);
bool tl_core_golden_changed(const tl_core *core); /* since the call above */
/* Of the fast head's statistics: equal for equal labelled items, in whatever order. */
uint64_t tl_core_stats_digest(const tl_core *core);
uint64_t tl_core_stats_total(const tl_core *core); /* examples in them */
/* A digest over the whole state, and the chained one over everything learned. */
uint64_t tl_core_full_digest(tl_core *core);

#endif
