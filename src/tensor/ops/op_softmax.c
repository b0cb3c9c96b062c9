/* y = exp(x) / sum exp(x) over the channels. dx = y * (dy - sum(dy * y)). */
#include "tensor/internal.h"

static tl_status softmax_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                               tl_shape *output, tl_error *err)
{
    (void)attrs, (void)input_count, (void)err;
    *output = inputs[0];
    return TL_OK;
}

static tl_status softmax_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    state->needs.keeps_output = true;
    state->needs.in_place = true;
    state->needs.backward_in_place = true;
    return TL_OK;
}

static tl_status softmax_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const size_t n = tl_shape_channels(&state->output);
    const size_t rows = state->batch * tl_shape_pixels(&state->output);
    for (size_t r = 0; r < rows; r++)
        tl_kernels_get()->softmax(n, run->x[0] + r * n, run->y + r * n);
    return TL_OK;
}

static tl_status softmax_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
    const size_t n = tl_shape_channels(&state->output);
    const size_t rows = state->batch * tl_shape_pixels(&state->output);
    for (size_t r = 0; r < rows; r++) {
        const float *y = run->y + r * n, *dy = run->dy + r * n;
        float *dx = run->dx[0] + r * n;
        double dot = 0;
        for (size_t i = 0; i < n; i++) dot += (double)dy[i] * (double)y[i];
        for (size_t i = 0; i < n; i++) dx[i] = y[i] * (dy[i] - (float)dot);
    }
    return TL_OK;
}

const tl_op tl_op_softmax = {
    .name = "softmax",
    .input_min = 1,
    .input_max = 1,
    .shape = softmax_shape,
    .prepare = softmax_prepare,
    .forward = softmax_forward,
    .backward = softmax_backward,
};
