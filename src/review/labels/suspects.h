/* suspects.h - labels that look wrong, to be asked again.
 * Layer: review (above stats). Plain state, one owner thread; saved with the loop's state.
 *
 * Confident learning (Northcutt, Jiang, Chuang 2021), on predictions that were made before the label
 * was learned (prequential: a network that has learned a wrong label agrees with it). For each class
 * the mean probability that items labelled so were given for it is its threshold; a label is
 * suspicious when the most probable class among those above their threshold is another one. The
 * thresholds make up for classes of which a model is always less sure. Means of the last 1,000
 * labels of a class or so, so that they follow a model that improves.
 *
 * Condition: calibration is not needed, but the model must be better than chance on the class; a
 * class is a rival, or accused, only after TL_SUSPECTS_LABELS_MIN labels of its own. A suspicion is a
 * reason to ask somebody else, blind, and never to change a label. */
#ifndef TL_REVIEW_LABELS_SUSPECTS_H
#define TL_REVIEW_LABELS_SUSPECTS_H

#include "base/blob.h"

enum { TL_SUSPECTS_CLASS_MAX = 64, TL_SUSPECTS_LABELS_MIN = 20 };

/* Plain data; change only by the functions below. */
typedef struct tl_suspects {
    uint32_t classes;
    uint64_t labels[TL_SUSPECTS_CLASS_MAX];
    double mean[TL_SUSPECTS_CLASS_MAX]; /* of the labelled class's probability */
    uint64_t seen, suspicious;
    uint64_t asked_again, changed;
} tl_suspects;

typedef struct tl_suspicion {
    bool suspicious;
    uint32_t likely; /* the class that speaks against the label; void unless suspicious */
    double lead;     /* how much more probable it was than the label: ask the largest first */
} tl_suspicion;

/* classes: 2..TL_SUSPECTS_CLASS_MAX (asserted). */
void tl_suspects_init(tl_suspects *suspects, uint32_t classes);
/* A first or corrected label and the probabilities [classes] that were served for its item.
 * label < classes (asserted); probabilities that are no numbers make no suspicion. */
tl_suspicion tl_suspects_see(tl_suspects *suspects, const float *probabilities, uint32_t label);
/* A suspicious label was asked again: did the second answer differ from it? */
void tl_suspects_answer(tl_suspects *suspects, bool changed);

enum { TL_SUSPECTS_WORDS_BYTES = 160 };
/* "12 of 480 labels looked wrong; of 10 asked again 8 were changed [44-97 %]" */
void tl_suspects_words(const tl_suspects *suspects, char words[TL_SUSPECTS_WORDS_BYTES]);

void tl_suspects_save(const tl_suspects *suspects, tl_blob *blob);
/* Errors: TL_ECORRUPT, TL_EVERSION; *out is then untouched. */
tl_status tl_suspects_load(tl_blob_reader *reader, tl_suspects *out, tl_error *err);

#endif
