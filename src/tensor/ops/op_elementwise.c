/* Functions of one number: y = f(x). Backward reads x. */
#include "tensor/internal.h"

static tl_status unary_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                             tl_shape *output, tl_error *err)
{
    (void)input_count;
    if (attrs->alpha != attrs->alpha || attrs->beta != attrs->beta)
        return tl_fail(err, TL_EINVAL, "alpha or beta is not a number");
    *output = inputs[0];
    return TL_OK;
}

static tl_status clip_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                            tl_shape *output, tl_error *err)
{
    if (attrs->alpha > attrs->beta)
        return tl_fail(err, TL_EINVAL, "lower bound %g is above upper bound %g",
                       (double)attrs->alpha, (double)attrs->beta);
    return unary_shape(attrs, inputs, input_count, output, err);
}

static tl_status unary_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    state->needs.keeps_input[0] = true;
    state->needs.in_place = true;
    state->needs.backward_in_place = true;
    return TL_OK;
}

static size_t count_of(const tl_op_state *state)
{
    return state->batch * tl_shape_count(&state->output);
}

#define UNARY(KIND, name_, shape_)                                                                 \
    static tl_status name_##_forward(const tl_op_state *state, const tl_op_run *run,               \
                                     tl_error *err)                                                \
    {                                                                                              \
        (void)err;                                                                                 \
        tl_activation act = { TL_OP_##KIND, state->attrs->alpha, state->attrs->beta };             \
        tl_kernels_get()->activate(&act, count_of(state), run->x[0], run->y);                      \
        return TL_OK;                                                                              \
    }                                                                                              \
    static tl_status name_##_backward(const tl_op_state *state, const tl_op_run *run,              \
                                      tl_error *err)                                               \
    {                                                                                              \
        (void)err;                                                                                 \
        tl_activation act = { TL_OP_##KIND, state->attrs->alpha, state->attrs->beta };             \
        if (run->dx[0] == NULL) return TL_OK;                                                      \
        tl_kernels_get()->activate_backward(&act, count_of(state), run->x[0], run->dy,             \
                                            run->dx[0]);                                           \
        return TL_OK;                                                                              \
    }                                                                                              \
    const tl_op tl_op_##name_ = {                                                                  \
        .name = #name_,                                                                            \
        .input_min = 1,                                                                            \
        .input_max = 1,                                                                            \
        .shape = shape_,                                                                           \
        .prepare = unary_prepare,                                                                  \
        .forward = name_##_forward,                                                                \
        .backward = name_##_backward,                                                              \
    };

UNARY(RELU, relu, unary_shape)
UNARY(CLIP, clip, clip_shape)
UNARY(HARD_SWISH, hard_swish, unary_shape)
UNARY(HARD_SIGMOID, hard_sigmoid, unary_shape)
UNARY(SIGMOID, sigmoid, unary_shape)
UNARY(SILU, silu, unary_shape)
UNARY(ABS, abs, unary_shape)
