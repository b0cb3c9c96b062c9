/* Reductions over any axes, and ARG_MAX.
 *
 * Sums, means and products run over the axes with the output standing still along those that go
 * (walk.h). Equal extremes share their gradient evenly. */
#include "tensor/internal.h"
#include "tensor/walk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { X, Y };

static uint32_t mask_of(const tl_attrs *attrs, const tl_shape *x)
{
    return attrs->axis_mask != 0 ? attrs->axis_mask : (1u << x->rank) - 1;
}

static void drop_axes(const tl_shape *x, uint32_t mask, bool keep_dims, tl_shape *y)
{
    *y = (tl_shape){ .rank = 0 };
    for (uint32_t i = 0; i < x->rank; i++) {
        const bool goes = (mask >> i & 1u) != 0;
        if (!goes || keep_dims) y->dim[y->rank++] = goes ? 1 : x->dim[i];
    }
    if (y->rank == 0) y->dim[y->rank++] = 1;
}

static tl_status reduce_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                              tl_shape *output, tl_error *err)
{
    (void)input_count;
    if (attrs->axis_mask >> inputs[0].rank != 0)
        return tl_fail(err, TL_ESHAPE, "axes beyond the item's %u", inputs[0].rank);
    drop_axes(&inputs[0], mask_of(attrs, &inputs[0]), attrs->keep_dims, output);
    return TL_OK;
}

typedef struct reduce_state {
    tl_walk walk; /* of one item */
    size_t count; /* numbers that become one */
} reduce_state;

static tl_status reduce_prepare(tl_op_state *state, tl_error *err)
{
    tl_status status = tl_op_alloc(state, sizeof(reduce_state), err);
    if (status != TL_OK) return status;
    reduce_state *own = state->own;
    const tl_shape *x = &state->inputs[0];
    const uint32_t mask = mask_of(state->attrs, x);
    ptrdiff_t from = (ptrdiff_t)tl_shape_count(x), to = (ptrdiff_t)tl_shape_count(&state->output);
    own->count = (size_t)(from / to);
    for (uint32_t i = 0; i < x->rank; i++) {
        const bool goes = (mask >> i & 1u) != 0;
        from /= (ptrdiff_t)x->dim[i];
        if (!goes) to /= (ptrdiff_t)x->dim[i];
        tl_walk_axis(&own->walk, x->dim[i], (ptrdiff_t[TL_WALK_TENSORS]){ from, goes ? 0 : to });
    }
    const bool linear = state->kind == TL_OP_REDUCE_SUM || state->kind == TL_OP_REDUCE_MEAN;
    state->needs.keeps_input[0] = !linear;
    state->needs.keeps_output = !linear;
    if (state->kind == TL_OP_REDUCE_MAX || state->kind == TL_OP_REDUCE_MIN ||
        state->kind == TL_OP_REDUCE_PROD)
        state->needs.backward_scratch = 2 * tl_shape_count(&state->output) * sizeof(float);
    return TL_OK;
}

typedef struct reduce_call {
    tl_op_kind kind;
    const float *x, *dy, *value;
    float *y, *dx, *count, *product;
} reduce_call;

static void fold_plane(void *context, const tl_walk_plane *p)
{
    const reduce_call *c = context;
    for (size_t r = 0; r < p->rows; r++) {
        const float *x = c->x + p->at[X] + (ptrdiff_t)r * p->row[X];
        float *y = c->y + p->at[Y] + (ptrdiff_t)r * p->row[Y];
        const ptrdiff_t xs = p->step[X], ys = p->step[Y];
        switch ((int)c->kind) {
#define FOLD(expression)                                                                           \
    for (size_t i = 0; i < p->n; i++, x += xs, y += ys) *y = expression;                           \
    break;
        case TL_OP_REDUCE_MAX: FOLD(*x > *y || *x != *x ? *x : *y)
        case TL_OP_REDUCE_MIN: FOLD(*x < *y || *x != *x ? *x : *y)
        case TL_OP_REDUCE_PROD: FOLD(*y * *x)
        default: FOLD(*y + *x * *x)
#undef FOLD
        }
    }
}

static float start_of(tl_op_kind kind)
{
    switch ((int)kind) {
    case TL_OP_REDUCE_MAX: return -INFINITY;
    case TL_OP_REDUCE_MIN: return INFINITY;
    case TL_OP_REDUCE_PROD: return 1.0f;
    default: return 0.0f;
    }
}

static tl_status reduce_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const reduce_state *own = state->own;
    const size_t in = tl_shape_count(&state->inputs[0]), out = tl_shape_count(&state->output);
    const float start = start_of(state->kind);
    for (size_t i = 0; i < state->batch * out; i++) run->y[i] = start;
    for (uint32_t b = 0; b < state->batch; b++) {
        const float *x = run->x[0] + b * in;
        float *y = run->y + b * out;
        if (state->kind == TL_OP_REDUCE_SUM || state->kind == TL_OP_REDUCE_MEAN)
            tl_walk_add(&own->walk, x, y);
        else
            tl_walk_run(&own->walk, fold_plane,
                        &(reduce_call){ .kind = state->kind, .x = x, .y = y });
    }
    const size_t n = state->batch * out;
    if (state->kind == TL_OP_REDUCE_MEAN)
        tl_kernels_get()->scale(n, (float)(1.0 / (double)own->count), run->y, run->y);
    if (state->kind == TL_OP_REDUCE_L2)
        for (size_t i = 0; i < n; i++) run->y[i] = sqrtf(run->y[i]);
    return TL_OK;
}

/* How many numbers are the extreme, or 0; and the product of those that are not 0. */
static void count_plane(void *context, const tl_walk_plane *p)
{
    const reduce_call *c = context;
    for (size_t r = 0; r < p->rows; r++) {
        for (size_t i = 0; i < p->n; i++) {
            const ptrdiff_t from = p->at[X] + (ptrdiff_t)r * p->row[X] + (ptrdiff_t)i * p->step[X];
            const ptrdiff_t to = p->at[Y] + (ptrdiff_t)r * p->row[Y] + (ptrdiff_t)i * p->step[Y];
            const float x = c->x[from];
            const bool product = c->kind == TL_OP_REDUCE_PROD;
            if (x == (product ? 0.0f : c->value[to]))
                c->count[to] += 1.0f;
            else if (product)
                c->product[to] *= x;
        }
    }
}

static float slope_of(const reduce_call *c, float x, ptrdiff_t to)
{
    switch ((int)c->kind) {
    case TL_OP_REDUCE_L2: return c->value[to] == 0.0f ? 0.0f : x / c->value[to];
    case TL_OP_REDUCE_PROD:
        if (c->count[to] == 0.0f) return c->product[to] / x;
        return c->count[to] == 1.0f && x == 0.0f ? c->product[to] : 0.0f;
    default: return x == c->value[to] ? 1.0f / c->count[to] : 0.0f;
    }
}

static void back_plane(void *context, const tl_walk_plane *p)
{
    const reduce_call *c = context;
    for (size_t r = 0; r < p->rows; r++) {
        for (size_t i = 0; i < p->n; i++) {
            const ptrdiff_t from = p->at[X] + (ptrdiff_t)r * p->row[X] + (ptrdiff_t)i * p->step[X];
            const ptrdiff_t to = p->at[Y] + (ptrdiff_t)r * p->row[Y] + (ptrdiff_t)i * p->step[Y];
            c->dx[from] = c->dy[to] * slope_of(c, c->x[from], to);
        }
    }
}

static tl_status reduce_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
    const reduce_state *own = state->own;
    const size_t in = tl_shape_count(&state->inputs[0]), out = tl_shape_count(&state->output);
    const tl_walk spread = tl_walk_reverse(&own->walk);
    const bool linear = state->kind == TL_OP_REDUCE_SUM || state->kind == TL_OP_REDUCE_MEAN;
    for (uint32_t b = 0; b < state->batch; b++) {
        reduce_call call = { .kind = state->kind,
                             .x = run->x[0] + b * in,
                             .dy = run->dy + b * out,
                             .value = run->y + b * out,
                             .dx = run->dx[0] + b * in,
                             .count = run->scratch,
                             .product = (float *)run->scratch + out };
        if (linear) {
            tl_walk_copy(&spread, call.dy, call.dx);
            continue;
        }
        if (state->kind != TL_OP_REDUCE_L2) {
            for (size_t i = 0; i < out; i++) call.count[i] = 0.0f, call.product[i] = 1.0f;
            tl_walk_run(&own->walk, count_plane, &call);
        }
        tl_walk_run(&own->walk, back_plane, &call);
    }
    if (state->kind == TL_OP_REDUCE_MEAN)
        tl_kernels_get()->scale(state->batch * in, (float)(1.0 / (double)own->count), run->dx[0],
                                run->dx[0]);
    return TL_OK;
}

#define REDUCE(name_)                                                                              \
    const tl_op tl_op_reduce_##name_ = {                                                           \
        .name = "reduce_" #name_,                                                                  \
        .input_min = 1,                                                                            \
        .input_max = 1,                                                                            \
        .shape = reduce_shape,                                                                     \
        .prepare = reduce_prepare,                                                                 \
        .forward = reduce_forward,                                                                 \
        .backward = reduce_backward,                                                               \
    };

REDUCE(sum)
REDUCE(mean)
REDUCE(max)
REDUCE(min)
REDUCE(prod)
REDUCE(l2)

/* ---- ARG_MAX --------------------------------------------------------------------------------- */

static tl_status arg_max_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                               tl_shape *output, tl_error *err)
{
    (void)input_count;
    const int axis = tl_axis_index(attrs->axis, inputs[0].rank);
    if (axis < 0)
        return tl_fail(err, TL_ESHAPE, "axis %d of an item of rank %u", attrs->axis,
                       inputs[0].rank);
    drop_axes(&inputs[0], 1u << axis, attrs->keep_dims, output);
    return TL_OK;
}

static tl_status arg_max_prepare(tl_op_state *state, tl_error *err)
{
    (void)state, (void)err;
    return TL_OK;
}

static tl_status arg_max_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const tl_shape *x = &state->inputs[0];
    const uint32_t axis = (uint32_t)tl_axis_index(state->attrs->axis, x->rank);
    const size_t size = x->dim[axis];
    size_t inner = 1;
    for (uint32_t i = axis + 1; i < x->rank; i++) inner *= x->dim[i];
    const size_t outer = state->batch * tl_shape_count(x) / size / inner;
    for (size_t o = 0; o < outer; o++) {
        for (size_t i = 0; i < inner; i++) {
            const float *row = run->x[0] + o * size * inner + i;
            size_t best = 0;
            for (size_t k = 1; k < size; k++)
                if (row[k * inner] > row[best * inner]) best = k;
            run->y[o * inner + i] = (float)best;
        }
    }
    return TL_OK;
}

const tl_op tl_op_arg_max = {
    .name = "arg_max",
    .input_min = 1,
    .input_max = 1,
    .shape = arg_max_shape,
    .prepare = arg_max_prepare,
    .forward = arg_max_forward,
};
