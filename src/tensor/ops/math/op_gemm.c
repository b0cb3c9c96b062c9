/* y = x W' + b along the last axis. Own kernel: the heads here are small, and each sum runs in the
 * order of the inputs whatever the batch, which oneDNN's inner product does not promise. */
#include "tensor/internal.h"
#include "tensor/ops/panels.h"

#include <string.h>

enum {
    ROWS_FEW = 16 /* up to so many, forward does not transpose the weights, which are larger */
};

static size_t gemm_params(const tl_attrs *attrs, const tl_shape *inputs,
                          tl_param_spec specs[TL_OP_PARAM_MAX])
{
    uint32_t in = tl_shape_channels(&inputs[0]), out = attrs->channels;
    specs[0] = (tl_param_spec){ .suffix = "weight",
                                .shape = { .rank = 2, .dim = { out, in } },
                                .role = TL_PARAM_WEIGHT,
                                .init = TL_INIT_FAN_IN,
                                .fan = in };
    if (!attrs->has_bias) return 1;
    specs[1] = (tl_param_spec){ .suffix = "bias",
                                .shape = tl_shape_vector(out),
                                .role = TL_PARAM_BIAS,
                                .init = TL_INIT_FAN_IN,
                                .fan = in };
    return 2;
}

static tl_status gemm_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                            tl_shape *output, tl_error *err)
{
    (void)input_count;
    if (attrs->channels < 1 || attrs->channels > TL_DIM_MAX)
        return tl_fail(err, TL_ESHAPE, "%u outputs; want 1 to %d", attrs->channels, TL_DIM_MAX);
    *output = inputs[0];
    output->dim[output->rank - 1] = attrs->channels;
    return TL_OK;
}

static uint64_t gemm_macs(const tl_attrs *attrs, const tl_shape *inputs, const tl_shape *output)
{
    (void)attrs;
    return (uint64_t)tl_shape_channels(&inputs[0]) * tl_shape_count(output);
}

static size_t rows_of(const tl_op_state *state)
{
    return state->batch * tl_shape_pixels(&state->output);
}

/* Training: the weights transposed, or x and y. */
static size_t forward_scratch(const tl_op_state *state)
{
    const size_t in = tl_shape_channels(&state->inputs[0]), out = state->attrs->channels;
    const size_t floats = rows_of(state) <= ROWS_FEW ? ROWS_FEW * (in + out) : in * out;
    return tl_align(floats * sizeof(float));
}

static tl_status gemm_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    if (state->mode == TL_MODE_INFER) {
        const size_t in = tl_shape_channels(&state->inputs[0]), out = state->attrs->channels;
        state->needs.packed = (tl_panels_floats(out, in) + tl_panels_columns(out)) * sizeof(float);
        state->needs.parts = true;
        state->needs.any_batch = true;
    } else {
        state->needs.forward_scratch = forward_scratch(state);
    }
    state->needs.keeps_input[0] = true;
    return TL_OK;
}

/* In blocks whose lines stay in the first-level cache. */
static void transpose(size_t out, size_t in, const float *from, float *to)
{
    const size_t block = 16;
    for (size_t o0 = 0; o0 < out; o0 += block) {
        const size_t o1 = o0 + block < out ? o0 + block : out;
        for (size_t i = 0; i < in; i++)
            for (size_t o = o0; o < o1; o++) to[i * out + o] = from[o * in + i];
    }
}

static tl_status gemm_pack(const tl_op_state *state, const float *const *params, void *packed,
                           tl_error *err)
{
    (void)err;
    size_t in = tl_shape_channels(&state->inputs[0]), out = state->attrs->channels;
    float *panels = packed;
    tl_panels_pack(params[0], state->attrs->has_bias ? params[1] : NULL, out, in, 1, panels,
                   panels + tl_panels_floats(out, in));
    return TL_OK;
}

static void gemm_infer(const tl_op_state *state, const tl_op_run *run)
{
    const size_t in = tl_shape_channels(&state->inputs[0]), out = state->attrs->channels;
    const float *panels = run->packed;
    const tl_panel_args args = { .rows = rows_of(state),
                                 .x = run->x[0],
                                 .x_step = in,
                                 .segments = 1,
                                 .segment_floats = in,
                                 .act = &state->attrs->activation,
                                 .y = run->y,
                                 .y_step = out };
    const uint32_t parts = run->parts == 0 ? 1 : run->parts;
    tl_panels_run(&args, out, panels, panels + tl_panels_floats(out, in),
                  tl_team_range(tl_panels_count(out), 1, run->part, parts));
}

/* y' = W x', which reads the weights once and as they lie. */
static void forward_few(const tl_op_state *state, const tl_op_run *run)
{
    const size_t in = tl_shape_channels(&state->inputs[0]), out = state->attrs->channels;
    const size_t rows = rows_of(state);
    float *x = run->scratch, *y = x + ROWS_FEW * in; /* [in, ROWS_FEW], [out, ROWS_FEW] */
    memset(x, 0, ROWS_FEW * in * sizeof *x);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < in; i++) x[i * ROWS_FEW + r] = run->x[0][r * in + i];
    for (size_t o = 0; o < out; o++)
        for (size_t r = 0; r < ROWS_FEW; r++)
            y[o * ROWS_FEW + r] = state->attrs->has_bias ? run->params[1][o] : 0.0f;
    const tl_gemm_args args = { .rows = out,
                                .columns = ROWS_FEW,
                                .inner = in,
                                .a = run->params[0],
                                .a_row = in,
                                .a_inner = 1,
                                .b = x,
                                .b_row = ROWS_FEW,
                                .c = y,
                                .c_row = ROWS_FEW,
                                .adds = true };
    tl_kernels_get()->gemm(&args);
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < out; o++) run->y[r * out + o] = y[o * ROWS_FEW + r];
}

static tl_status gemm_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (state->mode == TL_MODE_INFER) {
        gemm_infer(state, run);
        return TL_OK;
    }
    if (rows_of(state) <= ROWS_FEW) {
        forward_few(state, run);
        return TL_OK;
    }
    size_t in = tl_shape_channels(&state->inputs[0]), out = state->attrs->channels;
    tl_gemm_args args = { .rows = rows_of(state),
                          .columns = out,
                          .inner = in,
                          .a = run->x[0],
                          .a_row = in,
                          .a_inner = 1,
                          .b_row = out,
                          .c = run->y,
                          .c_row = out };
    transpose(out, in, run->params[0], run->scratch);
    args.b = run->scratch;
    if (state->attrs->has_bias) args.bias = run->params[1];
    tl_kernels_get()->gemm(&args);
    return TL_OK;
}

static tl_status gemm_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    size_t in = tl_shape_channels(&state->inputs[0]), out = state->attrs->channels;
    const tl_kernels *k = tl_kernels_get();
    tl_gemm_args weights = { .rows = out,
                             .columns = in,
                             .inner = rows_of(state),
                             .a = run->dy,
                             .a_row = 1,
                             .a_inner = out,
                             .b = run->x[0],
                             .b_row = in,
                             .c = run->dparams[0],
                             .c_row = in };
    k->gemm(&weights);
    if (state->attrs->has_bias) {
        memset(run->dparams[1], 0, out * sizeof(float));
        k->sum_groups(rows_of(state) * out, out, run->dy, run->dparams[1]);
    }
    if (run->dx[0] == NULL) return TL_OK;
    tl_gemm_args data = { .rows = rows_of(state),
                          .columns = in,
                          .inner = out,
                          .a = run->dy,
                          .a_row = out,
                          .a_inner = 1,
                          .b = run->params[0],
                          .b_row = in,
                          .c = run->dx[0],
                          .c_row = in };
    k->gemm(&data);
    return TL_OK;
}

const tl_op tl_op_gemm = {
    .name = "gemm",
    .input_min = 1,
    .input_max = 1,
    .fuses_infer = TL_ACTIVATION_BITS,
    .params = gemm_params,
    .shape = gemm_shape,
    .macs = gemm_macs,
    .prepare = gemm_prepare,
    .pack = gemm_pack,
    .forward = gemm_forward,
    .backward = gemm_backward,
};
