/* Sum, difference, product of two operands. One of them may be smaller: one number an item, or one
 * a channel; then it is repeated over the other's pixels. */
#include "tensor/internal.h"

#include <string.h>

/* How operand `small` is repeated over `big`. */
typedef enum spread { SPREAD_NONE, SPREAD_CHANNEL, SPREAD_ITEM, SPREAD_IMPOSSIBLE } spread;

static spread spread_of(const tl_shape *small, const tl_shape *big)
{
    if (tl_shape_equal(small, big)) return SPREAD_NONE;
    if (tl_shape_count(small) == 1) return SPREAD_ITEM;
    if (big->rank == 3 && tl_shape_pixels(small) == 1 &&
        tl_shape_channels(small) == tl_shape_channels(big))
        return SPREAD_CHANNEL;
    return SPREAD_IMPOSSIBLE;
}

/* Which operand is the big one; -1 when the shapes do not go together. */
static int big_operand(const tl_shape *inputs)
{
    if (spread_of(&inputs[1], &inputs[0]) != SPREAD_IMPOSSIBLE) return 0;
    if (spread_of(&inputs[0], &inputs[1]) != SPREAD_IMPOSSIBLE) return 1;
    return -1;
}

static tl_status binary_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                              tl_shape *output, tl_error *err)
{
    (void)attrs;
    TL_ASSERT(input_count == 2);
    int big = big_operand(inputs);
    if (big < 0)
        return tl_fail(err, TL_ESHAPE,
                       "operands must have equal shapes, or one of them one number an item or a "
                       "channel");
    *output = inputs[big];
    return TL_OK;
}

typedef struct binary_state {
    int big;
    spread how;
    size_t group; /* floats of a group */
} binary_state;

static tl_status binary_prepare(tl_op_state *state, tl_error *err)
{
    tl_status status = tl_op_alloc(state, sizeof(binary_state), err);
    if (status != TL_OK) return status;
    binary_state *own = state->own;
    own->big = big_operand(state->inputs);
    own->how = spread_of(&state->inputs[1 - own->big], &state->output);
    uint32_t channels = own->how == SPREAD_ITEM ? 1 : tl_shape_channels(&state->output);
    own->group = tl_group_floats(channels);
    if (own->how != SPREAD_NONE) {
        state->needs.forward_scratch = own->group * sizeof(float);
        state->needs.backward_scratch = 2 * own->group * sizeof(float);
    }
    state->needs.in_place = own->big == 0;
    return TL_OK;
}

static tl_status mul_prepare(tl_op_state *state, tl_error *err)
{
    tl_status status = binary_prepare(state, err);
    if (status != TL_OK) return status;
    state->needs.keeps_input[0] = state->wants_grad[1];
    state->needs.keeps_input[1] = state->wants_grad[0];
    return TL_OK;
}

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

static size_t small_channels(const tl_op_state *state)
{
    const binary_state *own = state->own;
    return tl_shape_count(&state->inputs[1 - own->big]);
}

/* y = a op b. */
static void apply(const tl_op_state *state, const tl_op_run *run, char op)
{
    const binary_state *own = state->own;
    const tl_kernels *k = tl_kernels_get();
    const size_t item = tl_shape_count(&state->output), n = state->batch * item;
    if (own->how == SPREAD_NONE) {
        (op == '+' ? k->add : op == '-' ? k->sub : k->mul)(n, run->x[0], run->x[1], run->y);
        return;
    }
    const size_t channels = small_channels(state);
    if (op == '-' && own->big == 1) op = 'r'; /* a - b with a the small one */
    for (uint32_t i = 0; i < state->batch; i++) {
        fill_group(run->x[1 - own->big] + i * channels, channels, own->group, run->scratch);
        k->apply_groups(op, item, own->group, run->x[own->big] + i * item, run->scratch,
                        run->y + i * item);
    }
}

/* d small = factor * sum over pixels of dy (times the big operand, for a product). */
static void reduce_small(const tl_op_state *state, const tl_op_run *run, bool product, float factor)
{
    const binary_state *own = state->own;
    const tl_kernels *k = tl_kernels_get();
    const size_t item = tl_shape_count(&state->output), channels = small_channels(state);
    float *sum = run->scratch;
    for (uint32_t i = 0; i < state->batch; i++) {
        float *to = run->dx[1 - own->big] + i * channels;
        memset(sum, 0, own->group * sizeof *sum);
        if (product)
            k->dot_groups(item, own->group, run->dy + i * item, run->x[own->big] + i * item, sum);
        else
            k->sum_groups(item, own->group, run->dy + i * item, sum);
        fold_group(sum, channels, own->group, to);
        if (factor != 1.0f) k->scale(channels, factor, to, to);
    }
}

/* The gradient of a sum or a difference: dy, with a sign. */
static void backward_linear(const tl_op_state *state, const tl_op_run *run, float sign_b)
{
    const binary_state *own = state->own;
    const size_t n = state->batch * tl_shape_count(&state->output);
    for (int i = 0; i < 2; i++) {
        float sign = i == 0 ? 1.0f : sign_b;
        if (run->dx[i] == NULL) continue;
        if (own->how != SPREAD_NONE && i != own->big) {
            reduce_small(state, run, false, sign);
        } else if (sign == 1.0f) {
            memcpy(run->dx[i], run->dy, n * sizeof(float));
        } else {
            tl_kernels_get()->scale(n, sign, run->dy, run->dx[i]);
        }
    }
}

static tl_status add_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    apply(state, run, '+');
    return TL_OK;
}

static tl_status add_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    backward_linear(state, run, 1.0f);
    return TL_OK;
}

static tl_status sub_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    apply(state, run, '-');
    return TL_OK;
}

static tl_status sub_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    backward_linear(state, run, -1.0f);
    return TL_OK;
}

static tl_status mul_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    apply(state, run, '*');
    return TL_OK;
}

static tl_status mul_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const binary_state *own = state->own;
    const tl_kernels *k = tl_kernels_get();
    const size_t item = tl_shape_count(&state->output), n = state->batch * item;
    if (own->how == SPREAD_NONE) {
        for (int i = 0; i < 2; i++)
            if (run->dx[i] != NULL) k->mul(n, run->dy, run->x[1 - i], run->dx[i]);
        return TL_OK;
    }
    const size_t channels = small_channels(state);
    if (run->dx[1 - own->big] != NULL) reduce_small(state, run, true, 1.0f);
    if (run->dx[own->big] == NULL) return TL_OK;
    for (uint32_t i = 0; i < state->batch; i++) {
        fill_group(run->x[1 - own->big] + i * channels, channels, own->group, run->scratch);
        k->apply_groups('*', item, own->group, run->dy + i * item, run->scratch,
                        run->dx[own->big] + i * item);
    }
    return TL_OK;
}

#define BINARY(name_, prepare_)                                                                    \
    const tl_op tl_op_##name_ = {                                                                  \
        .name = #name_,                                                                            \
        .input_min = 2,                                                                            \
        .input_max = 2,                                                                            \
        .shape = binary_shape,                                                                     \
        .prepare = prepare_,                                                                       \
        .forward = name_##_forward,                                                                \
        .backward = name_##_backward,                                                              \
    };

BINARY(add, binary_prepare)
BINARY(sub, binary_prepare)
BINARY(mul, mul_prepare)
