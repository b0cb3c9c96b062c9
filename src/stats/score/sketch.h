/* sketch.h - how new an embedding is, from a fixed half megabyte. Layer: stats. One owner thread.
 *
 * Sixty-four rows of 4,096 counters. Each row hashes an embedding to twelve signs of its random
 * rotations, so that embeddings at a small angle mostly meet in one cell; the mean of the cells'
 * counts, over the embeddings seen, is then a density of the angles around it, and its negative
 * logarithm says how new it is (ACE: Luo and Shrivastava 2018; RACE: Coleman and Shrivastava 2020).
 * Rotations are Hadamard transforms of randomly signed coordinates, twice (Ailon and Chazelle 2009;
 * Andoni et al. 2015): d log d additions and no matrix. Sketches of one dimension and seed add up:
 * sites, lines, days. Halving forgets.
 *
 * Only angles count. Features that are all positive lie in a narrow cone: give a centre. */
#ifndef TL_STATS_SKETCH_H
#define TL_STATS_SKETCH_H

#include "base/blob.h"

enum { TL_SKETCH_ROWS = 64, TL_SKETCH_BITS = 12, TL_SKETCH_CELLS = 1 << TL_SKETCH_BITS };
enum { TL_SKETCH_DIMENSION_MAX = 16384 };

typedef struct tl_sketch tl_sketch;

/* `dimension` in 1..TL_SKETCH_DIMENSION_MAX; `centre` [dimension] is taken from every embedding first
 * and copied; NULL: zeros. Errors: TL_EINVAL, TL_ENOMEM; then *out is untouched. */
tl_status tl_sketch_create(uint32_t dimension, uint64_t seed, const float *centre, tl_sketch **out,
                           tl_error *err);
void tl_sketch_destroy(tl_sketch **sketch); /* NULL-safe; clears */

/* How new embedding `x` [dimension] is, before it is added: -ln((mean count + 1) / (seen + 1)), 0
 * (everything is so, or nothing was seen) to ln(seen + 1). A number that is not finite counts as the
 * centre's. A full cell halves the sketch first. Some 6 us at 512 numbers. */
double tl_sketch_add(tl_sketch *sketch, const float *x);
/* The same without adding. */
double tl_sketch_score(tl_sketch *sketch, const float *x);
/* Embeddings seen, less what halving forgot. */
double tl_sketch_seen(const tl_sketch *sketch);
/* Every count by half, rounded down: daily, say. */
void tl_sketch_halve(tl_sketch *sketch);
/* Add another sketch's counts. Errors: TL_ECONFLICT (another dimension, seed or centre). */
tl_status tl_sketch_merge(tl_sketch *sketch, const tl_sketch *other, tl_error *err);

/* Half a megabyte. */
void tl_sketch_save(const tl_sketch *sketch, tl_blob *blob);
/* Errors: TL_ECORRUPT, TL_EVERSION, TL_ENOMEM; then *out is untouched. */
tl_status tl_sketch_load(tl_blob_reader *reader, tl_sketch **out, tl_error *err);

#endif
