/* walk.h - loops over several tensors at once, each with its own step along each axis. Layer:
 * tensor. Pure functions: any thread.
 *
 * A tensor that is repeated along an axis has step 0 there; one that is read backwards a negative
 * step. Axes that all tensors walk as one are merged, so that inner loops are long. */
#ifndef TL_TENSOR_WALK_H
#define TL_TENSOR_WALK_H

#include "tensor/tensor.h"

enum {
    TL_WALK_TENSORS = 4,
    TL_WALK_AXES = 2 * TL_RANK_MAX + 1 /* every axis in two, and the batch */
};

typedef struct tl_walk {
    uint32_t rank;
    size_t size[TL_WALK_AXES];
    ptrdiff_t step[TL_WALK_AXES][TL_WALK_TENSORS]; /* floats */
} tl_walk;

/* Append an inner axis to a walk that began as { 0 }. */
void tl_walk_axis(tl_walk *walk, size_t size, const ptrdiff_t step[TL_WALK_TENSORS]);

/* The steps of a dense tensor of shape `from`, repeated to `to` as NumPy broadcasts: step[i] is
 * along axis i of `to`. */
void tl_walk_broadcast(const tl_shape *from, const tl_shape *to, ptrdiff_t step[TL_RANK_MAX]);

/* The two innermost axes of a walk: `rows` by `n`, tensors at offsets `at`. */
typedef struct tl_walk_plane {
    size_t rows, n;
    ptrdiff_t at[TL_WALK_TENSORS], row[TL_WALK_TENSORS], step[TL_WALK_TENSORS];
} tl_walk_plane;

/* Call for every plane, in order. */
void tl_walk_run(const tl_walk *walk, void (*plane)(void *context, const tl_walk_plane *plane),
                 void *context);

/* The index 0..rank-1 that `axis` means; -1 when it is out of range. */
int tl_axis_index(int32_t axis, uint32_t rank);

/* The shape that a and b are broadcast to; false when they do not go together. */
bool tl_shape_broadcast(const tl_shape *a, const tl_shape *b, tl_shape *out);

/* ---- Copies: tensor 0 is read, tensor 1 written ----------------------------------------------- */

void tl_walk_copy(const tl_walk *walk, const float *from, float *to);
/* to += from; where `to` stands still, numbers are summed up. */
void tl_walk_add(const tl_walk *walk, const float *from, float *to);
/* The same walk with the two changed over. */
tl_walk tl_walk_reverse(const tl_walk *walk);

#endif
