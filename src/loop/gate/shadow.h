/* shadow.h - policies that decide beside what answers, and what became of them. Layer: loop.
 * One owner thread.
 *
 * A baseline and a guard are frozen: weights, fast head, mixture, threshold. A challenger's weights are;
 * where it follows (follow.c) the rest is as if it served. A shadow is known by its key, the position
 * of the record that put it there; each prediction's record says what the shadows would have
 * decided, under their keys. So evidence is a function of the journal, whenever a thread learned of
 * a change. */
#ifndef TL_LOOP_SHADOW_H
#define TL_LOOP_SHADOW_H

#include "gate/gate.h"
#include "loop/core/keymap.h"
#include "loop/version/model.h"
#include "loop/version/version.h"

typedef struct tl_shadow {
    uint64_t key;
    uint64_t version;  /* whose weights these are */
    unsigned watch;    /* TL_GATE_BETTER, ... */
    bool own_backbone; /* it costs a pass of its own through the network */
    int64_t since_us;  /* frozen then */
    uint64_t since_labels;
    tl_weights *weights; /* one reference */
    tl_head *head;       /* one reference, or NULL: the fast head knows nothing */
    tl_mixture mixture;
    float threshold;
    tl_version *made;  /* of a challenger: what is put into service; owned */
    bool follows;      /* its fast head learns along */
    bool head_stale;   /* of one that follows with features of its own: */
    tl_keymap members; /* position -> label: exactly the items in made->stats */
} tl_shadow;

void tl_shadow_clear(tl_shadow *shadow);
/* The policy as a model, one reference; NULL: out of memory. */
tl_model *tl_shadow_model(const tl_shadow *shadow, uint32_t class_count);

/* Hash of the unit of evidence that an item belongs to; 0: a unit of its own. */
uint64_t tl_shadow_unit(const tl_prediction_record *prediction, tl_evidence_unit unit);
/* Hash of where it is; 0: nobody said. */
uint64_t tl_shadow_site(const tl_prediction_record *prediction);
uint64_t tl_shadow_site_of(const char *name);
/* Hash of who gives a label; NULL: nobody knows. */
uint64_t tl_shadow_source(const char *source);
/* A prediction as the gate takes it, without what the shadows decided. */
tl_gate_item tl_shadow_item(const tl_record *prediction, tl_evidence_unit unit);

/* What the gate did, for people: the newest TL_GATE_NOTE_MAX. */
typedef enum tl_gate_note_kind {
    TL_NOTE_BASELINE,  /* a frozen snapshot of what answers: what comes is held against it */
    TL_NOTE_CHALLENGE, /* a version is shadowed from here on */
    TL_NOTE_WAITS,     /* a version waits until the one shadowed is decided */
    TL_NOTE_SET_ASIDE, /* no longer shadowed or waited for: a newer one is worth more */
    TL_NOTE_PROMOTED,
    TL_NOTE_CERTIFIED, /* what answers is proven better than its baseline */
    TL_NOTE_TAKEN_BACK,
    TL_NOTE_ALARM,      /* the promised error rate is broken */
    TL_NOTE_DRIFT,      /* items look different, whatever their labels */
    TL_NOTE_DISTRUSTED, /* a source is not learned from any more, */
    TL_NOTE_TRUSTED,    /* or again */
    TL_NOTE_KIND_COUNT
} tl_gate_note_kind;

enum { TL_GATE_NOTE_MAX = 128 };

typedef struct tl_gate_note {
    tl_gate_note_kind kind;
    uint64_t position, version;
    int64_t time_us;
    char words[TL_GATE_WORDS_BYTES];
} tl_gate_note;

#endif
