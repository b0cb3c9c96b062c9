/* Operators that only move numbers: CONCAT, SLICE, FLATTEN, CONSTANT. */
#include "tensor/internal.h"

#include <string.h>

static tl_status no_prepare(tl_op_state *state, tl_error *err)
{
    (void)state, (void)err;
    return TL_OK;
}

/* Copy `width` of every `from_step` numbers into `width` of every `to_step`. */
static void copy_columns(size_t rows, size_t width, const float *from, size_t from_step, float *to,
                         size_t to_step)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(to + r * to_step, from + r * from_step, width * sizeof *to);
}

/* ---- CONCAT ---------------------------------------------------------------------------------- */

static tl_status concat_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                              tl_shape *output, tl_error *err)
{
    (void)attrs;
    uint64_t channels = 0;
    *output = inputs[0];
    for (size_t i = 0; i < input_count; i++) {
        tl_shape other = inputs[i];
        channels += tl_shape_channels(&other);
        other.dim[other.rank - 1] = inputs[0].dim[inputs[0].rank - 1];
        if (!tl_shape_equal(&other, &inputs[0]))
            return tl_fail(err, TL_ESHAPE, "operand %zu differs from the first in height or width",
                           i);
    }
    if (channels > TL_DIM_MAX) return tl_fail(err, TL_ESHAPE, "too many channels together");
    output->dim[output->rank - 1] = (uint32_t)channels;
    return TL_OK;
}

static tl_status concat_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const size_t total = tl_shape_channels(&state->output);
    const size_t rows = state->batch * tl_shape_pixels(&state->output);
    size_t at = 0;
    for (size_t i = 0; i < state->input_count; i++) {
        size_t width = tl_shape_channels(&state->inputs[i]);
        copy_columns(rows, width, run->x[i], width, run->y + at, total);
        at += width;
    }
    return TL_OK;
}

static tl_status concat_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const size_t total = tl_shape_channels(&state->output);
    const size_t rows = state->batch * tl_shape_pixels(&state->output);
    size_t at = 0;
    for (size_t i = 0; i < state->input_count; i++) {
        size_t width = tl_shape_channels(&state->inputs[i]);
        if (run->dx[i] != NULL) copy_columns(rows, width, run->dy + at, total, run->dx[i], width);
        at += width;
    }
    return TL_OK;
}

const tl_op tl_op_concat = {
    .name = "concat",
    .input_min = 1,
    .input_max = TL_OP_INPUT_MAX,
    .shape = concat_shape,
    .prepare = no_prepare,
    .forward = concat_forward,
    .backward = concat_backward,
};

/* ---- SLICE ----------------------------------------------------------------------------------- */

static tl_status slice_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                             tl_shape *output, tl_error *err)
{
    (void)input_count;
    int32_t channels = (int32_t)tl_shape_channels(&inputs[0]);
    if (attrs->begin < 0 || attrs->begin >= attrs->end || attrs->end > channels)
        return tl_fail(err, TL_ESHAPE, "channels %d to %d of %d", attrs->begin, attrs->end,
                       channels);
    *output = inputs[0];
    output->dim[output->rank - 1] = (uint32_t)(attrs->end - attrs->begin);
    return TL_OK;
}

static tl_status slice_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const size_t width = tl_shape_channels(&state->output);
    const size_t rows = state->batch * tl_shape_pixels(&state->output);
    copy_columns(rows, width, run->x[0] + state->attrs->begin, tl_shape_channels(&state->inputs[0]),
                 run->y, width);
    return TL_OK;
}

static tl_status slice_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
    const size_t width = tl_shape_channels(&state->output);
    const size_t rows = state->batch * tl_shape_pixels(&state->output);
    const size_t total = tl_shape_channels(&state->inputs[0]);
    memset(run->dx[0], 0, rows * total * sizeof(float));
    copy_columns(rows, width, run->dy, width, run->dx[0] + state->attrs->begin, total);
    return TL_OK;
}

const tl_op tl_op_slice = {
    .name = "slice",
    .input_min = 1,
    .input_max = 1,
    .shape = slice_shape,
    .prepare = no_prepare,
    .forward = slice_forward,
    .backward = slice_backward,
};

/* ---- FLATTEN --------------------------------------------------------------------------------- */

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

/* Transpose `batch` matrices of [rows, columns]. */
static void transpose(size_t batch, size_t rows, size_t columns, const float *from, float *to)
{
    if (rows == 1 || columns == 1) {
        memcpy(to, from, batch * rows * columns * sizeof *to);
        return;
    }
    for (size_t i = 0; i < batch; i++, from += rows * columns, to += rows * columns)
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
}

static tl_status flatten_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    transpose(state->batch, tl_shape_pixels(&state->inputs[0]),
              tl_shape_channels(&state->inputs[0]), run->x[0], run->y);
    return TL_OK;
}

static tl_status flatten_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] == NULL) return TL_OK;
    transpose(state->batch, tl_shape_channels(&state->inputs[0]),
              tl_shape_pixels(&state->inputs[0]), run->dy, run->dx[0]);
    return TL_OK;
}

const tl_op tl_op_flatten = {
    .name = "flatten",
    .input_min = 1,
    .input_max = 1,
    .shape = flatten_shape,
    .prepare = no_prepare,
    .forward = flatten_forward,
    .backward = flatten_backward,
};

/* ---- CONSTANT -------------------------------------------------------------------------------- */

static size_t constant_params(const tl_attrs *attrs, const tl_shape *inputs,
                              tl_param_spec specs[TL_OP_PARAM_MAX])
{
    (void)inputs;
    specs[0] = (tl_param_spec){ .suffix = "value",
                                .shape = attrs->shape,
                                .role = attrs->trained ? TL_PARAM_BIAS : TL_PARAM_RUNNING,
                                .init = TL_INIT_ZERO };
    return 1;
}

static tl_status constant_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                                tl_shape *output, tl_error *err)
{
    (void)inputs, (void)input_count;
    tl_status status = tl_shape_check(&attrs->shape, err);
    if (status != TL_OK) return status;
    *output = attrs->shape;
    return TL_OK;
}

static tl_status constant_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    if (state->mode == TL_MODE_INFER)
        state->needs.packed = tl_shape_count(&state->output) * sizeof(float);
    return TL_OK;
}

static tl_status constant_pack(const tl_op_state *state, const float *const *params, void *packed,
                               tl_error *err)
{
    (void)err;
    memcpy(packed, params[0], tl_shape_count(&state->output) * sizeof(float));
    return TL_OK;
}

static tl_status constant_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const size_t n = tl_shape_count(&state->output);
    const float *value = state->mode == TL_MODE_INFER ? run->packed : run->params[0];
    for (uint32_t i = 0; i < state->batch; i++) memcpy(run->y + i * n, value, n * sizeof(float));
    return TL_OK;
}

static tl_status constant_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const size_t n = tl_shape_count(&state->output);
    memset(run->dparams[0], 0, n * sizeof(float));
    if (!state->attrs->trained) return TL_OK;
    tl_kernels_get()->sum_groups(state->batch * n, n, run->dy, run->dparams[0]);
    return TL_OK;
}

const tl_op tl_op_constant = {
    .name = "constant",
    .input_min = 0,
    .input_max = 0,
    .params = constant_params,
    .shape = constant_shape,
    .prepare = constant_prepare,
    .pack = constant_pack,
    .forward = constant_forward,
    .backward = constant_backward,
};
