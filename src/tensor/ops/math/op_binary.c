/* Functions of two numbers, operands broadcast as NumPy does, and WHERE.
 *
 * Products and sums with one number a channel, as normalisations and gates have them, go by groups
 * of pixels (kernels.h); everything else walks over the axes (walk.h). */
#include "tensor/internal.h"
#include "tensor/walk.h"

#include <string.h>

enum { A, B, Y }; /* the tensors of a walk */

typedef struct binary_state {
    tl_walk walk;   /* of one item */
    int small;      /* the operand with one number a channel, when groups are used; else -1 */
    size_t group;   /* floats of a group */
    tl_walk sum[2]; /* from an item of the output's shape to that of operand a, b */
} binary_state;

static tl_status binary_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                              tl_shape *output, tl_error *err)
{
    (void)attrs;
    TL_ASSERT(input_count == 2);
    if (!tl_shape_broadcast(&inputs[0], &inputs[1], output))
        return tl_fail(err, TL_ESHAPE,
                       "operands do not go together: sizes must be equal or 1, from the last axis");
    return TL_OK;
}

/* Operand a[i] has one number a channel and the other one is the whole item. */
static bool spreads_channels(const tl_op_state *state, int i)
{
    return tl_shape_equal(&state->inputs[1 - i], &state->output) &&
           tl_shape_pixels(&state->inputs[i]) == 1 && tl_shape_pixels(&state->output) > 1 &&
           tl_shape_channels(&state->inputs[i]) == tl_shape_channels(&state->output);
}

static void make_walks(const tl_op_state *state, binary_state *own)
{
    const tl_shape *y = &state->output;
    ptrdiff_t step[2][TL_RANK_MAX], dense = (ptrdiff_t)tl_shape_count(y);
    for (int i = 0; i < 2; i++) tl_walk_broadcast(&state->inputs[i], y, step[i]);
    for (uint32_t axis = 0; axis < y->rank; axis++) {
        dense /= (ptrdiff_t)y->dim[axis];
        tl_walk_axis(&own->walk, y->dim[axis],
                     (ptrdiff_t[TL_WALK_TENSORS]){ step[A][axis], step[B][axis], dense });
        for (int i = 0; i < 2; i++)
            tl_walk_axis(&own->sum[i], y->dim[axis],
                         (ptrdiff_t[TL_WALK_TENSORS]){ dense, step[i][axis] });
    }
}

static tl_status binary_prepare(tl_op_state *state, tl_error *err)
{
    tl_status status = tl_op_alloc(state, sizeof(binary_state), err);
    if (status != TL_OK) return status;
    binary_state *own = state->own;
    const tl_op_kind kind = state->kind;
    const bool linear = kind == TL_OP_ADD || kind == TL_OP_SUB;
    own->small = -1;
    for (int i = 0; i < 2 && (linear || kind == TL_OP_MUL); i++)
        if (spreads_channels(state, i)) own->small = i;
    make_walks(state, own);
    bool whole[2];
    for (int i = 0; i < 2; i++) whole[i] = tl_shape_equal(&state->inputs[i], &state->output);
    if (own->small >= 0) {
        own->group = tl_group_floats(tl_shape_channels(&state->output));
        state->needs.forward_scratch = own->group * sizeof(float);
        state->needs.parts = state->mode == TL_MODE_INFER;
        state->needs.backward_scratch = own->group * sizeof(float);
    } else if (!whole[0] || !whole[1]) {
        state->needs.backward_scratch = tl_shape_count(&state->output) * sizeof(float);
    }
    for (int i = 0; i < 2 && !linear; i++)
        state->needs.keeps_input[i] = state->wants_grad[0] || state->wants_grad[1];
    if (kind == TL_OP_MUL) {
        state->needs.keeps_input[0] = state->wants_grad[1];
        state->needs.keeps_input[1] = state->wants_grad[0];
    }
    state->needs.in_place = whole[0];
    return TL_OK;
}

/* ---- By groups ------------------------------------------------------------------------------- */

/* Repeat `from` [channels] over a group. */
static void fill_group(const float *from, size_t channels, size_t group, float *to)
{
    for (size_t at = 0; at < group; at += channels) memcpy(to + at, from, channels * sizeof *to);
}

/* Fold a group's sums into `to` [channels]. */
static void fold_group(const float *sum, size_t channels, size_t group, float *to)
{
    for (size_t c = 0; c < channels; c++) {
        double total = 0;
        for (size_t at = c; at < group; at += channels) total += (double)sum[at];
        to[c] = (float)total;
    }
}

static void groups_forward(const tl_op_state *state, const tl_op_run *run)
{
    const binary_state *own = state->own;
    const size_t item = tl_shape_count(&state->output);
    const size_t channels = tl_shape_channels(&state->output);
    char op = state->kind == TL_OP_ADD ? '+' : state->kind == TL_OP_MUL ? '*' : '-';
    if (op == '-' && own->small == 0) op = 'r'; /* a - b with a the small one */
    const tl_range part = tl_run_share(run, item, own->group);
    for (uint32_t i = 0; i < state->batch; i++) {
        const size_t at = i * item + part.begin;
        fill_group(run->x[own->small] + i * channels, channels, own->group, run->scratch);
        tl_kernels_get()->apply_groups(op, part.end - part.begin, own->group,
                                       run->x[1 - own->small] + at, run->scratch, run->y + at);
    }
}

/* d small = sum over pixels of dy (times the big operand, for a product). */
static void groups_small(const tl_op_state *state, const tl_op_run *run)
{
    const binary_state *own = state->own;
    const tl_kernels *k = tl_kernels_get();
    const size_t item = tl_shape_count(&state->output);
    const size_t channels = tl_shape_channels(&state->output);
    float *sum = run->scratch;
    for (uint32_t i = 0; i < state->batch; i++) {
        float *to = run->dx[own->small] + i * channels;
        const float *dy = run->dy + i * item, *big = run->x[1 - own->small] + i * item;
        memset(sum, 0, own->group * sizeof *sum);
        if (state->kind == TL_OP_MUL)
            k->dot_groups(item, own->group, dy, big, sum);
        else
            k->sum_groups(item, own->group, dy, sum);
        fold_group(sum, channels, own->group, to);
        if (state->kind == TL_OP_SUB && own->small == 1) k->scale(channels, -1.0f, to, to);
    }
}

static void groups_big(const tl_op_state *state, const tl_op_run *run)
{
    const binary_state *own = state->own;
    const tl_kernels *k = tl_kernels_get();
    const size_t item = tl_shape_count(&state->output);
    const size_t channels = tl_shape_channels(&state->output);
    float *dx = run->dx[1 - own->small];
    if (state->kind != TL_OP_MUL) {
        const bool minus = state->kind == TL_OP_SUB && own->small == 0;
        k->scale(state->batch * item, minus ? -1.0f : 1.0f, run->dy, dx);
        return;
    }
    for (uint32_t i = 0; i < state->batch; i++) {
        fill_group(run->x[own->small] + i * channels, channels, own->group, run->scratch);
        k->apply_groups('*', item, own->group, run->dy + i * item, run->scratch, dx + i * item);
    }
}

/* ---- By walks -------------------------------------------------------------------------------- */

typedef struct binary_call {
    tl_op_kind kind;
    const float *a, *b, *dy;
    float *y;
    bool second;
} binary_call;

static void binary_plane(void *context, const tl_walk_plane *p)
{
    const binary_call *call = context;
    const tl_binary_args args = { .rows = p->rows,
                                  .n = p->n,
                                  .a = call->a + p->at[A],
                                  .b = call->b + p->at[B],
                                  .a_row = p->row[A],
                                  .b_row = p->row[B],
                                  .a_step = p->step[A],
                                  .b_step = p->step[B] };
    if (call->dy == NULL)
        tl_kernels_get()->binary(call->kind, &args, call->y + p->at[Y]);
    else
        tl_kernels_get()->binary_backward(call->kind, &args, call->second, call->dy + p->at[Y],
                                          call->y + p->at[Y]);
}

/* The call for item i. */
static binary_call call_of(const tl_op_state *state, const tl_op_run *run, uint32_t i)
{
    return (binary_call){ .kind = state->kind,
                          .a = run->x[0] + i * tl_shape_count(&state->inputs[0]),
                          .b = run->x[1] + i * tl_shape_count(&state->inputs[1]) };
}

static tl_status binary_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const binary_state *own = state->own;
    if (own->small >= 0) {
        groups_forward(state, run);
        return TL_OK;
    }
    const size_t item = tl_shape_count(&state->output);
    for (uint32_t i = 0; i < state->batch; i++) {
        binary_call call = call_of(state, run, i);
        call.y = run->y + i * item;
        tl_walk_run(&own->walk, binary_plane, &call);
    }
    return TL_OK;
}

/* d operand: straight into it when it is as large as the output, else aside and summed up. */
static void operand_backward(const tl_op_state *state, const tl_op_run *run, int operand)
{
    const binary_state *own = state->own;
    const size_t item = tl_shape_count(&state->output);
    const size_t count = tl_shape_count(&state->inputs[operand]);
    const bool whole = tl_shape_equal(&state->inputs[operand], &state->output);
    for (uint32_t i = 0; i < state->batch; i++) {
        float *dx = run->dx[operand] + i * count;
        binary_call call = call_of(state, run, i);
        call.second = operand == 1;
        call.dy = run->dy + i * item;
        call.y = whole ? dx : run->scratch;
        tl_walk_run(&own->walk, binary_plane, &call);
        if (whole) continue;
        memset(dx, 0, count * sizeof *dx);
        tl_walk_add(&own->sum[operand], run->scratch, dx);
    }
}

static tl_status binary_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const binary_state *own = state->own;
    for (int i = 0; i < 2; i++) {
        if (run->dx[i] == NULL) continue;
        if (own->small < 0)
            operand_backward(state, run, i);
        else if (own->small == i)
            groups_small(state, run);
        else
            groups_big(state, run);
    }
    return TL_OK;
}

#define BINARY(name_, backward_)                                                                   \
    const tl_op tl_op_##name_ = {                                                                  \
        .name = #name_,                                                                            \
        .input_min = 2,                                                                            \
        .input_max = 2,                                                                            \
        .shape = binary_shape,                                                                     \
        .prepare = binary_prepare,                                                                 \
        .forward = binary_forward,                                                                 \
        .backward = backward_,                                                                     \
    };

BINARY(add, binary_backward)
BINARY(sub, binary_backward)
BINARY(mul, binary_backward)
BINARY(div, binary_backward)
BINARY(pow, binary_backward)
BINARY(min, binary_backward)
BINARY(max, binary_backward)
BINARY(mod, NULL)
BINARY(fmod, NULL)
BINARY(equal, NULL)
BINARY(greater, NULL)
BINARY(greater_or_equal, NULL)
BINARY(less, NULL)
BINARY(less_or_equal, NULL)
BINARY(logical_and, NULL)
BINARY(logical_or, NULL)
BINARY(logical_xor, NULL)

/* ---- WHERE ----------------------------------------------------------------------------------- */

enum { CHOICE, THEN, OTHER, CHOSEN };

static tl_status where_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                             tl_shape *output, tl_error *err)
{
    (void)attrs, (void)input_count;
    tl_shape two;
    if (!tl_shape_broadcast(&inputs[0], &inputs[1], &two) ||
        !tl_shape_broadcast(&two, &inputs[2], output))
        return tl_fail(err, TL_ESHAPE,
                       "operands do not go together: sizes must be equal or 1, from the last axis");
    return TL_OK;
}

static tl_status where_prepare(tl_op_state *state, tl_error *err)
{
    tl_status status = tl_op_alloc(state, sizeof(tl_walk), err);
    if (status != TL_OK) return status;
    tl_walk *walk = state->own;
    const tl_shape *y = &state->output;
    ptrdiff_t step[3][TL_RANK_MAX], dense = (ptrdiff_t)tl_shape_count(y);
    for (int i = 0; i < 3; i++) tl_walk_broadcast(&state->inputs[i], y, step[i]);
    for (uint32_t axis = 0; axis < y->rank; axis++) {
        dense /= (ptrdiff_t)y->dim[axis];
        tl_walk_axis(walk, y->dim[axis],
                     (ptrdiff_t[TL_WALK_TENSORS]){ step[CHOICE][axis], step[THEN][axis],
                                                   step[OTHER][axis], dense });
    }
    state->needs.keeps_input[CHOICE] = true;
    return TL_OK;
}

typedef struct where_call {
    const float *x[3], *dy;
    float *y, *dx[3];
} where_call;

static void where_plane(void *context, const tl_walk_plane *p)
{
    const where_call *c = context;
    ptrdiff_t at[TL_WALK_TENSORS];
    for (size_t r = 0; r < p->rows; r++) {
        for (int t = 0; t < TL_WALK_TENSORS; t++) at[t] = p->at[t] + (ptrdiff_t)r * p->row[t];
        for (size_t i = 0; i < p->n; i++) {
            const int from = c->x[CHOICE][at[CHOICE]] != 0.0f ? THEN : OTHER;
            if (c->dy == NULL)
                c->y[at[CHOSEN]] = c->x[from][at[from]];
            else if (c->dx[from] != NULL)
                c->dx[from][at[from]] += c->dy[at[CHOSEN]];
            for (int t = 0; t < TL_WALK_TENSORS; t++) at[t] += p->step[t];
        }
    }
}

static void where_run(const tl_op_state *state, const tl_op_run *run, bool back)
{
    const size_t item = tl_shape_count(&state->output);
    for (uint32_t b = 0; b < state->batch; b++) {
        where_call call = { .dy = back ? run->dy + b * item : NULL, .y = run->y + b * item };
        for (int i = 0; i < 3; i++) {
            const size_t at = b * tl_shape_count(&state->inputs[i]);
            call.x[i] = run->x[i] + at;
            if (run->dx[i] != NULL) call.dx[i] = run->dx[i] + at;
        }
        tl_walk_run(state->own, where_plane, &call);
    }
}

static tl_status where_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    where_run(state, run, false);
    return TL_OK;
}

static tl_status where_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    for (int i = 0; i < 3; i++)
        if (run->dx[i] != NULL)
            memset(run->dx[i], 0, state->batch * tl_shape_count(&state->inputs[i]) * sizeof(float));
    where_run(state, run, true);
    return TL_OK;
}

const tl_op tl_op_where = {
    .name = "where",
    .input_min = 3,
    .input_max = 3,
    .shape = where_shape,
    .prepare = where_prepare,
    .forward = where_forward,
    .backward = where_backward,
};
