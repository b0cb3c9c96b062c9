/* Operators that put numbers together as they are: CONCAT, RESHAPE, GATHER, CONSTANT. */
#include "tensor/internal.h"
#include "tensor/walk.h"

#include <string.h>

/* Copy `width` of every `from_step` bytes into `width` of every `to_step`. */
static void copy_columns(size_t rows, size_t width, const void *from, size_t from_step, void *to,
                         size_t to_step)
{
    for (size_t r = 0; r < rows; r++)
        memcpy((char *)to + r * to_step, (const char *)from + r * from_step, width);
}

/* ---- CONCAT ---------------------------------------------------------------------------------- */

static tl_status concat_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                              tl_shape *output, tl_error *err)
{
    const int axis = tl_axis_index(attrs->axis, inputs[0].rank);
    if (axis < 0)
        return tl_fail(err, TL_ESHAPE, "axis %d of items of rank %u", attrs->axis, inputs[0].rank);
    uint64_t total = 0;
    *output = inputs[0];
    for (size_t i = 0; i < input_count; i++) {
        tl_shape other = inputs[i];
        if (other.rank == inputs[0].rank) {
            total += other.dim[axis];
            other.dim[axis] = inputs[0].dim[axis];
        }
        if (!tl_shape_equal(&other, &inputs[0]))
            return tl_fail(err, TL_ESHAPE,
                           "operand %zu differs from the first in more than axis %d", i, axis);
    }
    if (total > TL_DIM_MAX) return tl_fail(err, TL_ESHAPE, "too much together");
    output->dim[axis] = (uint32_t)total;
    return TL_OK;
}

/* Numbers of one step along the axis before the joined one; rows: how many such steps. */
static size_t run_of(const tl_op_state *state, const tl_shape *shape)
{
    size_t run = 1;
    for (uint32_t i = (uint32_t)tl_axis_index(state->attrs->axis, shape->rank); i < shape->rank;
         i++)
        run *= shape->dim[i];
    return run;
}

static tl_status concat_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    state->needs.parts = state->mode == TL_MODE_INFER;
    return TL_OK;
}

static tl_status concat_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const size_t number = tl_number_bytes(state), total = run_of(state, &state->output) * number;
    const tl_range rows =
        tl_run_share(run, state->batch * tl_shape_count(&state->output) * number / total, 1);
    size_t at = rows.begin * total;
    for (size_t i = 0; i < state->input_count; i++) {
        const size_t width = run_of(state, &state->inputs[i]) * number;
        copy_columns(rows.end - rows.begin, width, (const char *)run->x[i] + rows.begin * width,
                     width, (char *)run->y + at, total);
        at += width;
    }
    return TL_OK;
}

static tl_status concat_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    const size_t number = sizeof(float), total = run_of(state, &state->output) * number;
    const size_t rows = state->batch * tl_shape_count(&state->output) * number / total;
    size_t at = 0;
    for (size_t i = 0; i < state->input_count; i++) {
        const size_t width = run_of(state, &state->inputs[i]) * number;
        const char *from = (const char *)run->dy + at;
        if (run->dx[i] != NULL) copy_columns(rows, width, from, total, run->dx[i], width);
        at += width;
    }
    return TL_OK;
}

const tl_op tl_op_concat = {
    .name = "concat",
    .input_min = 1,
    .input_max = TL_OP_INPUT_MAX,
    .shape = concat_shape,
    .halves = tl_moves_halves,
    .prepare = concat_prepare,
    .forward = concat_forward,
    .backward = concat_backward,
};

/* ---- RESHAPE --------------------------------------------------------------------------------- */

static tl_status reshape_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                               tl_shape *output, tl_error *err)
{
    (void)input_count;
    tl_status status = tl_shape_check(&attrs->shape, err);
    if (status != TL_OK) return status;
    const size_t before = tl_shape_count(&inputs[0]), after = tl_shape_count(&attrs->shape);
    if (before != after)
        return tl_fail(err, TL_ESHAPE, "%zu numbers cannot become %zu", before, after);
    *output = attrs->shape;
    return TL_OK;
}

static tl_status reshape_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    state->needs.in_place = true;
    state->needs.backward_in_place = true;
    return TL_OK;
}

static void move_all(const tl_op_state *state, const float *from, float *to)
{
    if (to != from) memcpy(to, from, state->batch * tl_shape_count(&state->output) * sizeof *to);
}

static tl_status reshape_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    move_all(state, run->x[0], run->y);
    return TL_OK;
}

static tl_status reshape_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[0] != NULL) move_all(state, run->dy, run->dx[0]);
    return TL_OK;
}

const tl_op tl_op_reshape = {
    .name = "reshape",
    .input_min = 1,
    .input_max = 1,
    .shape = reshape_shape,
    .prepare = reshape_prepare,
    .forward = reshape_forward,
    .backward = reshape_backward,
};

/* ---- GATHER ---------------------------------------------------------------------------------- */

enum { SOURCE, INDICES };

static tl_status gather_shape(const tl_attrs *attrs, const tl_shape *inputs, size_t input_count,
                              tl_shape *output, tl_error *err)
{
    (void)input_count;
    const tl_shape *x = &inputs[SOURCE], *picks = &inputs[INDICES];
    const int axis = tl_axis_index(attrs->axis, x->rank);
    if (axis < 0)
        return tl_fail(err, TL_ESHAPE, "axis %d of an item of rank %u", attrs->axis, x->rank);
    tl_shape out = { .rank = 0 };
    if (x->rank - 1 + picks->rank > TL_RANK_MAX)
        return tl_fail(err, TL_ESHAPE, "rank %u by indices of rank %u is over %d", x->rank,
                       picks->rank, TL_RANK_MAX);
    for (uint32_t i = 0; i < (uint32_t)axis; i++) out.dim[out.rank++] = x->dim[i];
    for (uint32_t i = 0; i < picks->rank; i++) out.dim[out.rank++] = picks->dim[i];
    for (uint32_t i = (uint32_t)axis + 1; i < x->rank; i++) out.dim[out.rank++] = x->dim[i];
    *output = out;
    return TL_OK;
}

static tl_status gather_prepare(tl_op_state *state, tl_error *err)
{
    (void)err;
    state->needs.keeps_input[INDICES] = true;
    return TL_OK;
}

/* What an operand calls `index` of an axis; it may come from anywhere. */
static size_t index_of(float index, size_t size)
{
    if (!(index > -(float)size)) return 0; /* not a number, too */
    if (index >= (float)size) return size - 1;
    const long whole = (long)index;
    return whole < 0 ? (size_t)(whole + (long)size) : (size_t)whole;
}

/* Call for each run of `width` numbers: x index and y index, in runs. */
static void gather_runs(const tl_op_state *state, const tl_op_run *run, bool back)
{
    const tl_shape *x = &state->inputs[SOURCE];
    const size_t size = x->dim[tl_axis_index(state->attrs->axis, x->rank)];
    const size_t width = run_of(state, x) / size, picks = tl_shape_count(&state->inputs[INDICES]);
    const size_t rows = tl_shape_count(x) / size / width;
    for (size_t b = 0; b < state->batch; b++) {
        const float *index = run->x[INDICES] + b * picks;
        for (size_t r = 0; r < rows; r++) {
            for (size_t i = 0; i < picks; i++) {
                const size_t from = ((b * rows + r) * size + index_of(index[i], size)) * width;
                const size_t to = ((b * rows + r) * picks + i) * width;
                if (back)
                    tl_kernels_get()->add(width, run->dx[0] + from, run->dy + to,
                                          run->dx[0] + from);
                else
                    memcpy(run->y + to, run->x[SOURCE] + from, width * sizeof(float));
            }
        }
    }
}

static tl_status gather_forward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    gather_runs(state, run, false);
    return TL_OK;
}

static tl_status gather_backward(const tl_op_state *state, const tl_op_run *run, tl_error *err)
{
    (void)err;
    if (run->dx[INDICES] != NULL)
        memset(run->dx[INDICES], 0,
               state->batch * tl_shape_count(&state->inputs[INDICES]) * sizeof(float));
    if (run->dx[SOURCE] == NULL) return TL_OK;
    memset(run->dx[SOURCE], 0,
           state->batch * tl_shape_count(&state->inputs[SOURCE]) * sizeof(float));
    gather_runs(state, run, true);
    return TL_OK;
}

const tl_op tl_op_gather = {
    .name = "gather",
    .input_min = 2,
    .input_max = 2,
    .shape = gather_shape,
    .prepare = gather_prepare,
    .forward = gather_forward,
    .backward = gather_backward,
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
