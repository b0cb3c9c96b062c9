/* again.h - labelled items that are put up once more, blind. Layer: loop. Part of the core's state.
 *
 * Two kinds, each bounded:
 *   suspicions  labels that look wrong (review/labels/suspects.h): somebody else is asked; of too many
 *               the largest leads are kept. What the second person says is ordinary feedback; a
 *               suspicion by itself changes nothing. It is no evidence for verdicts and estimates
 *               either: asked about is what contradicts the model, so the second answers favour it.
 *   repeats     a share (review.repeats) of the reviewed items, by lot, whatever the answer was: half of
 *               them the same person is asked again, else another. They tell how well people repeat
 *               themselves, and agree.
 * A repeat is asked when its first answer is some time ago, so that nobody remembers it, and a second
 * click is no second answer. Both are given up after the time-out of reviews. */
#ifndef TL_LOOP_AGAIN_H
#define TL_LOOP_AGAIN_H

#include "base/blob.h"

enum {
    TL_AGAIN_SUSPECT_MAX = 256,
    TL_AGAIN_REPEAT_MAX = 256,
    TL_AGAIN_MAX = TL_AGAIN_SUSPECT_MAX + TL_AGAIN_REPEAT_MAX,
    TL_AGAIN_AFTER_S = 600 /* a repeat is asked so long after its first answer */
};

typedef struct tl_again {
    uint64_t key;     /* position of the prediction */
    uint64_t subject; /* see people.h */
    uint64_t first;   /* source of the first answer */
    uint64_t person;  /* who is asked; 0: anybody, of a suspicion anybody but `first` */
    int64_t asked_us; /* from then on */
    uint32_t label;   /* first answer */
    float score;      /* of a defect, as served */
    float lead;       /* of a suspicion */
    bool flagged, repeat;
} tl_again;

/* What second answers said. */
typedef struct tl_again_tally {
    uint64_t own, own_alike;     /* of the one who gave the first */
    uint64_t other, other_alike; /* of somebody else */
} tl_again_tally;

typedef struct tl_core_again {
    tl_again items[TL_AGAIN_MAX]; /* as they came */
    uint32_t count;
    tl_again_tally repeats;
} tl_core_again;

enum { TL_AGAIN_WORDS_BYTES = 200 };
/* "of 40 items shown again to the same person 38 were answered alike [83-99 %], ..." */
void tl_again_words(const tl_again_tally *tally, char words[TL_AGAIN_WORDS_BYTES]);

void tl_again_save(const tl_core_again *again, tl_blob *blob);
/* Errors: TL_ECORRUPT, TL_EVERSION; *out is then untouched. */
tl_status tl_again_load(tl_blob_reader *reader, tl_core_again *out, tl_error *err);

#endif
