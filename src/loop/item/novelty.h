/* novelty.h - how new an item looks, from the features on which the heads of what answers decide.
 * Layer: loop. One owner thread: the batcher's.
 *
 * The squared distance of an item's features, at length 1, from the mean of the items seen before,
 * in units of their covariance (Mahalanobis 1936), which is shrunk towards a multiple of the
 * identity. Wide features are first added up with fixed signs into TL_NOVELTY_WIDTH sums (Charikar, Chen and
 * Farach-Colton 2002). The newest TL_NOVELTY_MEMORY items or so count; another version has other
 * features, and everything begins anew with it. Some 3 us an item, 35 kB.
 *
 * Nothing of it is journaled. It only shifts which items people are asked about, and the probability
 * that came of it is kept with each prediction. */
#ifndef TL_LOOP_NOVELTY_H
#define TL_LOOP_NOVELTY_H

#include "base/status.h"

enum { TL_NOVELTY_WIDTH = 64, TL_NOVELTY_FIRST = 256, TL_NOVELTY_MEMORY = 8192 };

typedef struct tl_novelty tl_novelty;

/* NULL: out of memory. */
tl_novelty *tl_novelty_create(uint32_t feature_count);
void tl_novelty_destroy(tl_novelty **novelty); /* NULL-safe; clears */

/* How new the item with features `x` [feature_count] of that version is among those seen before,
 * which it then joins: 0 or more, higher is newer. NaN: the version has had fewer than
 * TL_NOVELTY_FIRST items, or a feature is not finite; such an item is left out. */
float tl_novelty_see(tl_novelty *novelty, uint64_t version, const float *x);

#endif
