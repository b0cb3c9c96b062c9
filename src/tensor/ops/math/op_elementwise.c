/* Functions of one number: y = f(x). Backward reads x. */
#include "tensor/internal.h"

#include <string.h>

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
    state->needs.parts = state->mode == TL_MODE_INFER;
    return TL_OK;
}

static size_t count_of(const tl_op_state *state)
{
    return state->batch * tl_shape_count(&state->output);
}

static tl_activation function_of(const tl_op_state *state)
{
    return (tl_activation){ state->kind, state->attrs->alpha, state->attrs->beta };
}

static tl_status unary_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const tl_activation act = function_of(state);
    /* Vectors and what is left at the end fall on the same numbers in any part. */
    const tl_range part = tl_run_share(run, count_of(state), TL_ALIGN_BYTES);
    tl_kernels_get()->activate(&act, part.end - part.begin, run->x[0] + part.begin,
                               run->y + part.begin);
    return TL_OK;
}

static tl_status unary_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const tl_activation act = function_of(state);
    if (run->dx[0] == NULL) return TL_OK;
    tl_kernels_get()->activate_backward(&act, count_of(state), run->x[0], run->dy, run->dx[0]);
    return TL_OK;
}

#define UNARY(name_, shape_, backward_)                                                            \
    const tl_op tl_op_##name_ = {                                                                  \
        .name = #name_,                                                                            \
        .input_min = 1,                                                                            \
        .input_max = 1,                                                                            \
        .shape = shape_,                                                                           \
        .prepare = unary_prepare,                                                                  \
        .forward = unary_forward,                                                                  \
        .backward = backward_,                                                                     \
    };

UNARY(relu, unary_shape, unary_backward)
UNARY(clip, clip_shape, unary_backward)
UNARY(hard_swish, unary_shape, unary_backward)
UNARY(hard_sigmoid, unary_shape, unary_backward)
UNARY(sigmoid, unary_shape, unary_backward)
UNARY(silu, unary_shape, unary_backward)
UNARY(abs, unary_shape, unary_backward)
UNARY(leaky_relu, unary_shape, unary_backward)
UNARY(tanh, unary_shape, unary_backward)
UNARY(elu, unary_shape, unary_backward)
UNARY(selu, unary_shape, unary_backward)
UNARY(gelu, unary_shape, unary_backward)
UNARY(gelu_tanh, unary_shape, unary_backward)
UNARY(softplus, unary_shape, unary_backward)
UNARY(mish, unary_shape, unary_backward)
UNARY(softsign, unary_shape, unary_backward)
UNARY(exp, unary_shape, unary_backward)
UNARY(log, unary_shape, unary_backward)
UNARY(sqrt, unary_shape, unary_backward)
UNARY(reciprocal, unary_shape, unary_backward)
UNARY(neg, unary_shape, unary_backward)
UNARY(erf, unary_shape, unary_backward)
UNARY(floor, unary_shape, NULL)
UNARY(ceil, unary_shape, NULL)
UNARY(sign, unary_shape, NULL)
UNARY(round, unary_shape, NULL)
UNARY(logical_not, unary_shape, NULL)
UNARY(cast_integer, unary_shape, NULL)
UNARY(cast_bool, unary_shape, NULL)

/* ---- PRELU ----------------------------------------------------------------------------------- */

static size_t prelu_params(const tl_attrs *attrs, const tl_shape *inputs,
                           tl_param_spec specs[TL_OP_PARAM_MAX])
{
    (void)inputs;
    specs[0] = (tl_param_spec){ .suffix = "slope",
                                .shape = tl_shape_vector(attrs->channels),
                                .role = TL_PARAM_BIAS,
                                .init = TL_INIT_ZERO };
    return 1;
}

static tl_status prelu_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                             tl_shape *output, tl_error *err)
{
    (void)input_count;
    const uint32_t channels = tl_shape_channels(&inputs[0]);
    if (attrs->channels != 1 && attrs->channels != channels)
        return tl_fail(err, TL_ESHAPE, "%u slopes for %u channels; want one, or one each",
                       attrs->channels, channels);
    *output = inputs[0];
    return TL_OK;
}

static tl_status prelu_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    state->needs.keeps_input[0] = true;
    state->needs.in_place = true;
    state->needs.backward_in_place = true;
    if (state->mode == TL_MODE_INFER) state->needs.packed = state->attrs->channels * sizeof(float);
    return TL_OK;
}

static tl_status prelu_pack(const tl_op_state *state, const float *const *params, void *packed,
                            tl_error *err)
{
    (void)err;
    memcpy(packed, params[0], state->attrs->channels * sizeof(float));
    return TL_OK;
}

static tl_status prelu_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const float *slope = state->mode == TL_MODE_INFER ? run->packed : run->params[0];
    const size_t n = tl_shape_channels(&state->output), rows = count_of(state) / n;
    const size_t step = state->attrs->channels == 1 ? 0 : 1;
    for (size_t r = 0; r < rows; r++) {
        const float *x = run->x[0] + r * n;
        float *y = run->y + r * n;
        for (size_t i = 0; i < n; i++) y[i] = x[i] < 0.0f ? slope[i * step] * x[i] : x[i];
    }
    return TL_OK;
}

static tl_status prelu_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const float *slope = run->params[0];
    float *dslope = run->dparams[0];
    const size_t n = tl_shape_channels(&state->output), rows = count_of(state) / n;
    const size_t step = state->attrs->channels == 1 ? 0 : 1;
    memset(dslope, 0, state->attrs->channels * sizeof *dslope);
    for (size_t r = 0; r < rows; r++) {
        const float *x = run->x[0] + r * n, *dy = run->dy + r * n;
        float *dx = run->dx[0] == NULL ? NULL : run->dx[0] + r * n;
        for (size_t i = 0; i < n; i++) {
            const float d = dy[i];
            if (x[i] < 0.0f) dslope[i * step] += d * x[i];
            if (dx != NULL) dx[i] = x[i] < 0.0f ? d * slope[i * step] : d;
        }
    }
    return TL_OK;
}

const tl_op tl_op_prelu = {
    .name = "prelu",
    .input_min = 1,
    .input_max = 1,
    .params = prelu_params,
    .shape = prelu_shape,
    .prepare = prelu_prepare,
    .pack = prelu_pack,
    .forward = prelu_forward,
    .backward = prelu_backward,
};
