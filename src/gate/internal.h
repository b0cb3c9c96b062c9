/* internal.h - the gate's parts. Layer: gate, inside it.
 *
 *   gate.c      policy, which versions are watched, verdicts, how things stand
 *   flow.c      items and labels as they come; the watermark
 *   open.c      room for what is not bet yet
 *   compare.c   the bet of one unit: comparisons, sites, the promised error rate
 *   words.c     verdicts and standings in words
 *   save.c      the state as bytes; save_open.c that of what is open */
#ifndef TL_GATE_INTERNAL_H
#define TL_GATE_INTERNAL_H

#include "gate/claim.h"
#include "gate/gate.h"
#include "gate/sources.h"
#include "stats/detector.h"

enum {
    TL_GATE_VERDICT_MAX = 32,
    TL_GATE_LATE_SLOTS = 1024, /* keys of units that are over, by hash: the last few are known */
};
#define TL_GATE_NONE        UINT32_MAX
#define TL_GATE_TIME_MAX_US (INT64_MAX / 4) /* differences cannot overflow */

/* ---- What is open ---------------------------------------------------------------------------- */

typedef enum tl_answer { TL_ANSWER_NONE, TL_ANSWER_GOOD, TL_ANSWER_DEFECT } tl_answer;

/* An item that was drawn and matters: somebody disagrees about it, or an error rate is promised. */
typedef struct tl_open_item {
    uint64_t position, source;
    double weight;      /* 1 / propensity */
    uint64_t next;      /* number of the unit's next one; 0: none */
    uint32_t unit;      /* index */
    uint8_t answer;     /* tl_answer */
    bool flagged, done; /* done: its unit was bet or dropped */
    uint8_t calls;      /* bit k: shadow k was asked */
    uint8_t calls_flagged;
} tl_open_item;

/* What a unit holds for one shadow. */
typedef struct tl_open_share {
    uint32_t items;
    /* Disagreements that cannot be drawn: the shadow flagged, or passed, what the other did not. */
    uint32_t hidden_flagged, hidden_passed;
    double weight; /* of disagreements that can be: the sum of 1 / propensity */
} tl_open_share;

typedef struct tl_open_unit {
    uint64_t key, site;
    uint64_t first, last; /* positions */
    uint64_t last_number; /* of the gate's items so far at its last one */
    int64_t last_us;
    uint64_t item_first, item_last; /* numbers of its open items; 0: none */
    uint32_t items, open;           /* open: drawn and not answered */
    double propensity;              /* the least that can be drawn; 1 when there is none */
    bool over;
    uint32_t before, after; /* in the order of first items */
    uint32_t newer, older;  /* among those that may still grow, by last item */
    tl_open_share share[TL_GATE_SHADOW_MAX];
} tl_open_unit;

typedef struct tl_open {
    tl_open_item *items; /* ring: number & (capacity - 1); numbers from 1, positions ascend */
    size_t item_capacity;
    uint64_t item_begin, item_end;
    tl_open_unit *units;
    size_t unit_capacity, unit_count;
    uint32_t unused;                     /* a list through `after` */
    uint32_t first, last;                /* in order */
    uint32_t newest, oldest;             /* that may still grow */
    uint64_t late[TL_GATE_LATE_SLOTS];   /* keys of units that are over, */
    int64_t late_us[TL_GATE_LATE_SLOTS]; /* and when they were: names come again some day */
    uint64_t number;                     /* items so far */
    uint64_t position;                   /* of the newest */
    int64_t now_us, start_us;
} tl_open;

/* ---- What is proven -------------------------------------------------------------------------- */

typedef struct tl_gate_place {
    uint64_t site;
    tl_gate_counts counts;
    double saved;          /* sum of weighted loss differences */
    tl_bettor worse;       /* that the shadow costs more here */
    tl_limit better, gain; /* how much less it costs, and what answers, at least */
    bool proven;
} tl_gate_place;

typedef struct tl_shadow {
    uint64_t version; /* 0 with watch 0: the slot is free */
    unsigned watch;
    uint64_t position;
    uint64_t number;
    double log_threshold;
    double bound; /* the largest loss that a unit could bring so far */
    tl_claim better, gain;
    tl_detector harm;
    tl_gate_counts counts;
    double answered;               /* weighted loss differences of what was answered */
    double against, other_against; /* what is not answered, as errors of the shadow; of the other */
    uint64_t last;                 /* position of the last item bet */
    uint64_t over_cap;
    tl_sources bet, arrived; /* sources of labels: bet, in order; and all that came */
    bool promoted, certified, blocked;
    size_t place_count;
    tl_gate_place place[TL_GATE_SITE_MAX];
} tl_shadow;

struct tl_gate {
    tl_gate_policy policy;
    uint64_t spent;
    tl_shadow shadow[TL_GATE_SHADOW_MAX];
    tl_open open;
    tl_detector promise;
    double propensity; /* the least of all items that can be drawn, so far */
    tl_gate_counts promise_counts;
    double promise_errors; /* weighted */
    uint64_t units;        /* bet so far, of any kind */
    uint64_t late_items, unused_labels, forced_units;
    tl_gate_verdict verdict[TL_GATE_VERDICT_MAX];
    size_t verdict_begin, verdict_count;
};

static inline bool tl_shadow_used(const tl_shadow *shadow)
{
    return shadow->watch != 0;
}

/* The worst that one reviewed disagreement can do to a claim, margins included. */
double tl_gate_worst_loss(const tl_gate_policy *policy);
/* Start a shadow's evidence anew on a new number; version, watch and position stand. */
void tl_gate_shadow_begin(tl_gate *gate, tl_shadow *shadow);
void tl_gate_promise_begin(tl_gate *gate);
/* What an interval is allowed to miss, each side; nats. */
double tl_gate_interval_threshold(void);

/* compare.c: place the bets of a unit that is over and answered, or timed out. */
void tl_gate_bet(tl_gate *gate, const tl_open_unit *unit);
double tl_gate_take_back_level(const tl_gate *gate);
double tl_gate_alarm_level(const tl_gate *gate);
void tl_gate_verdict_add(tl_gate *gate, const tl_gate_verdict *verdict);

/* Shadow `slot` was asked, and says something else. */
static inline bool tl_open_disagrees(const tl_open_item *item, unsigned slot)
{
    return (item->calls >> slot & 1) != 0 && (item->calls_flagged >> slot & 1) != item->flagged;
}

/* open.c */
void tl_open_init(tl_open *open);
void tl_open_destroy(tl_open *open);
tl_open_item *tl_open_item_at(const tl_open *open, uint64_t number);
/* Drop everything; what was open counts as late from now on. */
void tl_open_clear(tl_open *open);
/* Forget a shadow's calls, whose slot is freed. */
void tl_open_forget(tl_open *open, unsigned slot);
/* Room for so many more items and units. Errors: TL_ENOMEM; nothing is lost then. Units of an empty
 * one are then handed out by ascending index, from 0. */
tl_status tl_open_reserve(tl_open *open, size_t items, size_t units, tl_error *err);
/* An empty unit at the end of the order, for which there must be room. */
uint32_t tl_open_unit_new(tl_open *open);
/* It may still grow, and has the newest item; and the contrary. */
void tl_open_growing_add(tl_open *open, uint32_t index);
void tl_open_growing_remove(tl_open *open, uint32_t index);
/* A unit that was bet or dropped, with its items. */
void tl_open_unit_free(tl_open *open, uint32_t index);
/* Units that are over are known by name for a while. */
size_t tl_open_late_slot(uint64_t key);
void tl_open_note_over(tl_open *open, uint64_t key);
/* save_open.c. Load: untrusted, into an empty one. */
void tl_open_save(const tl_open *open, tl_blob *blob);
tl_status tl_open_load(tl_open *open, tl_blob_reader *reader, tl_error *err);

/* words.c: fills words from the other fields. */
void tl_gate_verdict_words(const tl_gate *gate, tl_gate_verdict *verdict);
void tl_gate_standing_words(const tl_gate *gate, tl_gate_standing *standing);

#endif
