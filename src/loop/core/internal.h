/* internal.h - the core's state, shared by the core_*.c files. Not for other modules. */
#ifndef TL_LOOP_INTERNAL_H
#define TL_LOOP_INTERNAL_H

#include "format/json.h"
#include "loop/asking/again.h"
#include "loop/asking/people.h"
#include "loop/core/core.h"
#include "loop/core/standing.h"
#include "loop/gate/shadow.h"
#include "review/check.h"
#include "review/labels/automatic.h"
#include "review/labels/suspects.h"
#include "review/labels/trust.h"
#include "review/zones.h"
#include "stats/estimate/selective.h"
#include "stats/score/calibrator.h"
#include "stats/score/conformal.h"

enum {
    TL_PAST_MAX = 16,       /* versions that can be rolled back to */
    TL_PENDING_MAX = 65536, /* feedback that waits for its prediction */
    TL_GOLDEN_MAX = 4096,
    TL_BACKLOG_MIN = 4096, /* labels that may wait for a gradient step, see push_learn */
    TL_BACKLOG_OPS_MAX = 1 << 16,
    TL_JOIN_ARENA_BYTES = 64 << 20
};

/* A version that served before, with its fast head as it was when it was replaced. */
typedef struct tl_past {
    uint64_t number;
    tl_head *head; /* NULL: it had none */
    tl_mixture mixture;
    float threshold;
    bool pinned; /* doing the training again needs its weights */
} tl_past;

/* An item that was put before a person, until it is answered or timed out. */
typedef struct tl_drawn {
    uint64_t key;
    int64_t time_us;
    uint64_t unit;            /* of evidence; 0: its own */
    uint64_t subject, person; /* see asking/people.h; person 0: anybody */
    float score, propensity;
    uint8_t reason; /* a tl_review_reason */
    uint8_t call;   /* of a plain audit: how sure the version's own head was; else 0 */
    bool flagged, answered, blind;
    bool disputed;   /* a policy in shadow decided otherwise */
    bool by_another; /* somebody else than `person` has answered */
} tl_drawn;

enum { TL_DRAWN_MAX = 16384, TL_ZONE_UNIT_MAX = 64, TL_ZONE_ITEM_MAX = 16 };

/* How many items a unit has had, drawn or not. */
typedef struct tl_unit_size {
    uint64_t key;
    uint32_t items;
} tl_unit_size;

/* Answers on one unit, until newer units push it out. */
typedef struct tl_zone_unit {
    uint64_t key;
    size_t count;
    tl_zones_item items[TL_ZONE_ITEM_MAX];
} tl_zone_unit;

/* What people's answers say of what serves (gate/review.c). */
typedef struct tl_core_review {
    tl_selective estimates;
    uint64_t since;    /* of items after this position */
    tl_keymap counted; /* position -> label: drawn items whose answers are in the estimates */
    bool warm;         /* the loop was cold no more; before, what served changed with each label */
    tl_zones *zones;
    tl_zone_unit units[TL_ZONE_UNIT_MAX]; /* oldest first */
    size_t unit_count;
    tl_unit_size sizes[TL_ZONE_UNIT_MAX]; /* of the newest units, a ring */
    uint32_t size_at, largest;            /* and the largest of all */
    tl_drawn *drawn; /* ring [TL_DRAWN_MAX], oldest first; beyond, the oldest is timed out */
    size_t drawn_begin, drawn_count;
    tl_review_check *check;
    tl_suspects suspects;
    tl_calibrator calibrator; /* of what serves; learns only with a budget of review */
    tl_conformal drift;
    uint64_t drift_alarms, drift_left; /* items for which audits are still denser */
} tl_core_review;

/* Labels that nobody gave (gate/automatic.c). */
typedef struct tl_core_automatic {
    tl_automatic calls;
    uint64_t version; /* whose calls they are; 0: none, or switched off */
    uint64_t since;   /* predicted after this position */
    uint32_t classes;
    uint64_t given_at;      /* label_events when the last ones were given, */
    uint32_t given;         /* and how many since then */
    uint64_t labels, ended; /* ever: given; certificates that ended */
    bool forget;            /* one ended in this step */
} tl_core_automatic;

static inline tl_drawn *tl_drawn_at(const tl_core_review *review, size_t index)
{
    return &review->drawn[(review->drawn_begin + index) % TL_DRAWN_MAX];
}

/* A label that was learned, and from whom. */
typedef struct tl_learned {
    uint64_t key, source;
    uint32_t label;
} tl_learned;

enum { TL_LEARNED_MAX = 8192, TL_HELD_MAX = 1 << 27 };

/* Whom not to learn from (gate/trust.c). */
typedef struct tl_core_trust {
    tl_trust sources;
    tl_keymap held;                     /* position -> label: it stands, and is not learned from */
    tl_learned learned[TL_LEARNED_MAX]; /* ring: what may have to be taken out again */
    uint32_t learned_at, learned_count;
} tl_core_trust;

/* A site by its hash, and as people call it (gate/sites.c). */
typedef struct tl_site_name {
    uint64_t hash;
    char name[TL_TEXT_BYTES_MAX];
} tl_site_name;

enum { TL_SITE_NAME_MAX = 64 };

/* A label that a fast head is to learn, or to forget. */
typedef struct tl_catch_up_op {
    uint64_t key;
    int32_t to;        /* class, or -1 */
    bool members_only; /* nothing to do for other items */
} tl_catch_up_op;

enum { TL_FOLLOWING_MAX = 64 };

struct tl_core {
    tl_loop_config config; /* knobs and classes as of now */
    tl_graph *graph;
    tl_item_reader *items;
    tl_featurizer *featurizer;
    bool direct_features; /* the network is one last layer: features are the input */
    tl_arena arena;       /* of one step */
    tl_json_parser *parser;

    /* What serves. */
    uint64_t champion, previous;
    bool champion_pinned; /* see tl_past */
    tl_weights *weights;
    uint64_t backbone_hash;
    tl_head_stats *stats;
    tl_keymap members; /* position -> label: exactly the items in `stats` */
    tl_head_solver *solver;
    tl_head *head; /* solved from `stats`, unless stale or frozen */
    bool head_stale, head_frozen;
    float frozen_threshold; /* while head_frozen */
    tl_mixture mixture;
    tl_threshold *threshold;
    tl_past past[TL_PAST_MAX]; /* oldest first */
    size_t past_count;
    /* Versions that fell out of `past`; their weights may go. */
    uint64_t evicted[TL_CORE_EVICTED_MAX];
    size_t evicted_count;
    bool dirty;

    /* What it knows. */
    tl_idset pending;
    tl_keymap golden;   /* position -> label */
    tl_keymap deferred; /* position -> label: labelled while learning was paused */
    bool learning;
    /* Event that made two classes three; 0: always were; UINT64_MAX: two. */
    uint64_t third_class_at;
    uint64_t restart_ops; /* candidates made of fewer operations are overtaken by a return */
    uint64_t position, epoch, digest, decided_ops;
    uint64_t feedback, labels, withdrawn, publishes, rollbacks, refused;
    uint64_t label_events; /* labels that ever came, the withdrawn ones included */

    /* The gate. `now_*` are of the record at hand. */
    tl_gate *gate;
    tl_shadow shadows[TL_GATE_SHADOW_MAX];
    size_t shadow_count;
    bool shadows_changed, golden_changed;
    bool shadows_follow;                        /* labels came that they learn along */
    tl_catch_up_op following[TL_FOLLOWING_MAX]; /* those that cost a pass, still to be done */
    size_t following_count;
    tl_version *candidate; /* waits, until the backbone in shadow gives way; or NULL */
    bool has_verdict;      /* reached, and not yet an event */
    uint64_t verdict_number;
    tl_gate_verdict verdict;
    bool frozen; /* a requalified line: nothing is learned, nothing is promoted */
    uint64_t alarms;
    tl_gate_note notes[TL_GATE_NOTE_MAX]; /* oldest first */
    tl_tti tti[TL_TTI_MAX];
    size_t note_count, tti_count;
    tl_site_name sites[TL_SITE_NAME_MAX]; /* the first of them; others have no name */
    size_t site_count;
    uint64_t now_position;
    int64_t now_us;
    tl_core_review review;
    tl_core_automatic automatic;
    tl_core_again *again; /* labelled items that are put up once more */
    tl_core_trust *trust;

    /* Work for the slow learner: operations ops_base .. ops_base + op_count - 1. */
    tl_train_op *ops;
    uint64_t ops_base;
    size_t op_count, op_capacity;
    size_t waiting; /* labels to learn among the operations from decided_ops on */
};

/* Append an operation. TL_ENOMEM. */
tl_status tl_core_push_op(tl_core *core, tl_train_op op, tl_error *err);
/* Candidates up to that operation were judged. */
void tl_core_decide(tl_core *core, uint64_t ops);
/* Fold a change into the chained digest. */
void tl_core_chain(tl_core *core, const void *data, size_t bytes);

/* core_feedback.c */
tl_status tl_core_step_feedback(tl_core *core, const tl_record *record, tl_feedback_state *outcome,
                                tl_error *err);
tl_status tl_core_step_prediction(tl_core *core, const tl_record *record, tl_error *err);
/* Learn what was labelled while learning was paused. */
tl_status tl_core_learn_deferred(tl_core *core, tl_error *err);
tl_status tl_core_stats_change(tl_core *core, uint64_t key, int32_t to, const float *features,
                               tl_error *err);
/* Standing label of a prediction by feedback up to `upto`, -1: none, and by whose word (or NULL). Uses the step's arena. */
tl_status tl_core_standing_label(tl_core *core, const tl_record *prediction, uint64_t upto,
                                 int32_t *label, const char **by, tl_error *err);

/* core.c */
bool tl_core_is_cold(const tl_core *core);
/* It need not be cold any longer: there are labels enough, and it finds defects. */
bool tl_core_warms_up(const tl_core *core);
float tl_core_threshold(tl_core *core);

/* What a version has to learn that was made some operations ago. */
typedef struct tl_catch_up {
    uint64_t number, learn_from; /* the next operation; before this one only members change */
} tl_catch_up;
tl_catch_up tl_core_catch_up_from(const tl_core *core, uint64_t from);
bool tl_core_catch_up_next(const tl_core *core, tl_catch_up *way, tl_catch_up_op *out);

/* core_event.c */
/* *candidate when it is that version, else read from the journal. */
tl_status tl_core_take_version(tl_core *core, uint64_t number, tl_version **candidate,
                               tl_version **out, tl_error *err);
/* Put `version` into service, with the labels that came since it was made. */
tl_status tl_core_serve(tl_core *core, tl_version *version, tl_error *err);
/* Back to a kept version: served as it was, without learning, or learning on. */
tl_status tl_core_step_return(tl_core *core, uint64_t position, uint64_t number, bool rollback,
                              tl_error *err);
/* Nobody can return to it: its weights may go. */
void tl_core_evict(tl_core *core, uint64_t number);
/* The same of a version that is no challenger any more, unless it served before and is kept. */
void tl_core_let_go(tl_core *core, uint64_t number);
/* Keep the weights of a version that served before, for doing all of this again. False: not kept. */
bool tl_core_pin(tl_core *core, uint64_t number);

/* gate/shadows.c */
enum {
    TL_WATCH_BASELINE = TL_GATE_HARM | TL_GATE_GAIN,
    TL_WATCH_GUARD = TL_GATE_HARM, /* the champion before */
    TL_WATCH_CHALLENGER = TL_GATE_BETTER
};
bool tl_core_proves(const tl_core *core);
tl_shadow *tl_core_find_shadow(tl_core *core, uint64_t key);
tl_shadow *tl_core_find_watched(tl_core *core, unsigned watch);
void tl_core_drop_shadow(tl_core *core, tl_shadow *shadow);
/* Takes over the references in `shadow`, also when it fails. */
tl_status tl_core_add_shadow(tl_core *core, tl_shadow *shadow, tl_error *err);
/* What answers now, as a frozen policy. */
tl_status tl_core_freeze_policy(tl_core *core, tl_shadow *out, tl_error *err);
tl_status tl_core_take_baseline(tl_core *core, tl_error *err);
/* It was improved upon, or is given up. */
void tl_core_end_baseline(tl_core *core, const tl_shadow *shadow, bool proven);

/* gate/challenge.c */
tl_status tl_core_start_waiting(tl_core *core, tl_error *err);
void tl_core_end_baselines(tl_core *core, bool proven);

/* gate/follow.c */
/* From here on a new challenger learns along, where that can be paid for. */
tl_status tl_core_follow_begin(tl_core *core, tl_shadow *shadow, tl_error *err);
/* A label, or none (-1), of what answers learned it; `members_only`: where it was known before. */
tl_status tl_core_follow(tl_core *core, uint64_t key, int32_t to, bool members_only, tl_error *err);
/* Do what was put off. */
tl_status tl_core_follow_up(tl_core *core, tl_error *err);
/* Its version goes into service with what it learned meanwhile. */
tl_status tl_core_follow_end(tl_core *core, tl_shadow *shadow, tl_error *err);
/* What a shadow decides with now; borrows from both, no reference is taken. */
tl_status tl_core_follow_policy(tl_core *core, tl_shadow *shadow, tl_shadow *out, tl_error *err);
/* gate/evidence.c */
tl_status tl_core_gate_prediction(tl_core *core, const tl_record *record, tl_error *err);
tl_status tl_core_gate_label(tl_core *core, const tl_record *prediction, int32_t label,
                             uint64_t source, tl_error *err);
tl_status tl_core_step_challenge(tl_core *core, uint64_t number, uint64_t ops,
                                 tl_version **candidate, tl_error *err);
tl_status tl_core_step_try(tl_core *core, uint64_t number, tl_error *err);
tl_status tl_core_step_verdict(tl_core *core, const char *kind, const tl_json *body, tl_error *err);
/* Another policy answers from now on: nothing that was compared with the one before counts. */
void tl_core_gate_restart(tl_core *core);
/* After each record: a baseline where there is none, the version that waits, new verdicts. */
tl_status tl_core_gate_settle(tl_core *core, tl_error *err);
/* core_state.c: a head, or NULL. */
tl_status tl_core_save_head(const tl_head *head, tl_blob *blob, tl_error *err);
tl_status tl_core_load_head(tl_blob_reader *body, tl_head **out, tl_error *err);
void tl_core_note(tl_core *core, tl_gate_note_kind kind, uint64_t version, const char *words);
/* gate/review.c */
tl_status tl_core_review_create(tl_core *core, tl_error *err);
void tl_core_review_destroy(tl_core *core);
void tl_core_review_restart(tl_core *core);
void tl_core_review_classes(tl_core *core); /* there is one more */
void tl_core_review_prediction(tl_core *core, const tl_record *record);
tl_status tl_core_review_label(tl_core *core, const tl_record *prediction, int32_t label,
                               uint64_t source, tl_error *err);
tl_drawn *tl_core_find_drawn(const tl_core *core, uint64_t key); /* NULL: timed out, or none */
/* asking/people.c */
/* What a statement (NULL: those that waited for their prediction) says to the gate and the estimates;
 * `second`: it is the answer to a suspicion, see again.h. */
tl_status tl_core_hear(tl_core *core, const tl_label_change *change, const tl_record *feedback,
                       bool second, tl_error *err);
/* Open reviews of those who are not among the people any more go to others. */
void tl_core_people_changed(tl_core *core);
/* gate/sites.c */
void tl_core_site_note(tl_core *core, const char *name, uint64_t hash);
/* Never NULL. Borrowed from the core, for ever. */
const char *tl_core_site_name(const tl_core *core, uint64_t hash);
void tl_core_sites_save(const tl_core *core, tl_blob *blob);
tl_status tl_core_sites_load(tl_core *core, tl_blob_reader *body, tl_error *err);
/* asking/again.c */
/* The label that stands has changed: whether it looks wrong, to be asked again. */
void tl_core_again_suspect(tl_core *core, const tl_label_change *change);
/* The first answer to a review: by lot it is put up once more. */
void tl_core_again_repeat(tl_core *core, const tl_record *prediction, uint32_t label,
                          uint64_t source);
/* A statement; whether it is somebody else's answer to a suspicion. */
bool tl_core_again_hear(tl_core *core, const tl_label_change *change, const tl_record *feedback);
void tl_core_again_people_changed(tl_core *core);
/* gate/trust.c */
typedef enum tl_trust_way {
    TL_TRUST_AS_IT_IS, /* what changed is learned */
    TL_TRUST_NEW,      /* it is learned as a first label: the one before was not */
    TL_TRUST_TAKE_OUT, /* it is not learned, and neither is the one before any more */
    TL_TRUST_NOTHING   /* it is not learned, and neither was the one before */
} tl_trust_way;
tl_status tl_core_trust_create(tl_core *core, tl_error *err);
void tl_core_trust_destroy(tl_core *core);
/* Who gives that label, and whether trust changes with it. */
tl_status tl_core_trust_label(tl_core *core, const tl_label_change *change, tl_error *err);
/* What is learned of a label (-1: none any more) that stands by somebody's word. */
tl_status tl_core_trust_filter(tl_core *core, uint64_t key, int32_t label, const char *by,
                               tl_trust_way *way, tl_error *err);
tl_status tl_core_trust_save(const tl_core *core, tl_blob *blob, tl_error *err);
tl_status tl_core_trust_load(tl_core *core, tl_blob_reader *body, tl_error *err);
/* gate/review_state.c */
tl_status tl_core_review_save(const tl_core *core, tl_blob *blob, tl_error *err);
tl_status tl_core_review_load(tl_core *core, tl_blob_reader *body, tl_error *err);
/* gate/automatic.c */
/* How sure a call is that was audited, by the record of a drawn item; 0: it is no plain audit. */
uint8_t tl_core_automatic_call(const tl_core *core, const tl_prediction_record *prediction);
/* An item that was answered, before anything is said of it: it may become a label. */
tl_status tl_core_automatic_prediction(tl_core *core, const tl_record *record, tl_error *err);
/* A person's word on a drawn item, the first one or in place of `before`; -1: none. */
void tl_core_automatic_answer(tl_core *core, const tl_drawn *drawn,
                              const tl_prediction_record *prediction, int32_t before,
                              int32_t label);
/* Nobody answered: counted as wrong. */
void tl_core_automatic_time_out(tl_core *core, const tl_drawn *drawn);
/* After each record. */
tl_status tl_core_automatic_settle(tl_core *core, tl_error *err);
void tl_core_automatic_describe(const tl_core *core, tl_loop_state *out);
void tl_core_automatic_estimates(const tl_core *core, tl_estimates *out);
void tl_core_automatic_save(const tl_core *core, tl_blob *blob);
tl_status tl_core_automatic_load(tl_core *core, tl_blob_reader *body, tl_error *err);
/* gate/state.c */
tl_status tl_core_gate_save(const tl_core *core, tl_blob *blob, tl_error *err);
tl_status tl_core_gate_load(tl_core *core, tl_blob_reader *body, tl_error *err);

/* core_event.c */
tl_status tl_core_step_event(tl_core *core, const tl_record *record, tl_version **candidate,
                             tl_error *err);

#endif
