/* Operators that move numbers along straight lines: SLICE, PERMUTE, FLATTEN, EXPAND, TILE, PAD.
 * Forward is a list of copies (walk.h), one but for PAD, which has one for each region; backward is
 * the same copies the other way. */
#include "tensor/internal.h"
#include "tensor/walk.h"

#include <stdlib.h>
#include <string.h>

typedef struct move {
    tl_walk walk;
    ptrdiff_t from, to; /* where it begins */
} move;

typedef struct move_state {
    size_t count;
    bool sums;  /* some number is read more than once: backward adds */
    bool fills; /* not all of y is written, or not all of x is read */
    float fill;
    move moves[];
} move_state;

/* A walk whose first axis is the batch. */
static void begin_walk(const tl_op_state *state, tl_walk *walk)
{
    const ptrdiff_t step[TL_WALK_TENSORS] = { (ptrdiff_t)tl_shape_count(&state->inputs[0]),
                                              (ptrdiff_t)tl_shape_count(&state->output) };
    tl_walk_axis(walk, state->batch, step);
}

static void walk_axis(tl_walk *walk, size_t size, ptrdiff_t from, ptrdiff_t to)
{
    const ptrdiff_t step[TL_WALK_TENSORS] = { from, to };
    tl_walk_axis(walk, size, step);
}

static void dense_steps(const tl_shape *shape, ptrdiff_t *step)
{
    ptrdiff_t dense = 1;
    for (uint32_t i = shape->rank; i-- > 0;) {
        step[i] = dense;
        dense *= (ptrdiff_t)shape->dim[i];
    }
}

static tl_status alloc_moves(tl_op_state *state, size_t count, tl_error *err)
{
    tl_status status = tl_op_alloc(state, sizeof(move_state) + count * sizeof(move), err);
    if (status == TL_OK) ((move_state *)state->own)->count = count;
    return status;
}

static tl_status move_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const move_state *own = state->own;
    if (own->fills && state->kind == TL_OP_PAD) {
        const size_t n = state->batch * tl_shape_count(&state->output);
        for (size_t i = 0; i < n; i++) run->y[i] = own->fill;
    }
    for (size_t m = 0; m < own->count; m++)
        tl_walk_copy(&own->moves[m].walk, run->x[0] + own->moves[m].from,
                     run->y + own->moves[m].to);
    return TL_OK;
}

static tl_status move_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
    const move_state *own = state->own;
    if (own->sums || own->fills)
        memset(run->dx[0], 0, state->batch * tl_shape_count(&state->inputs[0]) * sizeof(float));
    for (size_t m = 0; m < own->count; m++) {
        const tl_walk back = tl_walk_reverse(&own->moves[m].walk);
        (own->sums ? tl_walk_add : tl_walk_copy)(&back, run->dy + own->moves[m].to,
                                                 run->dx[0] + own->moves[m].from);
    }
    return TL_OK;
}

#define MOVE(name_)                                                                                \
    const tl_op tl_op_##name_ = {                                                                  \
        .name = #name_,                                                                            \
        .input_min = 1,                                                                            \
        .input_max = 1,                                                                            \
        .shape = name_##_shape,                                                                    \
        .prepare = name_##_prepare,                                                                \
        .forward = move_forward,                                                                   \
        .backward = move_backward,                                                                 \
    };

/* ---- SLICE ----------------------------------------------------------------------------------- */

static tl_status slice_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                             tl_shape *output, tl_error *err)
{
    (void)input_count;
    const int axis = tl_axis_index(attrs->axis, inputs[0].rank);
    if (axis < 0)
        return tl_fail(err, TL_ESHAPE, "axis %d of an item of rank %u", attrs->axis,
                       inputs[0].rank);
    const int64_t size = inputs[0].dim[axis], begin = attrs->begin, end = attrs->end;
    const int64_t step = attrs->step, length = step > 0 ? end - begin : begin - end;
    const bool inside = begin >= 0 && begin < size && end >= -1 && end <= size;
    if (step == 0 || !inside || length <= 0)
        return tl_fail(err, TL_ESHAPE, "%d to %d by %d of an axis of %u", attrs->begin, attrs->end,
                       attrs->step, inputs[0].dim[axis]);
    *output = inputs[0];
    const int64_t pace = step > 0 ? step : -step;
    output->dim[axis] = (uint32_t)((length + pace - 1) / pace);
    return TL_OK;
}

static tl_status slice_prepare(tl_op_state *state, tl_error *err)
{
    tl_status status = alloc_moves(state, 1, err);
    if (status != TL_OK) return status;
    move_state *own = state->own;
    const tl_shape *x = &state->inputs[0], *y = &state->output;
    const uint32_t axis = (uint32_t)tl_axis_index(state->attrs->axis, x->rank);
    ptrdiff_t from[TL_RANK_MAX], to[TL_RANK_MAX];
    dense_steps(x, from);
    dense_steps(y, to);
    begin_walk(state, &own->moves[0].walk);
    for (uint32_t i = 0; i < x->rank; i++)
        walk_axis(&own->moves[0].walk, y->dim[i], from[i] * (i == axis ? state->attrs->step : 1),
                  to[i]);
    own->moves[0].from = state->attrs->begin * from[axis];
    own->fills = true;
    return TL_OK;
}

MOVE(slice)

/* ---- PERMUTE, FLATTEN ------------------------------------------------------------------------ */

static tl_status permute_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                               tl_shape *output, tl_error *err)
{
    (void)input_count;
    uint32_t seen = 0;
    *output = inputs[0];
    for (uint32_t i = 0; i < inputs[0].rank; i++) {
        if (attrs->axes[i] >= inputs[0].rank || (seen >> attrs->axes[i] & 1u) != 0)
            return tl_fail(err, TL_ESHAPE, "the axes of a permutation are 0 to %u, each once",
                           inputs[0].rank - 1);
        seen |= 1u << attrs->axes[i];
        output->dim[i] = inputs[0].dim[attrs->axes[i]];
    }
    return TL_OK;
}

static tl_status permute_by(tl_op_state *state, const uint8_t *axes, tl_error *err)
{
    tl_status status = alloc_moves(state, 1, err);
    if (status != TL_OK) return status;
    move_state *own = state->own;
    const tl_shape *x = &state->inputs[0];
    ptrdiff_t from[TL_RANK_MAX], to = (ptrdiff_t)tl_shape_count(x);
    dense_steps(x, from);
    begin_walk(state, &own->moves[0].walk);
    for (uint32_t i = 0; i < x->rank; i++) {
        to /= (ptrdiff_t)x->dim[axes[i]];
        walk_axis(&own->moves[0].walk, x->dim[axes[i]], from[axes[i]], to);
    }
    return TL_OK;
}

static tl_status permute_prepare(tl_op_state *state, tl_error *err)
{
    return permute_by(state, state->attrs->axes, err);
}

MOVE(permute)

static tl_status flatten_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                               tl_shape *output, tl_error *err)
{
    (void)attrs, (void)input_count;
    size_t count = tl_shape_count(&inputs[0]);
    if (count > TL_DIM_MAX)
        return tl_fail(err, TL_ESHAPE, "%zu numbers are too many in a row", count);
    *output = tl_shape_vector((uint32_t)count);
    return TL_OK;
}

/* The last axis comes first. */
static tl_status flatten_prepare(tl_op_state *state, tl_error *err)
{
    uint8_t axes[TL_RANK_MAX];
    const uint32_t rank = state->inputs[0].rank;
    for (uint32_t i = 0; i < rank; i++) axes[i] = (uint8_t)(i == 0 ? rank - 1 : i - 1);
    return permute_by(state, axes, err);
}

MOVE(flatten)

/* ---- EXPAND, TILE ---------------------------------------------------------------------------- */

static tl_status expand_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                              tl_shape *output, tl_error *err)
{
    (void)input_count;
    const tl_shape *x = &inputs[0], *y = &attrs->shape;
    tl_status status = tl_shape_check(y, err);
    if (status != TL_OK) return status;
    if (x->rank > y->rank)
        return tl_fail(err, TL_ESHAPE, "an item of rank %u is not repeated to rank %u", x->rank,
                       y->rank);
    for (uint32_t i = 0; i < x->rank; i++) {
        const uint32_t size = y->dim[y->rank - x->rank + i];
        if (size % x->dim[i] != 0)
            return tl_fail(err, TL_ESHAPE, "%u is no multiple of %u, the size of axis %u", size,
                           x->dim[i], i);
    }
    *output = *y;
    return TL_OK;
}

static tl_status expand_prepare(tl_op_state *state, tl_error *err)
{
    tl_status status = alloc_moves(state, 1, err);
    if (status != TL_OK) return status;
    move_state *own = state->own;
    const tl_shape *x = &state->inputs[0], *y = &state->output;
    ptrdiff_t from[TL_RANK_MAX], to[TL_RANK_MAX];
    tl_walk_broadcast(x, y, from);
    dense_steps(y, to);
    begin_walk(state, &own->moves[0].walk);
    for (uint32_t i = 0; i < y->rank; i++) {
        const uint32_t lead = y->rank - x->rank, own_size = i < lead ? 1 : x->dim[i - lead];
        walk_axis(&own->moves[0].walk, y->dim[i] / own_size, 0, to[i] * (ptrdiff_t)own_size);
        walk_axis(&own->moves[0].walk, own_size, from[i], to[i]);
    }
    own->sums = true;
    return TL_OK;
}

MOVE(expand)

#define tile_shape   expand_shape
#define tile_prepare expand_prepare
MOVE(tile)

/* ---- PAD ------------------------------------------------------------------------------------- */

static tl_status pad_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                           tl_shape *output, tl_error *err)
{
    (void)input_count;
    *output = inputs[0];
    for (uint32_t i = 0; i < inputs[0].rank; i++) {
        const uint64_t begin = attrs->pad_begin[i], end = attrs->pad_end[i];
        const uint64_t size = inputs[0].dim[i];
        const uint64_t most = attrs->pad_mode == TL_PAD_REFLECT ? size - 1
                              : attrs->pad_mode == TL_PAD_WRAP  ? size
                                                                : TL_DIM_MAX;
        if (begin > most || end > most || size + begin + end > TL_DIM_MAX)
            return tl_fail(err, TL_ESHAPE, "padding of %u and %u on axis %u of %u",
                           attrs->pad_begin[i], attrs->pad_end[i], i, inputs[0].dim[i]);
        output->dim[i] = (uint32_t)(size + begin + end);
    }
    return TL_OK;
}

/* A part of an axis of y and what of x it shows. */
typedef struct segment {
    size_t size;
    ptrdiff_t from, step, to; /* indices */
} segment;

static segment segment_of(const tl_attrs *attrs, const tl_shape *x, uint32_t axis, uint32_t part)
{
    const ptrdiff_t size = (ptrdiff_t)x->dim[axis], begin = (ptrdiff_t)attrs->pad_begin[axis];
    const ptrdiff_t end = (ptrdiff_t)attrs->pad_end[axis];
    if (part == 0) return (segment){ (size_t)size, 0, 1, begin };
    if (attrs->pad_mode == TL_PAD_CONSTANT) return (segment){ 0, 0, 0, 0 };
    const bool first = part == 1;
    segment s = { (size_t)(first ? begin : end), 0, 0, first ? 0 : begin + size };
    switch (attrs->pad_mode) {
    case TL_PAD_REFLECT: s.from = first ? begin : size - 2, s.step = -1; break;
    case TL_PAD_WRAP: s.from = first ? size - begin : 0, s.step = 1; break;
    default: s.from = first ? 0 : size - 1; break;
    }
    return s;
}

/* The region that takes part `code / 3^i % 3` of axis i; false when it is empty. */
static bool region_of(const tl_op_state *state, uint32_t code, move *out)
{
    const tl_shape *x = &state->inputs[0];
    ptrdiff_t from[TL_RANK_MAX], to[TL_RANK_MAX];
    dense_steps(x, from);
    dense_steps(&state->output, to);
    memset(out, 0, sizeof *out);
    begin_walk(state, &out->walk);
    for (uint32_t i = 0; i < x->rank; i++, code /= 3) {
        const segment s = segment_of(state->attrs, x, i, code % 3);
        if (s.size == 0) return false;
        walk_axis(&out->walk, s.size, s.step * from[i], to[i]);
        out->from += s.from * from[i];
        out->to += s.to * to[i];
    }
    return true;
}

static tl_status pad_prepare(tl_op_state *state, tl_error *err)
{
    uint32_t codes = 1, count = 0;
    move region;
    for (uint32_t i = 0; i < state->inputs[0].rank; i++) codes *= 3;
    for (uint32_t code = 0; code < codes; code++) count += region_of(state, code, &region);
    tl_status status = alloc_moves(state, count, err);
    if (status != TL_OK) return status;
    move_state *own = state->own;
    count = 0;
    for (uint32_t code = 0; code < codes; code++)
        if (region_of(state, code, &region)) own->moves[count++] = region;
    own->fill = state->attrs->alpha;
    own->fills = state->attrs->pad_mode == TL_PAD_CONSTANT;
    own->sums = !own->fills;
    return TL_OK;
}

MOVE(pad)
